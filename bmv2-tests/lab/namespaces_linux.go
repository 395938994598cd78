package lab

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
)

// Namespaces is the lab made of Linux hosts: each in a network namespace of its own, with a veth
// cable to the switch, which runs in the namespace of the caller.
type Namespaces struct {
	prefix   string
	sw       Switch
	target   string
	ports    map[uint16]string
	hosts    map[string]*linuxHost
	undo     []func() error
	stop     context.CancelFunc
	switched *Running
}

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

// NewNamespaces builds the topology and starts sw on it. The error leaves nothing behind.
func NewNamespaces(sw Switch) (lab *Namespaces, err error) {
	n := &Namespaces{
		prefix: fmt.Sprintf("sl%d-%d", os.Getpid()%100000, labs.Add(1)),
		sw:     sw,
		ports:  map[uint16]string{},
		hosts:  map[string]*linuxHost{},
	}
	defer func() {
		if err != nil {
			err = errors.Join(err, n.Close())
		}
	}()
	for _, node := range Nodes {
		host, err := n.addHost(node.Name)
		if err != nil {
			return nil, err
		}
		outer := n.prefix + "p" + strconv.Itoa(int(node.Port))
		if err := n.cable(outer, host, "eth0", node.MAC.String(), node.Address); err != nil {
			return nil, err
		}
		n.ports[node.Port] = outer
		host.outer = outer
		switch {
		case node.Server:
			err = n.setUpServer(host)
		case node.Name == "router":
			err = n.setUpRouter(host)
		}
		if err != nil {
			return nil, fmt.Errorf("setting up %s: %w", node.Name, err)
		}
	}
	for name := range n.hosts { // with a default route
		if name != "router" && name != "client" {
			if err := n.hosts[name].SetLink(true); err != nil {
				return nil, err
			}
		}
	}
	if n.target, err = FreeAddress(); err != nil {
		return nil, err
	}
	return n, n.startSwitch()
}

func (n *Namespaces) startSwitch() error {
	ctx, stop := context.WithCancel(context.Background())
	running, err := n.sw.Start(ctx, n.target, n.ports)
	if err != nil {
		stop()
		return fmt.Errorf("starting the switch: %w", err)
	}
	n.stop, n.switched = stop, running
	return nil
}

func (n *Namespaces) stopSwitch() error {
	if n.stop == nil {
		return nil
	}
	n.stop()
	n.stop = nil
	return n.switched.Wait()
}

// RestartSwitch implements Lab.
func (n *Namespaces) RestartSwitch() error {
	if err := n.stopSwitch(); err != nil {
		return err
	}
	return n.startSwitch()
}

// PauseSwitch implements Lab.
func (n *Namespaces) PauseSwitch(paused bool) error { return n.switched.Pause(paused) }

// StopSwitch implements Lab.
func (n *Namespaces) StopSwitch() error { return n.stopSwitch() }

// Close takes the topology down.
func (n *Namespaces) Close() error {
	err := n.stopSwitch()
	for _, undo := range slices.Backward(n.undo) {
		err = errors.Join(err, undo())
	}
	n.undo = nil
	return err
}

func (n *Namespaces) addHost(name string) (*linuxHost, error) {
	ns := n.prefix + "-" + name
	if err := run("ip", "netns", "add", ns); err != nil {
		return nil, err
	}
	h := &linuxHost{namespace: ns}
	n.undo = append(n.undo, h.close)
	n.hosts[name] = h
	return h, errors.Join(
		h.ip("link", "set", "lo", "up"),
		h.sysctl("net.ipv6.conf.all.disable_ipv6=1", "net.ipv6.conf.default.disable_ipv6=1",
			"net.ipv4.conf.all.rp_filter=0", "net.ipv4.conf.default.rp_filter=0"),
	)
}

// cable makes a veth pair: outer stays here as a switch port, inner becomes the host's card.
func (n *Namespaces) cable(outer string, h *linuxHost, inner, mac string, address netip.Prefix) error {
	if err := run("ip", "link", "add", outer, "type", "veth", "peer", "name", inner, "netns", h.namespace); err != nil {
		return err
	}
	n.undo = append(n.undo, func() error {
		if _, err := net.InterfaceByName(outer); err != nil {
			return nil // went with the namespace of its other end
		}
		return run("ip", "link", "del", outer)
	})
	if mac != "" {
		if err := h.ip("link", "set", inner, "address", mac); err != nil {
			return err
		}
	}
	return errors.Join(
		// A switch port has no address of its own and makes no noise of its own.
		run("sysctl", "-qw", "net.ipv6.conf."+outer+".disable_ipv6=1"),
		run("ip", "link", "set", outer, "promisc", "on", "up"),
		h.ip("address", "add", address.String(), "dev", inner),
		h.ip("link", "set", inner, "up"),
		h.do(func() error { return plainFrames(inner) }),
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

// setUpServer does what an operator does on a real server behind L2 DSR.
func (n *Namespaces) setUpServer(h *linuxHost) error {
	return errors.Join(
		h.SuppressARP(true),
		h.ip("address", "add", VIP.String()+"/32", "dev", "lo"),
	)
}

func (n *Namespaces) setUpRouter(h *linuxHost) error {
	client, err := n.addHost("client")
	if err != nil {
		return err
	}
	if err := h.sysctl("net.ipv4.ip_forward=1"); err != nil {
		return err
	}
	if err := h.ip("link", "add", "eth1", "type", "veth", "peer", "name", "eth0", "netns", client.namespace); err != nil {
		return err
	}
	return errors.Join(
		h.ip("address", "add", RouterOutside.String(), "dev", "eth1"),
		h.ip("link", "set", "eth1", "up"),
		h.do(func() error { return plainFrames("eth1") }),
		client.ip("address", "add", ClientAddress.String(), "dev", "eth0"),
		client.ip("link", "set", "eth0", "up"),
		client.do(func() error { return plainFrames("eth0") }),
		client.ip("route", "add", "default", "via", RouterOutside.Addr().String()),
	)
}

// Target implements Lab.
func (n *Namespaces) Target() string { return n.target }

// Ports gives the switch's interfaces by port.
func (n *Namespaces) Ports() map[uint16]string { return n.ports }

// Namespace is the name of a host's network namespace.
func (n *Namespaces) Namespace(host string) string { return n.hosts[host].namespace }

// Client implements Lab.
func (n *Namespaces) Client() Host { return n.Host("client") }

// Host implements Lab; an unknown name is the caller's mistake.
func (n *Namespaces) Host(name string) Host {
	h, ok := n.hosts[name]
	if !ok {
		panic("lab: no host " + name)
	}
	return h
}

// Get implements Lab with curl.
func (n *Namespaces) Get(ctx context.Context, url string) (string, error) {
	cmd := exec.CommandContext(ctx, "ip", "netns", "exec", n.hosts["client"].namespace,
		"curl", "--silent", "--show-error", "--fail", "--max-time", "5", url)
	var stderr bytes.Buffer
	cmd.Stderr = &stderr
	out, err := cmd.Output()
	if err != nil {
		return "", fmt.Errorf("curl %s: %w: %s", url, err, bytes.TrimSpace(stderr.Bytes()))
	}
	return string(out), nil
}

// Healthd implements Lab with the real binary in the manager's namespace.
func (n *Namespaces) Healthd(ctx context.Context, sluice, controller string) error {
	cmd := exec.CommandContext(ctx, "ip", "netns", "exec", n.hosts["manager"].namespace,
		sluice, "healthd", "--controller", controller)
	cmd.Cancel = func() error { return cmd.Process.Signal(os.Interrupt) }
	out, err := cmd.CombinedOutput()
	if ctx.Err() != nil {
		return nil
	}
	return fmt.Errorf("sluice healthd ended: %w\n%s", err, out)
}

// linuxHost is one network namespace.
type linuxHost struct {
	namespace string
	outer     string // the switch's end of its cable

	inject   sync.Mutex // guards injector
	injector int        // socket for Inject, kept because closing one takes the kernel long; 0: none yet
}

func (h *linuxHost) ip(args ...string) error {
	return run("ip", append([]string{"-n", h.namespace}, args...)...)
}

func (h *linuxHost) sysctl(settings ...string) error {
	return run("ip", append([]string{"netns", "exec", h.namespace, "sysctl", "-qw"}, settings...)...)
}

// do runs f with the calling thread inside the namespace; sockets that f makes stay there.
func (h *linuxHost) do(f func() error) error {
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

// DialContext implements Host.
func (h *linuxHost) DialContext(ctx context.Context, network, address string) (conn net.Conn, err error) {
	err = h.do(func() (err error) {
		conn, err = new(net.Dialer).DialContext(ctx, network, address)
		return err
	})
	return conn, err
}

// Listen implements Host.
func (h *linuxHost) Listen(address netip.AddrPort) (l net.Listener, err error) {
	err = h.do(func() (err error) {
		l, err = net.Listen("tcp", address.String())
		return err
	})
	return l, err
}

// blast sends the frames from the host's card, round and round as fast as the kernel takes them,
// until ctx ends.
func (h *linuxHost) blast(ctx context.Context, frames [][]byte) error {
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

// received returns how many frames have reached the host's card.
func (h *linuxHost) received() (frames uint64, err error) {
	err = h.do(func() error {
		data, err := os.ReadFile("/proc/thread-self/net/dev")
		if err != nil {
			return err
		}
		for line := range strings.Lines(string(data)) {
			if name, counts, ok := strings.Cut(strings.TrimSpace(line), ":"); ok && name == "eth0" {
				frames, err = strconv.ParseUint(strings.Fields(counts)[1], 10, 64)
				return err
			}
		}
		return errors.New("/proc/net/dev has no eth0")
	})
	return frames, err
}

// SetLink implements Host at the host's end: bmv2 stops receiving on all ports when the interface of
// one goes down.
func (h *linuxHost) SetLink(up bool) error {
	if !up {
		return h.ip("link", "set", "eth0", "down")
	}
	if err := h.ip("link", "set", "eth0", "up"); err != nil {
		return err
	}
	// The kernel forgot it with the link.
	return h.ip("route", "replace", "default", "via", RouterInside.Addr().String())
}

// SuppressARP implements Host.
func (h *linuxHost) SuppressARP(on bool) error {
	ignore, announce := "0", "0"
	if on {
		ignore, announce = "1", "2"
	}
	return h.sysctl("net.ipv4.conf.all.arp_ignore="+ignore, "net.ipv4.conf.eth0.arp_ignore="+ignore,
		"net.ipv4.conf.all.arp_announce="+announce, "net.ipv4.conf.eth0.arp_announce="+announce)
}

// Capture implements Host with a packet socket on the host's card.
func (h *linuxHost) Capture(f func(Frame)) (stop func(), err error) {
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
				f(Frame{
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
		if m.Header.Level != unix.SOL_PACKET || m.Header.Type != unix.PACKET_AUXDATA || len(m.Data) < 20 || len(frame) < 12 {
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

// Inject implements Host.
func (h *linuxHost) Inject(frame []byte) error {
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

func (h *linuxHost) close() error {
	h.inject.Lock()
	defer h.inject.Unlock()
	if h.injector != 0 {
		unix.Close(h.injector)
		h.injector = 0
	}
	return run("ip", "netns", "del", h.namespace)
}

func (h *linuxHost) packetSocket() (fd int, err error) {
	err = h.do(func() error {
		iface, err := net.InterfaceByName("eth0")
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
