package controller_test

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/sluicelb/sluice/controller"
	"github.com/sluicelb/sluice/controller/api"
	"github.com/sluicelb/sluice/controller/store"
	"github.com/sluicelb/sluice/internal/rpc"
)

// runAt runs a controller at a unix socket until the test ends.
func runAt(t *testing.T, dir, socket string, access *rpc.Access) *api.Client {
	t.Helper()
	file := filepath.Join(dir, "sluice.yaml")
	if err := os.WriteFile(file, []byte(intent("127.0.0.1:1")), 0o600); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	c := controller.New(controller.Config{File: file, Store: store.Config{Dir: filepath.Join(dir, "data")},
		Listen: []string{"unix:" + socket}, Access: access})
	done := make(chan error, 1)
	go func() { done <- c.Run(ctx) }()
	select {
	case <-c.Ready():
	case err := <-done:
		cancel()
		t.Fatal(err)
	}
	client, err := api.Dial(c.Address(), rpc.Security{})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		client.Close()
		cancel()
		if err := <-done; err != nil {
			t.Error(err)
		}
		if _, err := os.Lstat(socket); !os.IsNotExist(err) {
			t.Errorf("the socket stays behind: %v", err)
		}
	})
	return client
}

// A controller listens when the store is its own, and a second one takes nothing from the first.
func TestSecondControllerTakesNoSocket(t *testing.T) {
	dir, err := os.MkdirTemp("", "sluice") // the path of a unix socket must be short
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(dir) })
	socket, other := filepath.Join(dir, "api"), filepath.Join(dir, "other")
	client := runAt(t, dir, socket, nil)
	before, err := os.Lstat(socket)
	if err != nil {
		t.Fatal(err)
	}
	for _, test := range []struct {
		name, data, socket, want string
	}{
		{"the same store", filepath.Join(dir, "data"), other, "in use by another process"},
		{"the same socket", filepath.Join(dir, "data2"), socket,
			fmt.Sprintf("opening a socket: another process listens on %s (process %d)", socket, os.Getpid())},
	} {
		err := controller.New(controller.Config{File: filepath.Join(dir, "sluice.yaml"),
			Store: store.Config{Dir: test.data}, Listen: []string{"unix:" + test.socket}}).Run(t.Context())
		if err == nil || !strings.Contains(err.Error(), test.want) {
			t.Errorf("%s: got %v, want %s", test.name, err, test.want)
		}
	}
	if _, err := os.Lstat(other); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("who has no store has opened a socket: %v", err)
	}
	if after, err := os.Lstat(socket); err != nil || !os.SameFile(before, after) {
		t.Errorf("the first one's socket is not what it was: %v", err)
	}
	if _, err := client.GetStatus(t.Context(), &api.GetStatusRequest{}); err != nil {
		t.Errorf("the first one: %v", err)
	}
}

// Another local user drains nothing, sets nothing down, and shuts out nobody, however many connections it holds.
func TestStrangersAreRefused(t *testing.T) {
	if os.Geteuid() != 0 {
		t.Skip("only root can be another user")
	}
	dir, err := os.MkdirTemp("", "sluice")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(dir) })
	if err := os.Chmod(dir, 0o755); err != nil {
		t.Fatal(err)
	}
	socket := filepath.Join(dir, "api")
	client := runAt(t, dir, socket, rpc.NewAccess(map[rpc.Role][]string{rpc.Healthd: {"4001"}}, nil))
	var held []net.Conn
	done := make(chan error, 1)
	go func() {
		defer close(done)
		runtime.LockOSThread() // and never unlocked: the kernel knows users by thread, and this one ends
		if _, _, errno := unix.RawSyscall(unix.SYS_SETRESUID, 65534, 65534, 65534); errno != 0 {
			done <- errno
			return
		}
		for range 300 {
			if c, err := net.Dial("unix", socket); err == nil {
				held = append(held, c)
			}
		}
	}()
	if err := <-done; err != nil {
		t.Fatal(err)
	}
	for _, c := range held {
		defer c.Close()
	}
	const call = "POST /sluice.v1.%s HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\nContent-Length: %d\r\n" +
		"Connection: close\r\n\r\n%s"
	for i, test := range []struct{ method, body, needs string }{
		{"ControllerService/SetBackendAdmin", `{"backend":"web1","admin":"ADMIN_DRAIN"}`, "operator"},
		{"HealthService/ReportVerdicts", `{"verdicts":[{"pool":"web","backend":"web1","health":"HEALTH_DOWN"}]}`,
			"healthd"},
		{"ControllerService/GetStatus", `{}`, "viewer"},
	} {
		fmt.Fprintf(held[i], call, test.method, len(test.body), test.body)
		answer := make([]byte, 4096)
		n, _ := held[i].Read(answer)
		if want := "has the role nobody and this needs " + test.needs; !strings.Contains(string(answer[:n]), want) {
			t.Errorf("%s: got %s, want %s", test.method, answer[:n], want)
		}
	}
	status, err := client.GetStatus(t.Context(), &api.GetStatusRequest{})
	if err != nil {
		t.Fatalf("with 300 connections of a stranger: %v", err)
	}
	for _, p := range status.Pools {
		for _, b := range p.Backends {
			if b.Admin == api.Admin_ADMIN_DRAIN || b.Health == api.Health_HEALTH_DOWN {
				t.Errorf("a stranger has changed %v", b)
			}
		}
	}
}
