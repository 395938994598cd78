package controller

import (
	"cmp"
	"net/netip"
	"slices"

	"google.golang.org/protobuf/types/known/timestamppb"

	"github.com/sluicelb/sluice/controller/api"
	"github.com/sluicelb/sluice/controller/device"
	"github.com/sluicelb/sluice/controller/tally"
)

// claimsShown is how many a status lists; those of backends come before others.
const claimsShown = 1024

// claimPlace is where claims come in.
type claimPlace struct {
	Switch string
	Port   uint16
}

// claimKey tells claims on VIPs apart; a real server with the ARP problem is a sender of one of them.
type claimKey struct {
	claimPlace
	VIP netip.Addr
	// Disowned: used as the sender of a request, not claimed.
	Disowned bool
}

// claims adds up the ARP claims on VIPs that switches have reported.
type claims = tally.Tally[claimPlace, claimKey]

func newClaims() *claims {
	return tally.New(func(k claimKey) claimPlace { return k.claimPlace })
}

// onSwitch makes what a switch reported an entry of claims.
func onSwitch(name string, e tally.Entry[device.Claimed]) tally.Entry[claimKey] {
	return tally.Entry[claimKey]{
		Key: claimKey{claimPlace{name, e.Key.Port}, e.Key.VIP, e.Key.Disowned}, Count: e.Count, Senders: e.Senders,
	}
}

// claimMessage returns one sender's claims for the API; backend is whose MAC it is.
func claimMessage(k claimKey, s tally.Sender, backend string) *api.ARPClaim {
	m := &api.ARPClaim{
		Switch: k.Switch, VipAddress: k.VIP.String(), Port: uint32(k.Port), Backend: backend, Disowned: k.Disowned,
		Count: s.Times, First: timestamppb.New(s.First), Last: timestamppb.New(s.Last),
	}
	if !s.MAC.IsZero() {
		m.Mac = s.MAC.String()
	}
	return m
}

// claimMessages lists all claims: a row for each sender that is told apart, and one without a MAC for the
// others of that VIP, switch and port.
func (l *loop) claimMessages() []*api.ARPClaim {
	var list []*api.ARPClaim
	for _, e := range l.claims.Entries() {
		for _, s := range e.Senders {
			list = append(list, claimMessage(e.Key, s, l.ownerOf(s.MAC)))
		}
		if n := e.Others(); n > 0 {
			rest := tally.Sender{Count: tally.Count{Times: n, First: e.First, Last: e.Last}}
			list = append(list, claimMessage(e.Key, rest, ""))
		}
		if len(list) >= claimsShown {
			list = list[:claimsShown]
			break
		}
	}
	slices.SortStableFunc(list, func(a, b *api.ARPClaim) int {
		return cmp.Or(cmp.Compare(a.Switch, b.Switch), cmp.Compare(a.VipAddress, b.VipAddress),
			cmp.Compare(a.Port, b.Port))
	})
	return list
}
