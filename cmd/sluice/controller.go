package main

import (
	"crypto/tls"
	"errors"
	"fmt"
	"io/fs"
	"net"
	"slices"

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
	Flags: slices.Concat([]cli.Flag{
		&cli.PathFlag{Name: "config", Usage: "`FILE` with the configuration; may be left out once the store has one"},
		&cli.PathFlag{Name: "data-dir", Usage: "`DIR` of the built-in store"},
		&cli.StringSliceFlag{Name: "etcd",
			Usage: "`ADDRESS` of an external etcd to use as the store, as 127.0.0.1:2379 " +
				"or https://etcd1.example.net:2379; may be repeated. " +
				"Of several controllers on it one works, the others stand by"},
		insecureFlag("whoever is on the way to a switch owns it, and on the way to etcd reads and changes the " +
			"configuration. For those that have no TLS"),
		&cli.StringSliceFlag{Name: "listen", DefaultText: rpc.Socket(api.RoleName),
			Usage: "`ADDRESS` of the API and of gNMI: " +
				"unix:/path, https://host:port, or loopback host:port, where every local user may do everything; may " +
				"be repeated"},
		allowFlag(controllerRoles...),
		&cli.StringFlag{Name: "load-report",
			Usage: fmt.Sprintf("answer load reports at the UDP `ADDRESS`, such as :%d; "+
				"without it, nowhere", loadreport.DefaultPort)},
		&cli.PathFlag{Name: "load-report-key-file",
			Usage: "`FILE` with the keys of who may ask for load reports, one on a line; read again on SIGHUP"},
		metricsFlag(),
		logLevelFlag(),
	}, tlsFlags(), etcdFlags()),
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
	log, err := newLogger(c, c.App.ErrWriter)
	if err != nil {
		return err
	}
	shown, err := identity(c, "", log)
	if err != nil {
		return err
	}
	etcd, err := identity(c, "etcd-", log)
	if err != nil {
		return err
	}
	if etcd == nil {
		etcd = shown
	}
	stored := store.Config{Dir: c.Path("data-dir"), Endpoints: c.StringSlice("etcd"), Security: rpc.Security{
		Identity: etcd, Oldest: tls.VersionTLS12, Plaintext: c.Bool(insecure),
		Danger: "whoever is on the way reads and changes the configuration; --" + insecure + " allows it",
	}}
	if err := checkEtcd(stored.Endpoints, stored.Security); err != nil {
		return usageError(fmt.Errorf("--etcd: %w", err))
	}
	for _, address := range c.StringSlice("listen") {
		if err := (rpc.Security{Identity: shown}).CheckListen(address); err != nil {
			return usageError(fmt.Errorf("--listen: %w", err))
		}
	}
	if err := checkMetrics(c, shown); err != nil {
		return err
	}
	who, err := access(c, controllerRoles...)
	if err != nil {
		return usageError(err)
	}
	if err := checkLoadReport(c.String("load-report"), c.Path("load-report-key-file")); err != nil {
		return usageError(err)
	}
	daemon := controller.New(controller.Config{
		File:   c.Path("config"),
		Store:  stored,
		Listen: c.StringSlice("listen"),
		Access: who,
		Log:    log,

		Identity:      shown,
		PlainSwitches: c.Bool(insecure),

		Metrics:        c.String("metrics"),
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

// checkEtcd says what is wrong with addresses of etcd.
func checkEtcd(addresses []string, sec rpc.Security) error {
	for _, text := range addresses {
		e, err := endpoint.Parse(text)
		if err != nil || e.Unix() || e.Port() == 0 {
			return fmt.Errorf("address %q: must be host:port, http://host:port or https://host:port, the port 1..65535",
				text)
		}
		if err := sec.CheckDial(text); err != nil {
			return err
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
