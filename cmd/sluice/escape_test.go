package main

import (
	"bytes"
	"strings"
	"testing"
	"unicode"

	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protoreflect"

	"github.com/sluicelb/sluice/controller/api"
	"github.com/sluicelb/sluice/gslb/control"
)

// hostile is what a server, a switch or another machine may say.
const hostile = "a\x1b]0;owned\x07\r\nOK fake\u009b31m\u202e"

// fill writes hostile into every text of a message, one of each list.
func fill(m protoreflect.Message, depth int) {
	if depth == 0 {
		return
	}
	fields := m.Descriptor().Fields()
	for i := range fields.Len() {
		f := fields.Get(i)
		isText, isMessage := f.Kind() == protoreflect.StringKind, f.Kind() == protoreflect.MessageKind
		switch {
		case f.IsMap() && f.MapValue().Kind() == protoreflect.MessageKind:
			v := m.Mutable(f).Map().NewValue()
			fill(v.Message(), depth-1)
			m.Mutable(f).Map().Set(protoreflect.ValueOfString(hostile).MapKey(), v)
		case f.IsMap():
		case f.IsList() && isText:
			m.Mutable(f).List().Append(protoreflect.ValueOfString(hostile))
		case f.IsList() && isMessage:
			v := m.Mutable(f).List().NewElement()
			fill(v.Message(), depth-1)
			m.Mutable(f).List().Append(v)
		case isText:
			m.Set(f, protoreflect.ValueOfString(hostile))
		case isMessage:
			fill(m.Mutable(f).Message(), depth-1)
		case f.Kind() == protoreflect.Uint32Kind && !f.IsList():
			m.Set(f, protoreflect.ValueOfUint32(1))
		case f.Kind() == protoreflect.BoolKind && !f.IsList():
			m.Set(f, protoreflect.ValueOfBool(true))
		}
	}
}

// Whatever others write, no command's output commands the terminal, and a table has a line for each row.
func TestNoPrinterPassesCommandsOn(t *testing.T) {
	status, gslb, backend := new(api.GetStatusResponse), new(control.GetStatusResponse), new(api.BackendStatus)
	for _, m := range []proto.Message{status, gslb, backend} {
		fill(m.ProtoReflect(), 5)
	}
	gslb.ConfigError = "gslb.yaml:1: of our own making\ngslb.yaml:2: it quotes what the file says"
	draining := &api.BackendStatus{Pool: hostile, Name: hostile, Admin: api.Admin_ADMIN_DRAIN, Waiting: 1,
		WaitingReason: hostile, Unwritten: []string{hostile}}
	for name, print := range map[string]func(w *bytes.Buffer) error{
		"status":        func(w *bytes.Buffer) error { return writeStatus(escaped{w}, status) },
		"status --json": func(w *bytes.Buffer) error { return writeJSON(escaped{w}, jsonMessage{status}) },
		"gslb status":   func(w *bytes.Buffer) error { return writeGSLBStatus(escaped{w}, gslb) },
		"gslb query":    func(w *bytes.Buffer) error { return gslbNameTable(gslb).write(escaped{w}) },
		"backend drain": func(w *bytes.Buffer) error {
			_, err := escaped{w}.Write([]byte(oneLine(adminText(draining))))
			return err
		},
	} {
		var b bytes.Buffer
		if err := print(&b); err != nil {
			t.Fatal(err)
		}
		if i := strings.IndexFunc(b.String(), func(r rune) bool { return r != '\n' && !unicode.IsPrint(r) }); i >= 0 {
			t.Errorf("%s prints %q", name, b.String()[max(0, i-20):i+20])
		}
		if b.Len() == 0 || !strings.Contains(b.String(), `a\u001b]0;owned`) {
			t.Errorf("%s does not print what was said:\n%s", name, b.String())
		}
		if !strings.Contains(name, "json") {
			for line := range strings.Lines(b.String()) {
				if strings.HasPrefix(line, "OK fake") {
					t.Errorf("%s: somebody else wrote a line:\n%s", name, b.String())
				}
			}
		}
	}
	// Errors go the same way.
	var stdout, stderr bytes.Buffer
	if code := run(t.Context(), []string{"sluice", "config", "check", "no\x1b[2Jfile"}, &stdout, &stderr); code == 0 ||
		strings.Contains(stdout.String()+stderr.String(), "\x1b") {
		t.Errorf("exit code %d, stdout %q, stderr %q", code, &stdout, &stderr)
	}
}
