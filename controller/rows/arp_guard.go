package rows

import (
	"fmt"
	"net/netip"
)

// ARPGuardRow is claim().
type ARPGuardRow struct{ Address netip.Addr }

var claim = &Action{Name: "claim"}

// With vip_address.
var arpGuard = kind(&Table{
	Name: "arp_guard", Keys: []string{"sender_address"}, Actions: []*Action{claim},
	decode: func(e Entry) (Row, bool) { return ARPGuardRow{e.Key[0].addr()}, true },
	diff: keyed(func(t *Tables) map[netip.Addr]struct{} { return t.ARPGuard }, netip.Addr.Compare,
		func(a netip.Addr, _ struct{}) Row { return ARPGuardRow{a} }),
}, slotMoving)

func (ARPGuardRow) Kind() *Kind      { return arpGuard }
func (r ARPGuardRow) Ref() Ref       { return r }
func (ARPGuardRow) Needs() []Ref     { return nil }
func (r ARPGuardRow) Entry() Entry   { return entry(claim, keys(address(r.Address))) }
func (r ARPGuardRow) String() string { return fmt.Sprintf("arp_guard %s: claim()", r.Address) }

func (r ARPGuardRow) Held(t *Tables) (Row, bool) {
	return held(t.ARPGuard, r.Address, func(struct{}) Row { return r })
}

func (r ARPGuardRow) set(t *Tables, gone bool) { set(&t.ARPGuard, r.Address, struct{}{}, gone) }
