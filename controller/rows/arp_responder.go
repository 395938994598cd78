package rows

import (
	"fmt"
	"net/netip"

	"github.com/sluicelb/sluice/p4/packet"
)

// ARPResponderRow is answer(MAC); with it traffic comes.
type ARPResponderRow struct {
	Address netip.Addr
	MAC     packet.MAC
}

var answer = &Action{"answer", []string{"mac"}}

var arpResponder = kind(&Table{
	Name: "arp_responder", Keys: []string{"target_address"}, Actions: []*Action{answer},
	decode: func(e Entry) (Row, bool) { return ARPResponderRow{e.Key[0].addr(), e.Params[0].MAC()}, true },
	diff: keyed(func(t *Tables) map[netip.Addr]packet.MAC { return t.ARPResponder }, netip.Addr.Compare,
		func(a netip.Addr, m packet.MAC) Row { return ARPResponderRow{a, m} }),
}, vip)

func (ARPResponderRow) Kind() *Kind    { return arpResponder }
func (r ARPResponderRow) Ref() Ref     { return arpResponderRef(r.Address) }
func (ARPResponderRow) Needs() []Ref   { return nil }
func (r ARPResponderRow) Entry() Entry { return entry(answer, keys(address(r.Address)), mac(r.MAC)) }
func (r ARPResponderRow) String() string {
	return fmt.Sprintf("arp_responder %s: answer(%s)", r.Address, r.MAC)
}

// arpResponderRef is the Ref of a ARPResponderRow.
type arpResponderRef netip.Addr

func (r ARPResponderRow) Held(t *Tables) (Row, bool) {
	return held(t.ARPResponder, r.Address, func(m packet.MAC) Row { return ARPResponderRow{r.Address, m} })
}

func (r ARPResponderRow) set(t *Tables, gone bool) { set(&t.ARPResponder, r.Address, r.MAC, gone) }
