package store

import (
	"context"
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

// panicHook makes a fatal log entry a panic, which Open catches, instead of the end of the process.
type panicHook struct{}

func (panicHook) OnWrite(e *zapcore.CheckedEntry, fields []zapcore.Field) {
	msg := e.Message
	for _, f := range fields {
		if err, ok := f.Interface.(error); ok {
			msg += ": " + err.Error()
		}
	}
	panic(msg)
}
