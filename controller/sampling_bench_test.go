package controller_test

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"os"
	"os/exec"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	pb "github.com/openconfig/gnmi/proto/gnmi"
	"golang.org/x/sys/unix"
	"google.golang.org/grpc/credentials/insecure"

	"github.com/sluicelb/sluice/controller"
	"github.com/sluicelb/sluice/controller/api"
	"github.com/sluicelb/sluice/controller/store"
	"github.com/sluicelb/sluice/internal/rpc"
	"github.com/sluicelb/sluice/p4/p4rt"
	"github.com/sluicelb/sluice/p4/softswitch"
)

const switchEnv = "SLUICE_TEST_SWITCH"

// TestMain lets the test binary be an embedded switch of its own, without ports, whose work does not count as that of
// the controller. It says where it listens, and ends with its standard input.
func TestMain(m *testing.M) {
	if os.Getenv(switchEnv) == "" {
		os.Exit(m.Run())
	}
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	ctx, cancel := context.WithCancel(context.Background())
	go func() {
		_, _ = io.Copy(io.Discard, os.Stdin)
		cancel()
	}()
	fmt.Println(l.Addr())
	sw := softswitch.New(softswitch.Config{DeviceID: 1, Log: slog.New(slog.DiscardHandler)})
	if err := sw.RunAndServe(ctx, l); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	os.Exit(0)
}

// switchProcess starts an embedded switch as a process of its own, and returns its address.
func switchProcess(b *testing.B) string {
	b.Helper()
	p := exec.Command(os.Args[0])
	p.Env, p.Stderr = append(os.Environ(), switchEnv+"=1"), os.Stderr
	in, err := p.StdinPipe()
	if err != nil {
		b.Fatal(err)
	}
	out, err := p.StdoutPipe()
	if err != nil {
		b.Fatal(err)
	}
	if err := p.Start(); err != nil {
		b.Fatal(err)
	}
	b.Cleanup(func() {
		in.Close()
		_ = p.Wait()
	})
	line, err := bufio.NewReader(out).ReadString('\n')
	if err != nil {
		b.Fatal(err)
	}
	return strings.TrimSpace(line)
}

// many is 4,000 VIPs and 10,000 backends in 100 pools, on each of some switches. The slots are few: they count nothing.
func many(addresses []string) string {
	var y strings.Builder
	y.WriteString("vip_mac: 02:53:4c:00:00:01\nswitches:\n")
	for i, address := range addresses {
		fmt.Fprintf(&y, "  - {name: leaf%d, address: %q, device_id: 1, ports: [1, 2]}\n", i, address)
	}
	y.WriteString("pools:\n")
	for p := range 100 {
		fmt.Fprintf(&y, "  - name: pool%d\n    slots: 128\n    checks: [{type: tcp, port: 80}]\n    backends:\n", p)
		for i := range 100 {
			n := p*100 + i
			const backend = "      - {name: b%d, address: 10.1.%d.%d, mac: \"02:00:00:01:%02x:%02x\", switch_port: 1}\n"
			fmt.Fprintf(&y, backend, n, n/250, n%250+1, n/256, n%256)
		}
	}
	y.WriteString("vips:\n")
	for v := range 4000 {
		fmt.Fprintf(&y, "  - {name: v%d, address: 10.2.%d.%d, port: 80, pool: pool%d}\n", v, v/250, v%250+1, v%100)
	}
	return y.String()
}

// counting counts the bytes that are read from connections.
type counting struct {
	net.Conn
	read *atomic.Int64
}

func (c counting) Read(b []byte) (int, error) {
	n, err := c.Conn.Read(b)
	c.read.Add(int64(n))
	return n, err
}

// processor is how long this process has had one.
func processor(b *testing.B) time.Duration {
	var u unix.Rusage
	if err := unix.Getrusage(unix.RUSAGE_SELF, &u); err != nil {
		b.Fatal(err)
	}
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}

// BenchmarkSampling is what it costs a controller to ask ten switches what they have counted of 4,000 VIPs and 10,000
// backends, and to tell somebody: by gNMI, of one leaf, as a status, and to Prometheus. cpu-ms is how long it has a
// processor for that (the switches are processes of their own), MB what it reads from the switches. Each round begins
// with a wait of 3 s: -benchtime 3x will do.
func BenchmarkSampling(b *testing.B) {
	var addresses []string
	for range 10 {
		addresses = append(addresses, switchProcess(b))
	}
	dir := b.TempDir()
	var read atomic.Int64
	c := controller.New(controller.Config{
		File: writeFile(b, dir, many(addresses)), Store: store.Config{Dir: dir + "/store"},
		Listen: []string{"127.0.0.1:0"}, Metrics: "127.0.0.1:0", Log: slog.New(slog.DiscardHandler),
		Session: func(s *p4rt.Config) {
			s.Options = append(s.Options, p4rt.WithDialer(func(ctx context.Context, _ string) (net.Conn, error) {
				conn, err := new(net.Dialer).DialContext(ctx, "tcp", s.Target)
				return counting{conn, &read}, err
			}))
		},
	})
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- c.Run(ctx) }()
	b.Cleanup(func() {
		cancel()
		if err := <-done; err != nil {
			b.Error(err)
		}
	})
	select {
	case <-c.Ready():
	case err := <-done:
		done <- nil
		b.Fatal(err)
	}
	client, err := api.Dial(c.Address(), rpc.Security{})
	if err != nil {
		b.Fatal(err)
	}
	b.Cleanup(client.Close)
	status := func() *api.GetStatusResponse {
		m, err := client.GetStatus(b.Context(), new(api.GetStatusRequest))
		if err != nil {
			b.Fatal(err)
		}
		return m
	}
	for deadline := time.Now().Add(patience); ; time.Sleep(100 * time.Millisecond) {
		synced := 0
		for _, s := range status().Switches {
			if s.State == api.SwitchStatus_STATE_SYNCED {
				synced++
			}
		}
		if synced == len(addresses) {
			break
		}
		if time.Now().After(deadline) {
			b.Fatalf("%d switches are in line", synced)
		}
	}
	tree := dialGNMI(b, c.Address(), insecure.NewCredentials())
	leaf := &pb.GetRequest{
		Path:     []*pb.Path{sluicePath("switches", "switch=leaf7", "vips", "vip=v7", "packets")},
		Encoding: pb.Encoding_PROTO,
	}
	for _, way := range []struct {
		name string
		ask  func() error
	}{
		{"gNMI", func() error {
			_, err := tree.Get(b.Context(), leaf)
			return err
		}},
		{"status", func() error { status(); return nil }},
		{"Prometheus", func() error {
			r, err := http.Get("http://" + c.MetricsAddress().String() + "/metrics")
			if err != nil {
				return err
			}
			defer r.Body.Close()
			_, err = io.Copy(io.Discard, r.Body)
			return err
		}},
	} {
		b.Run(way.name, func(b *testing.B) {
			var took, cpu time.Duration
			var bytes int64
			n := 0
			for b.Loop() {
				time.Sleep(3 * time.Second) // until what was told before is old
				before, began, had := processor(b), time.Now(), read.Load()
				if err := way.ask(); err != nil {
					b.Fatal(err)
				}
				took, cpu, bytes, n = took+time.Since(began), cpu+processor(b)-before, bytes+read.Load()-had, n+1
			}
			b.ReportMetric(0, "ns/op")
			b.ReportMetric(float64(took.Microseconds())/1000/float64(n), "ms")
			b.ReportMetric(float64(cpu.Microseconds())/1000/float64(n), "cpu-ms")
			b.ReportMetric(float64(bytes)/1e6/float64(n), "MB")
		})
	}
}
