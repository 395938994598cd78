package main

import (
	"context"
	"errors"
	"fmt"

	v1 "github.com/p4lang/p4runtime/go/p4/v1"

	"github.com/sluicelb/sluice/p4"
	"github.com/sluicelb/sluice/p4/p4rt"
)

// asPrimary pushes the pipeline to a target and calls f as its primary.
func asPrimary(ctx context.Context, target string, f func(context.Context, *p4rt.Primary) error) error {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	session := p4rt.NewSession(p4rt.Config{
		Target: target, DeviceID: 1, Election: &p4rt.ElectionID{Low: 1},
		Pipeline: &v1.ForwardingPipelineConfig{
			P4Info: p4.P4Info(), P4DeviceConfig: p4.DeviceConfig(),
			Cookie: &v1.ForwardingPipelineConfig_Cookie{Cookie: p4.Cookie()},
		},
	})
	var failed error
	err := session.Run(ctx, func(ctx context.Context, p *p4rt.Primary) error {
		failed = f(ctx, p)
		cancel()
		return nil
	})
	if errors.Is(err, context.Canceled) {
		err = nil
	}
	return errors.Join(failed, err)
}

func field(name string, v p4rt.Value) p4rt.Field { return p4rt.Field{Name: name, Value: v} }

func number[T ~int | ~uint16](name string, n T) p4rt.Field {
	return field(name, p4rt.UintValue(uint64(n)))
}

func entity(info *p4rt.Info, e p4rt.Entry) (*v1.Entity, error) {
	encoded, err := info.EncodeEntry(e)
	if err != nil {
		return nil, err
	}
	return p4rt.TableEntity(encoded), nil
}

// slotEntities are all slots of the pool, slot s with backend 1 + (s + shift) mod backends.
func slotEntities(info *p4rt.Info, shift int) ([]*v1.Entity, error) {
	entities := make([]*v1.Entity, slots)
	for s := range entities {
		var err error
		entities[s], err = entity(info, p4rt.Entry{
			Table:  "slot",
			Match:  []p4rt.Field{number("pool_id", 1), number("generation", 0), number("slot", s)},
			Action: "to_backend", Params: []p4rt.Field{number("backend_id", 1+(s+shift)%backends)},
		})
		if err != nil {
			return nil, err
		}
	}
	return entities, nil
}

func inserts(entities []*v1.Entity) []*v1.Update {
	updates := make([]*v1.Update, len(entities))
	for i, e := range entities {
		updates[i] = p4rt.Insert(e)
	}
	return updates
}

// fillTarget writes what the VIP path needs: router on port 1, backends on ports 2 and up.
func fillTarget(ctx context.Context, p *p4rt.Primary) error {
	var entities []*v1.Entity
	add := func(table, action string, match, params []p4rt.Field) error {
		e, err := entity(p.Info(), p4rt.Entry{Table: table, Match: match, Action: action, Params: params})
		entities = append(entities, e)
		return err
	}
	var errs []error
	for id := 1; id <= backends; id++ {
		errs = append(errs, add("backend", "forward_to_backend", []p4rt.Field{number("backend_id", id)},
			[]p4rt.Field{field("mac", p4rt.MACValue(backendMAC(id))), number("port", id+1)}))
	}
	errs = append(errs,
		add("station", "known", []p4rt.Field{field("mac", p4rt.MACValue(routerMAC))}, []p4rt.Field{number("port", 1)}),
		add("vip", "to_pool", []p4rt.Field{field("address", p4rt.AddrValue(vip)), number("protocol", 6),
			number("port", 80)},
			[]p4rt.Field{number("pool_id", 1), number("generation", 0), number("slot_mask", slots-1),
				number("secret_1", 1<<62+1), number("secret_2", 1<<61+1)}),
	)
	if err := errors.Join(errs...); err != nil {
		return err
	}
	if err := p.Write(ctx, inserts(entities)); err != nil {
		return fmt.Errorf("writing the VIP: %w", err)
	}
	table, err := slotEntities(p.Info(), 0)
	if err != nil {
		return err
	}
	return p.Write(ctx, inserts(table))
}
