package main

import (
	"encoding/json"
	"fmt"
	"log/slog"
	"os"

	"github.com/urfave/cli/v2"

	"github.com/sluicelb/sluice/cmd/sluice/demo"
)

var demoCommand = &cli.Command{
	Name:  "demo",
	Usage: "show the whole at work, without root: a server dies under load, returns, another drains",
	Description: "Runs switch, controller and health daemon, a client, a router and three servers in this\n" +
		"process, sends real HTTP through them and proves what it claims by captures. Takes half a\n" +
		"minute; exits 1 if a claim does not hold.\n\n" +
		"With --json the last and only line on stdout is one object; progress goes to stderr.",
	Flags: []cli.Flag{
		jsonFlag(),
		&cli.BoolFlag{Name: "hold", Usage: "keep everything running afterwards, for other commands to look at"},
		&cli.StringFlag{Name: "pcap", Usage: "write a capture of each switch port into `DIR`, for tcpdump -r"},
		&cli.StringFlag{Name: "log", Usage: "write the log of switch, controller and healthd to `FILE`"},
	},
	Action: runDemo,
}

func runDemo(c *cli.Context) (err error) {
	if _, err := arguments(c); err != nil {
		return err
	}
	cfg := demo.Config{Out: c.App.Writer, Captures: c.String("pcap"), Hold: c.Bool("hold")}
	if cfg.Captures != "" {
		if err := os.MkdirAll(cfg.Captures, 0o777); err != nil {
			return usageError(fmt.Errorf("--pcap: %w", err))
		}
	}
	if name := c.String("log"); name != "" {
		file, err := os.Create(name)
		if err != nil {
			return usageError(fmt.Errorf("--log: %w", err))
		}
		defer file.Close()
		cfg.Log = slog.New(slog.NewTextHandler(file, &slog.HandlerOptions{Level: slog.LevelDebug}))
	}
	if c.Bool("json") {
		cfg.Out = c.App.ErrWriter
		cfg.Report = func(r demo.Result) error { return json.NewEncoder(c.App.Writer).Encode(r) }
	}
	return demo.Run(c.Context, cfg)
}
