package main

import (
	"errors"
	"fmt"
	"io/fs"
	"net"
	"strings"

	"github.com/urfave/cli/v2"

	"github.com/sluicelb/sluice/controller"
	"github.com/sluicelb/sluice/controller/api"
	"github.com/sluicelb/sluice/controller/store"
	"github.com/sluicelb/sluice/internal/loadreport"
	"github.com/sluicelb/sluice/internal/rpc"
	"github.com/sluicelb/sluice/internal/rpc/endpoint"
	"github.com/sluicelb/sluice/internal/strict"
	"github.com/sluicelb/sluice/internal/task"
)

var controllerCommand = &cli.Command{
	Name:  "controller",
	Usage: "own the switches: turn the configuration and healthd's verdicts into table entries",
	Description: "Reads each switch back when it connects and writes only what differs, so a restart disturbs\n" +
		"nothing. The configuration is kept in the store; FILE is applied when it has changed since it\n" +
		"was last read, and on SIGHUP. A faulty or missing file changes nothing: what was stored runs.",
	Flags: []cli.Flag{
		&cli.PathFlag{Name: "config", Usage: "`FILE` with the configuration; may be left out once the store has one"},
		&cli.PathFlag{Name: "data-dir", Usage: "`DIR` of the built-in store"},
		&cli.StringSliceFlag{Name: "etcd", Usage: "`ADDRESS` of an external etcd to use as the store, as 127.0.0.1:2379; may be repeated. " +
			"Of several controllers on it one works, the others stand by"},
		&cli.BoolFlag{Name: "etcd-insecure", Usage: "allow an etcd that is not on the loopback: whoever is on the way reads and changes the configuration, there is no TLS yet"},
		&cli.StringFlag{Name: "listen", Value: rpc.Socket(api.RoleName), Usage: "`ADDRESS` of the API: unix:/path, or loopback host:port, where every local user may do everything"},
		allowFlag(controllerRoles...),
		&cli.StringFlag{Name: "load-report", Usage: fmt.Sprintf("answer load reports at the UDP `ADDRESS`, such as :%d; without it, nowhere", loadreport.DefaultPort)},
		&cli.PathFlag{Name: "load-report-key-file", Usage: "`FILE` with the keys of who may ask for load reports, one on a line; read again on SIGHUP"},
		logLevelFlag(),
	},
	Action: action(runController),
}

var controllerRoles = []rpc.Role{rpc.Operator, rpc.Viewer, rpc.Healthd, rpc.GSLB}

func runController(c *cli.Context, _ []string) error {
	switch dir, etcd := c.Path("data-dir") != "", len(c.StringSlice("etcd")) > 0; {
	case !dir && !etcd:
		return usageError(errors.New("one of --data-dir and --etcd is needed, to say where the store is"))
	case dir && etcd:
		return usageError(errors.New("--data-dir and --etcd: must be one of the two, the store is in one place"))
	}
	if err := checkEtcd(c.StringSlice("etcd"), c.Bool("etcd-insecure")); err != nil {
		return usageError(fmt.Errorf("--etcd: %w", err))
	}
	if err := rpc.Check(c.String("listen"), true); err != nil {
		return usageError(fmt.Errorf("--listen: %w", err))
	}
	who, err := access(c, controllerRoles...)
	if err != nil {
		return usageError(err)
	}
	if err := checkLoadReport(c.String("load-report"), c.Path("load-report-key-file")); err != nil {
		return usageError(err)
	}
	log, err := newLogger(c, c.App.ErrWriter)
	if err != nil {
		return err
	}
	daemon := controller.New(controller.Config{
		File:   c.Path("config"),
		Store:  store.Config{Dir: c.Path("data-dir"), Endpoints: c.StringSlice("etcd")},
		Listen: c.String("listen"),
		Access: who,
		Log:    log,

		LoadReport:     c.String("load-report"),
		LoadReportKeys: c.Path("load-report-key-file"),
	})
	err = task.Serve(c.Context, daemon, log)
	if _, faulty := errors.AsType[*strict.Problem](err); faulty {
		return usageError(errors.New(firstLines(err.Error())))
	}
	if unread, ok := errors.AsType[*fs.PathError](err); ok && unread.Path == c.Path("config") {
		return usageError(fmt.Errorf("--config: %w", err))
	}
	return err
}

// checkEtcd wants etcd on the loopback, unless insecure allows any.
func checkEtcd(addresses []string, insecure bool) error {
	for _, text := range addresses {
		e, err := endpoint.Parse(text)
		switch {
		case strings.HasPrefix(text, "https:"):
			return fmt.Errorf("address %q: must be host:port or http://host:port, there is no TLS yet", text)
		case err != nil || e.Unix() || e.Port() == 0:
			return fmt.Errorf("address %q: must be host:port or http://host:port, the port 1..65535", text)
		case !e.Local() && !insecure:
			return fmt.Errorf("%s is not a loopback address, and there is no TLS yet: whoever is on the way reads and changes the configuration; --etcd-insecure allows it", text)
		}
	}
	return nil
}

// checkLoadReport says what is wrong with the flags for load reports.
func checkLoadReport(address, keyFile string) error {
	switch {
	case address == "" && keyFile == "":
		return nil
	case address == "":
		return errors.New("--load-report-key-file: needs --load-report, to say where load reports are answered")
	case keyFile == "":
		return errors.New("--load-report: needs --load-report-key-file: load reports are for those who have a key")
	}
	if _, err := net.ResolveUDPAddr("udp", address); err != nil {
		return fmt.Errorf("--load-report: %w", err)
	}
	if _, err := loadreport.ReadKeys(keyFile); err != nil {
		return fmt.Errorf("--load-report-key-file: %w", err)
	}
	return nil
}
