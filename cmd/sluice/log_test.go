package main

import (
	"bytes"
	"errors"
	"strings"
	"testing"

	"github.com/urfave/cli/v2"
)

// Whatever a role logs, a line stays short and is no command to the terminal.
func TestLogLinesAreBoundedAndEscaped(t *testing.T) {
	var b bytes.Buffer
	app := &cli.App{Flags: []cli.Flag{logLevelFlag()}, Action: func(c *cli.Context) error {
		log, err := newLogger(c, &b)
		if err != nil {
			return err
		}
		long := strings.Repeat("32 slots of web: web1 -> web2, ", 80_000)
		log.Info("slots moved", "moves", long, "err", errors.New(long), "reason", "\x1b]0;owned\x07\u009b31m", "short",
			7)
		return nil
	}}
	if err := app.Run([]string{"app"}); err != nil {
		t.Fatal(err)
	}
	line := b.String()
	if len(line) > 3000 || strings.Count(line, "\n") != 1 {
		t.Errorf("a line of %d bytes", len(line))
	}
	for _, want := range []string{"... (2480000 bytes)\" err=", `reason="\x1b]0;owned\a\u009b31m"`, " short=7\n"} {
		if !strings.Contains(line, want) {
			t.Errorf("no %s in %s", want, line)
		}
	}
}
