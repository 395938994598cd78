package lab

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/netip"
	"slices"
	"sync"

	"github.com/sluicelb/sluice/healthd"
	"github.com/sluicelb/sluice/p4/netstack"
	"github.com/sluicelb/sluice/p4/packet"
	"github.com/sluicelb/sluice/p4/softswitch"
	"github.com/sluicelb/sluice/p4/softswitch/port"
)

// InProcess is the lab inside this process: the embedded switch, and gVisor hosts at its ports. It
// needs no privileges.
type InProcess struct {
	target string
	ports  map[uint16]port.Port
	hosts  map[string]*stackHost
	client *stackHost
	undo   []func() error

	stop    context.CancelFunc
	stopped chan error
}

// NewInProcess builds the topology and starts the switch.
func NewInProcess() (l *InProcess, err error) {
	l = &InProcess{ports: map[uint16]port.Port{}, hosts: map[string]*stackHost{}}
	defer func() {
		if err != nil {
			err = errors.Join(err, l.Close())
		}
	}()
	for _, node := range Nodes {
		sw, end := port.NewLink()
		l.ports[node.Port] = sw
		l.undo = append(l.undo, end.Close, sw.Close)
		h := &stackHost{wire: &wire{end: end}}
		l.hosts[node.Name] = h
		if node.Name == "router" {
			err = l.addRouter(h, node)
		} else {
			config := netstack.Config{Name: node.Name, MAC: node.MAC, Address: node.Address, Gateway: RouterInside.Addr()}
			if node.Server {
				config.VIPs = []netip.Addr{VIP}
			}
			h.Host, err = netstack.New(config, h.wire)
		}
		if err != nil {
			return nil, err
		}
		l.undo = append(l.undo, func() error { h.Host.Close(); return nil })
	}
	return l, l.startSwitch("127.0.0.1:0")
}

// addRouter starts the router and, behind it, the client.
func (l *InProcess) addRouter(router *stackHost, node Node) (err error) {
	outside, inside, cut := netstack.Cable()
	router.Host, err = netstack.NewRouter(node.Name,
		netstack.Interface{Link: router.wire, MAC: node.MAC, Address: node.Address},
		netstack.Interface{Link: outside, MAC: packet.MAC{2, 0, 0, 0, 1, 1}, Address: RouterOutside})
	if err != nil {
		cut()
		return err
	}
	client, err := netstack.New(netstack.Config{
		Name: "client", MAC: packet.MAC{2, 0, 0, 0, 1, 2}, Address: ClientAddress, Gateway: RouterOutside.Addr(),
	}, inside)
	if err != nil {
		cut()
		return err
	}
	l.client = &stackHost{Host: client}
	l.undo = append(l.undo, func() error { client.Close(); cut(); return nil })
	return nil
}

func (l *InProcess) startSwitch(address string) error {
	listener, err := net.Listen("tcp", address)
	if err != nil {
		return err
	}
	l.target = listener.Addr().String()
	sw := softswitch.New(softswitch.Config{DeviceID: 1, Log: slog.New(slog.DiscardHandler)})
	for id, p := range l.ports {
		if err := sw.AddPort(id, p); err != nil {
			return err
		}
	}
	ctx, stop := context.WithCancel(context.Background())
	l.stop, l.stopped = stop, make(chan error, 1)
	go func() { l.stopped <- sw.RunAndServe(ctx, listener) }()
	return nil
}

func (l *InProcess) stopSwitch() error {
	if l.stop == nil {
		return nil
	}
	l.stop()
	l.stop = nil
	return <-l.stopped
}

// RestartSwitch implements Lab.
func (l *InProcess) RestartSwitch() error {
	if err := l.stopSwitch(); err != nil {
		return err
	}
	return l.startSwitch(l.target)
}

// PauseSwitch implements Lab. The switch goes on in this process, but nobody's frames reach it.
func (l *InProcess) PauseSwitch(paused bool) error {
	for _, h := range l.hosts {
		if h.wire != nil {
			h.wire.end.SetUp(!paused)
		}
	}
	return nil
}

// StopSwitch implements Lab.
func (l *InProcess) StopSwitch() error { return l.stopSwitch() }

// Close implements Lab.
func (l *InProcess) Close() error {
	err := l.stopSwitch()
	for _, undo := range slices.Backward(l.undo) {
		err = errors.Join(err, undo())
	}
	l.undo = nil
	return err
}

// Target implements Lab.
func (l *InProcess) Target() string { return l.target }

// Client implements Lab.
func (l *InProcess) Client() Host { return l.client }

// Host implements Lab; an unknown name is the caller's mistake.
func (l *InProcess) Host(name string) Host {
	h, ok := l.hosts[name]
	if !ok {
		panic("lab: no host " + name)
	}
	return h
}

// Get implements Lab with net/http.
func (l *InProcess) Get(ctx context.Context, url string) (string, error) {
	client := http.Client{Transport: &http.Transport{DialContext: l.client.DialContext, DisableKeepAlives: true}}
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, url, nil)
	if err != nil {
		return "", err
	}
	resp, err := client.Do(req)
	if err != nil {
		return "", err
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(resp.Body)
	if err == nil && resp.StatusCode != http.StatusOK {
		err = fmt.Errorf("GET %s: %s", url, resp.Status)
	}
	return string(body), err
}

// Healthd implements Lab: the role as it is, its checks sent from the manager's stack.
func (l *InProcess) Healthd(ctx context.Context, _, controller string) error {
	daemon, err := healthd.New(healthd.Config{Controller: controller, Network: l.hosts["manager"].Host})
	if err != nil {
		return err
	}
	return daemon.Run(ctx)
}

// stackHost is one gVisor host; the client, which is not on the switch, has no wire.
type stackHost struct {
	*netstack.Host
	wire *wire
}

// SetLink implements Host.
func (h *stackHost) SetLink(up bool) error { h.wire.end.SetUp(up); return nil }

// SuppressARP implements Host.
func (h *stackHost) SuppressARP(on bool) error { return h.AnswerARP(VIP, !on) }

// Inject implements Host.
func (h *stackHost) Inject(frame []byte) error { h.wire.Send(frame); return nil }

// Capture implements Host.
func (h *stackHost) Capture(f func(Frame)) (stop func(), err error) {
	return h.wire.watch(f), nil
}

// wire is a host's end of its link, with people watching.
type wire struct {
	end *port.End

	mu       sync.RWMutex // guards watchers
	watchers map[int]func(Frame)
	next     int
}

// Send implements netstack.Link.
func (w *wire) Send(frame []byte) {
	w.show(Frame{Sent: true, Data: frame})
	w.end.Send(frame)
}

// Receive implements netstack.Link.
func (w *wire) Receive(f func(frame []byte)) {
	w.end.Receive(func(frame []byte) {
		w.show(Frame{Data: frame})
		f(frame)
	})
}

func (w *wire) show(f Frame) {
	w.mu.RLock()
	defer w.mu.RUnlock()
	for _, see := range w.watchers {
		see(f)
	}
}

func (w *wire) watch(f func(Frame)) (stop func()) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.watchers == nil {
		w.watchers = map[int]func(Frame){}
	}
	id := w.next
	w.next++
	w.watchers[id] = f
	return func() {
		w.mu.Lock()
		defer w.mu.Unlock()
		delete(w.watchers, id)
	}
}
