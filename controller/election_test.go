package controller_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"math"
	"net"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"go.etcd.io/etcd/server/v3/embed"
	"go.uber.org/zap"

	"github.com/sluicelb/sluice/controller/api"
	"github.com/sluicelb/sluice/controller/store"
	"github.com/sluicelb/sluice/p4/limits"
	"github.com/sluicelb/sluice/p4/p4rt"
)

// eachSwitch runs a test on every target that is at hand. A target remembers the election ids that it has seen,
// and is not restarted.
//
//	controllers, one at a time or at once -- TCP -- target
func eachSwitch(t *testing.T, test func(t *testing.T, address string)) {
	t.Run("softswitch", func(t *testing.T) { test(t, newTarget(t).Target()) })
	t.Run("bmv2", func(t *testing.T) { test(t, startBMv2(t)) })
}

// startBMv2 runs simple_switch_grpc without ports until the test ends.
func startBMv2(t *testing.T) string {
	binary, err := exec.LookPath("simple_switch_grpc")
	if err != nil {
		t.Skip("simple_switch_grpc is not installed")
	}
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	address := l.Addr().String()
	l.Close()
	cmd := exec.Command(binary, "--no-p4", "--device-id", "1", "--log-file", filepath.Join(t.TempDir(), "bmv2"),
		"--", "--grpc-server-addr", address, "--cpu-port", fmt.Sprint(limits.CPUPort))
	cmd.Dir = t.TempDir()
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		_ = cmd.Process.Kill()
		_ = cmd.Wait()
	})
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	for {
		c, err := p4rt.Dial(ctx, address, 1)
		if err == nil {
			c.Close()
			return address
		}
		if ctx.Err() != nil {
			t.Fatalf("the target does not come up: %v", err)
		}
		time.Sleep(20 * time.Millisecond)
	}
}

func copyTo(t *testing.T, to, from string) {
	t.Helper()
	if err := os.RemoveAll(to); err != nil {
		t.Fatal(err)
	}
	if err := os.CopyFS(to, os.DirFS(from)); err != nil {
		t.Fatal(err)
	}
}

// Whatever was at a switch and has left, and however old the store is that it comes back with, the right controller
// becomes primary again by itself. Each case runs other controllers and ends with none at the switch.
func TestPrimaryAgainByItself(t *testing.T) {
	t.Parallel() // it waits, most of its time
	for _, test := range []struct {
		name   string
		others func(t *testing.T, o options, run func(options))
	}{
		{"the data directory is restored from an old backup", func(t *testing.T, o options, run func(options)) {
			backup := t.TempDir()
			copyTo(t, backup, o.dir)
			for range 3 {
				run(o)
			}
			copyTo(t, o.dir, backup)
		}},
		{"a lost data directory is found again", func(t *testing.T, o options, run func(options)) {
			lost := filepath.Join(t.TempDir(), "lost")
			if err := os.Rename(o.dir, lost); err != nil {
				t.Fatal(err)
			}
			run(o)
			copyTo(t, o.dir, lost)
		}},
		{"a copy of the data directory was at the switch", func(t *testing.T, o options, run func(options)) {
			other := o
			other.dir = t.TempDir()
			copyTo(t, other.dir, o.dir)
			run(other)
			run(other)
		}},
		{"a fresh controller was at the switch", func(t *testing.T, o options, run func(options)) {
			o.dir = t.TempDir()
			run(o)
		}},
		{"one whose clock is ahead was at the switch", func(t *testing.T, o options, run func(options)) {
			o.dir, o.election = t.TempDir(), 7
			run(o)
		}},
	} {
		t.Run(test.name, func(t *testing.T) {
			eachSwitch(t, func(t *testing.T, address string) {
				files := t.TempDir()
				o := options{dir: filepath.Join(t.TempDir(), "data"), file: writeFile(t, files, intent(address))}
				run := func(o options) {
					t.Helper()
					d := startController(t, o)
					d.synced()
					d.kill()
				}
				run(o)
				test.others(t, o, run)
				d := startController(t, o)
				d.synced()
				if s := d.status().Switches[0]; s.RowsReadBack == 0 {
					t.Errorf("the switch lost its rows: %v", s)
				}
				d.verdict("web2", api.Health_HEALTH_DOWN)
				d.quiet()
			})
		})
	}
}

// controlled waits until a controller says that somebody else has the switch.
func (d *daemon) controlled() {
	d.t.Helper()
	d.until("the switch is said to be another's", func(m *api.GetStatusResponse) bool {
		s := m.Switches[0]
		return s.State == api.SwitchStatus_STATE_DISCONNECTED &&
			strings.Contains(s.Error, "not primary: switch leaf1 is controlled by another controller, election id ") &&
			strings.Contains(s.Error, "; this one waits until that has left")
	})
}

// Two controllers with a store each that are both alive do not fight: the one that is primary stays, the other says
// so, and takes over when the first has left.
func TestTwoThatLive(t *testing.T) {
	t.Parallel() // it waits, most of its time
	for _, kind := range []string{"a copy", "a fresh one"} {
		t.Run(kind, func(t *testing.T) {
			t.Parallel()
			eachSwitch(t, func(t *testing.T, address string) {
				files := t.TempDir()
				o := options{dir: t.TempDir(), file: writeFile(t, files, intent(address))}
				first := startController(t, o)
				first.synced()
				other := o
				other.dir = t.TempDir()
				if kind == "a copy" {
					first.kill()
					copyTo(t, other.dir, o.dir)
					first = startController(t, o)
					first.synced()
				}
				connects := first.status().Switches[0].Connects
				second := startController(t, other)
				second.controlled()
				first.verdict("web2", api.Health_HEALTH_DOWN) // it writes on
				first.quiet()
				if n := first.status().Switches[0].Connects; n != connects {
					t.Errorf("the first has connected %d times, want %d", n, connects)
				}
				first.kill()
				second.synced()

				// And back: the first returns, waits in its turn, and has the switch when it is free.
				first = startController(t, o)
				first.controlled()
				second.kill()
				first.synced()
				first.kill()
			})
		})
	}
}

// Somebody who takes the switch by force has it for as long as he stays, whatever his id; then it is the controller's
// again, which says loudly whom it outbids.
func TestTakenByForce(t *testing.T) {
	t.Parallel() // it waits, most of its time
	for _, id := range []p4rt.ElectionID{
		{Low: uint64(time.Now().Add(time.Hour).UnixMicro())},
		{High: math.MaxUint64, Low: math.MaxUint64},
	} {
		t.Run(id.String(), func(t *testing.T) {
			eachSwitch(t, func(t *testing.T, address string) {
				var log buffer
				dir := t.TempDir()
				d := startController(t, options{dir: dir, file: writeFile(t, dir, intent(address)),
					log: slog.New(slog.NewTextHandler(&log, nil))})
				d.synced()
				ctx, leave := context.WithCancel(t.Context())
				intruder := p4rt.NewSession(p4rt.Config{Target: address, DeviceID: 1, Election: &id})
				var gone sync.WaitGroup
				gone.Go(func() {
					_ = intruder.Run(ctx, func(ctx context.Context, _ *p4rt.Primary) error { <-ctx.Done(); return nil })
				})
				d.controlled()
				leave()
				gone.Wait()
				d.quiet()
				d.kill()
				if strings.HasSuffix(t.Name(), "/bmv2") {
					return // it remembers no id of those that have left, and takes the highest that is there
				}
				want := `level=WARN msg="another controller has left the switch: this one outbids it" switch=leaf1 ` +
					`outbids=` + id.String()
				if !strings.Contains(log.String(), want) {
					t.Errorf("got log\n%s\nwant %s", log.String(), want)
				}
			})
		})
	}
}

// etcd starts an etcd with default limits, and returns the address of a way to it that can be cut.
func etcd(t *testing.T) (address string, through func() (address string, cut, mend func())) {
	t.Helper()
	cfg := embed.NewConfig()
	cfg.Dir = t.TempDir()
	cfg.ListenPeerUrls, cfg.ListenClientUrls = nil, []url.URL{{Scheme: "http", Host: "127.0.0.1:0"}}
	cfg.TickMs, cfg.ElectionMs = 10, 50
	cfg.ZapLoggerBuilder = embed.NewZapLoggerBuilder(zap.NewNop())
	e, err := embed.StartEtcd(cfg)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(e.Close)
	<-e.Server.ReadyNotify()
	address = e.Clients[0].Addr().String()
	return address, func() (string, func(), func()) {
		l, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			t.Fatal(err)
		}
		var mu sync.Mutex // guards what follows
		var open []net.Conn
		severed := false
		shut := func() {
			mu.Lock()
			defer mu.Unlock()
			severed = true
			for _, c := range open {
				c.Close()
			}
			open = nil
		}
		t.Cleanup(func() { l.Close(); shut() })
		go func() { // ends with the listener
			for {
				in, err := l.Accept()
				if err != nil {
					return
				}
				mu.Lock()
				out, err := net.Dial("tcp", address)
				if err != nil || severed {
					in.Close()
					if err == nil {
						out.Close()
					}
					mu.Unlock()
					continue
				}
				open = append(open, in, out)
				mu.Unlock()
				go func() { _, _ = io.Copy(out, in); out.Close() }()
				go func() { _, _ = io.Copy(in, out); in.Close() }()
			}
		}()
		return l.Addr().String(), shut, func() {
			mu.Lock()
			defer mu.Unlock()
			severed = false
		}
	}
}

// standBy starts a controller that has to wait for its store.
func standBy(t *testing.T, o options) (log *buffer, ready chan *daemon) {
	log, ready = new(buffer), make(chan *daemon, 1)
	o.log = slog.New(slog.NewTextHandler(log, nil))
	go func() {
		d, err := tryController(t, o)
		if err != nil {
			t.Error(err)
		}
		ready <- d
	}()
	return log, ready
}

func (b *buffer) wait(t *testing.T, want string) {
	t.Helper()
	for end := time.Now().Add(patience); !strings.Contains(b.String(), want); {
		if time.Now().After(end) {
			t.Fatalf("got log\n%s\nwant %s", b.String(), want)
		}
		time.Sleep(5 * time.Millisecond)
	}
}

// Two controllers on one external etcd: one leads, the other stands by and says so. It takes over at once from one that
// stops, and in seconds from one that its store has not heard of for that long, though that one still has the
// switch. The former leader notices, stays away from the switch, and ends.
func TestLeaderAndStandby(t *testing.T) {
	t.Parallel() // it waits, most of its time
	tg := newTarget(t)
	address, through := etcd(t)
	file := writeFile(t, t.TempDir(), intent(tg.Target()))
	o := options{endpoints: []string{address}, file: file}
	first := startController(t, o)
	first.synced()
	_, ready := standBy(t, o)
	time.Sleep(50 * time.Millisecond)
	select {
	case <-ready:
		t.Fatal("the second took the store from the first, which lives")
	default:
	}
	first.kill()
	second := <-ready
	if second == nil {
		return
	}
	second.synced()
	second.kill()

	cutable, cut, mend := through()
	first = startController(t, options{endpoints: []string{cutable}, file: file})
	first.synced()
	log, ready := standBy(t, o)
	log.wait(t, "another controller has the store: this one stands by until it has left")
	cut()
	second = <-ready
	if second == nil {
		return
	}
	second.synced()
	first.controlled()
	second.verdict("web2", api.Health_HEALTH_DOWN)
	second.quiet()
	// The former leader learns it when it hears from the store again.
	mend()
	select {
	case err := <-first.done:
		if !errors.Is(err, store.ErrConflict) {
			t.Errorf("the former leader ended with %v, want %v", err, store.ErrConflict)
		}
	case <-time.After(patience):
		t.Error("the former leader goes on")
		first.cancel()
		<-first.done
	}
	first.Client.Close()
	first.cancel()
	first.cancel = nil
	if strings.Contains(log.String(), "outbids") {
		t.Errorf("a leader outbids the one before it with a pause:\n%s", log.String())
	}
	second.kill()
}
