package main

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	v1 "github.com/p4lang/p4runtime/go/p4/v1"

	"github.com/sluicelb/sluice/bmv2-tests/lab"
	"github.com/sluicelb/sluice/p4/p4rt"
)

// slotUpdates times the change of all slots of a pool over P4Runtime.
func slotUpdates(ctx context.Context, _ time.Duration, rounds int) error {
	title := fmt.Sprintf("P4Runtime: %d slots modified, one batch", slots)
	all, clean, err := peers()
	if err != nil {
		return err
	}
	defer clean()
	rows := [][]string{{"target", "ms", "entries/s"}}
	for _, p := range all {
		if p.skip != nil {
			rows = append(rows, []string{p.name, p.skip.Error(), ""})
			continue
		}
		took, err := slotUpdate(ctx, p.sw, rounds)
		if err != nil {
			return fmt.Errorf("%s: %w", p.name, err)
		}
		rows = append(rows, []string{p.name, fmt.Sprintf("%.1f", took.Seconds()*1e3),
			fmt.Sprintf("%.0f", slots/took.Seconds())})
	}
	table(title, rows...)
	return nil
}

func slotUpdate(ctx context.Context, sw lab.Switch[string], rounds int) (took time.Duration, err error) {
	ctx, stop := context.WithCancel(ctx)
	running, err := sw.Start(ctx, "", nil)
	if err != nil {
		stop()
		return 0, err
	}
	defer func() { stop(); err = errors.Join(err, running.Wait()) }()
	err = asPrimary(ctx, running.Target, func(ctx context.Context, p *p4rt.Primary) error {
		if err := fillTarget(ctx, p); err != nil {
			return err
		}
		times := make([]time.Duration, rounds)
		for r := range times {
			entities, err := slotEntities(p.Info(), r+1)
			if err != nil {
				return err
			}
			updates := make([]*v1.Update, len(entities))
			for i, e := range entities {
				updates[i] = p4rt.Modify(e)
			}
			start := time.Now()
			if err := p.Write(ctx, updates); err != nil {
				return err
			}
			times[r] = time.Since(start)
		}
		slices.Sort(times)
		took = times[rounds/2]
		return nil
	})
	return took, err
}
