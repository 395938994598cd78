package main

import (
	"fmt"
	"io"
	"log/slog"

	"github.com/urfave/cli/v2"

	"github.com/sluicelb/sluice/internal/text"
)

func logLevelFlag() cli.Flag {
	return &cli.StringFlag{Name: "log-level", Value: "info",
		Usage: "log at `LEVEL` and above: debug, info, warn or error"}
}

// newLogger is the log of a role that runs by itself: lines of text on stderr, at --log-level.
func newLogger(c *cli.Context, stderr io.Writer) (*slog.Logger, error) {
	levels := map[string]slog.Level{"debug": slog.LevelDebug, "info": slog.LevelInfo, "warn": slog.LevelWarn,
		"error": slog.LevelError}
	level, ok := levels[c.String("log-level")]
	if !ok {
		return nil, usageError(fmt.Errorf("--log-level: must be debug, info, warn or error, is %q",
			c.String("log-level")))
	}
	return slog.New(slog.NewTextHandler(stderr, &slog.HandlerOptions{Level: level, ReplaceAttr: shorten})), nil
}

// longestAttr is how many bytes of a value a line of the log has at most. Whoever logs a list or what somebody else
// wrote bounds it; this is for what was forgotten.
const longestAttr = 1024

// shorten cuts what is too long. Control characters need nothing: the handler quotes them.
func shorten(_ []string, a slog.Attr) slog.Attr {
	switch v := a.Value; v.Kind() {
	case slog.KindString, slog.KindAny:
		if s := v.String(); len(s) > longestAttr {
			return slog.String(a.Key, text.CutTo(s, longestAttr))
		}
	}
	return a
}
