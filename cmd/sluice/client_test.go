package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"connectrpc.com/connect"
	"github.com/google/go-cmp/cmp"
	"google.golang.org/protobuf/types/known/timestamppb"

	"github.com/sluicelb/sluice/controller/api"
	"github.com/sluicelb/sluice/p4/softswitch"
)

const advice = "; --controller names another, `sluice controller --config FILE --data-dir DIR` starts one"

func TestControllerFails(t *testing.T) {
	plain := errors.New("the controller stopped")
	for _, tt := range []struct {
		name string
		err  error
		code int
		want string
	}{
		{"none", nil, 0, "<nil>"},
		{"not of the client", plain, exitFailure, "the controller stopped"},
		{"refused", connect.NewWireError(connect.CodeNotFound, errors.New("no pool \"db\"")), exitUsage,
			"no pool \"db\""},
		{"frozen", connect.NewWireError(connect.CodeUnavailable, errors.New("the store does not answer")), exitFailure,
			"the store does not answer"},
		{"nobody", connect.NewError(connect.CodeUnavailable, errors.New("connection refused")), exitUnreachable,
			"no controller answers at a:1 (connection refused)" + advice},
		{"silence", connect.NewError(connect.CodeDeadlineExceeded, context.DeadlineExceeded), exitUnreachable,
			"no controller answers at a:1: something accepts the connection, but says nothing within 10s" + advice},
		{"hung up", connect.NewError(connect.CodeCanceled, io.ErrUnexpectedEOF), exitUnreachable,
			"no controller answers at a:1 (unexpected EOF)" + advice},
		{"hung up in mid-stream", connect.NewError(connect.CodeInvalidArgument,
			fmt.Errorf("protocol error: incomplete envelope: %w", io.ErrUnexpectedEOF)),
			exitUnreachable, "no controller answers at a:1 (protocol error: incomplete envelope: unexpected EOF)" +
				advice},
		{"another service", connect.NewError(connect.CodeUnknown, errors.New("415 Unsupported Media Type")),
			exitUnreachable,
			"what answers at a:1 is not a controller (415 Unsupported Media Type)" + advice},
		{"interrupted", connect.NewError(connect.CodeCanceled, context.Canceled), exitFailure, "context canceled"},
		{"not UTF-8", connect.NewError(connect.CodeInternal, errors.New("marshal message: invalid UTF-8")), exitFailure,
			"marshal message: invalid UTF-8"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			err := controllerDaemon.failure("a:1", tt.err)
			code := 0
			if err != nil {
				code = exitFailure
			}
			if exit, ok := errors.AsType[*exitError](err); ok {
				code = exit.code
			}
			if got := fmt.Sprint(err); code != tt.code || got != tt.want {
				t.Errorf("exit code %d, want %d; error is\n%s\nwant\n%s", code, tt.code, got, tt.want)
			}
		})
	}
}

// gslb's commands tell the same of what is no gslb.
func TestGSLBFails(t *testing.T) {
	const advice = "; --socket names another, `sluice gslb --config FILE` starts one"
	for _, test := range []struct {
		name string
		err  error
		code int
		want string
	}{
		{"refused", connect.NewWireError(connect.CodeInvalidArgument, errors.New("no answer \"a\"")), exitUsage,
			"no answer \"a\""},
		{"nobody", connect.NewError(connect.CodeUnavailable, errors.New("connection refused")), exitUnreachable,
			"no gslb answers at a:1 (connection refused)" + advice},
		{"silence", connect.NewError(connect.CodeDeadlineExceeded, context.DeadlineExceeded), exitUnreachable,
			"no gslb answers at a:1: something accepts the connection, but says nothing within 10s" + advice},
		{"a controller", connect.NewError(connect.CodeUnimplemented, errors.New("404 Not Found")), exitUnreachable,
			"what answers at a:1 is not gslb (404 Not Found)" + advice},
	} {
		exit, ok := errors.AsType[*exitError](gslbDaemon.failure("a:1", test.err))
		if !ok || exit.code != test.code || exit.Error() != test.want {
			t.Errorf("%s: exit code %d, want %d; error is\n%v\nwant\n%s", test.name, exit.code, test.code, exit,
				test.want)
		}
	}
}

// Addresses of a controller that cannot be one, or is none.
func TestControllerAddress(t *testing.T) {
	sw := serve(t, softswitch.New(softswitch.Config{DeviceID: 1, Log: slog.New(slog.DiscardHandler)}).Register)
	talker := speak(t, "SSH-2.0-x\r\n").Addr().String()
	const wrongPort = `address "127.0.0.1:230040": the port must be 1..65535, is "230040"`
	for _, tt := range []struct {
		name string
		args []string
		code int
		want string
	}{
		{"a switch", []string{"status", "--controller", sw}, exitUnreachable,
			"sluice: what answers at " + sw + " is not a controller ("},
		{"events of a switch", []string{"backend", "drain", "--wait", "web1", "--controller", sw}, exitUnreachable,
			"sluice: what answers at " + sw + " is not a controller ("},
		{"not even HTTP", []string{"status", "--controller", talker}, exitUnreachable, "sluice: "},
		{"port", []string{"status", "--controller", "127.0.0.1:230040"}, exitUsage,
			"sluice: --controller: " + wrongPort + "\n"},
		{"port 0", []string{"status", "--controller", "127.0.0.1:0"}, exitUsage,
			`sluice: --controller: address "127.0.0.1:0": the port must be 1..65535, is "0"` + "\n"},
		{"healthd", []string{"healthd", "--controller", "http://127.0.0.1:230040"}, exitUsage,
			`sluice: --controller: address "http://127.0.0.1:230040": the port must be 1..65535, is "230040"` + "\n"},
		{"controller", []string{"controller", "--data-dir", "x", "--listen", "127.0.0.1:65536"}, exitUsage,
			`sluice: --listen: address "127.0.0.1:65536": the port must be 0..65535, is "65536"` + "\n"},
		{"switch", []string{"switch", "--grpc", "127.0.0.1:65536"}, exitUsage,
			`sluice: --grpc: address "127.0.0.1:65536": the port must be 0..65535, is "65536"` + "\n"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			code, stdout, stderr := sluice(t, tt.args...)
			if code != tt.code || stdout != "" || !strings.HasPrefix(stderr, tt.want) {
				t.Errorf("exit code %d, want %d; stdout %q; stderr is\n%s\nwant\n%s", code, tt.code, stdout, stderr,
					tt.want)
			}
			if tt.code == exitUnreachable && !strings.HasSuffix(stderr, advice+"\n") {
				t.Errorf("no advice in %s", stderr)
			}
		})
	}
}

// Every daemon has the same flag for its log.
func TestLogLevel(t *testing.T) {
	for _, role := range [][]string{{"controller", "--data-dir", "x"}, {"healthd"}, {"switch"}} {
		code, _, stderr := sluice(t, append(role, "--log-level", "loud")...)
		if want := "sluice: --log-level: must be debug, info, warn or error, is \"loud\"\n"; code != exitUsage ||
			stderr != want {
			t.Errorf("%v: exit code %d: %s", role, code, stderr)
		}
	}
}

func TestJSONMessage(t *testing.T) {
	for _, tt := range []struct {
		name string
		m    jsonMessage
		want string
	}{
		{"numbers", jsonMessage{&api.PacketCount{Packets: 19736, Bytes: 1 << 52}},
			`{"packets":19736,"bytes":4503599627370496}`},
		{"nothing is set", jsonMessage{&api.ARPClaim{}},
			`{"switch":"","vip_address":"","port":0,"mac":"","backend":"","count":0,` +
				`"first":null,"last":null,"also":"","disowned":false}`},
		{"text, time and a oneof",
			jsonMessage{&api.Event{Sequence: 3, Time: timestamppb.New(time.Date(2026, 11, 22, 12, 0, 0, 0, time.UTC)),
				Detail: &api.Event_DrainDone{DrainDone: &api.DrainDone{Pool: "<a\"b>", Backend: "b"}}}},
			`{"sequence":3,"time":"2026-11-22T12:00:00Z","text":"",` +
				`"drain_done":{"pool":"<a\"b>","backend":"b","forced":0,"forced_pinned":0,"without":[]}}`},
	} {
		t.Run(tt.name, func(t *testing.T) {
			b, err := tt.m.MarshalJSON()
			if err != nil {
				t.Fatal(err)
			}
			var out strings.Builder
			if err := writeJSON(&out, tt.m); err != nil || !json.Valid([]byte(out.String())) {
				t.Errorf("writeJSON: %v: %s", err, out.String())
			}
			if diff := cmp.Diff(tt.want, strings.ReplaceAll(string(b), "\n", "")); diff != "" {
				t.Errorf("(-want +got):\n%s", diff)
			}
		})
	}
	// Lists, maps and enums, and what is new to this version.
	m := &api.SwitchStatus{State: 99, Tallies: map[string]*api.PacketCount{"b": nil, "a": {Packets: 1}},
		Failed: []*api.FailedUpdate{{Update: "x"}, {}}}
	b, err := jsonMessage{m}.MarshalJSON()
	var got struct {
		State   int
		Tallies map[string]struct{ Packets int }
		Failed  []struct{ Update string }
		Since   *string
	}
	if err == nil {
		err = json.Unmarshal(b, &got)
	}
	if err != nil || got.State != 99 || got.Tallies["a"].Packets != 1 || len(got.Tallies) != 2 ||
		len(got.Failed) != 2 ||
		got.Since != nil {
		t.Errorf("%v: %s", err, b)
	}
}

func TestConfigApplyLooksFirst(t *testing.T) {
	t.Chdir(t.TempDir())
	setStdin(t, "colour: blue\n")
	code, _, stderr := sluice(t, "config", "apply", "-")
	if want := "sluice: the configuration is refused, what runs stays:\nstdin:1: colour: is not a known key: must be " +
		"one of switches, vip_mac, floor_percent, floor_within, stations, pools, vips\n"; code != exitUsage ||
		!strings.HasPrefix(stderr, want) {
		t.Errorf("exit code %d, stderr %s", code, stderr)
	}
	if err := os.WriteFile("huge.yaml", make([]byte, 17<<20), 0o600); err != nil {
		t.Fatal(err)
	}
	code, _, stderr = sluice(t, "config", "apply", "huge.yaml")
	if want := "sluice: the configuration is refused, what runs stays:\nhuge.yaml: must have at most 8388608 bytes, " +
		"has more\n"; code != exitUsage || stderr != want {
		t.Errorf("exit code %d, stderr %s", code, stderr)
	}
}

func TestManyProblems(t *testing.T) {
	var file strings.Builder
	for i := range 150 {
		fmt.Fprintf(&file, "no%d: 1\n", i)
	}
	name := filepath.Join(t.TempDir(), "many.yaml")
	if err := os.WriteFile(name, []byte(file.String()), 0o600); err != nil {
		t.Fatal(err)
	}
	code, stdout, stderr := sluice(t, "config", "check", "--json", name)
	if want := "sluice: " + name + ": 152 problems\n"; !strings.HasSuffix(stderr, want) {
		t.Errorf("stderr ends in %q, want %q", stderr[max(0, len(stderr)-200):], want)
	}
	var all checked
	if err := json.Unmarshal([]byte(stdout), &all); err != nil || code != exitUsage || len(all.Problems) != 101 ||
		all.Problems[100].Message != "and 52 more" {
		t.Errorf("%v; exit code %d, %d problems for programs, want 100 and how many more", err, code, len(all.Problems))
	}
	for _, args := range [][]string{{"config", "check", name}, {"config", "apply", name},
		{"controller", "--config", name, "--data-dir", t.TempDir(), "--listen", "127.0.0.1:0"}} {
		code, _, stderr := sluice(t, args...)
		if n := strings.Count(stderr, name+":"); code != exitUsage || n < 100 || n > 101 ||
			!strings.Contains(stderr, "\nand 52 more\n") {
			t.Errorf("%v: exit code %d, %d problems, stderr ends in %q", args, code, n,
				stderr[max(0, len(stderr)-200):])
		}
	}
}
