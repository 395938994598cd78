package rpc

import (
	"context"
	"errors"
	"io"
	"log/slog"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

const patience = 20 * time.Second // for what takes milliseconds

// shortDir is a directory whose path leaves room for a unix socket's name. Everybody may look into it.
func shortDir(t *testing.T) string {
	t.Helper()
	dir, err := os.MkdirTemp("", "rpc")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(dir) })
	if err := os.Chmod(dir, 0o755); err != nil {
		t.Fatal(err)
	}
	return dir
}

const (
	askPath   = "/test.Service/Ask"
	tellPath  = "/test.Service/Tell"
	watchPath = "/test.Service/Watch"
	talkPath  = "/test.Service/Talk"
)

var testMethods = Methods{
	askPath:   {Role: Viewer},
	tellPath:  {Role: Operator, Bytes: 100},
	watchPath: {Role: Viewer, Stream: true},
	talkPath:  {Role: Viewer, Stream: true, Talks: true, Bytes: 10},
}

// answer is a handler without Connect: it repeats the body.
var answer = http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
	body, err := io.ReadAll(r.Body)
	if err != nil {
		http.Error(w, err.Error(), http.StatusBadRequest)
		return
	}
	_, _ = w.Write(append([]byte("good "), body...))
})

type server struct {
	*Listener
	log *logBuffer
}

// start serves answer until the test ends.
func start(t *testing.T, address string, access *Access, change func(*Listener)) server {
	t.Helper()
	log := &logBuffer{}
	l, err := Listen(address, access, Security{}, slog.New(slog.NewTextHandler(log, nil)))
	if err != nil {
		t.Fatal(err)
	}
	if change != nil {
		change(l)
	}
	return serving(t, l, log)
}

// serving has l serve answer until the test ends.
func serving(t *testing.T, l *Listener, log *logBuffer) server {
	t.Helper()
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- serve(ctx, l, testMethods, callTime, []Service{Mount("/test.Service/", answer)}) }()
	t.Cleanup(func() {
		cancel()
		if err := <-done; err != nil {
			t.Error(err)
		}
	})
	return server{l, log}
}

// connectTo connects, without any look at who listens.
func connectTo(path string) (net.Conn, error) { return net.Dial("unix", path) }

// post calls over a connection that is open already, so that the caller is whoever opened it.
func post(t *testing.T, c net.Conn, path, body string) string {
	t.Helper()
	client := http.Client{Timeout: patience, Transport: &http.Transport{
		DisableKeepAlives: true,
		DialContext:       func(context.Context, string, string) (net.Conn, error) { return c, nil },
	}}
	r, err := http.NewRequestWithContext(t.Context(), http.MethodPost, "http://localhost"+path, strings.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	r.Header.Set("Content-Type", "application/json")
	resp, err := client.Do(r)
	if err != nil {
		return "error: " + err.Error()
	}
	defer resp.Body.Close()
	text, err := io.ReadAll(resp.Body)
	if err != nil {
		return "error: " + err.Error()
	}
	return string(text)
}

// closed waits until the other end closes the connection.
func closed(t *testing.T, c net.Conn) bool {
	t.Helper()
	_ = c.SetReadDeadline(time.Now().Add(patience))
	_, err := c.Read(make([]byte, 1))
	return err != nil && !errors.Is(err, os.ErrDeadlineExceeded)
}

func socketIn(dir string) string { return filepath.Join(dir, "socket") }

func waitFor(t *testing.T, true func() bool) {
	t.Helper()
	for late := time.After(patience); !true(); {
		select {
		case <-late:
			t.Fatal("it did not come to be so")
		case <-time.After(time.Millisecond):
		}
	}
}
