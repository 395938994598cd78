package demo

import (
	"context"
	"fmt"
	"log/slog"
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"sync"
	"time"

	"github.com/sluicelb/sluice/bmv2-tests/lab/proof"
	"github.com/sluicelb/sluice/controller/api"
	"github.com/sluicelb/sluice/internal/rpc"
	"github.com/sluicelb/sluice/p4/p4rt"
	"github.com/sluicelb/sluice/p4/packet"
)

// site is one data center at work, and the demo's own eyes on it: the API, and the switch as any client may
// read it.
type site struct {
	*network
	system *system
	api    *api.Client
	p4rt   *p4rt.Client
	events *journal[*api.Event]
	names  map[packet.MAC]string // of servers

	running sync.WaitGroup
	stop    context.CancelFunc
}

// startSite starts Sluice over a network, with its files in a directory of its own below the given one.
func startSite(ctx context.Context, n *network, directory string, standard bool, log *slog.Logger) (*site, error) {
	directory = filepath.Join(directory, n.Name)
	if err := os.Mkdir(directory, 0o700); err != nil {
		return nil, err
	}
	system, err := startSystem(ctx, n, directory, standard, log.With("data_center", n.Name))
	if err != nil {
		return nil, fmt.Errorf("starting %s: %w", n.Name, err)
	}
	s := &site{network: n, system: system, events: newJournal[*api.Event](), names: make(map[packet.MAC]string)}
	for _, h := range n.hosts {
		s.names[h.MAC] = h.Name
	}
	ctx, s.stop = context.WithCancel(ctx)
	if err := s.connect(ctx); err != nil {
		s.close()
		return nil, err
	}
	s.running.Go(func() { followEvents(ctx, s.api, s.events) })
	return s, nil
}

func (s *site) connect(ctx context.Context) (err error) {
	if s.api, err = api.Dial(s.system.api, rpc.Security{}); err != nil {
		return err
	}
	s.p4rt, err = p4rt.Dial(ctx, s.system.target, device)
	return err
}

func (s *site) close() error {
	s.stop()
	s.running.Wait()
	if s.p4rt != nil {
		s.p4rt.Close()
	}
	if s.api != nil {
		s.api.Close()
	}
	return s.system.close()
}

// learnRouter waits until the switch knows where the router is: from then on nothing that goes there has a reason
// to be flooded. So that the router says something, it is pinged from inside.
func (s *site) learnRouter(ctx context.Context) error {
	for {
		known, err := knows(ctx, s.p4rt, s.Router().MAC, routerPort)
		if err == nil && known {
			s.proof.RouterIsLearned()
			return nil
		}
		if err == nil {
			err = s.ping(ctx, s.Router().Address.Addr())
		}
		if err != nil {
			return fmt.Errorf("waiting until the switch of %s knows where the router is: %w", s.Name, err)
		}
	}
}

// ping sends one ping, and waits for the reply or a while.
func (s *site) ping(ctx context.Context, to netip.Addr) error {
	waiting, cancel := context.WithTimeout(ctx, 10*time.Millisecond)
	defer cancel()
	s.mgmt.Ping(waiting, to) // may well be lost
	return receive(ctx, waiting.Done())
}

func (s *site) slots(ctx context.Context) (slotTable, error) {
	return readSlots(ctx, s.p4rt, slots, s.names)
}

func (s *site) setAdmin(ctx context.Context, server string, admin api.Admin) error {
	_, err := s.api.SetBackendAdmin(ctx, &api.SetBackendAdminRequest{Pool: pool, Backend: server, Admin: admin})
	if err != nil {
		return fmt.Errorf("setting %s to %v: %w", server, admin, err)
	}
	return nil
}

// claims says what the captures come to. If the script was cut short, a site that was not reached yet has nothing to
// show; if the machine was busy, that nothing came is not the switch's fault, and what came is.
func (s *site) claims(cut, busy bool) (claims []check, broken []string) {
	v := s.proof.Finding()
	if cut && v.Counts == (proof.Counts{}) {
		return []check{{text: s.Name + ": what the switch does to frames", excused: true}}, nil
	}
	for _, text := range slices.Concat(v.Broken, v.Unseen) {
		broken = append(broken, s.Name+": "+text)
	}
	return []check{
		{len(broken) == 0, fmt.Sprintf(
			"%s: %s reached one server each, changed in the destination MAC alone; %s came straight back "+
				"by the router's port alone, changed in nothing (%s flooded before the switch knew the router)",
			s.Name, count(v.RequestsOut, "request frame"), count(v.RepliesOut, "reply frame"), copies(v.Flooded)),
			busy && v.Breaches == 0},
		{v.ARPAnswers > 0 && v.ARPClaims == 0, fmt.Sprintf(
			"%s: ARP for the VIP: the switch answered %s, others %d times", s.Name, often(v.ARPAnswers), v.ARPClaims),
			busy && v.ARPClaims == 0},
	}, broken
}

func copies(n int) string {
	if n == 1 {
		return "1 copy"
	}
	return thousands(n) + " copies"
}

func often(n int) string {
	if n == 1 {
		return "once"
	}
	return thousands(n) + " times"
}
