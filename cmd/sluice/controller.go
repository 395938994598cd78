package main

import (
	"errors"
	"fmt"
	"io/fs"
	"net"
	"os"
	"os/signal"
	"syscall"

	"github.com/urfave/cli/v2"

	"github.com/sluicelb/sluice/controller"
	"github.com/sluicelb/sluice/controller/api"
	"github.com/sluicelb/sluice/controller/api/loadreport"
	"github.com/sluicelb/sluice/controller/config/strict"
	"github.com/sluicelb/sluice/controller/store"
	"github.com/sluicelb/sluice/internal/rpc"
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
		&cli.StringSliceFlag{Name: "etcd", Usage: "`ADDRESS` of an external etcd to use as the store; may be repeated"},
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
	if (c.Path("data-dir") == "") == (len(c.StringSlice("etcd")) == 0) {
		return usageError(errors.New("one of --data-dir and --etcd is needed, to say where the store is"))
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
	hangup := make(chan os.Signal, 1)
	signal.Notify(hangup, syscall.SIGHUP)
	defer signal.Stop(hangup)
	go func() { // ends with the command
		for {
			select {
			case <-hangup:
				daemon.Reload()
			case <-c.Context.Done():
				return
			}
		}
	}()
	err = daemon.Run(c.Context)
	if _, faulty := errors.AsType[*strict.Problem](err); faulty {
		return usageError(errors.New(firstLines(err.Error())))
	}
	if unread, ok := errors.AsType[*fs.PathError](err); ok && unread.Path == c.Path("config") {
		return usageError(fmt.Errorf("--config: %w", err))
	}
	return err
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
