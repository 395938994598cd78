package api

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"connectrpc.com/connect"
)

// watched answers GetStatus, and WatchEvents once now and once after the second.
type watched struct {
	UnimplementedControllerServiceHandler
	UnimplementedHealthServiceHandler
	second <-chan time.Time
}

func (watched) GetStatus(context.Context, *GetStatusRequest) (*GetStatusResponse, error) {
	return &GetStatusResponse{IntentRevision: 7}, nil
}

func (w watched) WatchEvents(ctx context.Context, _ *WatchEventsRequest, s *connect.ServerStream[Event]) error {
	if err := s.Send(&Event{Sequence: 1}); err != nil {
		return err
	}
	select {
	case <-ctx.Done():
		return ctx.Err()
	case <-w.second:
		return s.Send(&Event{Sequence: 2})
	}
}

func serveLimited(t *testing.T, m limits, address string, w watched) string {
	t.Helper()
	l, err := Listen(address)
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- m.serve(ctx, l, w, w) }()
	t.Cleanup(func() {
		cancel()
		if err := <-done; err != nil {
			t.Error(err)
		}
	})
	return l.Addr().String()
}

func TestGuard(t *testing.T) {
	tcp := serveLimited(t, defaultLimits, "127.0.0.1:0", watched{})
	socket := filepath.Join(t.TempDir(), "api")
	serveLimited(t, defaultLimits, "unix:"+socket, watched{})
	const good = `{"intentRevision":"7"}`
	refused := func(message string) string { return fmt.Sprintf(`{"code":"permission_denied","message":%q}`, message) }
	for _, test := range []struct{ network, host, origin, want string }{
		{"tcp", "localhost:9680", "", good},
		{"tcp", "127.0.0.1", "", good},
		{"tcp", "[::1]:9680", "", good},
		{"tcp", "localhost:9680", "http://localhost:9680", good},
		{"tcp", "evil.example:9680", "", refused("host \"evil.example:9680\": must be localhost or a loopback address")},
		{"tcp", "192.0.2.1", "", refused("host \"192.0.2.1\": must be localhost or a loopback address")},
		{"tcp", "localhost.evil.example", "", refused("host \"localhost.evil.example\": must be localhost or a loopback address")},
		{"tcp", "controller", "", refused("host \"controller\": must be localhost or a loopback address")},
		{"tcp", "localhost:9680", "http://evil.example",
			refused("origin \"http://evil.example\": must be this server, \"localhost:9680\": web pages of others may not call it")},
		{"tcp", "localhost:9680", "null", refused("origin \"null\": must be this server, \"localhost:9680\": web pages of others may not call it")},
		{"unix", "controller", "", good},
		{"unix", "controller", "http://evil.example",
			refused("origin \"http://evil.example\": must be this server, \"controller\": web pages of others may not call it")},
	} {
		address := tcp
		if test.network == "unix" {
			address = socket
		}
		client := http.Client{Transport: &http.Transport{
			DisableKeepAlives: true,
			DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
				return new(net.Dialer).DialContext(ctx, test.network, address)
			},
		}}
		r, err := http.NewRequest(http.MethodPost, "http://"+test.host+ControllerServiceGetStatusProcedure, strings.NewReader("{}"))
		if err != nil {
			t.Fatal(err)
		}
		r.Header.Set("Content-Type", "application/json")
		if test.origin != "" {
			r.Header.Set("Origin", test.origin)
		}
		resp, err := client.Do(r)
		if err != nil {
			t.Errorf("%+v: %v", test, err)
			continue
		}
		body, _ := io.ReadAll(resp.Body)
		resp.Body.Close()
		if string(body) != test.want {
			t.Errorf("host %s, origin %s: got %s, want %s", test.host, test.origin, body, test.want)
		}
	}
	resp, err := http.Post("http://"+tcp+"/", "text/plain", nil)
	if err != nil {
		t.Fatal(err)
	}
	resp.Body.Close()
	if resp.StatusCode != http.StatusNotFound {
		t.Errorf("a stranger's path: status %s", resp.Status)
	}
}

// A caller that does not go on with its request is let go; one that watches is not.
func TestSlowCallers(t *testing.T) {
	const body = 200 * time.Millisecond
	second := make(chan time.Time, 2)
	address := serveLimited(t, limits{body: body, connections: 10}, "127.0.0.1:0", watched{second: second})
	conn, err := net.Dial("tcp", address)
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	client, err := Dial(address)
	if err != nil {
		t.Fatal(err)
	}
	defer client.Close()
	h1 := NewControllerServiceClient(&http.Client{Transport: new(http.Transport)}, "http://"+address)
	var streams []*connect.ServerStreamForClient[Event]
	for _, c := range []ControllerServiceClient{client, h1} {
		s, err := c.WatchEvents(t.Context(), &WatchEventsRequest{})
		if err != nil || !s.Receive() {
			t.Fatalf("watching: %v", err)
		}
		defer s.Close()
		streams = append(streams, s)
	}
	start := time.Now()
	fmt.Fprintf(conn, "POST %s HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\nContent-Length: 100\r\n\r\n{", ControllerServiceGetStatusProcedure)
	_ = conn.SetReadDeadline(start.Add(10 * time.Second))
	resp, err := http.ReadResponse(bufio.NewReader(conn), nil)
	if err != nil {
		t.Fatalf("a request without an end: %v", err)
	}
	resp.Body.Close()
	if took := time.Since(start); resp.StatusCode == http.StatusOK || took < body/2 {
		t.Errorf("a request without an end: %s after %v", resp.Status, took)
	}
	second <- time.Time{}
	second <- time.Time{}
	for i, s := range streams {
		if !s.Receive() || s.Msg().Sequence != 2 {
			t.Errorf("stream %d ended: %v", i, s.Err())
		}
	}
}

func TestConnectionsAreBounded(t *testing.T) {
	address := serveLimited(t, limits{body: time.Minute, connections: 2}, "127.0.0.1:0", watched{})
	var held []net.Conn
	for range 2 {
		c, err := net.Dial("tcp", address)
		if err != nil {
			t.Fatal(err)
		}
		defer c.Close()
		held = append(held, c)
	}
	extra, err := net.Dial("tcp", address)
	if err != nil {
		t.Fatal(err)
	}
	defer extra.Close()
	_ = extra.SetReadDeadline(time.Now().Add(10 * time.Second))
	if _, err := extra.Read(make([]byte, 1)); err == nil || errors.Is(err, os.ErrDeadlineExceeded) {
		t.Errorf("one connection too many: %v, want that it is closed", err)
	}
	held[0].Close()
	client, err := Dial(address)
	if err != nil {
		t.Fatal(err)
	}
	defer client.Close()
	deadline := time.Now().Add(10 * time.Second)
	for {
		if _, err = client.GetStatus(t.Context(), &GetStatusRequest{}); err == nil || time.Now().After(deadline) {
			break
		}
	}
	if err != nil {
		t.Errorf("after one is closed: %v", err)
	}
}
