package bmv2tests

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"maps"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"time"

	"github.com/rogpeppe/go-internal/testscript"

	"github.com/sluicelb/sluice/bmv2-tests/lab"
	"github.com/sluicelb/sluice/controller/api"
	"github.com/sluicelb/sluice/internal/rpc"
	"github.com/sluicelb/sluice/p4/packet"
)

// commands are the words of the scenarios, next to those of testscript.
//
//	serve                        start the web servers (site on the VIP, /healthz on the own address)
//	controller [FILE]            start the controller on FILE (sluice.yaml) and wait until it answers
//	healthd                      start the health daemon on the manager
//	crash|end DAEMON             SIGKILL, or an orderly end
//	until REGEXP COMMAND ARGS    run `COMMAND ARGS` until its standard output matches
//	get N URL                    N requests on new connections; stdout: `web1 20` per server
//	share NAME MIN MAX           the last get's count for NAME
//	hold NAME N URL              open N connections and keep them
//	held NAME                    each of them still works, and with the same server
//	forget NAME SERVER           the connections with that server died with it
//	cut|mend HOST                pull the host's cable, put it back
//	leak|suppress HOST           let the server answer ARP for the VIP, or not
//	claim HOST reply|gratuitous|hidden  the host claims the VIP by ARP
//	claimed MAC PORT BACKEND     the controller reports exactly that claim, once
//	spoof HOST AS                from now on the host sends 500 frames a second under the MAC of AS, to all
//	usurp HOST AS                from now on the host says 50 times a second by ARP that it has the address of AS
//	disown HOST ADDRESS          ask by ARP with the VIP as sender; stdout: the MACs that answered
//	arp HOST ADDRESS             ask by ARP; stdout: the MACs that answered
//	frame FROM TO                a frame to TO, a host or MAC; stdout: the hosts that received it
//	capture                      start watching the wire
//	dsr                          what was captured is Direct Server Return, byte by byte
//	edit FILE NEW REGEXP TEXT    NEW is FILE with every match replaced
//	surplus N                    slot moves beyond the necessary ones, over all changes so far
//	moved FROM TO MIN MAX        slots that went from FROM to TO in the last change that moved any
//	written N                    rows that this controller has written in all
//	restart-switch               end the switch without warning, if it runs, and start it empty
//	stop-switch                  end the switch without warning
//	pause-switch|continue-switch the switch hangs, and goes on
//	ill|well HOST                the server answers its health page with 503, or as it should
//	pause SECONDS                let time pass: what must not happen needs some to not happen in
var commands = map[string]func(*testscript.TestScript, bool, []string){
	"serve": simple(0, func(s *stage, _ io.Writer, _ []string) error { return s.serve() }),
	"controller": func(ts *testscript.TestScript, neg bool, args []string) {
		config := "sluice.yaml"
		if len(args) > 0 {
			config = args[0]
		}
		simple(0, func(s *stage, _ io.Writer, _ []string) error { return s.startController(config) })(ts, neg, nil)
	},
	"healthd": simple(0, func(s *stage, _ io.Writer, _ []string) error { s.startHealthd(); return nil }),
	"crash":   simple(1, func(s *stage, _ io.Writer, args []string) error { return s.end(args[0], syscall.SIGKILL) }),
	"end":     simple(1, func(s *stage, _ io.Writer, args []string) error { return s.end(args[0], os.Interrupt) }),
	"until":   until,
	"get":     get,
	"share":   share,
	"hold": simple(3, func(s *stage, _ io.Writer, args []string) error {
		n, err := strconv.Atoi(args[1])
		if err != nil {
			return err
		}
		return s.hold(args[0], n, args[2])
	}),
	"held": simple(1, held),
	"forget": simple(2, func(s *stage, _ io.Writer, args []string) error {
		s.held[args[0]] = slices.DeleteFunc(s.held[args[0]],
			func(h *heldConnection) bool { return h.server == args[1] })
		return nil
	}),
	"cut":  simple(1, func(s *stage, _ io.Writer, args []string) error { return s.Host(args[0]).SetLink(false) }),
	"mend": simple(1, func(s *stage, _ io.Writer, args []string) error { return s.Host(args[0]).SetLink(true) }),
	"leak": simple(1, func(s *stage, _ io.Writer, args []string) error { return s.Host(args[0]).SuppressARP(false) }),
	"suppress": simple(1, func(s *stage, _ io.Writer, args []string) error {
		return s.Host(args[0]).SuppressARP(true)
	}),
	"claim":   simple(2, claim),
	"claimed": simple(3, claimed),
	"spoof":   simple(2, spoof),
	"usurp":   simple(2, usurp),
	"disown":  simple(2, disown),
	"arp":     simple(2, arp),
	"frame":   simple(2, frame),
	"capture": simple(0, func(s *stage, _ io.Writer, _ []string) (err error) {
		s.captures, err = s.capture()
		return err
	}),
	"dsr":             simple(0, dsr),
	"edit":            simple(4, edit),
	"surplus":         simple(1, surplus),
	"moved":           simple(4, moved),
	"written":         simple(1, written),
	"stop-switch":     simple(0, func(s *stage, _ io.Writer, _ []string) error { return s.StopSwitch() }),
	"pause-switch":    simple(0, func(s *stage, _ io.Writer, _ []string) error { return s.PauseSwitch(true) }),
	"continue-switch": simple(0, func(s *stage, _ io.Writer, _ []string) error { return s.PauseSwitch(false) }),
	"ill": simple(1, func(s *stage, _ io.Writer, args []string) error {
		s.ill.Store(args[0], true)
		return nil
	}),
	"well": simple(1, func(s *stage, _ io.Writer, args []string) error { s.ill.Delete(args[0]); return nil }),
	"pause": simple(1, func(s *stage, _ io.Writer, args []string) error {
		n, err := strconv.Atoi(args[0])
		time.Sleep(time.Duration(n) * time.Second)
		return err
	}),
	"restart-switch": simple(0, func(s *stage, _ io.Writer, _ []string) error { return s.RestartSwitch() }),
}

func stageOf(ts *testscript.TestScript) *stage { return ts.Value(stageKey{}).(*stage) }

// simple wraps a command of n arguments: what it writes becomes stdout, its error what came of it.
func simple(n int, f func(*stage, io.Writer, []string) error) func(*testscript.TestScript, bool, []string) {
	return func(ts *testscript.TestScript, neg bool, args []string) {
		if len(args) != n {
			ts.Fatalf("want %d arguments, have %d", n, len(args))
		}
		var out bytes.Buffer
		err := f(stageOf(ts), &out, args)
		ts.Stdout().Write(out.Bytes())
		switch {
		case err != nil && !neg:
			ts.Fatalf("%v", err)
		case err == nil && neg:
			ts.Fatalf("succeeded, and should not have")
		case err != nil:
			fmt.Fprintln(ts.Stderr(), err)
		}
	}
}

func (s *stage) end(name string, signal os.Signal) error {
	d, ok := s.daemons[name]
	if !ok {
		return fmt.Errorf("no %s is running", name)
	}
	return d.end(signal)
}

func until(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) < 2 {
		ts.Fatalf("usage: until REGEXP COMMAND [ARGS]")
	}
	want, err := regexp.Compile("(?m)" + args[0])
	ts.Check(err)
	s := stageOf(ts)
	var out bytes.Buffer
	err = poll(func() error {
		out.Reset()
		if args[1] == "sluice" {
			if err := s.run(&out, args[2:]...); err != nil {
				return err
			}
		} else {
			cmd := exec.Command(args[1], args[2:]...)
			cmd.Stdout = &out
			if err := cmd.Run(); err != nil {
				return err
			}
		}
		if !want.Match(out.Bytes()) {
			return fmt.Errorf("no match for %q in:\n%s", args[0], out.Bytes())
		}
		return nil
	})
	ts.Stdout().Write(out.Bytes())
	ts.Check(err)
}

func get(ts *testscript.TestScript, neg bool, args []string) {
	if len(args) != 2 {
		ts.Fatalf("usage: get N URL")
	}
	n, err := strconv.Atoi(args[0])
	ts.Check(err)
	counts, errs := stageOf(ts).get(n, args[1])
	for _, name := range slices.Sorted(maps.Keys(counts)) {
		fmt.Fprintf(ts.Stdout(), "%s %d\n", name, counts[name])
	}
	switch {
	case neg && len(errs) < n:
		ts.Fatalf("%d of %d requests were answered, and none should be", n-len(errs), n)
	case !neg && len(errs) > 0:
		ts.Fatalf("%d of %d requests failed, the first: %v", len(errs), n, errs[0])
	}
}

func share(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) != 3 {
		ts.Fatalf("usage: share NAME MIN MAX")
	}
	low, err := strconv.Atoi(args[1])
	ts.Check(err)
	high, err := strconv.Atoi(args[2])
	ts.Check(err)
	have := 0
	for line := range strings.Lines(ts.ReadFile("stdout")) {
		if name, count, ok := strings.Cut(strings.TrimSpace(line), " "); ok && name == args[0] {
			have, err = strconv.Atoi(count)
			ts.Check(err)
		}
	}
	if have < low || have > high {
		ts.Fatalf("%s answered %d requests, want %d to %d", args[0], have, low, high)
	}
}

func held(s *stage, out io.Writer, args []string) error {
	conns, ok := s.held[args[0]]
	if !ok {
		return fmt.Errorf("no connections are held as %q", args[0])
	}
	for i, h := range conns {
		server, err := h.ask("http://" + vip.String() + "/")
		if err != nil {
			return fmt.Errorf("connection %d of %d, with %s: %w", i+1, len(conns), h.server, err)
		}
		if server != h.server {
			return fmt.Errorf("connection %d of %d went from %s to %s", i+1, len(conns), h.server, server)
		}
	}
	fmt.Fprintf(out, "%d connections live\n", len(conns))
	return nil
}

func node(name string) (lab.Node, error) {
	for _, n := range topology.Segments[0].Nodes {
		if n.Name == name {
			return n, nil
		}
	}
	return lab.Node{}, fmt.Errorf("no host %q", name)
}

func dsr(s *stage, out io.Writer, _ []string) error {
	if s.captures == nil {
		return fmt.Errorf("nothing was captured; `capture` first")
	}
	// Frames of closing connections may still be on their way.
	return poll(func() error {
		v, err := s.captures.judge()
		if err == nil {
			fmt.Fprintf(out, "%d frames to servers and %d replies: only the destination MAC differs\n",
				v.RequestsOut, v.RepliesOut)
		}
		return err
	})
}

// claim makes the host claim the VIP, as a real server with the ARP problem does.
func claim(s *stage, _ io.Writer, args []string) error {
	n, err := node(args[0])
	if err != nil {
		return err
	}
	router, err := node("router")
	if err != nil {
		return err
	}
	switch args[1] {
	case "reply":
		return s.Host(n.Name).Inject(packet.NewARPReply(n.MAC, vip, router.MAC, router.Address.Addr()))
	case "gratuitous":
		return s.Host(n.Name).Inject(packet.NewARPRequest(n.MAC, vip, vip))
	case "hidden": // hardware type 24, in SNAP, behind an 802.1ad tag
		f := packet.NewARPReply(n.MAC, vip, router.MAC, router.Address.Addr())
		f[15] = 24
		return s.Host(n.Name).Inject(slices.Concat(f[:12], []byte{0x88, 0xa8, 0, 0, 0, 36, 0xaa, 0xaa, 3, 0, 0, 0},
			f[12:]))
	}
	return fmt.Errorf("claim %s: want reply, gratuitous or hidden", args[1])
}

// claimed waits for the controller's report of one claim.
func claimed(s *stage, _ io.Writer, args []string) error {
	return poll(func() error {
		status, err := s.status()
		if err != nil {
			return err
		}
		for _, c := range status.GetArpClaims() {
			if c.GetMac() == args[0] && fmt.Sprint(c.GetPort()) == args[1] && c.GetBackend() == args[2] &&
				c.GetVipAddress() == vip.String() && c.GetCount() == 1 {
				return nil
			}
		}
		return fmt.Errorf("no such claim among %v", status.GetArpClaims())
	})
}

// spoof goes on until the stage is closed.
func spoof(s *stage, _ io.Writer, args []string) error {
	as, err := node(args[1])
	if err != nil {
		return err
	}
	frame := append(packet.AppendEthernet(nil, packet.Broadcast, as.MAC, fenceType), make([]byte, 46)...)
	s.repeat(args[0], frame, 2*time.Millisecond)
	return nil
}

// usurp goes on until the stage is closed. Hosts take the MAC of a neighbour that they know from such ARP.
func usurp(s *stage, _ io.Writer, args []string) error {
	by, err := node(args[0])
	if err != nil {
		return err
	}
	as, err := node(args[1])
	if err != nil {
		return err
	}
	address := as.Address.Addr()
	s.repeat(args[0], packet.NewARPReply(by.MAC, address, packet.Broadcast, address), 20*time.Millisecond)
	return nil
}

// repeat lets a host send a frame again and again. The scenario sees how many arrive.
func (s *stage) repeat(host string, frame []byte, interval time.Duration) {
	from, stop, done := s.Host(host), make(chan struct{}), make(chan struct{})
	go func() {
		defer close(done)
		tick := time.NewTicker(interval)
		defer tick.Stop()
		for {
			select {
			case <-tick.C:
				_ = from.Inject(frame)
			case <-stop:
				return
			}
		}
	}()
	s.floods = append(s.floods, func() { close(stop); <-done })
}

// disown asks as a server does whose kernel takes the VIP for its own name, and sees to it that
// nobody on the switch hears the VIP as a sender.
func disown(s *stage, out io.Writer, args []string) error {
	asker, err := node(args[0])
	if err != nil {
		return err
	}
	address, err := netip.ParseAddr(args[1])
	if err != nil {
		return err
	}
	heard := make(chan packet.ARP, 64)
	answers := make(chan packet.ARP, 64)
	for _, n := range topology.Segments[0].Nodes {
		stop, err := s.Host(n.Name).Capture(func(f lab.Frame) {
			e := packet.Ethernet(f.Data)
			if f.Sent || !e.IsValid() || e.Type() != packet.TypeARP {
				return
			}
			a := packet.ARP(bytes.Clone(e.Payload()))
			if !a.IsValid() {
				return
			}
			into := heard
			if a.Operation() == packet.ARPReply && n.Name == asker.Name {
				into = answers
			}
			select {
			case into <- a:
			default: // more than anybody asked for
			}
		})
		if err != nil {
			return err
		}
		defer stop()
	}
	if err := s.Host(asker.Name).Inject(packet.NewARPRequest(asker.MAC, vip, address)); err != nil {
		return err
	}
	select {
	case a := <-answers:
		fmt.Fprintln(out, a.SenderMAC())
	case <-time.After(patience):
		return fmt.Errorf("%s gets no answer from %s", asker.Name, address)
	}
	for {
		select {
		case a := <-heard:
			if a.Sender() == vip {
				return fmt.Errorf("the VIP was heard as a sender, with MAC %s", a.SenderMAC())
			}
		default:
			return nil
		}
	}
}

// arp asks for an address until somebody answers, and each time for the manager's too: when that
// answer is there, an answer from the switch itself must have come before it.
func arp(s *stage, out io.Writer, args []string) error {
	asker, err := node(args[0])
	if err != nil {
		return err
	}
	fence, err := node("manager")
	if err != nil {
		return err
	}
	address, err := netip.ParseAddr(args[1])
	if err != nil {
		return err
	}
	answers := make(chan packet.ARP, 64)
	stop, err := s.Host(asker.Name).Capture(func(f lab.Frame) {
		e := packet.Ethernet(f.Data)
		if f.Sent || !e.IsValid() || e.Type() != packet.TypeARP {
			return
		}
		if a := packet.ARP(bytes.Clone(e.Payload())); a.IsValid() && a.Operation() == packet.ARPReply {
			select {
			case answers <- a:
			default: // more answers than anybody asked for
			}
		}
	})
	if err != nil {
		return err
	}
	defer stop()
	seen := map[string]bool{}
	err = poll(func() error {
		for _, target := range []netip.Addr{address, fence.Address.Addr()} {
			if err := s.Host(asker.Name).Inject(packet.NewARPRequest(asker.MAC, asker.Address.Addr(),
				target)); err != nil {
				return permanent{err}
			}
		}
		timeout := time.After(time.Second)
		for {
			select {
			case a := <-answers:
				switch a.Sender() {
				case address:
					seen[a.SenderMAC().String()] = true
				case fence.Address.Addr():
					if len(seen) == 0 {
						return fmt.Errorf("nobody answers for %s", address)
					}
					return nil
				}
			case <-timeout:
				return fmt.Errorf("%s gets no ARP answer from %s", asker.Name, fence.Name)
			}
		}
	})
	if err != nil {
		return err
	}
	for _, mac := range slices.Sorted(maps.Keys(seen)) {
		fmt.Fprintln(out, mac)
	}
	return nil
}

func edit(s *stage, _ io.Writer, args []string) error {
	data, err := os.ReadFile(filepath.Join(s.dir, args[0]))
	if err != nil {
		return err
	}
	pattern, err := regexp.Compile("(?m)" + args[2])
	if err != nil {
		return err
	}
	if !pattern.Match(data) {
		return fmt.Errorf("%s: no match for %s", args[0], args[2])
	}
	return os.WriteFile(filepath.Join(s.dir, args[1]), pattern.ReplaceAll(data, []byte(args[3])), 0o644)
}

func (s *stage) status() (*api.GetStatusResponse, error) {
	client, err := api.Dial(s.controller, rpc.Security{})
	if err != nil {
		return nil, err
	}
	defer client.Close()
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	return client.GetStatus(ctx, &api.GetStatusRequest{})
}

func surplus(s *stage, out io.Writer, args []string) error {
	status, err := s.status()
	if err != nil {
		return err
	}
	var sum, moves uint32
	for _, r := range status.GetReprogrammed() {
		sum += r.GetSurplusMoves()
		for _, m := range r.GetMoves() {
			moves += m.GetSlots()
		}
	}
	if moves == 0 {
		return errors.New("no slot has moved at all")
	}
	if have := fmt.Sprint(sum); have != args[0] {
		return fmt.Errorf("%s surplus moves of %d, want %s", have, moves, args[0])
	}
	return nil
}

func moved(s *stage, out io.Writer, args []string) error {
	low, err := strconv.Atoi(args[2])
	if err != nil {
		return err
	}
	high, err := strconv.Atoi(args[3])
	if err != nil {
		return err
	}
	status, err := s.status()
	if err != nil {
		return err
	}
	for _, r := range status.GetReprogrammed() { // newest first
		if len(r.GetMoves()) == 0 {
			continue
		}
		slots := 0
		for _, m := range r.GetMoves() {
			if m.GetFrom() == args[0] && m.GetTo() == args[1] {
				slots += int(m.GetSlots())
			}
		}
		if slots < low || slots > high {
			return fmt.Errorf("%d slots went from %s to %s, want %d to %d; all moves: %v", slots, args[0], args[1], low,
				high, r.GetMoves())
		}
		return nil
	}
	return errors.New("no slot has moved at all")
}

func written(s *stage, out io.Writer, args []string) error {
	status, err := s.status()
	if err != nil {
		return err
	}
	for _, sw := range status.GetSwitches() {
		if sw.GetRowsReadBack() == 0 {
			return fmt.Errorf("%s: nothing was read back", sw.GetName())
		}
		if have := fmt.Sprint(sw.GetEntriesWritten()); have != args[0] {
			return fmt.Errorf("%s: %s rows written, want %s", sw.GetName(), have, args[0])
		}
	}
	return nil
}

// frame sends one frame that no stack understands, and behind it a broadcast: whoever gets that has
// got the first one before, or never will.
func frame(s *stage, out io.Writer, args []string) error {
	from, err := node(args[0])
	if err != nil {
		return err
	}
	mac, err := packet.ParseMAC(args[1])
	if to, unknown := node(args[1]); unknown == nil {
		mac, err = to.MAC, nil
	}
	if err != nil {
		return err
	}
	build := func(dst packet.MAC, payload string) []byte {
		f := packet.AppendEthernet(nil, dst, from.MAC, fenceType)
		return append(append(f, payload...), make([]byte, 50-len(payload))...)
	}
	s.frames++
	first, last := fmt.Sprintf("frame %d", s.frames), fmt.Sprintf("fence %d", s.frames)
	var mu sync.Mutex
	received, fenced := map[string]int{}, map[string]bool{}
	for _, n := range topology.Segments[0].Nodes {
		stop, err := s.Host(n.Name).Capture(func(f lab.Frame) {
			mu.Lock()
			defer mu.Unlock()
			switch {
			case f.Sent:
			case bytes.Contains(f.Data, []byte(first)):
				received[n.Name]++
			case bytes.Contains(f.Data, []byte(last)):
				fenced[n.Name] = true
			}
		})
		if err != nil {
			return err
		}
		defer stop()
	}
	for _, f := range [][]byte{build(mac, first), build(packet.Broadcast, last)} {
		if err := s.Host(from.Name).Inject(f); err != nil {
			return err
		}
	}
	err = poll(func() error {
		mu.Lock()
		defer mu.Unlock()
		if len(fenced) < len(topology.Segments[0].Nodes)-1 {
			return fmt.Errorf("the broadcast reached only %v", slices.Sorted(maps.Keys(fenced)))
		}
		return nil
	})
	if err != nil {
		return err
	}
	mu.Lock()
	defer mu.Unlock()
	if fenced[from.Name] {
		return fmt.Errorf("the broadcast came back to %s", from.Name)
	}
	for _, name := range slices.Sorted(maps.Keys(received)) {
		fmt.Fprintf(out, "%s %d\n", name, received[name])
	}
	return nil
}

// fenceType is for frames of the tests alone (IEEE 802 local experimental).
const fenceType = 0x88b5
