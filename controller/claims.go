package controller

import (
	"cmp"
	"fmt"
	"net/netip"
	"slices"
	"strings"
	"time"

	"google.golang.org/protobuf/types/known/timestamppb"

	"github.com/sluicelb/sluice/controller/api"
	"github.com/sluicelb/sluice/p4/packet"
)

const (
	claimsKept    = 1024             // senders may invent MACs without end
	claimInterval = 30 * time.Second // between two events of the same claim
)

// claimKey tells claims on VIPs apart: a real server with the ARP problem shows as one of them.
type claimKey struct {
	Switch string
	VIP    netip.Addr
	Port   uint16 // that it came in by
	MAC    packet.MAC
	// Disowned: used as the sender of a request, not claimed.
	Disowned bool
}

type claim struct {
	count       uint64
	first, last time.Time
	told        time.Time
}

// claims counts ARP claims on VIPs. For one goroutine.
type claims map[claimKey]*claim

// add counts a claim and tells whether it deserves an event now.
func (c claims) add(k claimKey, now time.Time) bool {
	seen := c[k]
	if seen == nil {
		if len(c) >= claimsKept {
			c.forgetOldest()
		}
		seen = &claim{first: now}
		c[k] = seen
	}
	seen.count++
	seen.last = now
	if seen.told.IsZero() || now.Sub(seen.told) >= claimInterval {
		seen.told = now
		return true
	}
	return false
}

func (c claims) forgetOldest() {
	var oldest claimKey
	var last time.Time
	for k, seen := range c {
		if last.IsZero() || seen.last.Before(last) {
			oldest, last = k, seen.last
		}
	}
	delete(c, oldest)
}

// message returns the claim under k for the API; backend is whose MAC it is.
func (c claims) message(k claimKey, backend string) *api.ARPClaim {
	seen := c[k]
	return &api.ARPClaim{
		Switch: k.Switch, VipAddress: k.VIP.String(), Port: uint32(k.Port), Mac: k.MAC.String(), Backend: backend, Disowned: k.Disowned,
		Count: seen.count, First: timestamppb.New(seen.first), Last: timestamppb.New(seen.last),
	}
}

// keys returns what is counted, in the order of a status.
func (c claims) keys() []claimKey {
	keys := make([]claimKey, 0, len(c))
	for k := range c {
		keys = append(keys, k)
	}
	slices.SortFunc(keys, func(a, b claimKey) int {
		return cmp.Or(cmp.Compare(a.Switch, b.Switch), a.VIP.Compare(b.VIP), cmp.Compare(a.Port, b.Port), a.MAC.Compare(b.MAC),
			strings.Compare(fmt.Sprint(a.Disowned), fmt.Sprint(b.Disowned)))
	})
	return keys
}
