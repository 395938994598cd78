package main

import (
	"errors"
	"fmt"
	"net"
	"strconv"
	"strings"

	"github.com/urfave/cli/v2"

	"github.com/sluicelb/sluice/internal/rpc"
	"github.com/sluicelb/sluice/internal/task"
	"github.com/sluicelb/sluice/p4/softswitch"
	"github.com/sluicelb/sluice/p4/softswitch/port"
)

var switchCommand = &cli.Command{
	Name:  "switch",
	Usage: "run the embedded switch on network interfaces",
	Description: "Runs the v1model program (bmv2 JSON and P4Info) that a controller pushes over P4Runtime, until\n" +
		"SIGINT or SIGTERM. Until then it drops all frames. Programs with header stacks or unions, tables\n" +
		"with action profiles, parser value sets, clone, resubmit or recirculate are refused, and the\n" +
		"reason is named.\n\n" +
		"P4Info does not tell int<W> from bit<W> in keys and action parameters: write them as bit<W>, -1\n" +
		"of int<12> as 0x0fff. Where ports are translated to strings, \"1\" is port 1, and a name stands for\n" +
		"the highest number that is free, but for 511, which drops, and the CPU port.\n\n" +
		"An interface that is a port should have no address of its own, and the hosts behind it no\n" +
		"transmit offloads (ethtool -K IF tx off gro off). Ports need Linux and CAP_NET_RAW.",
	Flags: append([]cli.Flag{
		&cli.StringSliceFlag{Name: "grpc", DefaultText: rpc.Socket(softswitch.RoleName),
			Usage: "`ADDRESS` of the P4Runtime and gNMI server: unix:/path, https://host:port, or loopback " +
				"host:port, where " +
				"every local user may do everything; may be repeated"},
		allowFlag(switchRoles...),
		insecureFlag("whoever reaches the P4Runtime server owns the switch"),
		&cli.Uint64Flag{Name: "device-id", Value: 1, Usage: "`ID` of the device that clients name"},
		&cli.UintFlag{Name: "cpu-port", Value: softswitch.DefaultCPUPort,
			Usage: "`ID` of the port for packet-ins and packet-outs"},
		&cli.StringSliceFlag{Name: "port", Usage: "`ID=INTERFACE`, a port of the switch; as often as there are ports"},
		&cli.StringFlag{Name: "pcap",
			Usage: "record every port's frames to `DIR`/portID.pcap, or portID-2.pcap and so on " +
				"where that is there, for tcpdump"},
		metricsFlag(),
		logLevelFlag(),
	}, tlsFlags()...),
	Action: action(runSwitch),
}

var switchRoles = []rpc.Role{rpc.Controller, rpc.Viewer}

// switchPort is one --port.
type switchPort struct {
	id    uint16
	iface string
}

func runSwitch(c *cli.Context, _ []string) (err error) {
	log, err := newLogger(c, c.App.ErrWriter)
	if err != nil {
		return err
	}
	ports, err := switchPorts(c)
	if err != nil {
		return usageError(err)
	}
	shown, err := identity(c, "", log)
	if err != nil {
		return err
	}
	sec := rpc.Security{
		Identity: shown, Plaintext: c.Bool(insecure),
		Danger: "whoever reaches it there owns the switch; --" + insecure + " allows it",
	}
	addresses := c.StringSlice("grpc")
	if len(addresses) == 0 {
		addresses = []string{rpc.Socket(softswitch.RoleName)}
	}
	for _, address := range addresses {
		if err := sec.CheckListen(address); err != nil {
			return usageError(fmt.Errorf("--grpc: %w", err))
		}
	}
	captures := c.String("pcap")
	switch {
	case c.IsSet("pcap") && captures == "":
		return usageError(errors.New("--pcap: must be a name, is empty"))
	case captures != "":
		if err := port.MakeCaptures(captures); err != nil {
			return usageError(fmt.Errorf("--pcap: %w", err))
		}
	}
	who, err := access(c, switchRoles...)
	if err != nil {
		return usageError(err)
	}
	figures, err := listenMetrics(c, shown, log)
	if err != nil {
		return err
	}
	if figures != nil {
		defer figures.Close()
	}
	sw := softswitch.New(softswitch.Config{
		DeviceID: c.Uint64("device-id"), CPUPort: uint16(c.Uint("cpu-port")), Log: log,
	})
	for _, p := range ports {
		opened, err := port.OpenPacket(p.iface)
		if errors.Is(err, port.ErrNoInterface) {
			return usageError(fmt.Errorf("port %d: %w", p.id, err))
		}
		if err != nil {
			return fmt.Errorf("port %d: %w", p.id, err)
		}
		defer opened.Close()
		if captures != "" {
			recorded, file, stop, err := record(opened, captures, fmt.Sprintf("port%d", p.id))
			if err != nil {
				return err
			}
			defer func() { err = errors.Join(err, stop()) }()
			log.Info("capture", "port", p.id, "file", file)
			opened = recorded
		}
		if err := sw.AddPort(p.id, opened); err != nil {
			return usageError(fmt.Errorf("--port: %w", err))
		}
		log.Info("port", "port", p.id, "interface", p.iface)
	}
	if len(ports) == 0 {
		log.Warn("this switch has no ports and forwards nothing: --port ID=INTERFACE gives it one")
	}
	var listeners []net.Listener
	for _, address := range addresses {
		l, err := rpc.Listen(address, who, sec, log)
		if err != nil {
			return fmt.Errorf("P4Runtime server: %w", err)
		}
		defer l.Close()
		listeners = append(listeners, l)
		log.Info("P4Runtime server", "address", l.Address(), "device_id", c.Uint64("device-id"), "cpu_port",
			c.Uint("cpu-port"))
	}
	err = task.Serve(c.Context, sw.Role(figures, listeners...), log)
	status := sw.Status()
	for _, p := range ports {
		n := status.Ports[p.id]
		log.Info("port stopped", "port", p.id, "interface", p.iface, "received", n.Received, "sent", n.Sent,
			"receive_dropped", n.ReceiveDropped, "send_dropped", n.SendDropped)
	}
	return err
}

// switchPorts reads the flags that name ports. It tells all that is wrong at once.
func switchPorts(c *cli.Context) ([]switchPort, error) {
	var ports []switchPort
	var problems []error
	seen, taken := map[uint64]bool{}, map[string]bool{}
	cpu := uint64(c.Uint("cpu-port"))
	if cpu < 1 || cpu > softswitch.MaxPort {
		problems = append(problems, fmt.Errorf("--cpu-port: must be 1..%d, is %d", softswitch.MaxPort, cpu))
	}
	for _, s := range c.StringSlice("port") {
		problem := func(format string, args ...any) {
			problems = append(problems, fmt.Errorf("--port %s: "+format, append([]any{s}, args...)...))
		}
		text, iface, ok := strings.Cut(s, "=")
		if !ok || text == "" || iface == "" {
			problem("want ID=INTERFACE, such as 1=veth1")
			continue
		}
		id, err := strconv.ParseUint(text, 10, 64)
		switch {
		case err != nil:
			problem("want ID=INTERFACE with a number before the =, such as 1=veth1")
		case id < 1 || id > softswitch.MaxPort:
			problem("ID must be 1..%d", softswitch.MaxPort)
		case id == cpu:
			problem("%d is the CPU port", id)
		case seen[id]:
			problem("port %d is there twice", id)
		case taken[iface]:
			problem("interface %s is there twice", iface)
		default:
			seen[id], taken[iface] = true, true
			ports = append(ports, switchPort{uint16(id), iface})
		}
	}
	return ports, errors.Join(problems...)
}

// record writes the frames of p to a new file. stop closes it, and says what went wrong with it.
func record(p port.Port, dir, name string) (_ port.Port, file string, stop func() error, err error) {
	f, err := port.CreateCapture(dir, name)
	if err != nil {
		return nil, "", nil, fmt.Errorf("--pcap: %w", err)
	}
	capture, err := port.NewPcap(f)
	if err != nil {
		return nil, "", nil, errors.Join(fmt.Errorf("%s: %w", f.Name(), err), f.Close())
	}
	return port.Capture(p, capture), f.Name(), func() error {
		if err := errors.Join(capture.Err(), f.Close()); err != nil {
			return fmt.Errorf("%s: %w", f.Name(), err)
		}
		return nil
	}, nil
}
