package namespaces

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"os"
	"os/exec"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"

	"github.com/safchain/ethtool"
	"github.com/vishvananda/netns"
	"golang.org/x/sys/unix"

	"github.com/sluicelb/sluice/bmv2-tests/lab"
)

// Unavailable says why this machine cannot run a lab of namespaces, or nil.
func Unavailable() error {
	if os.Geteuid() != 0 {
		return errors.New("needs root for network namespaces")
	}
	for _, tool := range []string{"ip", "sysctl", "curl"} {
		if _, err := exec.LookPath(tool); err != nil {
			return fmt.Errorf("needs %s on PATH", tool)
		}
	}
	probe := fmt.Sprintf("sl%d-probe%d", os.Getpid(), labs.Add(1))
	if err := run("ip", "netns", "add", probe); err != nil {
		return fmt.Errorf("cannot make a network namespace: %w", err)
	}
	return run("ip", "netns", "del", probe)
}

var labs atomic.Uint32

// New builds a topology of Linux hosts, each in a network namespace of its own, and starts sw on each segment, on
// interfaces in the namespace of the caller. The error leaves nothing behind.
func New(t lab.Topology, sw lab.Switch[string]) (*lab.Lab[*Machine, string], error) {
	m := &medium{prefix: fmt.Sprintf("sl%d-%d", os.Getpid()%100000, labs.Add(1)), cards: make(map[string]int)}
	return lab.New(t, m, sw)
}

// medium makes the namespaces of one lab and the cables between them.
type medium struct {
	lab.Undo
	prefix string
	cards  map[string]int // by namespace
	cables int
}

// Plug implements lab.Medium.
func (m *medium) Plug(s lab.Segment, n lab.Node) (h *Machine, outer string, err error) {
	name := n.Name + "-" + s.Name
	if n.Router {
		name = "router"
	}
	if h, err = m.machine(name, n.Gateway); err != nil {
		return nil, "", err
	}
	m.cables++
	outer = fmt.Sprintf("%sp%d", m.prefix, m.cables)
	if err := run("ip", "link", "add", outer, "type", "veth", "peer", "name", h.card, "netns",
		h.namespace); err != nil {
		return nil, "", err
	}
	m.Later(func() error {
		if _, err := net.InterfaceByName(outer); err != nil {
			return nil // went with the namespace of its other end
		}
		return run("ip", "link", "del", outer)
	})
	err = errors.Join(
		// A switch port has no address of its own and makes no noise of its own.
		run("sysctl", "-qw", "net.ipv6.conf."+outer+".disable_ipv6=1"),
		run("ip", "link", "set", outer, "promisc", "on", "up"),
	)
	if n.Address.IsValid() {
		err = errors.Join(err, h.attach(n))
	} else {
		err = errors.Join(err, h.ip("link", "set", h.card, "promisc", "on", "up"))
	}
	// What an operator does on a real server behind L2 DSR.
	for _, vip := range n.VIPs {
		err = errors.Join(err, h.SuppressARP(true), h.ip("address", "add", vip.String()+"/32", "dev", "lo"))
	}
	return h, outer, err
}

// Route implements lab.Medium.
func (m *medium) Route(_ []*Machine, outside, client lab.Node) (*Machine, error) {
	leg, err := m.machine("router", outside.Gateway)
	if err != nil {
		return nil, err
	}
	h, err := m.machine(client.Name, client.Gateway)
	if err != nil {
		return nil, err
	}
	return h, errors.Join(
		leg.ip("link", "add", leg.card, "type", "veth", "peer", "name", h.card, "netns", h.namespace),
		leg.sysctl("net.ipv4.ip_forward=1"),
		leg.attach(outside),
		h.attach(client),
	)
}

// machine gives a namespace its next card, and makes it for the first.
func (m *medium) machine(name string, gateway netip.Addr) (*Machine, error) {
	h := &Machine{namespace: m.prefix + "-" + name, gateway: gateway}
	h.card = fmt.Sprintf("eth%d", m.cards[h.namespace])
	m.cards[h.namespace]++
	m.Later(h.close)
	if m.cards[h.namespace] > 1 {
		return h, nil
	}
	if err := run("ip", "netns", "add", h.namespace); err != nil {
		return nil, err
	}
	m.Later(func() error { return run("ip", "netns", "del", h.namespace) })
	return h, errors.Join(
		h.ip("link", "set", "lo", "up"),
		h.sysctl("net.ipv6.conf.all.disable_ipv6=1", "net.ipv6.conf.default.disable_ipv6=1",
			"net.ipv4.conf.all.rp_filter=0", "net.ipv4.conf.default.rp_filter=0"),
	)
}

// plainFrames turns off what veth does to frames that never meet hardware: partial checksums and
// segments larger than the MTU.
func plainFrames(iface string) error {
	e, err := ethtool.NewEthtool()
	if err != nil {
		return err
	}
	defer e.Close()
	err = e.Change(iface, map[string]bool{
		"tx-checksum-ip-generic":       false,
		"tx-tcp-segmentation":          false,
		"tx-generic-segmentation":      false,
		"rx-gro":                       false,
		"tx-tcp6-segmentation":         false,
		"tx-tcp-ecn-segmentation":      false,
		"tx-tcp-mangleid-segmentation": false,
	})
	if err != nil {
		return fmt.Errorf("turning off offloads of %s: %w", iface, err)
	}
	return nil
}

// Get implements lab.Host with curl.
func (h *Machine) Get(ctx context.Context, url string) (string, error) {
	cmd := exec.CommandContext(ctx, "ip", "netns", "exec", h.namespace,
		"curl", "--silent", "--show-error", "--fail", "--max-time", "5", url)
	var stderr bytes.Buffer
	cmd.Stderr = &stderr
	out, err := cmd.Output()
	if err != nil {
		return "", fmt.Errorf("curl %s: %w: %s", url, err, bytes.TrimSpace(stderr.Bytes()))
	}
	return string(out), nil
}

// Healthd implements lab.Host with the real binary in the namespace.
func (h *Machine) Healthd(ctx context.Context, sluice, controller string) error {
	cmd := exec.CommandContext(ctx, "ip", "netns", "exec", h.namespace,
		sluice, "healthd", "--controller", controller)
	cmd.Cancel = func() error { return cmd.Process.Signal(os.Interrupt) }
	out, err := cmd.CombinedOutput()
	if ctx.Err() != nil {
		return nil
	}
	return fmt.Errorf("sluice healthd ended: %w\n%s", err, out)
}

// Machine is a host in a network namespace, by one of its cards.
type Machine struct {
	namespace string
	card      string
	gateway   netip.Addr // of the default route; the zero Addr: there is none

	inject   sync.Mutex // guards injector
	injector int        // socket for Inject, kept because closing one takes the kernel long; 0: none yet
}

// Namespace is the name of the host's network namespace.
func (h *Machine) Namespace() string { return h.namespace }

// attach brings up the card as the node says.
func (h *Machine) attach(n lab.Node) error {
	return errors.Join(
		h.ip("link", "set", h.card, "address", n.MAC.String()),
		h.ip("address", "add", n.Address.String(), "dev", h.card),
		h.SetLink(true),
		h.do(func() error { return plainFrames(h.card) }),
	)
}

func (h *Machine) ip(args ...string) error {
	return run("ip", append([]string{"-n", h.namespace}, args...)...)
}

func (h *Machine) sysctl(settings ...string) error {
	return run("ip", append([]string{"netns", "exec", h.namespace, "sysctl", "-qw"}, settings...)...)
}

// do runs f with the calling thread inside the namespace; sockets that f makes stay there.
func (h *Machine) do(f func() error) error {
	runtime.LockOSThread()
	here, err := netns.Get()
	if err != nil {
		return err
	}
	defer here.Close()
	there, err := netns.GetFromName(h.namespace)
	if err != nil {
		return err
	}
	defer there.Close()
	if err := netns.Set(there); err != nil {
		return err
	}
	err = f()
	if back := netns.Set(here); back != nil {
		return errors.Join(err, back) // the thread stays locked and dies with its goroutine
	}
	runtime.UnlockOSThread()
	return err
}

// DialContext implements lab.Host.
func (h *Machine) DialContext(ctx context.Context, network, address string) (conn net.Conn, err error) {
	err = h.do(func() (err error) {
		conn, err = new(net.Dialer).DialContext(ctx, network, address)
		return err
	})
	return conn, err
}

// Listen implements lab.Host.
func (h *Machine) Listen(address netip.AddrPort) (l net.Listener, err error) {
	err = h.do(func() (err error) {
		l, err = net.Listen("tcp", address.String())
		return err
	})
	return l, err
}

// Blast sends the frames from the host's card, round and round as fast as the kernel takes them,
// until ctx ends.
func (h *Machine) Blast(ctx context.Context, frames [][]byte) error {
	fd, err := h.packetSocket()
	if err != nil {
		return err
	}
	defer unix.Close(fd)
	if err := unix.SetsockoptInt(fd, unix.SOL_PACKET, unix.PACKET_QDISC_BYPASS, 1); err != nil {
		return err
	}
	for ctx.Err() == nil {
		for _, frame := range frames {
			if _, err := unix.Write(fd, frame); err != nil && !errors.Is(err, unix.ENOBUFS) {
				return err
			}
		}
	}
	return nil
}

// Received returns how many frames have reached the host's card.
func (h *Machine) Received() (frames uint64, err error) {
	err = h.do(func() error {
		data, err := os.ReadFile("/proc/thread-self/net/dev")
		if err != nil {
			return err
		}
		for line := range strings.Lines(string(data)) {
			if name, counts, ok := strings.Cut(strings.TrimSpace(line), ":"); ok && name == h.card {
				frames, err = strconv.ParseUint(strings.Fields(counts)[1], 10, 64)
				return err
			}
		}
		return fmt.Errorf("/proc/net/dev has no %s", h.card)
	})
	return frames, err
}

// SetLink implements lab.Host at the host's end: bmv2 stops receiving on all ports when the interface of
// one goes down.
func (h *Machine) SetLink(up bool) error {
	if !up {
		return h.ip("link", "set", h.card, "down")
	}
	if err := h.ip("link", "set", h.card, "up"); err != nil || !h.gateway.IsValid() {
		return err
	}
	// The kernel forgot it with the link.
	return h.ip("route", "replace", "default", "via", h.gateway.String())
}

// SuppressARP implements lab.Host.
func (h *Machine) SuppressARP(on bool) error {
	ignore, announce := "0", "0"
	if on {
		ignore, announce = "1", "2"
	}
	return h.sysctl("net.ipv4.conf.all.arp_ignore="+ignore, "net.ipv4.conf."+h.card+".arp_ignore="+ignore,
		"net.ipv4.conf.all.arp_announce="+announce, "net.ipv4.conf."+h.card+".arp_announce="+announce)
}

// Capture implements lab.Host with a packet socket on the host's card.
func (h *Machine) Capture(f func(lab.Frame)) (stop func(), err error) {
	fd, err := h.packetSocket()
	if err != nil {
		return nil, err
	}
	// A read timeout lets the reader see that it was stopped.
	if err := unix.SetsockoptTimeval(fd, unix.SOL_SOCKET, unix.SO_RCVTIMEO, &unix.Timeval{Usec: 50_000}); err != nil {
		unix.Close(fd)
		return nil, err
	}
	// Room for a burst while the other core is busy elsewhere.
	if err := unix.SetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_RCVBUFFORCE, 16<<20); err != nil {
		unix.Close(fd)
		return nil, err
	}
	// The kernel takes the outer tag out of a frame and tells of it beside the frame.
	if err := unix.SetsockoptInt(fd, unix.SOL_PACKET, unix.PACKET_AUXDATA, 1); err != nil {
		unix.Close(fd)
		return nil, err
	}
	var stopped atomic.Bool
	var reader sync.WaitGroup
	reader.Go(func() {
		defer unix.Close(fd)
		buf, aux := make([]byte, 1<<16), make([]byte, 256)
		for {
			size, auxSize, _, from, err := unix.Recvmsg(fd, buf, aux, 0)
			switch {
			case err == nil:
				link, ok := from.(*unix.SockaddrLinklayer)
				f(lab.Frame{
					Sent: ok && link.Pkttype == unix.PACKET_OUTGOING,
					Data: withTag(buf[:size], aux[:auxSize]),
				})
			case stopped.Load() || !errors.Is(err, unix.EAGAIN) && !errors.Is(err, unix.EINTR):
				return
			}
		}
	})
	return func() { stopped.Store(true); reader.Wait() }, nil
}

// withTag puts the tag back that a packet socket's auxiliary data (packet(7)) tells of.
func withTag(frame, aux []byte) []byte {
	messages, err := unix.ParseSocketControlMessage(aux)
	if err != nil {
		return frame
	}
	for _, m := range messages {
		if m.Header.Level != unix.SOL_PACKET || m.Header.Type != unix.PACKET_AUXDATA || len(m.Data) < 20 ||
			len(frame) < 12 {
			continue
		}
		// struct tpacket_auxdata: status, len, snaplen, mac, net, vlan_tci, vlan_tpid
		if status := binary.NativeEndian.Uint32(m.Data); status&unix.TP_STATUS_VLAN_VALID == 0 {
			continue
		}
		tag := binary.BigEndian.AppendUint16(nil, binary.NativeEndian.Uint16(m.Data[18:]))
		tag = binary.BigEndian.AppendUint16(tag, binary.NativeEndian.Uint16(m.Data[16:]))
		return slices.Concat(frame[:12], tag, frame[12:])
	}
	return frame
}

// Inject implements lab.Host.
func (h *Machine) Inject(frame []byte) error {
	h.inject.Lock()
	defer h.inject.Unlock()
	if h.injector == 0 {
		fd, err := h.packetSocket()
		if err != nil {
			return err
		}
		h.injector = fd
	}
	_, err := unix.Write(h.injector, frame)
	return err
}

func (h *Machine) close() error {
	h.inject.Lock()
	defer h.inject.Unlock()
	if h.injector == 0 {
		return nil
	}
	defer func() { h.injector = 0 }()
	return unix.Close(h.injector)
}

func (h *Machine) packetSocket() (fd int, err error) {
	err = h.do(func() error {
		iface, err := net.InterfaceByName(h.card)
		if err != nil {
			return err
		}
		all := uint16(unix.ETH_P_ALL<<8&0xff00 | unix.ETH_P_ALL>>8) // network byte order
		if fd, err = unix.Socket(unix.AF_PACKET, unix.SOCK_RAW|unix.SOCK_CLOEXEC, int(all)); err != nil {
			return err
		}
		if err := unix.Bind(fd, &unix.SockaddrLinklayer{Protocol: all, Ifindex: iface.Index}); err != nil {
			unix.Close(fd)
			return err
		}
		return nil
	})
	return fd, err
}

func run(name string, args ...string) error {
	out, err := exec.Command(name, args...).CombinedOutput()
	if err != nil {
		return fmt.Errorf("%s %s: %w: %s", name, strings.Join(args, " "), err, bytes.TrimSpace(out))
	}
	return nil
}
