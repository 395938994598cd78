package gslb

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"connectrpc.com/connect"
	"github.com/google/go-cmp/cmp"

	"github.com/sluicelb/sluice/gslb/config"
	"github.com/sluicelb/sluice/gslb/control"
	"github.com/sluicelb/sluice/gslb/responder"
)

// Files are read once they are complete: what was replaced as a whole soon, what is written in place when it was left
// alone.
func TestWatchFiles(t *testing.T) {
	const never = time.Hour
	dir := ""
	in := func(name string) string { return filepath.Join(dir, name) }
	write := func(name, text string) func() error {
		return func() error { return os.WriteFile(in(name), []byte(text), 0o600) }
	}
	// moved replaces a file by one that was written a minute ago: within a tick of the kernel's clock it would look
	// as just written.
	moved := func(name string) func() error {
		return func() error {
			old := time.Now().Add(-time.Minute)
			return errors.Join(os.WriteFile(in("next"), []byte("moved"), 0o600), os.Chtimes(in("next"), old, old),
				os.Rename(in("next"), in(name)))
		}
	}
	type step struct {
		after time.Duration
		do    func() error
	}
	for _, tt := range []struct {
		name   string
		off    bool
		steps  []step
		settle time.Duration // after the last step
	}{
		{"nothing changes", false, nil, never},
		{"written in place", false, []step{{0, write("file", "all of it")}}, 10 * time.Second},
		{"written in place with pauses", false, []step{{0, write("file", "a")}, {4 * time.Second, write("file", "all")},
			{9 * time.Second, write("file", "all of it")}}, 10 * time.Second},
		{"written, and back", false, []step{{0, write("file", "a")}, {4 * time.Second, func() error {
			return errors.Join(write("file", "before")(), os.Chtimes(in("file"), time.Unix(1, 0), time.Unix(1, 0)))
		}}}, never},
		{"moved into place", false, []step{{0, moved("file")}}, settle},
		{"moved into place, and then written", false,
			[]step{{0, moved("file")}, {1100 * time.Millisecond, write("file", "more")}}, 10 * time.Second},
		{"removed, and written anew", false, []step{{0, func() error { return os.Remove(in("file")) }},
			{5 * time.Second, write("file", "anew")}}, 10 * time.Second},
		{"removed", false, []step{{0, func() error { return os.Remove(in("file")) }}}, 10 * time.Second},
		{"linked elsewhere", false,
			[]step{{0, func() error {
				return errors.Join(os.Symlink("two", in("next")), os.Rename(in("next"), in("link")))
			}}}, settle},
		{"one moved, another written", false, []step{{0, moved("file")}, {0, write("one", "written")}},
			10 * time.Second},
		{"not watched", true, []step{{0, moved("file")}, {0, write("one", "written")}}, never},
	} {
		t.Run(tt.name, func(t *testing.T) {
			dir = t.TempDir()
			for _, err := range []error{
				write("file", "before")(), os.Chtimes(in("file"), time.Unix(1, 0), time.Unix(1, 0)),
				write("one", "1")(), write("two", "2")(), os.Symlink("one", in("link")),
			} {
				if err != nil {
					t.Fatal(err)
				}
			}
			synctest.Test(t, func(t *testing.T) {
				d := &Daemon{files: make(chan reading, 1), settled: make(chan reading), unreads: make(chan string, 1)}
				d.now.Store(&published{view: &responder.View{Config: &config.Config{Server: config.Server{
					Reload: config.Reload{Watch: !tt.off, Settle: 10 * time.Second},
				}}}})
				ctx, cancel := context.WithCancel(t.Context())
				done := make(chan error, 1)
				go func() { done <- d.watchFiles(ctx) }()
				d.watchAlso(reading{files: []config.File{config.Look(in("file")), config.Look(in("link"))}})
				changed := time.Now()
				for _, s := range tt.steps {
					time.Sleep(s.after)
					if err := s.do(); err != nil {
						t.Fatal(err)
					}
					changed = time.Now()
				}
				select {
				case <-d.settled:
					if took := time.Since(changed); took < tt.settle || took > tt.settle+2*look {
						t.Errorf("settled after %v, want %v and at most two looks more", took, tt.settle)
					}
				case <-time.After(never - time.Second):
					if tt.settle != never {
						t.Errorf("not settled, want after %v", tt.settle)
					}
				}
				cancel()
				if err := <-done; err != nil {
					t.Error(err)
				}
			})
		})
	}
}

// A file that is written again and again goes unread, and that is told once, until it is read or as it was.
func TestRestlessFiles(t *testing.T) {
	const alone = 10 * time.Second
	file := filepath.Join(t.TempDir(), "file")
	write := func(text string, when time.Time) {
		if err := errors.Join(os.WriteFile(file, []byte(text), 0o600), os.Chtimes(file, when, when)); err != nil {
			t.Fatal(err)
		}
	}
	write("before", time.Unix(1, 0))
	synctest.Test(t, func(t *testing.T) {
		d := &Daemon{files: make(chan reading, 1), settled: make(chan reading), unreads: make(chan string, 1)}
		d.now.Store(&published{view: &responder.View{Config: &config.Config{Server: config.Server{
			Reload: config.Reload{Watch: true, Settle: alone},
		}}}})
		ctx, cancel := context.WithCancel(t.Context())
		done := make(chan error, 1)
		go func() { done <- d.watchFiles(ctx) }()
		d.watchAlso(reading{files: []config.File{config.Look(file)}})
		wantTold := func(when string, want ...string) {
			t.Helper()
			synctest.Wait()
			var got []string
			select {
			case text := <-d.unreads:
				got = append(got, text)
			default:
			}
			if diff := cmp.Diff(want, got); diff != "" {
				t.Errorf("%s, told (-want +got):\n%s", when, diff)
			}
		}
		writes := 0
		again := func(d time.Duration) {
			for end := time.Now().Add(d); time.Now().Before(end); time.Sleep(7 * time.Second) {
				writes++
				write(fmt.Sprint(writes), time.Now())
			}
		}
		began := time.Now().Add(look).UTC().Format(time.RFC3339)
		again(28 * time.Second)
		wantTold("after 28 s")
		again(14 * time.Second)
		wantTold("after 42 s", "waits to be left alone for 10s (server.reload.settle) since "+began+
			", and is written again before: "+file+
			"; write another file and move it into its place, or have it read as it is by SIGHUP or `sluice gslb "+
			"reload`")
		again(time.Minute)
		wantTold("still so")

		// It was read all the same, though not as it is by then: that is a try.
		time.Sleep(alone + 2*look)
		was := <-d.settled
		time.Sleep(3 * look) // a large one takes long
		d.watchAlso(was)
		again(7 * time.Second)
		wantTold("after a try in vain")
		write("before", time.Unix(1, 0))
		time.Sleep(2 * look)
		wantTold("as it was", "")

		write("anew", time.Now())
		again(49 * time.Second)
		if text := <-d.unreads; !strings.HasPrefix(text, "waits to be left alone") {
			t.Errorf("told %q", text)
		}
		d.watchAlso(reading{files: []config.File{config.Look(file)}}) // an operator had it read
		write("while it is read", time.Now())
		wantTold("read", "")
		again(49 * time.Second)
		if text := <-d.unreads; !strings.HasPrefix(text, "waits to be left alone") {
			t.Errorf("after it was read, told %q", text)
		}
		cancel()
		if err := <-done; err != nil {
			t.Error(err)
		}
	})
}

// Files that are complete while others are read wait for their turn; when somebody else had them read, it is over.
func TestFilesThatWereReadMeanwhile(t *testing.T) {
	file := filepath.Join(t.TempDir(), "file")
	if err := os.WriteFile(file, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	before := config.Look(file)
	if err := os.WriteFile(file, []byte("anew"), 0o600); err != nil {
		t.Fatal(err)
	}
	synctest.Test(t, func(t *testing.T) {
		d := &Daemon{files: make(chan reading, 1), settled: make(chan reading), unreads: make(chan string, 1)}
		d.now.Store(&published{view: &responder.View{Config: &config.Config{Server: config.Server{
			Reload: config.Reload{Watch: true, Settle: time.Second},
		}}}})
		ctx, cancel := context.WithCancel(t.Context())
		done := make(chan error, 1)
		go func() { done <- d.watchFiles(ctx) }()
		d.watchAlso(reading{files: []config.File{before}})
		time.Sleep(time.Minute)
		d.watchAlso(reading{files: []config.File{config.Look(file)}})
		synctest.Wait()
		select {
		case <-d.settled:
			t.Error("they are read once more")
		default:
		}
		cancel()
		if err := <-done; err != nil {
			t.Error(err)
		}
	})
}

// What goes unread shows in the status until it is read.
func TestUnreadShows(t *testing.T) {
	r := start(t)
	shown := func() string {
		m, err := r.api.GetStatus(t.Context(), &control.GetStatusRequest{})
		if err != nil {
			t.Fatal(err)
		}
		return m.ConfigError
	}
	r.unreads <- "waits"
	r.eventually("it shows", func() bool { return shown() == "waits" })
	if want := `msg="configuration goes unread" file=` + r.file + " why=waits"; strings.Count(r.log.String(),
		want) != 1 {
		t.Errorf("the log does not have once: %s\n%s", want, r.log)
	}
	if _, err := r.api.Reload(t.Context(), &control.ReloadRequest{}); err != nil {
		t.Fatal(err)
	}
	if got := shown(); got != "" {
		t.Errorf("after a reload: %s", got)
	}
}

// A change that drops much waits to be asked for, and is forgotten when the file is whole again.
func TestMuchLossWaits(t *testing.T) {
	r := startWith(t, func(text string) string {
		for i := range 10 {
			text += fmt.Sprintf("      - {name: n%d, type: A, data: 192.0.2.100}\n", i)
		}
		for i := range 2 {
			text += fmt.Sprintf("  - {name: z%d.test, soa_from: [127.0.0.1], records: []}\n", i)
		}
		text = strings.Replace(text, "rules:\n", "rules:\n  - {name: near, sources: near, domains: www, clauses: "+
			"[{group: web}]}\n", 1)
		text = strings.Replace(text, "rules:\n", "source_lists: [{name: near, prefixes: [192.0.2.0/24]}]\nrules:\n", 1)
		return strings.Replace(text, "domains: [www.example.com]", `domains: [www.example.com], expressions: `+
			`['^a[0-9]\.example\.com$', '^b[0-9]\.example\.com$', '^c[0-9]\.example\.com$', '^d[0-9]\.example\.com$']`,
			1)
	})
	r.eventually("fra is up", func() bool { return r.address("www.example.com.") == "192.0.2.1" })
	all, err := os.ReadFile(r.file)
	if err != nil {
		t.Fatal(err)
	}
	half := string(all)[:strings.Index(string(all), "      - {name: n5,")]
	refused := func() string {
		m, err := r.api.GetStatus(t.Context(), &control.GetStatusRequest{})
		if err != nil {
			t.Fatal(err)
		}
		return m.ConfigError
	}
	const why = "waits for SIGHUP or `sluice gslb reload`: it drops "
	for _, tt := range []struct{ name, text, want string }{
		{"names", half, why + "7 of 19 names (n5.example.com., n6.example.com., n7.example.com., ...), and " +
			"server.reload.max_loss lets 20 % go by a change of the file alone"},
		{"expressions", regexp.MustCompile(`, expressions: \[[^]]*\][^]]*\][^]]*\][^]]*\][^]]*\]`).ReplaceAllString(
			string(all), ""),
			why + `4 of 19 names (^a[0-9]\.example\.com$, ^b[0-9]\.example\.com$, ^c[0-9]\.example\.com$, ...), and ` +
				`server.reload.max_loss lets 20 % go by a change of the file alone`},
		{"answers", strings.Replace(strings.Replace(string(all), ", {answer: nyc-www}", "", 1), "  - {name: nyc-www, ",
			"  - {name: other, ", 1),
			why + "1 of 3 answers (nyc-www), and server.reload.max_loss lets 20 % go by a change of the file alone"},
		{"zones", string(all)[:strings.Index(string(all), "  - {name: z0.test,")],
			why + "2 of 3 zones (z0.test., z1.test.), and server.reload.max_loss lets 20 % go by a change of the " +
				"file alone"},
		{"rules", strings.Replace(string(all), "  - {name: near, sources: near, domains: www, clauses: [{group: "+
			"web}]}\n", "", 1),
			why + "1 of 2 rules (near), and server.reload.max_loss lets 20 % go by a change of the file alone"},
	} {
		r.write(tt.text)
		r.eventually("a loss of "+tt.name+" waits", func() bool { return refused() != "" })
		if got := refused(); got != tt.want {
			t.Errorf("%s:\n got %s\nwant %s", tt.name, got, tt.want)
		}
		if got := r.address("n9.example.com."); got != "192.0.2.100" {
			t.Errorf("%s: while it waits the answer is %s", tt.name, got)
		}
		r.write(string(all))
		r.eventually("the file is whole again", func() bool { return refused() == "" })
	}

	// Who asks for it gets it.
	r.write(half)
	m, err := r.api.Reload(t.Context(), &control.ReloadRequest{})
	if err != nil {
		t.Fatal(err)
	}
	if m.Zones != 1 || m.Answers != 3 || m.Rules != 2 || m.ConfigFile != r.file {
		t.Errorf("reloaded: %v", m)
	}
	if got := r.address("n9.example.com."); got != "NXDOMAIN" {
		t.Errorf("after the reload the answer is %s", got)
	}
	// And hears what is wrong with it.
	r.write("rules: 7\n")
	if _, err := r.api.Reload(t.Context(), &control.ReloadRequest{}); connect.CodeOf(
		err) != connect.CodeInvalidArgument || !strings.Contains(err.Error(), r.file+":1: rules: ") {
		t.Errorf("a bad file: %v", err)
	}
	if got := r.address("n1.example.com."); got != "192.0.2.100" {
		t.Errorf("with a bad file the answer is %s", got)
	}
}
