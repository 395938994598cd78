package server

import (
	v1 "github.com/p4lang/p4runtime/go/p4/v1"
)

// updateRegister writes one cell, or all of them (section "RegisterEntry").
func (p *pipeline) updateRegister(kind v1.Update_Type, e *v1.RegisterEntry) error {
	if kind != v1.Update_MODIFY {
		return invalid("a register takes MODIFY only, not %v", kind)
	}
	r := p.registry[e.GetRegisterId()]
	if r == nil {
		return invalid("register_id %d is not in the P4Info", e.GetRegisterId())
	}
	if err := checkIndex("register", r.name, e.GetIndex(), r.engine.Size()); err != nil {
		return err
	}
	value, err := r.value.fromData(e.GetData(), func() string { return "register " + r.name })
	if err != nil {
		return err
	}
	from, to := span(e.GetIndex(), r.engine.Size())
	for i := from; i < to; i++ {
		r.engine.Write(i, value)
	}
	return nil
}

func (p *pipeline) readRegisters(ask *v1.RegisterEntry) (result, error) {
	registers := p.registers
	if id := ask.GetRegisterId(); id != 0 {
		r := p.registry[id]
		if r == nil {
			return nil, invalid("register_id %d is not in the P4Info", id)
		}
		if err := checkIndex("register", r.name, ask.GetIndex(), r.engine.Size()); err != nil {
			return nil, err
		}
		registers = []*register{r}
	} else if ask.GetIndex() != nil {
		return nil, invalid("register_id 0 means all registers and takes no index")
	}
	return func(yield func(*v1.Entity) bool) {
		for _, r := range registers {
			from, to := span(ask.GetIndex(), r.engine.Size())
			for i := from; i < to; i++ {
				e := &v1.RegisterEntry{
					RegisterId: r.id,
					Index:      &v1.Index{Index: int64(i)},
					Data:       r.value.toData(r.engine.Read(i)),
				}
				if !yield(&v1.Entity{Entity: &v1.Entity_RegisterEntry{RegisterEntry: e}}) {
					return
				}
			}
		}
	}, nil
}
