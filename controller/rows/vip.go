package rows

import (
	"cmp"
	"fmt"

	"github.com/sluicelb/sluice/controller/config"
)

// VIPRow is to_pool(Pool, Generation, SlotMask, Secret).
type VIPRow struct {
	VIPKey
	ToPool
}

var toPool = &Action{"to_pool", []string{"pool_id", "generation", "slot_mask", "secret_1", "secret_2"}}

// All slots are there, and the address is nobody else's.
var vip = kind(&Table{
	Name: "vip", Keys: []string{"address", "protocol", "port"}, Actions: []*Action{toPool},
	decode: func(e Entry) (Row, bool) {
		return VIPRow{
			e.vipKey(),
			ToPool{
				PoolID(e.Params[0].Lo), uint8(e.Params[1].Lo), uint16(e.Params[2].Lo),
				Secret{e.Params[3].Lo, e.Params[4].Lo},
			},
		}, true
	},
	diff: keyed(func(t *Tables) map[VIPKey]ToPool { return t.VIP }, VIPKey.Compare,
		func(k VIPKey, p ToPool) Row { return VIPRow{k, p} }),
}, slotMoving, vipAddress, arpGuard)

func (e Entry) vipKey() VIPKey {
	return VIPKey{e.Key[0].addr(), config.Protocol(e.Key[1].Lo), uint16(e.Key[2].Lo)}
}

func (VIPRow) Kind() *Kind { return vip }
func (r VIPRow) Ref() Ref  { return r.VIPKey }

// Needs are all slots of the pool: without some a part of the flows would be dropped.
func (r VIPRow) Needs() []Ref { return []Ref{SlotTable{r.Pool, r.Generation}} }

func (r VIPRow) Entry() Entry {
	return entry(toPool, keys(address(r.Address), number(r.Protocol), number(r.Port)),
		number(r.Pool), number(r.Generation), number(r.SlotMask), number(r.Secret[0]), number(r.Secret[1]))
}

// String leaves out the secret: it is for logs.
func (r VIPRow) String() string {
	return fmt.Sprintf("vip %s %s port %d: to_pool(%d, generation %d, mask 0x%x)",
		r.Address, r.Protocol, r.Port, r.Pool, r.Generation, r.SlotMask)
}

func (r VIPRow) Held(t *Tables) (Row, bool) {
	return held(t.VIP, r.VIPKey, func(p ToPool) Row { return VIPRow{r.VIPKey, p} })
}

func (r VIPRow) set(t *Tables, gone bool) { set(&t.VIP, r.VIPKey, r.ToPool, gone) }

// Compare orders keys by address, then protocol, then port.
func (k VIPKey) Compare(o VIPKey) int {
	return cmp.Or(k.Address.Compare(o.Address), cmp.Compare(k.Protocol, o.Protocol), cmp.Compare(k.Port, o.Port))
}
