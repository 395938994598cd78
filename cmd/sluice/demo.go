package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"os/signal"
	"syscall"

	"github.com/urfave/cli/v2"

	"github.com/sluicelb/sluice/cmd/sluice/demo"
)

var demoCommand = &cli.Command{
	Name:  "demo",
	Usage: "show the whole at work, without root: servers die under load, drain and return, a data center dies",
	Description: "Runs two data centers, each with switch, controller, health daemon and servers, gslb in front of\n" +
		"them, and a client that asks gslb over DNS where to go, all in this process; sends real HTTP\n" +
		"through them and proves what it claims by captures and by every DNS answer. Takes half a minute,\n" +
		"and on a busy machine as long as it must, up to five. Exits 1 if a claim does not hold, or could\n" +
		"not be measured: ✓ holds, ✗ does not, ? the machine was too busy to tell, or the demo did not get\n" +
		"there.\n\n" +
		"With --json the last and only line on stdout is one object, of what there is when the demo fails\n" +
		"midway; progress goes to stderr. \"proved\" is the whole: true if every claim holds, false if one\n" +
		"does not, null if nothing was found false and not everything could be measured. What was not\n" +
		"measured, or could not be judged, is null. \"ok\" counts the requests that were answered.",
	Flags: []cli.Flag{
		jsonFlag(),
		&cli.BoolFlag{Name: "hold", Usage: "keep everything running afterwards, for other commands to look at"},
		&cli.StringFlag{Name: "pcap",
			Usage: "write a capture of each port of both switches into `DIR`, for tcpdump -r"},
		&cli.StringFlag{Name: "log", Usage: "write the log of switches, controllers, healthd and gslb to `FILE`"},
	},
	Action: action(runDemo),
}

func runDemo(c *cli.Context, _ []string) error {
	for _, flag := range []string{"pcap", "log"} {
		if c.IsSet(flag) && c.String(flag) == "" {
			return usageError(fmt.Errorf("--%s: must be a name, is empty", flag))
		}
	}
	// Without this the process would die on the spot when nobody reads any more (sluice demo | head),
	// and leave its files behind.
	broken := make(chan os.Signal, 1)
	signal.Notify(broken, syscall.SIGPIPE)
	defer signal.Stop(broken)
	// So it would when the terminal is closed.
	ctx := c.Context
	if !signal.Ignored(syscall.SIGHUP) { // by nohup
		var stop context.CancelFunc
		ctx, stop = signal.NotifyContext(ctx, syscall.SIGHUP)
		defer stop()
	}
	cfg := demo.Config{Out: own(c.App.Writer), Captures: c.String("pcap"), Hold: c.Bool("hold")}
	if name := c.String("log"); name != "" {
		file, err := os.Create(name)
		if err != nil {
			return usageError(fmt.Errorf("--log: %w", err))
		}
		defer file.Close()
		cfg.Log = slog.New(slog.NewTextHandler(file, &slog.HandlerOptions{Level: slog.LevelDebug}))
	}
	if c.Bool("json") {
		cfg.Out = own(c.App.ErrWriter)
		cfg.Result = func(r demo.Result) error { return json.NewEncoder(c.App.Writer).Encode(r) }
	}
	err := demo.Run(ctx, cfg)
	if unusable, ok := errors.AsType[*demo.CaptureError](err); ok {
		return usageError(fmt.Errorf("--pcap: %w", unusable))
	}
	return err
}
