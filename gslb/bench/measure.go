//go:build linux

package main

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"os"
	"runtime"
	"time"

	"golang.org/x/sys/unix"
)

// bench is what all measurements share.
type bench struct {
	plan
	dir      string
	workload *workload
	dnsperf  string
}

// sample is one run of one server.
type sample struct {
	CPU  float64 `json:"cpu_us_per_query"`
	User float64 `json:"user_us_per_query"`
	QPS  float64 `json:"qps"`

	// Entrants that are measured in full have these.
	P50  float64 `json:"p50_us,omitempty"`
	P99  float64 `json:"p99_us,omitempty"`
	Sent int     `json:"sent_400,omitempty"`
	Lost int     `json:"lost_400"`
	Late int     `json:"lost_at_rate"`
}

func (s sample) String() string {
	text := fmt.Sprintf("%.2f us/query, %.0f qps", s.CPU, s.QPS)
	if s.Sent > 0 {
		text += fmt.Sprintf(", p99 %.0f us, %d of %d lost", s.P99, s.Lost, s.Sent)
	}
	return text
}

const (
	patience = 20 * time.Second // for a server to start, and to know what is alive
	settling = 3 * time.Second  // from the start, in which first probes come thick and fast
	warmUp   = 0.3              // seconds
	late     = time.Second      // then an answer is lost
)

// measure starts a server, sees that it answers right, measures, and ends it.
func (b *bench) measure(ctx context.Context, e *entrant) (s sample, err error) {
	dir, err := os.MkdirTemp(b.dir, "server")
	if err != nil {
		return s, err
	}
	defer os.RemoveAll(dir)
	at, err := freeAddress()
	if err != nil {
		return s, err
	}
	cmd, err := e.command(dir, at)
	if err != nil {
		return s, err
	}
	clients, servers, err := b.processors(e.threads)
	if err != nil {
		return s, err
	}
	var p *process
	if err := on(servers, func() error { p, err = start(cmd); return err }); err != nil {
		return s, err
	}
	defer p.stop()
	err = on(clients, func() error { return b.asked(ctx, e, p, at, &s) })
	if err != nil {
		err = fmt.Errorf("%w\n%s", err, p.output)
	}
	return s, err
}

// asked fills in the sample of a server that is starting.
func (b *bench) asked(ctx context.Context, e *entrant, p *process, at netip.AddrPort, s *sample) error {
	begin := time.Now()
	if err := b.workload.check(ctx, at, e.want, patience); err != nil {
		return err
	}
	if e.probes {
		select {
		case <-time.After(settling - time.Since(begin)):
		case <-ctx.Done():
			return context.Cause(ctx)
		}
	}
	if err := p.level(); err != nil {
		return err
	}
	if _, err := b.ask(ctx, at, warmUp, 100); err != nil {
		return err
	}
	before, err := p.used()
	if err != nil {
		return err
	}
	a, err := b.ask(ctx, at, b.seconds, 100)
	if err != nil {
		return err
	}
	after, err := p.used()
	if err != nil {
		return err
	}
	if a.completed == 0 {
		return errors.New("dnsperf got no answers")
	}
	spent := after.minus(before)
	s.QPS = a.qps
	s.User = micro(spent.user) / float64(a.completed)
	s.CPU = s.User + micro(spent.system)/float64(a.completed)
	if !e.full {
		return nil
	}
	if a, err = b.ask(ctx, at, b.seconds/2, 400); err != nil {
		return err
	}
	s.Sent, s.Lost = a.sent, a.lost
	l, err := b.workload.probe(ctx, at, b.rate, b.seconds/2, late)
	s.P50, s.P99, s.Late = micro(l.p50), micro(l.p99), l.lost
	return err
}

func micro(d time.Duration) float64 { return float64(d) / float64(time.Microsecond) }

// on calls f on a thread that has only these processors, and so have the programs that f starts; nil: all.
func on(set *unix.CPUSet, f func() error) error {
	if set == nil {
		return f()
	}
	runtime.LockOSThread()
	before := new(unix.CPUSet)
	if err := unix.SchedGetaffinity(0, before); err != nil {
		return os.NewSyscallError("sched_getaffinity", err)
	}
	if err := unix.SchedSetaffinity(0, set); err != nil {
		return os.NewSyscallError("sched_setaffinity", err)
	}
	err := f()
	if back := unix.SchedSetaffinity(0, before); back != nil {
		return errors.Join(err, os.NewSyscallError("sched_setaffinity", back)) // the thread is not for anybody else
	}
	runtime.UnlockOSThread()
	return err
}

// processors parts those that this process may use: the last ones for the threads of the server, the others for who
// asks. Where none would be left for them, nobody is bound to any, and both are nil.
func (b *bench) processors(threads int) (clients, servers *unix.CPUSet, err error) {
	all := new(unix.CPUSet)
	if err := unix.SchedGetaffinity(0, all); err != nil {
		return nil, nil, os.NewSyscallError("sched_getaffinity", err)
	}
	if !b.pin || all.Count() <= threads {
		return nil, nil, nil
	}
	clients, servers = new(unix.CPUSet), new(unix.CPUSet)
	*clients = *all
	for i := len(all)*64 - 1; servers.Count() < threads; i-- {
		if all.IsSet(i) {
			clients.Clear(i)
			servers.Set(i)
		}
	}
	return clients, servers, nil
}

// freeAddress is one of the loopback with a port that nobody has, for UDP and TCP both.
func freeAddress() (netip.AddrPort, error) {
	for {
		udp, err := net.ListenUDP("udp4", &net.UDPAddr{IP: net.IPv4(127, 0, 0, 1)})
		if err != nil {
			return netip.AddrPort{}, err
		}
		at := udp.LocalAddr().(*net.UDPAddr).AddrPort()
		tcp, err := net.Listen("tcp4", at.String())
		udp.Close()
		if err != nil {
			continue // somebody has it for TCP
		}
		tcp.Close()
		return at, nil
	}
}
