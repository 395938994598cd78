package main

import (
	"fmt"
	"time"

	"github.com/urfave/cli/v2"

	"github.com/sluicelb/sluice/controller/api"
	"github.com/sluicelb/sluice/healthd"
	"github.com/sluicelb/sluice/internal/rpc"
	"github.com/sluicelb/sluice/internal/task"
)

var healthdCommand = &cli.Command{
	Name:  "healthd",
	Usage: "check the backends and tell the controller who may receive traffic",
	Description: "Gets the checks from the controller, runs them, and reports a verdict when it changes and\n" +
		"all of them at intervals. Without the controller the checks go on and the verdicts stand;\n" +
		"it is tried again until it is back. Ends on SIGINT or SIGTERM.\n\n" +
		"A server that does not answer at all is down, one that does not answer as it should is\n" +
		"failing. One that this host cannot ask, for want of a route, a right or a descriptor, is\n" +
		"unchecked: what was said of it before stands.\n\n" +
		"ICMP checks need a ping socket (net.ipv4.ping_group_range) or CAP_NET_RAW; nothing else\n" +
		"needs privileges. Every probe under way holds one file descriptor.",
	Flags: append([]cli.Flag{
		&cli.StringFlag{Name: "controller", EnvVars: []string{"SLUICE_CONTROLLER"}, Value: rpc.Find(api.RoleName),
			Usage: "`ADDRESS` of the controller: unix:/path, https://host:port, or loopback http://host:port"},
		&cli.StringFlag{Name: "name", DefaultText: "the host's name",
			Usage: "`NAME` of this healthd in its reports; two that report to one controller need two"},
		&cli.DurationFlag{Name: "report-interval", Value: healthd.DefaultReportInterval,
			Usage: "`TIME` between reports of all verdicts"},
		&cli.IntFlag{Name: "max-probes", Value: healthd.DefaultMaxProbes,
			Usage: "at most `N` probes under way at a time; more of them wait"},
		metricsFlag(),
		logLevelFlag(),
	}, tlsFlags()...),
	Action: action(runHealthd),
}

func runHealthd(c *cli.Context, _ []string) error {
	log, err := newLogger(c, c.App.ErrWriter)
	if err != nil {
		return err
	}
	if d := c.Duration("report-interval"); d < 100*time.Millisecond {
		return usageError(fmt.Errorf("--report-interval: must be at least 100ms, is %v", d))
	}
	if n := c.Int("max-probes"); n < 1 {
		return usageError(fmt.Errorf("--max-probes: must be at least 1, is %d", n))
	}
	sec, err := dialSecurity(c, c.String("controller"), log)
	if err != nil {
		return err
	}
	if err := sec.CheckDial(c.String("controller")); err != nil {
		return usageError(fmt.Errorf("--controller: %w", err))
	}
	if c.IsSet("name") {
		if err := healthd.ValidName(c.String("name")); err != nil {
			return usageError(fmt.Errorf("--name: %w", err))
		}
	}
	controller := "" // found at each attempt: it may come later, and as another user
	if c.IsSet("controller") {
		controller = c.String("controller")
	}
	shown, err := listenMetrics(c, sec.Identity, log)
	if err != nil {
		return err
	}
	if shown != nil {
		defer shown.Close()
	}
	d, err := healthd.New(healthd.Config{
		Name:           c.String("name"),
		Controller:     controller,
		Security:       sec,
		ReportInterval: c.Duration("report-interval"),
		MaxProbes:      c.Int("max-probes"),
		Metrics:        shown,
		Log:            log,
	})
	if err != nil {
		return usageError(err)
	}
	return task.Serve(c.Context, d, log)
}
