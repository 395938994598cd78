package store

import (
	"context"
	"errors"
	"log/slog"

	"go.uber.org/zap/zapcore"
)

// zapCore passes etcd's warnings and errors on to slog as debug messages: what concerns the controller
// comes back as an error of the call it made.
type zapCore struct {
	log    *slog.Logger
	fields []zapcore.Field
}

func (c *zapCore) Enabled(l zapcore.Level) bool { return l >= zapcore.WarnLevel }

func (c *zapCore) With(fields []zapcore.Field) zapcore.Core {
	return &zapCore{c.log, append(c.fields[:len(c.fields):len(c.fields)], fields...)}
}

func (c *zapCore) Check(e zapcore.Entry, ce *zapcore.CheckedEntry) *zapcore.CheckedEntry {
	if c.Enabled(e.Level) {
		return ce.AddCore(e, c)
	}
	return ce
}

func (c *zapCore) Write(e zapcore.Entry, fields []zapcore.Field) error {
	if !c.log.Enabled(context.Background(), slog.LevelDebug) {
		return nil
	}
	enc := zapcore.NewMapObjectEncoder()
	for _, f := range append(c.fields[:len(c.fields):len(c.fields)], fields...) {
		f.AddTo(enc)
	}
	args := []any{"message", e.Message}
	for k, v := range enc.Fields {
		args = append(args, k, v)
	}
	c.log.Debug("etcd", args...)
	return nil
}

func (c *zapCore) Sync() error { return nil }

// deathHook makes a fatal or panicking log entry the death of the store instead of that of the process: etcd
// knows no other answer to a full disk, in goroutines of its own. The goroutine is held where it is, for
// what it had in hand is half done and must not be let go of.
type deathHook struct{ die func(error) }

func (h deathHook) OnWrite(e *zapcore.CheckedEntry, fields []zapcore.Field) {
	msg := e.Message
	for _, f := range fields {
		if err, ok := f.Interface.(error); ok {
			msg += ": " + err.Error()
		}
	}
	h.die(errors.New(msg))
	select {}
}
