package control_test

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"runtime"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/sluicelb/sluice/gslb/control"
	"github.com/sluicelb/sluice/internal/rpc"
)

// as connects to a socket as another user: the kernel knows users by thread, and this one ends.
func as(t *testing.T, uid uintptr, path string) net.Conn {
	t.Helper()
	var c net.Conn
	var err error
	done := make(chan struct{})
	go func() {
		defer close(done)
		runtime.LockOSThread() // and never unlocked
		for _, call := range []struct{ number, args uintptr }{{unix.SYS_SETGROUPS, 0}, {unix.SYS_SETRESUID, uid}} {
			if _, _, errno := unix.RawSyscall(call.number, call.args, call.args, call.args); errno != 0 {
				err = errno
				return
			}
		}
		c, err = net.Dial("unix", path)
	}()
	<-done
	if err != nil {
		t.Fatalf("user %d: %v", uid, err)
	}
	return c
}

// Another local user suspends nothing, and looks at nothing without a role.
func TestCallersOfTheControlSocket(t *testing.T) {
	if os.Geteuid() != 0 {
		t.Skip("only root can be another user")
	}
	dir, err := os.MkdirTemp("", "gslb") // the path of a unix socket must be short
	if err != nil {
		t.Fatal(err)
	}
	defer os.RemoveAll(dir)
	if err := os.Chmod(dir, 0o755); err != nil {
		t.Fatal(err)
	}
	path := filepath.Join(dir, "socket")
	l, err := rpc.Listen("unix:"+path, control.Access([]string{"4005"}, []string{"4001"}), rpc.Security{}, nil)
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- control.Serve(ctx, l, service{}) }()
	defer func() {
		cancel()
		if err := <-done; err != nil {
			t.Error(err)
		}
	}()
	const look, suspend = "GetStatus", "SetSuspended"
	refused := func(uid int, has, needs string) string {
		return fmt.Sprintf(`{"code":"permission_denied","message":"user %d has the role %s and this needs %s: name the `+
			`user, or a group as %%GROUP, under server.control.%ss"}`, uid, has, needs, needs)
	}
	for _, tt := range []struct {
		uid          uintptr
		method, want string
	}{
		{4002, look, refused(4002, "nobody", "viewer")},
		{4002, suspend, refused(4002, "nobody", "operator")},
		{4001, look, `{"configFile":"gslb.yaml"}`},
		{4001, suspend, refused(4001, "viewer", "operator")},
		{4005, look, `{"configFile":"gslb.yaml"}`},
		{4005, suspend, `{"changed":["fra"]}`},
	} {
		const body = `{"selector":{"answer":"fra"},"suspended":true}`
		c := as(t, tt.uid, path)
		sent := map[string]string{look: "{}", suspend: body}[tt.method]
		fmt.Fprintf(c, "POST /sluice.gslb.v1.ControlService/%s HTTP/1.1\r\nHost: x\r\n"+
			"Content-Type: application/json\r\nContent-Length: %d\r\n\r\n%s", tt.method, len(sent), sent)
		r, err := http.ReadResponse(bufio.NewReader(c), nil)
		if err != nil {
			t.Fatal(err)
		}
		got, err := io.ReadAll(r.Body)
		if err != nil {
			t.Fatal(err)
		}
		c.Close()
		if string(got) != tt.want {
			t.Errorf("user %d calls %s: got %s, want %s", tt.uid, tt.method, got, tt.want)
		}
	}
}
