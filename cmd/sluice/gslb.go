package main

import (
	"errors"
	"fmt"
	"net/netip"
	"strings"

	"github.com/urfave/cli/v2"

	"github.com/sluicelb/sluice/gslb"
	"github.com/sluicelb/sluice/gslb/control"
	"github.com/sluicelb/sluice/internal/rpc"
	"github.com/sluicelb/sluice/internal/strict"
	"github.com/sluicelb/sluice/internal/task"
)

var gslbCommand = &cli.Command{
	Name:  "gslb",
	Usage: "send clients to the right data center: a DNS server with rules and health",
	Description: "Without a subcommand, runs the name server. FILE is read again on SIGHUP, " +
		"by `sluice gslb reload`, and\n" +
		"when it, or a zone file that it names, was replaced, or written and left alone for server.reload.settle\n" +
		"(10s). A faulty one changes nothing, and one that drops much waits for you; the log and\n" +
		"`sluice gslb status` say why.\n" +
		"Ends on SIGINT or SIGTERM. The subcommands ask a running one over its control socket.\n\n" +
		"Port 53 needs CAP_NET_BIND_SERVICE, ICMP keepalives a ping socket or CAP_NET_RAW; nothing\n" +
		"else needs privileges.",
	Flags: append([]cli.Flag{
		&cli.PathFlag{Name: "config", Usage: "`FILE` with data centers, answers, rules and zones"},
		&cli.StringSliceFlag{Name: "listen",
			Usage: "`ADDRESS:PORT` for UDP and TCP, in place of the file's; may be repeated"},
		&cli.PathFlag{Name: "socket", EnvVars: []string{"SLUICE_GSLB_SOCKET"},
			Usage: "`PATH` of the control socket, in " +
				"place of the file's (default: " + socketDefault(rpc.Socket(control.RoleName)) + ")"},
		&cli.IntFlag{Name: "cores", Usage: "serve UDP on `N` cores (default: all)"},
		logLevelFlag(),
	}, tlsFlags()...),
	Action: func(c *cli.Context) error {
		if name := c.Args().First(); name != "" && !strings.HasPrefix(name, "-") {
			return noCommand(c.Command.HelpName, name, c.Command.Subcommands)
		}
		return action(runGSLB)(c)
	},
	Subcommands: []*cli.Command{
		gslbCheckCommand,
		gslbStatusCommand,
		gslbExplainCommand,
		gslbQueryCommand,
		gslbSuspendCommand,
		gslbActivateCommand,
		gslbReloadCommand,
	},
}

func runGSLB(c *cli.Context, _ []string) error {
	cfg, err := gslbConfig(c)
	if err != nil {
		return err
	}
	daemon, err := gslb.New(cfg)
	if err != nil {
		return gslbStartError(err)
	}
	return task.Serve(c.Context, daemon, cfg.Log)
}

func gslbConfig(c *cli.Context) (gslb.Config, error) {
	cfg := gslb.Config{File: c.Path("config"), Socket: c.Path("socket"), Cores: c.Int("cores")}
	if cfg.File == "" {
		return cfg, usageError(errors.New("--config is needed: a FILE with data centers, answers, rules and zones"))
	}
	if strings.Contains(cfg.Socket, "://") {
		return cfg, usageError(fmt.Errorf("--socket: must be the path of a socket, is %q; "+
			"for other hosts the file has server.control.listen", cfg.Socket))
	}
	for _, text := range c.StringSlice("listen") {
		a, err := netip.ParseAddrPort(text)
		if err != nil {
			return cfg, usageError(fmt.Errorf("--listen: must be an address and a port, as 127.0.0.1:5300 or "+
				"[::1]:5300, is %q",
				text))
		}
		cfg.Listen = append(cfg.Listen, a)
	}
	if n := cfg.Cores; c.IsSet("cores") && (n < 1 || n > 1024) {
		return cfg, usageError(fmt.Errorf("--cores: must be 1..1024, is %d", n))
	}
	log, err := newLogger(c, c.App.ErrWriter)
	if err != nil {
		return cfg, err
	}
	cfg.Log = log
	cfg.Identity, err = identity(c, "", log)
	return cfg, err
}

// gslbStartError tells a file that is not valid, or that the command line does not fit, from a socket that cannot be
// opened.
func gslbStartError(err error) error {
	if _, faulty := errors.AsType[*strict.Problem](err); faulty {
		return usageError(errors.New(firstLines(err.Error())))
	}
	if _, wrong := errors.AsType[*rpc.AddressError](err); wrong {
		return usageError(err)
	}
	return err
}
