// Package lab builds networks for whoever needs real frames on real ports: the demo, the scenarios, the benchmark and
// the tests. A Topology says what there is; InProcess makes it of gVisor hosts in this process, package namespaces of
// Linux hosts. The switch is the caller's choice, and what goes on in the network is left to callers, the controller
// above all.
package lab

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"slices"
)

// Frame is one Ethernet frame seen at a host's network card.
type Frame struct {
	Sent bool // by the host; else received
	Data []byte
}

// Host is one machine of a lab, with a TCP/IP of its own if its node has an address.
type Host interface {
	DialContext(ctx context.Context, network, address string) (net.Conn, error)
	Listen(netip.AddrPort) (net.Listener, error)
	// Get fetches a URL over a new connection and returns the body.
	Get(ctx context.Context, url string) (string, error)
	// Healthd runs `sluice healthd`, or the same role in process, on this host until ctx ends.
	Healthd(ctx context.Context, sluice, controller string) error
	// SetLink pulls the host's cable or puts it back: frames vanish, nobody is told.
	SetLink(up bool) error
	// SuppressARP sets whether a server keeps silent about the VIPs on its loopback, as it should.
	SuppressARP(bool) error
	// Capture hands every frame at the host's card on the switch to f until stop is called. f must
	// not keep the frame's data.
	Capture(f func(Frame)) (stop func(), err error)
	// Inject puts a frame on the wire as if the host had sent it.
	Inject(frame []byte) error
}

// Medium makes hosts of kind H and their cables, to ports of kind P: network interfaces by name, or ports in this
// process.
type Medium[H Host, P any] interface {
	// Plug puts a node at the end of a cable, and returns it and the switch's end. A router's leg is a cable only.
	Plug(Segment, Node) (H, P, error)
	// Route starts the router between its legs, and the client behind it.
	Route(legs []H, outside, client Node) (H, error)
	// Close takes down all that was made.
	Close() error
}

// Undo takes down what was made.
type Undo []func() error

// Later says how something is taken down.
func (u *Undo) Later(f func() error) { *u = append(*u, f) }

// Close takes all of it down, from last to first.
func (u *Undo) Close() error {
	var err error
	for _, undo := range slices.Backward(*u) {
		err = errors.Join(err, undo())
	}
	*u = nil
	return err
}

// Lab is a topology at work.
type Lab[H Host, P any] struct {
	Sites  []*Site[H, P] // one for each segment, in order
	Client H             // the zero H if there is none
	medium Medium[H, P]
}

// Site is a segment at work.
type Site[H Host, P any] struct {
	Segment
	Ports map[uint16]P // of the switch
	ends  map[uint16]H

	sw      Switch[P]
	target  string // "" until the switch has run
	stop    context.CancelFunc
	running *Running
}

// New builds a topology and starts sw on each segment, unless it is nil: then the ports are for the caller. The error
// leaves nothing behind.
func New[H Host, P any](t Topology, m Medium[H, P], sw Switch[P]) (*Lab[H, P], error) {
	l := &Lab[H, P]{medium: m}
	if err := l.build(t, sw); err != nil {
		return nil, errors.Join(err, l.Close())
	}
	return l, nil
}

func (l *Lab[H, P]) build(t Topology, sw Switch[P]) (err error) {
	var legs []H
	for _, segment := range t.Segments {
		s := &Site[H, P]{Segment: segment, Ports: make(map[uint16]P), ends: make(map[uint16]H), sw: sw}
		l.Sites = append(l.Sites, s)
		for _, n := range segment.Nodes {
			if !n.Router && !n.Gateway.IsValid() {
				n.Gateway = segment.Router().Address.Addr()
			}
			if s.ends[n.Port], s.Ports[n.Port], err = l.medium.Plug(segment, n); err != nil {
				return fmt.Errorf("building %s: %w", n.Name, err)
			}
			if n.Router {
				legs = append(legs, s.ends[n.Port])
			}
		}
	}
	if len(legs) > 0 {
		t.Client.Gateway = t.Outside.Address.Addr()
		if l.Client, err = l.medium.Route(legs, t.Outside, t.Client); err != nil {
			return fmt.Errorf("building router and client: %w", err)
		}
	}
	if sw == nil {
		return nil
	}
	for _, s := range l.Sites {
		if err := s.startSwitch(); err != nil {
			return err
		}
	}
	return nil
}

// Close takes all of it down.
func (l *Lab[H, P]) Close() error {
	var errs []error
	for _, s := range l.Sites {
		errs = append(errs, s.StopSwitch())
	}
	return errors.Join(append(errs, l.medium.Close())...)
}

// End returns what is at a port of the switch; there must be something.
func (s *Site[H, P]) End(port uint16) H {
	h, ok := s.ends[port]
	if !ok {
		panic(fmt.Sprintf("lab: segment %q has nothing at port %d", s.Name, port))
	}
	return h
}

// Host returns the host of a name; there must be one.
func (s *Site[H, P]) Host(name string) Host { return s.End(s.Node(name).Port) }

// Target is where the switch serves P4Runtime; its device id is 1.
func (s *Site[H, P]) Target() string { return s.target }

func (s *Site[H, P]) startSwitch() error {
	ctx, stop := context.WithCancel(context.Background())
	running, err := s.sw.Start(ctx, s.target, s.Ports)
	if err != nil {
		stop()
		return fmt.Errorf("starting the switch: %w", err)
	}
	s.stop, s.running, s.target = stop, running, running.Target
	return nil
}

// StopSwitch ends the switch without warning, if it runs.
func (s *Site[H, P]) StopSwitch() error {
	if s.stop == nil {
		return nil
	}
	s.stop()
	s.stop = nil
	return s.running.Wait()
}

// RestartSwitch ends the switch without warning, if it runs, and starts it again where it was, empty.
func (s *Site[H, P]) RestartSwitch() error {
	if err := s.StopSwitch(); err != nil {
		return err
	}
	return s.startSwitch()
}

// PauseSwitch lets the switch hang, or go on. One that is part of this process goes on, but nobody's frames reach it.
func (s *Site[H, P]) PauseSwitch(paused bool) error {
	if s.running.Pause != nil {
		return s.running.Pause(paused)
	}
	var errs []error
	for _, end := range s.ends {
		errs = append(errs, end.SetLink(!paused))
	}
	return errors.Join(errs...)
}
