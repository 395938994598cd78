package rpc

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"testing"
	"time"

	"connectrpc.com/connect"
	"google.golang.org/protobuf/types/known/emptypb"
	"google.golang.org/protobuf/types/known/structpb"
)

// What a web page makes a browser on this machine send is refused.
func TestDoor(t *testing.T) {
	tcp := start(t, "127.0.0.1:0", nil, nil).Addr().String()
	socket := socketIn(shortDir(t))
	start(t, "unix:"+socket, nil, nil)
	refused := func(message string) string { return fmt.Sprintf(`{"code":"permission_denied","message":%q}`, message) }
	for _, test := range []struct{ network, host, origin, want string }{
		{"tcp", "localhost:9680", "", "good "},
		{"tcp", "127.0.0.1", "", "good "},
		{"tcp", "[::1]:9680", "", "good "},
		{"tcp", "localhost:9680", "http://localhost:9680", "good "},
		{"tcp", "evil.example:9680", "",
			refused("host \"evil.example:9680\": must be localhost or a loopback address")},
		{"tcp", "192.0.2.1", "", refused("host \"192.0.2.1\": must be localhost or a loopback address")},
		{"tcp", "localhost.evil.example", "",
			refused("host \"localhost.evil.example\": must be localhost or a loopback address")},
		{"tcp", "controller", "", refused("host \"controller\": must be localhost or a loopback address")},
		{"tcp", "localhost:9680", "http://evil.example",
			refused("origin \"http://evil.example\": must be this server, \"localhost:9680\": web pages of others " +
				"may not " +
				"call it")},
		{"tcp", "localhost:9680", "null",
			refused("origin \"null\": must be this server, \"localhost:9680\": web pages of others may not call it")},
		{"unix", "controller", "", "good "},
		{"unix", "controller", "http://evil.example",
			refused("origin \"http://evil.example\": must be this server, \"controller\": web pages of others may " +
				"not call it")},
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
		r, err := http.NewRequest(http.MethodPost, "http://"+test.host+askPath, nil)
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

// A caller that does not go on with its request is let go; one that watches is not, nor one that talks, however much.
func TestSlowCallers(t *testing.T) {
	const within = 200 * time.Millisecond
	second := make(chan struct{})
	watch := http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		switch r.URL.Path {
		case talkPath:
			_ = http.NewResponseController(w).Flush()
			_, _ = io.Copy(w, r.Body)
			return
		case askPath:
			answer(w, r)
			return
		}
		for _, word := range []string{"one\n", "two\n"} {
			fmt.Fprint(w, word)
			_ = http.NewResponseController(w).Flush()
			select {
			case <-second:
			case <-r.Context().Done():
				return
			}
		}
	})
	l, err := Listen("127.0.0.1:0", nil, Security{}, nil)
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- serve(ctx, l, testMethods, within, []Service{Mount("/test.Service/", watch)}) }()
	defer func() {
		cancel()
		if err := <-done; err != nil {
			t.Error(err)
		}
	}()
	client, err := Dial(l.Address(), Security{})
	if err != nil {
		t.Fatal(err)
	}
	defer client.Close()
	var streams []*bufio.Reader
	for _, c := range []*http.Client{client.HTTP(), {Transport: new(http.Transport)}} {
		resp, err := c.Post("http://"+l.Address()+watchPath, "application/json", nil)
		if err != nil {
			t.Fatal(err)
		}
		defer resp.Body.Close()
		r := bufio.NewReader(resp.Body)
		if word, err := r.ReadString('\n'); word != "one\n" {
			t.Fatalf("watching: %q, %v", word, err)
		}
		streams = append(streams, r)
	}
	said, says := io.Pipe()
	talk, err := client.HTTP().Post("http://"+l.Address()+talkPath, "application/json", said)
	if err != nil {
		t.Fatal(err)
	}
	defer talk.Body.Close()
	conn, err := net.Dial("tcp", l.Address())
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	begin := time.Now()
	fmt.Fprintf(conn, "POST %s HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\nContent-Length: "+
		"100\r\n\r\n{", askPath)
	_ = conn.SetReadDeadline(begin.Add(patience))
	resp, err := http.ReadResponse(bufio.NewReader(conn), nil)
	if err != nil {
		t.Fatalf("a request without an end: %v", err)
	}
	resp.Body.Close()
	if took := time.Since(begin); resp.StatusCode == http.StatusOK || took < within/2 {
		t.Errorf("a request without an end: %s after %v", resp.Status, took)
	}
	much := strings.Repeat("much ", 100)
	go func() {
		_, _ = io.WriteString(says, much)
		says.Close()
	}()
	if got, err := io.ReadAll(talk.Body); err != nil || string(got) != much {
		t.Errorf("who talks has said %q, %v", got, err)
	}
	second <- struct{}{}
	second <- struct{}{}
	for i, r := range streams {
		if word, err := r.ReadString('\n'); word != "two\n" {
			t.Errorf("stream %d: %q, %v", i, word, err)
		}
	}
	close(second)
}

// Callers of TCP cannot be told apart: they are bounded together.
func TestConnectionsOverTCP(t *testing.T) {
	address := start(t, "127.0.0.1:0", nil, func(l *Listener) { l.limits.perUser[tcp] = 2 }).Address()
	var held []net.Conn
	for range 3 {
		c, err := net.Dial("tcp", address)
		if err != nil {
			t.Fatal(err)
		}
		defer c.Close()
		held = append(held, c)
	}
	if !closed(t, held[2]) {
		t.Error("one connection too many is open")
	}
	held[0].Close()
	waitFor(t, func() bool {
		c, err := net.Dial("tcp", address)
		if err != nil {
			t.Fatal(err)
		}
		defer c.Close()
		return post(t, c, askPath, "") == "good "
	})
}

// Requests are held to their method's bounds, whatever protocol and codec they come by.
func TestBounds(t *testing.T) {
	const procedure = "/test.Service/Count"
	methods := Methods{procedure: {Role: Viewer, Bytes: 4096, Items: 100}}
	handler := connect.NewUnaryHandlerSimple(procedure, func(_ context.Context, r *structpb.ListValue) (*structpb.Value,
		error) {
		return structpb.NewNumberValue(float64(len(r.Values))), nil
	}, methods.Options())
	l, err := Listen("127.0.0.1:0", nil, Security{}, nil)
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- Serve(ctx, l, methods, Mount("/test.Service/", handler)) }()
	defer func() {
		cancel()
		if err := <-done; err != nil {
			t.Error(err)
		}
	}()
	rpc, err := Dial(l.Address(), Security{})
	if err != nil {
		t.Fatal(err)
	}
	defer rpc.Close()
	list := func(n int) *structpb.ListValue {
		m := &structpb.ListValue{}
		for range n {
			m.Values = append(m.Values, structpb.NewNullValue())
		}
		return m
	}
	long := &structpb.ListValue{Values: []*structpb.Value{structpb.NewStringValue(strings.Repeat("x", 5000))}}
	for _, protocol := range []struct {
		name   string
		option connect.ClientOption
	}{{"Connect", connect.WithClientOptions()}, {"gRPC", connect.WithGRPC()}, {"gRPC-Web", connect.WithGRPCWeb()},
		{"JSON", connect.WithProtoJSON()}} {
		client := connect.NewClient[structpb.ListValue, structpb.Value](rpc.HTTP(), rpc.URL+procedure, protocol.option)
		call := func(m *structpb.ListValue) (float64, error) {
			resp, err := client.CallUnary(t.Context(), connect.NewRequest(m))
			if err != nil {
				return 0, err
			}
			return resp.Msg.GetNumberValue(), nil
		}
		if n, err := call(list(98)); n != 98 {
			t.Errorf("%s: 98 items: %v, %v", protocol.name, n, err)
		}
		if _, err := call(list(200)); connect.CodeOf(err) != connect.CodeInvalidArgument ||
			!strings.Contains(err.Error(), "items") || !strings.Contains(err.Error(), "must be at most 100") {
			t.Errorf("%s: 200 items: %v", protocol.name, err)
		}
		if _, err := call(long); connect.CodeOf(err) != connect.CodeResourceExhausted {
			t.Errorf("%s: 5000 bytes: %v", protocol.name, err)
		}
		zipped := connect.NewClient[structpb.ListValue, structpb.Value](rpc.HTTP(), rpc.URL+procedure, protocol.option,
			connect.WithSendGzip())
		if _, err := zipped.CallUnary(t.Context(),
			connect.NewRequest(list(1))); connect.CodeOf(err) != connect.CodeUnimplemented ||
			!strings.Contains(err.Error(), `unknown compression "gzip"`) {
			t.Errorf("%s: a compressed request: %v", protocol.name, err)
		}
	}
	// And so are answers.
	answers := connect.NewClient[structpb.ListValue, emptypb.Empty](rpc.HTTP(), rpc.URL+procedure, rpc.Options(4, 1))
	if _, err := answers.CallUnary(t.Context(),
		connect.NewRequest(list(1))); connect.CodeOf(err) != connect.CodeResourceExhausted {
		t.Errorf("an answer of more bytes than the client takes: %v", err)
	}
}

func TestItemsOfJSON(t *testing.T) {
	for text, want := range map[string]int{
		`{}`: 1, `{"a":[{},{},{}]}`: 7, `{"a":"{{[,,\",,,\\"}`: 1, `[1,2,3]`: 3, `{"a": "`: 1, `"\`: 0,
	} {
		if got := items([]byte(text)); got != want {
			t.Errorf("%s: %d items, want %d", text, got, want)
		}
	}
}
