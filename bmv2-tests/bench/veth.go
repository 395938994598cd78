package main

import (
	"cmp"
	"context"
	"fmt"
	"slices"
	"time"

	"github.com/sluicelb/sluice/bmv2-tests/lab"
	"github.com/sluicelb/sluice/bmv2-tests/lab/namespaces"
	"github.com/sluicelb/sluice/p4/p4rt"
)

// overVeth overloads port 1 with frames for the VIP and counts what comes out at the backends.
func overVeth(ctx context.Context, duration time.Duration, rounds int) error {
	title := "over veth pairs: frames delivered at the backends while port 1 gets more than the switch can take; the " +
		"sender shares the cores"
	if err := namespaces.Unavailable(); err != nil {
		table(title, []string{"skipped: " + err.Error()})
		return nil
	}
	all, clean, err := peers()
	if err != nil {
		return err
	}
	defer clean()
	rows := [][]string{{"switch", "packets/s", "ratio"}}
	var reference float64
	for _, p := range all {
		if p.skip != nil {
			rows = append(rows, []string{p.name, p.skip.Error(), ""})
			continue
		}
		rate, err := throughput(ctx, p.sw, duration, rounds)
		if err != nil {
			return fmt.Errorf("%s: %w", p.name, err)
		}
		ratio := ""
		if reference == 0 {
			reference = rate
		}
		if len(rows) > 1 && all[0].skip == nil {
			ratio = fmt.Sprintf("%.1f", rate/reference)
		}
		rows = append(rows, []string{p.name, fmt.Sprintf("%.0f", rate), ratio})
	}
	table(title, rows...)
	return nil
}

func throughput(
	ctx context.Context, sw lab.Switch[string], duration time.Duration, rounds int,
) (rate float64, err error) {
	l, err := namespaces.New(lab.Bare(1+backends), sw)
	if err != nil {
		return 0, err
	}
	defer l.Close()
	cables := l.Sites[0]
	err = asPrimary(ctx, cables.Target(), func(ctx context.Context, p *p4rt.Primary) error {
		if err := fillTarget(ctx, p); err != nil {
			return err
		}
		rates := make([]float64, rounds)
		for r := range rates {
			if rates[r], err = deliver(ctx, cables, duration); err != nil {
				return err
			}
		}
		slices.Sort(rates)
		rate = rates[rounds/2]
		return nil
	})
	return rate, err
}

// deliver measures one round in the middle of the load, when queues are full.
func deliver(
	ctx context.Context, cables *lab.Site[*namespaces.Machine, string], duration time.Duration,
) (float64, error) {
	ctx, stop := context.WithCancel(ctx)
	blasted := make(chan error, 1)
	go func() { blasted <- cables.End(1).Blast(ctx, vipFrames()) }()
	defer stop()

	received := func() (sum uint64, err error) {
		for id := 1; id <= backends; id++ {
			n, err := cables.End(uint16(id + 1)).Received()
			if err != nil {
				return 0, err
			}
			sum += n
		}
		return sum, nil
	}
	wait := func(d time.Duration) error {
		select {
		case err := <-blasted:
			return cmp.Or(err, ctx.Err())
		case <-time.After(d):
			return nil
		}
	}
	if err := wait(duration / 4); err != nil {
		return 0, err
	}
	before, err := received()
	if err != nil {
		return 0, err
	}
	start := time.Now()
	if err := wait(duration); err != nil {
		return 0, err
	}
	after, err := received()
	if err != nil {
		return 0, err
	}
	elapsed := time.Since(start)
	stop()
	if err := <-blasted; err != nil {
		return 0, err
	}
	if after == before {
		return 0, fmt.Errorf("no frame came through")
	}
	return float64(after-before) / elapsed.Seconds(), nil
}
