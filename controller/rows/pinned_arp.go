package rows

import (
	"fmt"
	"net/netip"

	"github.com/sluicelb/sluice/p4/packet"
)

// PinnedARPRow is owned(MAC), by sender address.
type PinnedARPRow struct {
	Address netip.Addr
	MAC     packet.MAC
}

var owned = &Action{"owned", []string{"mac"}}

var pinnedARP = kind(&Table{
	Name: "pinned_arp", Keys: []string{"sender_address"}, Actions: []*Action{owned},
	decode: func(e Entry) (Row, bool) { return PinnedARPRow{e.Key[0].addr(), e.Params[0].MAC()}, true },
	diff: keyed(func(t *Tables) map[netip.Addr]packet.MAC { return t.PinnedARP }, netip.Addr.Compare,
		func(a netip.Addr, m packet.MAC) Row { return PinnedARPRow{a, m} }),
})

func (PinnedARPRow) Kind() *Kind    { return pinnedARP }
func (r PinnedARPRow) Ref() Ref     { return pinnedARPRef(r.Address) }
func (PinnedARPRow) Needs() []Ref   { return nil }
func (r PinnedARPRow) Entry() Entry { return entry(owned, keys(address(r.Address)), mac(r.MAC)) }
func (r PinnedARPRow) String() string {
	return fmt.Sprintf("pinned_arp %s: owned(%s)", r.Address, r.MAC)
}

// pinnedARPRef is the Ref of a PinnedARPRow.
type pinnedARPRef netip.Addr

func (r PinnedARPRow) Held(t *Tables) (Row, bool) {
	return held(t.PinnedARP, r.Address, func(m packet.MAC) Row { return PinnedARPRow{r.Address, m} })
}

func (r PinnedARPRow) set(t *Tables, gone bool) { set(&t.PinnedARP, r.Address, r.MAC, gone) }
