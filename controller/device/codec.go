package device

import (
	"encoding/binary"
	"errors"
	"fmt"
	"net/netip"
	"time"

	v1 "github.com/p4lang/p4runtime/go/p4/v1"

	"github.com/sluicelb/sluice/controller/config"
	"github.com/sluicelb/sluice/controller/learn"
	"github.com/sluicelb/sluice/controller/plan"
	"github.com/sluicelb/sluice/p4/limits"
	"github.com/sluicelb/sluice/p4/p4rt"
	"github.com/sluicelb/sluice/p4/packet"
)

// codec turns rows into P4Runtime entities and back. All names are resolved once: a pipeline that
// lacks one is an error at the start, never an id 0, which would be a wildcard.
type codec struct {
	info *p4rt.Info

	backend, slot, slotOld, vip, vipAddress, arpGuard, arpResponder, pinnedStation, station, pinnedL2, pinnedARP, l2 table

	stations int // that there is room for

	forwardToBackend, toBackend, move, leave, back, stay, toPool, refuse, claim, answer, pinned, known, forward,
	discard, owned action
}

// table is a table whose keys are all exact: field ids in the order that the rows use.
type table struct {
	id   uint32
	keys []uint32
}

type action struct {
	id     uint32
	params []uint32
}

func newCodec(info *p4rt.Info) (*codec, error) {
	c := &codec{info: info}
	var errs []error
	table := func(to *table, name string, keys ...string) {
		t, err := info.Table(name)
		if err != nil {
			errs = append(errs, err)
			return
		}
		to.id = t.ID
		if len(t.Keys) != len(keys) {
			errs = append(errs, fmt.Errorf("table %s has %d keys, must have %d", name, len(t.Keys), len(keys)))
		}
		for _, key := range keys {
			k, err := t.Key(key)
			if err != nil {
				errs = append(errs, err)
				continue
			}
			if k.Kind != p4rt.Exact {
				errs = append(errs, fmt.Errorf("table %s: key %s is %v, must be exact", name, key, k.Kind))
			}
			to.keys = append(to.keys, k.ID)
		}
	}
	action := func(to *action, name string, params ...string) {
		a, err := info.Action(name)
		if err != nil {
			errs = append(errs, err)
			return
		}
		to.id = a.ID
		for _, param := range params {
			id := uint32(0)
			for _, p := range a.Params {
				if p.Name == param {
					id = p.ID
				}
			}
			if id == 0 {
				errs = append(errs, fmt.Errorf("action %s has no parameter %s", name, param))
			}
			to.params = append(to.params, id)
		}
		if len(a.Params) != len(params) {
			errs = append(errs, fmt.Errorf("action %s has %d parameters, must have %d", name, len(a.Params), len(params)))
		}
	}
	table(&c.backend, "backend", "backend_id")
	table(&c.slot, "slot", "pool_id", "generation", "slot")
	table(&c.slotOld, "slot_old", "pool_id", "generation", "slot")
	table(&c.vip, "vip", "address", "protocol", "port")
	table(&c.vipAddress, "vip_address", "address")
	table(&c.arpGuard, "arp_guard", "sender_address")
	table(&c.arpResponder, "arp_responder", "target_address")
	table(&c.pinnedStation, "pinned_station", "mac")
	table(&c.station, "station", "mac")
	table(&c.pinnedL2, "pinned_l2", "mac")
	table(&c.pinnedARP, "pinned_arp", "sender_address")
	table(&c.l2, "l2", "mac")
	for _, name := range []string{"station", "l2"} {
		if t, err := info.Table(name); err == nil && (c.stations == 0 || int(t.Size) < c.stations) {
			c.stations = int(t.Size)
		}
	}
	action(&c.forwardToBackend, "forward_to_backend", "mac", "port")
	action(&c.toBackend, "to_backend", "backend_id")
	action(&c.move, "move", "backend_id", "bank", "epoch")
	action(&c.leave, "leave", "backend_id", "old_id", "bank", "epoch")
	action(&c.back, "back", "backend_id", "old_id", "bank", "epoch")
	action(&c.stay, "stay", "backend_id")
	action(&c.toPool, "to_pool", "pool_id", "generation", "slot_mask")
	action(&c.refuse, "refuse")
	action(&c.claim, "claim")
	action(&c.answer, "answer", "mac")
	action(&c.pinned, "pinned", "port")
	action(&c.known, "known", "port")
	action(&c.forward, "forward", "port")
	action(&c.discard, "discard")
	action(&c.owned, "owned", "mac")
	return c, errors.Join(errs...)
}

// row makes the entity of a planned row.
func (c *codec) row(row plan.Row) *v1.Entity {
	switch r := row.(type) {
	case plan.BackendRow:
		return c.backend.entity(c.forwardToBackend.with(mac(r.MAC), number(r.Port)), number(r.ID))
	case plan.SlotRow:
		do := c.toBackend.with(number(r.Backend))
		switch {
		case r.Back:
			do = c.back.with(number(r.Backend), number(r.Grace), number(r.Bank), number(r.Epoch))
		case r.Grace != 0:
			do = c.leave.with(number(r.Backend), number(r.Grace), number(r.Bank), number(r.Epoch))
		case r.Epoch != 0:
			do = c.move.with(number(r.Backend), number(r.Bank), number(r.Epoch))
		}
		return c.slot.entity(do, number(r.Pool), number(r.Generation), number(r.Slot))
	case plan.SlotOldRow:
		e := c.slotOld.entity(c.stay.with(number(r.Backend)), number(r.Pool), number(r.Generation), number(r.Slot))
		e.GetTableEntry().IdleTimeoutNs = r.Idle.Nanoseconds()
		return e
	case plan.VIPRow:
		return c.vip.entity(c.toPool.with(number(r.Pool), number(r.Generation), number(r.SlotMask)),
			address(r.Address), number(r.Protocol), number(r.Port))
	case plan.VIPAddressRow:
		return c.vipAddress.entity(c.refuse.with(), address(r.Address))
	case plan.ARPGuardRow:
		return c.arpGuard.entity(c.claim.with(), address(r.Address))
	case plan.ARPResponderRow:
		return c.arpResponder.entity(c.answer.with(mac(r.MAC)), address(r.Address))
	case plan.PinnedStationRow:
		port := r.Port
		if port == plan.Nowhere {
			port = limits.NoPort
		}
		return c.pinnedStation.entity(c.pinned.with(number(port)), mac(r.MAC))
	case plan.PinnedL2Row:
		do := c.forward.with(number(r.Port))
		if r.Port == plan.Nowhere {
			do = c.discard.with()
		}
		return c.pinnedL2.entity(do, mac(r.MAC))
	case plan.PinnedARPRow:
		return c.pinnedARP.entity(c.owned.with(mac(r.MAC)), address(r.Address))
	case plan.FloodRow:
		g := p4rt.MulticastGroup{ID: limits.FloodGroup}
		for _, port := range r.Ports {
			g.Replicas = append(g.Replicas, p4rt.Replica{Port: uint32(port), Instance: 1})
		}
		return g.Entity()
	}
	panic(fmt.Sprintf("device: no entity for a %T", row))
}

// change makes the update of a planned change.
func (c *codec) change(ch plan.Change) *v1.Update {
	e := c.row(ch.Row)
	switch ch.Op {
	case plan.Insert:
		return p4rt.Insert(e)
	case plan.Modify:
		return p4rt.Modify(e)
	}
	return p4rt.Delete(onlyKey(e))
}

// station makes the update of a learned change. Only the source's row ages.
func (c *codec) learned(ch learn.Change, idle time.Duration) *v1.Update {
	var e *v1.Entity
	if ch.Table == learn.Station {
		e = c.station.entity(c.known.with(number(ch.Port)), mac(ch.MAC))
		e.GetTableEntry().IdleTimeoutNs = idle.Nanoseconds()
	} else {
		e = c.l2.entity(c.forward.with(number(ch.Port)), mac(ch.MAC))
	}
	switch ch.Op {
	case learn.Insert:
		return p4rt.Insert(e)
	case learn.Modify:
		return p4rt.Modify(e)
	}
	return p4rt.Delete(onlyKey(e))
}

// onlyKey strips what a DELETE does not look at (section "Table Entry").
func onlyKey(e *v1.Entity) *v1.Entity {
	if t := e.GetTableEntry(); t != nil {
		return p4rt.TableEntity(&v1.TableEntry{TableId: t.TableId, Match: t.Match, Priority: t.Priority})
	}
	return e
}

func (t *table) entity(do *v1.TableAction, key ...[]byte) *v1.Entity {
	match := make([]*v1.FieldMatch, len(key))
	for i, value := range key {
		match[i] = &v1.FieldMatch{
			FieldId:        t.keys[i],
			FieldMatchType: &v1.FieldMatch_Exact_{Exact: &v1.FieldMatch_Exact{Value: value}},
		}
	}
	return p4rt.TableEntity(&v1.TableEntry{TableId: t.id, Match: match, Action: do})
}

func (a *action) with(values ...[]byte) *v1.TableAction {
	params := make([]*v1.Action_Param, len(values))
	for i, value := range values {
		params[i] = &v1.Action_Param{ParamId: a.params[i], Value: value}
	}
	return &v1.TableAction{Type: &v1.TableAction_Action{Action: &v1.Action{ActionId: a.id, Params: params}}}
}

// key returns the entry's match values in the order of t.keys; false when they are not all there.
func (t *table) key(e *v1.TableEntry) (values [3]uint64, ok bool) {
	if len(e.GetMatch()) != len(t.keys) {
		return values, false
	}
	for i, id := range t.keys {
		found := false
		for _, m := range e.GetMatch() {
			if m.GetFieldId() == id && m.GetExact() != nil {
				values[i], found = parse(m.GetExact().GetValue())
			}
		}
		if !found {
			return values, false
		}
	}
	return values, true
}

// of returns the parameters of an entry's action; false when the action is another.
func (a *action) of(e *v1.TableEntry) (values [4]uint64, ok bool) {
	do := e.GetAction().GetAction()
	if do.GetActionId() != a.id || len(do.GetParams()) != len(a.params) {
		return values, false
	}
	for i, id := range a.params {
		found := false
		for _, p := range do.GetParams() {
			if p.GetParamId() == id {
				values[i], found = parse(p.GetValue())
			}
		}
		if !found {
			return values, false
		}
	}
	return values, true
}

// number is x in the canonical form of section "Bytestrings".
func number[T ~uint8 | ~uint16 | ~uint32](x T) []byte {
	b := binary.BigEndian.AppendUint32(make([]byte, 0, 4), uint32(x))
	for len(b) > 1 && b[0] == 0 {
		b = b[1:]
	}
	return b
}

func mac(m packet.MAC) []byte { return p4rt.MACValue(m).Bytes() }

func address(a netip.Addr) []byte { return p4rt.AddrValue(a).Bytes() }

// parse reads a bytestring of any length whose value fits.
func parse(b []byte) (uint64, bool) {
	for len(b) > 8 && b[0] == 0 {
		b = b[1:]
	}
	if len(b) == 0 || len(b) > 8 {
		return 0, false
	}
	var x uint64
	for _, c := range b {
		x = x<<8 | uint64(c)
	}
	return x, true
}

func toMAC(x uint64) packet.MAC {
	var b [8]byte
	binary.BigEndian.PutUint64(b[:], x)
	return packet.MAC(b[2:])
}

func toAddr(x uint64) netip.Addr {
	return netip.AddrFrom4([4]byte{byte(x >> 24), byte(x >> 16), byte(x >> 8), byte(x)})
}

func toVIPKey(k [3]uint64) plan.VIPKey {
	return plan.VIPKey{Address: toAddr(k[0]), Protocol: config.Protocol(k[1]), Port: uint16(k[2])}
}
