package core

import (
	"cmp"
	"net/netip"
	"slices"

	"github.com/sluicelb/sluice/controller/tally"
	"github.com/sluicelb/sluice/p4/packet"
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
func onSwitch(name string, e tally.Entry[tally.Claimed]) tally.Entry[claimKey] {
	return tally.Entry[claimKey]{
		Key: claimKey{claimPlace{name, e.Key.Port}, e.Key.VIP, e.Key.Disowned}, Count: e.Count, Senders: e.Senders,
	}
}

// Claim is how often one host behind a port claimed a VIP by ARP.
type Claim struct {
	Switch   string
	Port     uint16
	VIP      netip.Addr
	Disowned bool       // it used the VIP as its own address in requests, and did not claim it
	MAC      packet.MAC // the zero MAC: several hosts that are not told apart
	Backend  string     // of the intent, pool/backend, whose MAC it is; empty: nobody's
	tally.Count
}

func (c *Core) claim(k claimKey, by tally.Sender) Claim {
	backend := ""
	if !by.MAC.IsZero() {
		backend = c.ownerOf(by.MAC)
	}
	return Claim{k.Switch, k.Port, k.VIP, k.Disowned, by.MAC, backend, by.Count}
}

// Claims lists them, by switch, VIP and port: one for each host that is told apart, and one without a MAC for the
// others of the same VIP and port.
func (c *Core) Claims() []Claim {
	c = c.seen()
	var list []Claim
	for _, e := range c.noise.claims.Entries() {
		for _, s := range e.Senders {
			list = append(list, c.claim(e.Key, s))
		}
		if n := e.Others(); n > 0 {
			others := tally.Sender{Count: tally.Count{Times: n, First: e.First, Last: e.Last}}
			list = append(list, c.claim(e.Key, others))
		}
		if len(list) >= claimsShown {
			list = list[:claimsShown]
			break
		}
	}
	slices.SortStableFunc(list, func(a, b Claim) int {
		return cmp.Or(cmp.Compare(a.Switch, b.Switch), a.VIP.Compare(b.VIP), cmp.Compare(a.Port, b.Port))
	})
	return list
}
