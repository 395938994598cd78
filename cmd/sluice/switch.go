package main

import (
	"errors"
	"fmt"
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

func runSwitch(c *cli.Context, _ []string) error {
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
	for _, address := range c.StringSlice("grpc") {
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
	role, err := softswitch.NewRole(softswitch.RoleConfig{
		Config: softswitch.Config{
			DeviceID: c.Uint64("device-id"), CPUPort: uint16(c.Uint("cpu-port")), Log: log,
		},
		Interfaces: ports, Captures: captures,
		Listen: c.StringSlice("grpc"), Access: who, Security: sec, Metrics: figures,
	})
	if errors.Is(err, port.ErrNoInterface) {
		return usageError(err)
	}
	if err != nil {
		return err
	}
	return task.Serve(c.Context, role, log)
}

// switchPorts reads the flags that name ports. It tells all that is wrong at once.
func switchPorts(c *cli.Context) ([]softswitch.Interface, error) {
	var ports []softswitch.Interface
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
			ports = append(ports, softswitch.Interface{Port: uint16(id), Name: iface})
		}
	}
	return ports, errors.Join(problems...)
}
