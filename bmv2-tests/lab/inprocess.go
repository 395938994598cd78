package lab

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"slices"
	"sync"
	"sync/atomic"

	"github.com/sluicelb/sluice/healthd"
	"github.com/sluicelb/sluice/p4/netstack"
	"github.com/sluicelb/sluice/p4/softswitch/port"
)

// Options are what a lab in this process may have beside its topology. Each costs only who asks for it.
type Options struct {
	Switch Switch[port.Port] // on each segment; nil: none, the ports are the caller's

	// Captures is a directory, made if need be, for one capture of each port: SEGMENT-portN-NODE.pcap. Where it cannot
	// be used the error is a CaptureError.
	Captures string
	// Beyond and Before may replace a port, so that frames are seen or falsified there: beyond where captures are
	// taken, as if the hosts had done it, or before, as if the switch had.
	Beyond, Before func(Segment, Node, port.Port) port.Port
}

// CaptureError says that the directory for captures cannot be used.
type CaptureError struct{ err error }

func (e *CaptureError) Error() string { return e.err.Error() }
func (e *CaptureError) Unwrap() error { return e.err }

// InProcess builds a topology of gVisor hosts inside this process. It needs no privileges.
func InProcess(t Topology, o Options) (*Lab[*Stack, port.Port], error) {
	if o.Captures != "" {
		if err := port.MakeCaptures(o.Captures); err != nil {
			return nil, &CaptureError{err}
		}
	}
	return New(t, &inProcess{Options: o}, o.Switch)
}

// Join lays a cable between two nodes without an address, each at a port of a switch: what one switch sends there,
// the other gets. Two segments become one network, which must have no loop.
func Join(a, b *Stack) {
	for _, from := range []struct{ end, to *Stack }{{a, b}, {b, a}} {
		_, _ = from.end.Capture(func(f Frame) {
			if !f.Sent {
				from.to.card.Send(f.Data)
			}
		})
	}
}

// inProcess is the medium.
type inProcess struct {
	Options
	Undo
}

// Plug implements Medium.
func (m *inProcess) Plug(s Segment, n Node) (*Stack, port.Port, error) {
	p, end := port.NewLink()
	m.Later(end.Close)
	if m.Beyond != nil {
		p = m.Beyond(s, n, p)
	}
	if m.Captures != "" {
		pcap, err := m.capture(fmt.Sprintf("%s-port%d-%s", s.Name, n.Port, n.Name))
		if err != nil {
			return nil, nil, &CaptureError{err}
		}
		p = port.Capture(p, pcap)
	}
	if m.Before != nil {
		p = m.Before(s, n, p)
	}
	h := newStack(n, end)
	h.cable = end
	switch {
	case !n.Address.IsValid():
		h.card.Receive(func([]byte) {})
	case !n.Router:
		return h, p, m.boot(h)
	}
	return h, p, nil
}

func (m *inProcess) capture(name string) (*port.Pcap, error) {
	file, err := port.CreateCapture(m.Captures, name)
	if err != nil {
		return nil, err
	}
	pcap, err := port.NewPcap(file)
	if err != nil {
		return nil, errors.Join(err, file.Close())
	}
	m.Later(func() error { return errors.Join(pcap.Err(), file.Close()) })
	return pcap, nil
}

// Route implements Medium.
func (m *inProcess) Route(legs []*Stack, outside, client Node) (*Stack, error) {
	near, far, cut := netstack.Cable()
	m.Later(func() error { cut(); return nil })
	interfaces := []netstack.Interface{{Link: far, MAC: outside.MAC, Address: outside.Address}}
	for _, leg := range legs {
		interfaces = append(interfaces, netstack.Interface{Link: leg.card, MAC: leg.config.MAC,
			Address: leg.config.Address})
	}
	router, err := netstack.NewRouter("router", interfaces...)
	if err != nil {
		return nil, err
	}
	m.Later(func() error { router.Close(); return nil })
	for _, leg := range legs {
		leg.Host = router
	}
	h := newStack(client, near)
	return h, m.boot(h)
}

// boot starts a host until the lab is closed.
func (m *inProcess) boot(h *Stack) error {
	m.Later(func() error {
		if h.Host != nil {
			h.Host.Close()
		}
		return nil
	})
	return h.Boot()
}

// Stack is a gVisor host. What its Host can do, it can do while it has power.
type Stack struct {
	*netstack.Host // nil without power, and where the node has no address
	card           *card
	cable          *port.End // to the switch; the client has none
	config         netstack.Config
}

func newStack(n Node, link netstack.Link) *Stack {
	return &Stack{card: &card{link: link}, config: netstack.Config{
		Name: n.Name, MAC: n.MAC, Address: n.Address, Gateway: n.Gateway, VIPs: n.VIPs,
	}}
}

// Boot starts a host that has no power. Nothing is left of the time before; whether its cable is plugged in is for
// SetLink.
func (h *Stack) Boot() (err error) {
	h.Host, err = netstack.New(h.config, h.card)
	return err
}

// PowerOff cuts the power, if there is any: frames vanish at once, and the host closes nothing. Nobody else may use the
// host meanwhile, nor during Boot.
func (h *Stack) PowerOff() {
	if h.cable != nil {
		h.cable.SetUp(false)
	}
	if h.Host != nil {
		h.Host.Close()
		h.Host = nil
	}
}

// SetLink implements Host.
func (h *Stack) SetLink(up bool) error {
	if h.cable == nil {
		return fmt.Errorf("%s is not on a switch", h.config.Name)
	}
	h.cable.SetUp(up)
	return nil
}

// SuppressARP implements Host.
func (h *Stack) SuppressARP(on bool) error {
	var errs []error
	for _, vip := range h.config.VIPs {
		errs = append(errs, h.AnswerARP(vip, !on))
	}
	return errors.Join(errs...)
}

// Get implements Host with net/http.
func (h *Stack) Get(ctx context.Context, url string) (string, error) {
	client := http.Client{Transport: &http.Transport{DialContext: h.DialContext, DisableKeepAlives: true}}
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

// Healthd implements Host: the role as it is, its checks sent from this stack.
func (h *Stack) Healthd(ctx context.Context, _, controller string) error {
	daemon, err := healthd.New(healthd.Config{Controller: controller, Network: h.Host})
	if err != nil {
		return err
	}
	return daemon.Run(ctx)
}

// Inject implements Host.
func (h *Stack) Inject(frame []byte) error { h.card.Send(frame); return nil }

// Capture implements Host.
func (h *Stack) Capture(f func(Frame)) (stop func(), err error) { return h.card.watch(f), nil }

// card is a host's end of its cable, with people watching.
type card struct {
	link netstack.Link

	watched  atomic.Bool  // whether there are watchers: a card that nobody watches takes no lock
	mu       sync.RWMutex // guards watchers
	watchers []*func(Frame)
}

// Send implements netstack.Link.
func (c *card) Send(frame []byte) {
	c.show(Frame{Sent: true, Data: frame})
	c.link.Send(frame)
}

// Receive implements netstack.Link.
func (c *card) Receive(f func(frame []byte)) {
	c.link.Receive(func(frame []byte) {
		c.show(Frame{Data: frame})
		f(frame)
	})
}

func (c *card) show(f Frame) {
	if !c.watched.Load() {
		return
	}
	c.mu.RLock()
	defer c.mu.RUnlock()
	for _, see := range c.watchers {
		(*see)(f)
	}
}

func (c *card) watch(see func(Frame)) (stop func()) {
	set := func(watchers []*func(Frame)) {
		c.watchers = watchers
		c.watched.Store(len(watchers) > 0)
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	set(append(c.watchers, &see))
	return func() {
		c.mu.Lock()
		defer c.mu.Unlock()
		set(slices.DeleteFunc(c.watchers, func(w *func(Frame)) bool { return w == &see }))
	}
}
