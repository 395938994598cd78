// Command sluice is every role of Sluice in one binary: the controller, the health daemon, the
// embedded switch, the global site selector, and the tools that ask them. Each role is a process of its own in
// production.
package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/signal"
	"syscall"

	"github.com/urfave/cli/v2"
)

// Exit codes, also in `sluice help`.
const (
	exitFailure     = 1 // the command ran and found or met something wrong
	exitUsage       = 2 // the command line or a configuration file is not valid, or names what is not there
	exitUnreachable = 3 // the daemon or the target does not answer

	// Of `sluice status`, as monitoring has them.
	exitWarning  = 1
	exitCritical = 2
)

// exitError carries the exit code a command's failure deserves. With err nil all is said already.
type exitError struct {
	code int
	err  error
}

func (e *exitError) Error() string {
	if e.err == nil {
		return fmt.Sprintf("exit code %d", e.code)
	}
	return e.err.Error()
}
func (e *exitError) Unwrap() error { return e.err }

func usageError(err error) error       { return &exitError{exitUsage, err} }
func unreachableError(err error) error { return &exitError{exitUnreachable, err} }

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	context.AfterFunc(ctx, stop) // a second signal ends what waits for something else than ctx: the kernel takes it
	os.Exit(run(ctx, os.Args, os.Stdout, os.Stderr))
}

// run is main without the process: it returns the exit code.
func run(ctx context.Context, args []string, stdout, stderr io.Writer) int {
	stdout, stderr = escaped{stdout}, escaped{stderr}
	app := newApp(stdout, stderr)
	if n := len(args); n > 1 && args[n-1] == completeFlag {
		complete(ctx, app, args[1:n-1])
		return 0
	}
	err := app.RunContext(ctx, args)
	if err == nil {
		return 0
	}
	exit, ok := errors.AsType[*exitError](err)
	if ok && exit.err == nil {
		return exit.code
	}
	fmt.Fprintf(stderr, "sluice: %v\n", err)
	if ok {
		return exit.code
	}
	if _, ok := err.(cli.ExitCoder); ok { // by the cli package: --help of a command that is not there
		return exitUsage
	}
	return exitFailure
}

func newApp(stdout, stderr io.Writer) *cli.App {
	return &cli.App{
		Name:  "sluice",
		Usage: "load balancing done by the switch",
		Description: "Results go to standard output, as text or with --json; errors to standard error.\n" +
			"Exit code 1: the command met something wrong; 2: the command line or a file is not valid, or\n" +
			"names what is not there; 3: the controller, gslb or the switch does not answer. `sluice status`\n" +
			"says by it how things are.",
		HideVersion:               true,
		DisableSliceFlagSeparator: true,
		Writer:                    stdout,
		ErrWriter:                 stderr,
		ExitErrHandler:            func(*cli.Context, error) {}, // only main exits
		OnUsageError:              flagError,
		Flags: []cli.Flag{
			cli.HelpFlag, // with a help command of its own, the app does not get it
			&cli.BoolFlag{Name: "version", Usage: "print the version"},
		},
		Commands: commands(
			backendCommand,
			certCommand,
			completionCommand,
			configCommand,
			controllerCommand,
			demoCommand,
			gslbCommand,
			healthdCommand,
			helpCommand,
			statusCommand,
			switchCommand,
			tableCommand,
		),
		Action: func(c *cli.Context) error {
			if name := c.Args().First(); name != "" {
				return noCommand(c.App.Name, name, c.App.Commands, dashed("version"))
			}
			if c.Bool("version") {
				_, err := fmt.Fprintln(c.App.Writer, version())
				return err
			}
			return cli.ShowAppHelp(c)
		},
	}
}
