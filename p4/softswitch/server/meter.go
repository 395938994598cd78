package server

import (
	v1 "github.com/p4lang/p4runtime/go/p4/v1"

	"github.com/sluicelb/sluice/p4/softswitch/engine"
)

// rates converts a meter's configuration; nil is the default one, by which everything is green.
func rates(what string, c *v1.MeterConfig) (*engine.Rates, error) {
	switch {
	case c == nil:
		return nil, nil
	case c.GetCir() < 0 || c.GetCburst() < 0 || c.GetPir() < 0 || c.GetPburst() < 0:
		return nil, invalid("%s: cir %d, cburst %d, pir %d, pburst %d: want 0 or more",
			what, c.GetCir(), c.GetCburst(), c.GetPir(), c.GetPburst())
	case c.GetPir() < c.GetCir():
		return nil, invalid("%s: pir is %d, want cir, %d, or more", what, c.GetPir(), c.GetCir())
	case c.GetEburst() != 0:
		return nil, invalid("%s: eburst is %d, want 0: it belongs to meters of a single rate", what, c.GetEburst())
	}
	return &engine.Rates{
		CIR: uint64(c.GetCir()), CBurst: uint64(c.GetCburst()), PIR: uint64(c.GetPir()), PBurst: uint64(c.GetPburst()),
	}, nil
}

// meterConfig is the other way round.
func meterConfig(r engine.Rates, configured bool) *v1.MeterConfig {
	if !configured {
		return nil
	}
	return &v1.MeterConfig{Cir: int64(r.CIR), Cburst: int64(r.CBurst), Pir: int64(r.PIR), Pburst: int64(r.PBurst)}
}

// setMeter writes a direct meter; a configuration that is not given is the default (section "Direct
// Resources").
func (t *table) setMeter(e *engine.Installed, c *v1.MeterConfig) error {
	r, err := rates("table "+t.name+": meter_config", c)
	if err == nil {
		e.SetRates(r)
	}
	return err
}

// updateMeter is section "MeterEntry".
func (p *pipeline) updateMeter(kind v1.Update_Type, e *v1.MeterEntry) error {
	if kind != v1.Update_MODIFY {
		return invalid("a meter takes MODIFY only, not %v", kind)
	}
	m := p.meterBy[e.GetMeterId()]
	if m == nil {
		return invalid("meter_id %d is not in the P4Info", e.GetMeterId())
	}
	if err := checkIndex("meter", m.name, e.GetIndex(), m.engine.Size()); err != nil {
		return err
	}
	if e.GetCounterData() != nil {
		return unimplemented("counters of colors")
	}
	r, err := rates("meter "+m.name, e.GetConfig())
	if err != nil {
		return err
	}
	from, to := span(e.GetIndex(), m.engine.Size())
	for i := from; i < to; i++ {
		m.engine.SetRates(i, r)
	}
	return nil
}

func (p *pipeline) readMeters(ask *v1.MeterEntry) (result, error) {
	meters := p.meters
	if id := ask.GetMeterId(); id != 0 {
		m := p.meterBy[id]
		if m == nil {
			return nil, invalid("meter_id %d is not in the P4Info", id)
		}
		if err := checkIndex("meter", m.name, ask.GetIndex(), m.engine.Size()); err != nil {
			return nil, err
		}
		meters = []*meter{m}
	} else if ask.GetIndex() != nil {
		return nil, invalid("meter_id 0 means all meters and takes no index")
	}
	return func(yield func(*v1.Entity) bool) {
		for _, m := range meters {
			from, to := span(ask.GetIndex(), m.engine.Size())
			for i := from; i < to; i++ {
				e := &v1.MeterEntry{MeterId: m.id, Index: &v1.Index{Index: int64(i)},
					Config: meterConfig(m.engine.Rates(i))}
				if !yield(&v1.Entity{Entity: &v1.Entity_MeterEntry{MeterEntry: e}}) {
					return
				}
			}
		}
	}, nil
}

// directMeters is the kind of direct resource.
var directMeters = directResource{"direct meter", func(t *table) bool { return t.meter }}

// updateDirectMeter is section "DirectMeterEntry".
func (p *pipeline) updateDirectMeter(kind v1.Update_Type, e *v1.DirectMeterEntry) error {
	if e.GetCounterData() != nil {
		return unimplemented("counters of colors")
	}
	t, installed, err := p.directEntry(directMeters, kind, e.GetTableEntry())
	if err != nil {
		return err
	}
	return t.setMeter(installed, e.GetConfig())
}

func (p *pipeline) readDirectMeters(shot *snapshot, ask *v1.DirectMeterEntry) (result, error) {
	entity := func(key *v1.TableEntry, of *engine.Installed) *v1.Entity {
		e := &v1.DirectMeterEntry{TableEntry: key, Config: meterConfig(of.Rates())}
		return &v1.Entity{Entity: &v1.Entity_DirectMeterEntry{DirectMeterEntry: e}}
	}
	return p.readDirect(directMeters, shot, ask.GetTableEntry(), entity)
}
