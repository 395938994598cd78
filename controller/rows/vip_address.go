package rows

import (
	"fmt"
	"net/netip"
)

// VIPAddressRow is refuse().
type VIPAddressRow struct{ Address netip.Addr }

var refuse = &Action{Name: "refuse"}

// Only when the slots are there: the address may be another's until then.
var vipAddress = kind(&Table{
	Name: "vip_address", Keys: []string{"address"}, Actions: []*Action{refuse},
	decode: func(e Entry) (Row, bool) { return VIPAddressRow{e.Key[0].addr()}, true },
	diff: keyed(func(t *Tables) map[netip.Addr]struct{} { return t.VIPAddress }, netip.Addr.Compare,
		func(a netip.Addr, _ struct{}) Row { return VIPAddressRow{a} }),
}, slotMoving)

func (VIPAddressRow) Kind() *Kind      { return vipAddress }
func (r VIPAddressRow) Ref() Ref       { return r }
func (VIPAddressRow) Needs() []Ref     { return nil }
func (r VIPAddressRow) Entry() Entry   { return entry(refuse, keys(address(r.Address))) }
func (r VIPAddressRow) String() string { return fmt.Sprintf("vip_address %s: refuse()", r.Address) }

func (r VIPAddressRow) Held(t *Tables) (Row, bool) {
	return held(t.VIPAddress, r.Address, func(struct{}) Row { return r })
}

func (r VIPAddressRow) set(t *Tables, gone bool) { set(&t.VIPAddress, r.Address, struct{}{}, gone) }
