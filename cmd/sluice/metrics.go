package main

import (
	"fmt"
	"log/slog"

	"github.com/urfave/cli/v2"

	"github.com/sluicelb/sluice/internal/metrics"
	"github.com/sluicelb/sluice/internal/rpc"
	"github.com/sluicelb/sluice/internal/rpc/endpoint"
)

// metricsFlag is the same for every role that has no configuration file of its own for it.
func metricsFlag() cli.Flag {
	return &cli.StringFlag{Name: "metrics", Usage: "show Prometheus what is counted, at http://`ADDRESS`/metrics: " +
		"loopback host:port, where every local user may look, or https://host:port, for viewers"}
}

// checkMetrics says what is wrong with --metrics.
func checkMetrics(c *cli.Context, shown *rpc.Identity) error {
	address := c.String("metrics")
	if !c.IsSet("metrics") {
		return nil
	}
	if e, err := endpoint.Parse(address); err == nil && e.Unix() {
		return usageError(fmt.Errorf("--metrics: address %q: must be loopback host:port or https://host:port, "+
			"Prometheus "+
			"reads no unix socket", address))
	}
	if err := metrics.Check(address, shown); err != nil {
		return usageError(fmt.Errorf("--metrics: %w", err))
	}
	return nil
}

// listenMetrics opens what --metrics names, nil without it. A role that needs TLS for nothing else brings no identity.
func listenMetrics(c *cli.Context, shown *rpc.Identity, log *slog.Logger) (*rpc.Listener, error) {
	address := c.String("metrics")
	if e, err := endpoint.Parse(address); err == nil && e.TLS && shown == nil {
		if shown, err = identity(c, "", log); err != nil {
			return nil, err
		}
	}
	if err := checkMetrics(c, shown); err != nil || !c.IsSet("metrics") {
		return nil, err
	}
	l, err := metrics.Listen(address, shown, log)
	if err != nil {
		return nil, err
	}
	log.Info("metrics are shown", "address", l.Address())
	return l, nil
}
