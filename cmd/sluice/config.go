package main

import (
	"context"
	"fmt"
	"io"
	"os"
	"strings"

	"github.com/urfave/cli/v2"

	"github.com/sluicelb/sluice/controller/config"
	"github.com/sluicelb/sluice/internal/strict"
)

var configCommand = &cli.Command{
	Name:   "config",
	Usage:  "check a configuration, or make it the running one",
	Action: group,
	Subcommands: []*cli.Command{
		{
			Name:      "check",
			Usage:     "say everything that is wrong with a configuration file",
			ArgsUsage: "FILE",
			Description: "FILE is YAML; - reads standard input. Nothing but the file is looked at: no controller has " +
				"to run.\n" +
				"Problems are printed to standard error, one on a line, the first hundred, and the exit code is 2.\n" +
				"With --json prints one object: file, ok, switches, vips, pools and backends (how many), and\n" +
				"problems, a list of the same with file, line, path and message.",
			Flags:  []cli.Flag{jsonFlag()},
			Action: action(configCheck, "FILE"),
		},
		configApplyCommand,
	},
}

// checked is what `sluice config check --json` prints.
type checked struct {
	File     string           `json:"file"`
	OK       bool             `json:"ok"`
	Switches int              `json:"switches"`
	VIPs     int              `json:"vips"`
	Pools    int              `json:"pools"`
	Backends int              `json:"backends"`
	Problems []checkedProblem `json:"problems"`
}

type checkedProblem struct {
	File    string `json:"file"`
	Line    int    `json:"line"`
	Path    string `json:"path"`
	Message string `json:"message"`
}

func configCheck(c *cli.Context, args []string) error {
	if len(args) == 0 {
		return usageError(fmt.Errorf("which FILE? `%s --help` tells the usage", c.Command.HelpName))
	}
	var intent *config.Intent
	file, text, err := readConfig(c.Context, args[0], c.App.Reader)
	switch {
	case c.Context.Err() != nil:
		return usageError(err)
	case err != nil:
		err = strict.Unreadable(file, err)
	default:
		intent, err = config.Parse(file, text)
	}
	result := checked{File: file, OK: err == nil, Problems: checkedProblems(strict.Problems(err))}
	if err == nil {
		result.Switches, result.VIPs, result.Pools = len(intent.Switches), len(intent.VIPs), len(intent.Pools)
		for _, p := range intent.Pools {
			result.Backends += len(p.Backends)
		}
	}
	return tellChecked(c, file, err, result, count(result.VIPs, "VIP", "VIPs"), count(result.Pools, "pool", "pools"),
		count(result.Backends, "backend", "backends"), count(result.Switches, "switch", "switches"))
}

// checkedProblems are problems as they are printed in JSON: a list, though it be empty.
func checkedProblems(list []*strict.Problem) []checkedProblem {
	all := []checkedProblem{}
	for _, p := range list {
		all = append(all, checkedProblem{p.File, p.Line, p.Path, p.Message})
	}
	return all
}

// tellChecked prints what became of a check: the problems of err to the standard error, and the result as JSON if that
// is wanted, else, where there are no problems, what the file has. Problems are a usage error.
func tellChecked(c *cli.Context, file string, err error, result any, has ...string) error {
	if err != nil {
		if _, err := fmt.Fprintln(c.App.ErrWriter, firstLines(err.Error())); err != nil {
			return err
		}
	}
	var unwritten error
	switch {
	case c.Bool("json"):
		unwritten = writeJSON(c.App.Writer, result)
	case err == nil:
		_, unwritten = fmt.Fprintf(c.App.Writer, "%s: ok: %s\n", file, strings.Join(has, ", "))
	}
	if unwritten != nil || err == nil {
		return unwritten
	}
	problems := strict.Count(strict.Problems(err))
	return usageError(fmt.Errorf("%s: %s", file, count(problems, "problem", "problems")))
}

// readConfig reads the file with this name, - being standard input, until ctx ends.
func readConfig(ctx context.Context, name string, stdin io.Reader) (file string, text []byte, err error) {
	open := func() (io.ReadCloser, error) { return os.Open(name) }
	if file = name; name == "-" {
		file = "stdin"
		open = func() (io.ReadCloser, error) { return io.NopCloser(stdin), nil }
	}
	text, err = reading(ctx, file, func() ([]byte, error) {
		from, err := open()
		if err != nil {
			return nil, err
		}
		defer from.Close()
		return io.ReadAll(io.LimitReader(from, config.MaxBytes+1)) // with one byte more it is refused
	})
	return file, text, err
}

// reading returns what read does. A terminal or a pipe may let that wait for ever: the end of ctx is waited for, too,
// and leaves read to itself.
func reading[T any](ctx context.Context, file string, read func() (T, error)) (T, error) {
	type result struct {
		value T
		err   error
	}
	done := make(chan result, 1)
	go func() {
		value, err := read()
		done <- result{value, err}
	}()
	select {
	case r := <-done:
		return r.value, r.err
	case <-ctx.Done():
		var none T
		return none, fmt.Errorf("reading %s: %w", file, context.Cause(ctx))
	}
}

// firstLines is what people see of a text that has a line for each problem.
func firstLines(text string) string {
	const most = 100
	lines := strings.Split(text, "\n")
	if more := len(lines) - most; more > 1 { // the last line may count others
		lines = append(lines[:most], fmt.Sprintf("and %d more", more))
	}
	return strings.Join(lines, "\n")
}

// count is "1 VIP" or "2 VIPs".
func count(n int, one, many string) string {
	if n == 1 {
		return "1 " + one
	}
	return fmt.Sprintf("%d %s", n, many)
}
