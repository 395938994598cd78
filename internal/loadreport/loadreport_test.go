package loadreport

import (
	"bytes"
	"context"
	"encoding/hex"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
)

const patience = time.Minute // for what takes microseconds

var (
	noon  = time.Date(2026, 11, 22, 12, 0, 0, 0, time.UTC)
	addrs = cmpopts.EquateComparable(netip.Addr{})
	www   = VIP(netip.MustParseAddrPort("10.0.0.100:80"), 6)
	www6  = VIP(netip.MustParseAddrPort("[2001:db8::100]:443"), 6)
)

func key(t testing.TB, secret string) Key {
	t.Helper()
	k, err := NewKey([]byte(secret))
	if err != nil {
		t.Fatal(err)
	}
	return k
}

func testKey(t testing.TB) Key { return key(t, "sixteen bytes or more") }

// answers are what the servers of these tests know.
func answers(i Item) Report {
	switch i {
	case www:
		return Report{Known: true, Load: 12, Live: 2, Total: 3}
	case www6:
		return Report{Known: true, Load: Offline, Live: 0, Total: 300}
	case Tag("shop"):
		return Report{Known: true, Load: 254, Live: 70, Total: 71}
	case Tag("cut off"):
		return Report{Known: true, Load: Offline, Unseen: true, Live: 2, Total: 2}
	}
	return Report{}
}

// serve runs a server until the test ends.
func serve(t testing.TB, cfg Config) *Server {
	t.Helper()
	s, err := Listen(cfg)
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- s.Run(ctx, answers) }()
	t.Cleanup(func() {
		cancel()
		if err := <-done; err != nil {
			t.Errorf("the server: %v", err)
		}
	})
	return s
}

// holding is a server without a socket.
func holding(t testing.TB, keys ...Key) *Server {
	t.Helper()
	s := new(Server)
	if err := s.SetKeys(keys); err != nil {
		t.Fatal(err)
	}
	return s
}

func patient(t testing.TB) context.Context {
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	t.Cleanup(cancel)
	return ctx
}

// The bytes of docs/load-report.md.
func TestBytes(t *testing.T) {
	k := testKey(t)
	nonce := [nonceSize]byte{0: 0xa0, 15: 0xaf}
	question, err := encodeRequest(k, noon, nonce, []Item{www, www6, Tag("a")})
	if err != nil {
		t.Fatal(err)
	}
	const head = "534c5201" + // SLR, version 1
		"%s" + // kind, status, count, 0
		"418cb865" + // key id
		"000001a20320a200" + // time
		"a00000000000000000000000000000af" // nonce
	want := fmt.Sprintf(head, "01000300") +
		"0107060050" + "0a000064" +
		"02130601bb" + "20010db8000000000000000000000100" +
		"030161"
	if diff := cmp.Diff(want, hex.EncodeToString(question[:len(question)-macSize])); diff != "" {
		t.Errorf("request (-want +got):\n%s", diff)
	}
	h, err := parseHeader(question)
	if err != nil {
		t.Fatal(err)
	}
	answer := encodeReply(k, h, noon, statusOK, []Report{answers(www), answers(www6), {}, answers(Tag("cut off"))})
	want = fmt.Sprintf(head, "02000400") + "010c00020003" + "01ff0000012c" + "00ff00000000" + "03ff00020002"
	if diff := cmp.Diff(want, hex.EncodeToString(answer[:len(answer)-macSize])); diff != "" {
		t.Errorf("reply (-want +got):\n%s", diff)
	}
	for name, b := range map[string][]byte{"request": question, "reply": answer} {
		if _, ok := k.open(b); !ok {
			t.Errorf("%s: the MAC is wrong", name)
		}
	}
	if got, want := hex.EncodeToString(question[len(question)-macSize:])[:16], "4ecaa59288c6bbd4"; got != want {
		t.Errorf("the request's MAC begins with %s, want %s", got, want)
	}
	small, err := encodeRequest(k, noon, nonce, []Item{Tag("a")})
	if err != nil {
		t.Fatal(err)
	}
	if got, want := hex.EncodeToString(small[headerSize:len(small)-macSize]), "030161000000"; got != want ||
		len(small) != replySize(1) {
		t.Errorf("padding: got %s in %d bytes, want %s in %d", got, len(small), want, replySize(1))
	}
}

func TestItems(t *testing.T) {
	long := strings.Repeat("x", MaxTag)
	var many []Item
	for range MaxItems + 1 {
		many = append(many, Tag("a"))
	}
	var big []Item
	for range 18 {
		big = append(big, Tag(long))
	}
	mapped := Item{Address: netip.MustParseAddr("::ffff:10.0.0.100"), Protocol: 6, Port: 80}
	for _, test := range []struct {
		name  string
		items []Item
		want  []Item // empty: items
		err   string
	}{
		{name: "one VIP", items: []Item{www}},
		{name: "both families and a tag", items: []Item{www6, Tag("shop"), www}},
		{name: "any protocol and port", items: []Item{{Address: www.Address}}},
		{name: "an IPv4 address in IPv6 form", items: []Item{mapped}, want: []Item{www}},
		{name: "the longest tag", items: []Item{Tag(long)}},
		{name: "as many as there may be", items: many[:MaxItems]},
		{name: "none", err: "a request must have 1..64 items, has 0"},
		{name: "too many", items: many, err: "a request must have 1..64 items, has 65"},
		{name: "too much", items: big,
			err: "a request must be at most 1232 bytes, is 1238 with 18 items: ask for fewer at a time"},
		{name: "a tag too long", items: []Item{Tag(long + "x")}, err: "a tag must be at most 63 bytes, is 64"},
		{name: "nothing asked for", items: []Item{{}}, err: "an item must be a tag or an address, is neither"},
		{name: "both", items: []Item{{Tag: "a", Address: www.Address}},
			err: "an item must be a tag or an address, is both"},
		{name: "a zone", items: []Item{{Address: netip.MustParseAddr("fe80::1%eth0")}},
			err: "an address must have no zone, is fe80::1%eth0"},
	} {
		t.Run(test.name, func(t *testing.T) {
			b, err := encodeRequest(testKey(t), noon, [nonceSize]byte{}, test.items)
			if got := errorText(err); got != test.err || err != nil {
				if got != test.err {
					t.Errorf("got error %q, want %q", got, test.err)
				}
				return
			}
			h, err := parseHeader(b)
			if err != nil {
				t.Fatal(err)
			}
			body, ok := testKey(t).open(b)
			if !ok {
				t.Fatal("the MAC is wrong")
			}
			got, err := parseItems(h, body)
			if err != nil {
				t.Fatal(err)
			}
			want := test.want
			if want == nil {
				want = test.items
			}
			if diff := cmp.Diff(want, got, addrs); diff != "" {
				t.Errorf("items (-want +got):\n%s", diff)
			}
			if len(b) < replySize(len(got)) || len(b) > MaxSize {
				t.Errorf("%d bytes ask for a reply of %d", len(b), replySize(len(got)))
			}
		})
	}
}

// What a server must not answer, and why it does not.
func TestHostileRequests(t *testing.T) {
	k := testKey(t)
	s := holding(t, k)
	good := func(t *testing.T, items ...Item) []byte {
		b, err := encodeRequest(k, noon, [nonceSize]byte{1}, items)
		if err != nil {
			t.Fatal(err)
		}
		return b
	}
	// forged has a true MAC over a header with this count and any body.
	forged := func(count byte, body ...byte) func(*testing.T) []byte {
		return func(*testing.T) []byte {
			h := header{kind: request, count: count, key: k.id, millis: noon.UnixMilli()}
			return k.seal(append(h.append(nil), body...))
		}
	}
	change := func(at int, to byte) func(*testing.T) []byte {
		return func(t *testing.T) []byte {
			b := good(t, www)
			if at < 0 {
				at += len(b)
			}
			b[at] = to
			return b
		}
	}
	for _, test := range []struct {
		name string
		data func(*testing.T) []byte
		want string
	}{
		{"nothing", func(*testing.T) []byte { return nil }, "not a load report of version 1"},
		{"another protocol", change(0, 'X'), "not a load report of version 1"},
		{"another version", change(atVersion, 2), "not a load report of version 1"},
		{"cut off", func(t *testing.T) []byte { return good(t, www)[:headerSize+macSize-1] },
			"not a load report of version 1"},
		{"too big", func(*testing.T) []byte { return forgedSize(k, MaxSize+1) }, "not a load report of version 1"},
		{"a reply, sent back", func(t *testing.T) []byte {
			b, err := s.respond(good(t, www), noon, answers)
			if err != nil {
				t.Fatal(err)
			}
			return b
		}, "not a request"},
		{"a kind that is none", change(atKind, 3), "not a request"},
		{"a stranger's key", func(t *testing.T) []byte {
			b, err := encodeRequest(key(t, "some other secret"), noon, [nonceSize]byte{}, []Item{www})
			if err != nil {
				t.Fatal(err)
			}
			return b
		}, "there is no key 80bb344b here"},
		{"a changed count", change(atCount, 2), "not authenticated by key 418cb865"},
		{"a changed time", change(atTime+7, 1), "not authenticated by key 418cb865"},
		{"a changed nonce", change(atNonce, 9), "not authenticated by key 418cb865"},
		{"a changed item", change(headerSize+8, 101), "not authenticated by key 418cb865"},
		{"a changed MAC", change(-1, 0), "not authenticated by key 418cb865"},
		{"another's MAC", func(t *testing.T) []byte {
			b := good(t, www)
			return key(t, "some other secret").seal(b[:len(b)-macSize])
		}, "not authenticated by key 418cb865"},
		{"bytes behind it", func(t *testing.T) []byte { return append(good(t, www), 0) },
			"not authenticated by key 418cb865"},
		{"no items", forged(0), "malformed: 0 items, status 0"},
		{"more items than there may be", forged(65, make([]byte, 1000)...), "malformed: 65 items, status 0"},
		{"smaller than its reply", forged(2, itemTag, 1, 'a', itemTag, 1, 'b'),
			"malformed: smaller than its reply would be"},
		{"an item that is cut off", forged(1, itemTag, 7, 'a', 0, 0, 0), "malformed: items[0] is cut off"},
		{"an item without a length", forged(2, itemTag, 9, 1, 2, 3, 4, 5, 6, 7, 8, 9, itemTag),
			"malformed: items[1] is cut off"},
		{"an empty tag", forged(1, itemTag, 0, 0, 0, 0, 0), "malformed: items[0]: a tag of 0 bytes"},
		{"a tag too long", forged(1, append([]byte{itemTag, 64}, make([]byte, 64)...)...),
			"malformed: items[0]: a tag of 64 bytes"},
		{"a short IPv4 VIP", forged(1, itemIPv4, 6, 6, 0, 80, 10, 0, 0),
			"malformed: items[0]: a VIP of 6 bytes, must be 7"},
		{"a long IPv6 VIP", forged(1, append([]byte{itemIPv6, 20}, make([]byte, 20)...)...),
			"malformed: items[0]: a VIP of 20 bytes, must be 19"},
		{"padding that says something", forged(1, itemTag, 1, 'a', 0, 0, 1),
			"malformed: bytes after the items are not zero"},
	} {
		t.Run(test.name, func(t *testing.T) {
			b, err := s.respond(test.data(t), noon, answers)
			if got := errorText(err); got != test.want || b != nil {
				t.Errorf("got %d bytes and error %q, want %q", len(b), got, test.want)
			}
		})
	}
	t.Run("an item of a kind to come", func(t *testing.T) {
		b, err := s.respond(forged(2, 200, 3, 1, 2, 3, itemTag, 4, 's', 'h', 'o', 'p', 0, 0, 0)(t), noon, answers)
		if err != nil {
			t.Fatal(err)
		}
		h, _ := parseHeader(b)
		got, err := parseReports(h, b[headerSize:len(b)-macSize], 2)
		if err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff([]Report{{Load: Offline}, answers(Tag("shop"))}, got); diff != "" {
			t.Errorf("reports (-want +got):\n%s", diff)
		}
	})
}

// forgedSize is a request of so many bytes.
func forgedSize(k Key, size int) []byte {
	h := header{kind: request, count: 1, key: k.id, millis: noon.UnixMilli()}
	b := Tag("a").append(h.append(nil))
	return k.seal(append(b, make([]byte, size-macSize-len(b))...))
}

func TestWindow(t *testing.T) {
	k := testKey(t)
	s := holding(t, k)
	for _, test := range []struct {
		name string
		at   time.Time
		want status
	}{
		{"now", noon, statusOK},
		{"just not too old", noon.Add(-Window), statusOK},
		{"too old", noon.Add(-Window - time.Millisecond), statusClock},
		{"just not too new", noon.Add(Window), statusOK},
		{"too new", noon.Add(Window + time.Millisecond), statusClock},
		{"the beginning of time", time.UnixMilli(-1 << 63), statusClock},
		{"the end of time", time.UnixMilli(1<<63 - 1), statusClock},
	} {
		h := header{kind: request, count: 1, key: k.id, millis: test.at.UnixMilli(), nonce: [nonceSize]byte{7}}
		question := k.seal(append(www.append(h.append(nil)), 0))
		b, err := s.respond(question, noon, answers)
		if err != nil {
			t.Fatalf("%s: %v", test.name, err)
		}
		got, err := parseHeader(b)
		if err != nil {
			t.Fatalf("%s: %v", test.name, err)
		}
		items := 1
		if test.want == statusClock {
			items = 0 // nothing is told
		}
		want := header{kind: reply, status: test.want, count: uint8(items), key: k.id, millis: noon.UnixMilli(),
			nonce: h.nonce}
		if got != want || len(b) != replySize(items) || len(b) > len(question) {
			t.Errorf("%s: got %+v in %d bytes, want %+v in %d", test.name, got, len(b), want, replySize(items))
		}
	}
}

func TestAsk(t *testing.T) {
	old, next := testKey(t), key(t, "the key that comes after it")
	items := []Item{www, Tag("shop"), www6, Tag("none"), {Address: www.Address}, Tag("cut off")}
	want := []Report{answers(www), answers(Tag("shop")), answers(www6), {Load: Offline}, {Load: Offline},
		answers(Tag("cut off"))}
	ask := func(t *testing.T, c *Client, at string, k Key) {
		t.Helper()
		got, err := c.Ask(patient(t), netip.MustParseAddrPort(at), k, items)
		if err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff(want, got); diff != "" {
			t.Errorf("reports (-want +got):\n%s", diff)
		}
	}
	t.Run("while keys change", func(t *testing.T) {
		s := serve(t, Config{Listen: "127.0.0.1:0", Keys: []Key{old, next}})
		ask(t, new(Client), s.Addr().String(), old)
		ask(t, new(Client), s.Addr().String(), next)
		if err := s.SetKeys([]Key{next}); err != nil {
			t.Fatal(err)
		}
		ask(t, new(Client), s.Addr().String(), next)
		if err, want := s.SetKeys(nil), "load reports: no key is given: nobody could ask"; errorText(err) != want {
			t.Errorf("no keys: got %v, want %s", err, want)
		}
		ask(t, new(Client), s.Addr().String(), next)
	})
	t.Run("IPv6", func(t *testing.T) {
		if !hasIPv6() {
			t.Skip("there is no IPv6 here")
		}
		s := serve(t, Config{Listen: "[::1]:0", Keys: []Key{old}})
		ask(t, new(Client), s.Addr().String(), old)
	})
	// Who asks an address gets the answer from it, though the host would choose another.
	t.Run("every address", func(t *testing.T) {
		s := serve(t, Config{Listen: "0.0.0.0:0", Keys: []Key{old}})
		ask(t, new(Client), fmt.Sprintf("127.0.0.1:%d", s.Addr().Port()), old)
		ask(t, new(Client), fmt.Sprintf("127.0.0.2:%d", s.Addr().Port()), old)
	})
	t.Run("every address of both families", func(t *testing.T) {
		if !hasIPv6() {
			t.Skip("there is no IPv6 here")
		}
		s := serve(t, Config{Listen: "[::]:0", Keys: []Key{old}})
		ask(t, new(Client), fmt.Sprintf("[::1]:%d", s.Addr().Port()), old)
		ask(t, new(Client), fmt.Sprintf("127.0.0.1:%d", s.Addr().Port()), old)
		ask(t, new(Client), fmt.Sprintf("127.0.0.2:%d", s.Addr().Port()), old)
	})
	t.Run("clocks that differ", func(t *testing.T) {
		s := serve(t, Config{Listen: "127.0.0.1:0", Keys: []Key{old}, Now: func() time.Time { return noon }})
		ask(t, &Client{Now: func() time.Time { return noon.Add(-24 * time.Hour) }}, s.Addr().String(), old)
	})
}

func hasIPv6() bool {
	c, err := net.ListenPacket("udp", "[::1]:0")
	if err != nil {
		return false
	}
	c.Close()
	return true
}

// liar is a socket at which the test answers by itself.
func liar(t *testing.T, answer func(question []byte, send func([]byte))) netip.AddrPort {
	t.Helper()
	conn, err := net.ListenUDP("udp", net.UDPAddrFromAddrPort(netip.MustParseAddrPort("127.0.0.1:0")))
	if err != nil {
		t.Fatal(err)
	}
	done := make(chan struct{})
	go func() { // ends when the socket is closed
		defer close(done)
		buffer := make([]byte, 2*MaxSize)
		for {
			n, from, err := conn.ReadFromUDPAddrPort(buffer)
			if err != nil {
				return
			}
			answer(bytes.Clone(buffer[:n]), func(b []byte) { conn.WriteToUDPAddrPort(b, from) })
		}
	}()
	t.Cleanup(func() { conn.Close(); <-done })
	return conn.LocalAddr().(*net.UDPAddr).AddrPort()
}

// Of all that comes in, only the reply to this very question counts.
func TestHostileReplies(t *testing.T) {
	k := testKey(t)
	s := holding(t, k)
	lie := []Report{{Known: true, Load: 1, Live: 9, Total: 9}}
	var before []byte // the reply to the question before
	at := liar(t, func(question []byte, send func([]byte)) {
		truth, err := s.respond(question, noon, answers)
		if err != nil {
			t.Error(err)
			return
		}
		h, _ := parseHeader(question)
		send(nil)
		send([]byte("SLR\x01 is how it begins"))
		send(question) // reflected
		if before != nil {
			send(before) // replayed
		}
		send(encodeReply(key(t, "some other secret"), h, noon, statusOK, lie))
		for _, flip := range []int{atVersion, atKind, atStatus, atCount, atKey, atTime, atNonce, headerSize + 1,
			len(truth) - 1} {
			b := bytes.Clone(truth)
			b[flip] ^= 1
			send(b)
		}
		send(append(bytes.Clone(truth), 0))
		send(bytes.Repeat(truth, 12))
		send(truth)
		before = encodeReply(k, h, noon, statusOK, lie)
	})
	for range 2 {
		got, err := (&Client{Now: func() time.Time { return noon }}).Ask(patient(t), at, k, []Item{www})
		if err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff([]Report{answers(www)}, got); diff != "" {
			t.Errorf("reports (-want +got):\n%s", diff)
		}
	}
}

func TestAskErrors(t *testing.T) {
	k := testKey(t)
	header := func(question []byte) header { h, _ := parseHeader(question); return h }
	for _, test := range []struct {
		name   string
		answer func(question []byte, send func([]byte))
		want   string
	}{
		{"a status that is none", func(q []byte, send func([]byte)) { send(encodeReply(k, header(q), noon, 9, nil)) },
			"the controller refuses the question with status 9"},
		{"too few reports", func(q []byte, send func([]byte)) { send(encodeReply(k, header(q), noon, statusOK, nil)) },
			"the reply has 0 reports in 0 bytes, to 1 items"},
		{"a clock that no time suits",
			func(q []byte, send func([]byte)) { send(encodeReply(k, header(q), noon, statusClock, nil)) },
			"the controller refuses even the time that it gave, 2026-11-22 12:00:00 +0000 UTC"},
	} {
		t.Run(test.name, func(t *testing.T) {
			at := liar(t, test.answer)
			_, err := new(Client).Ask(patient(t), at, k, []Item{www})
			if got, want := errorText(err), fmt.Sprintf("load report from %s: %s", at, test.want); got != want {
				t.Errorf("got %q, want %q", got, want)
			}
		})
	}
	t.Run("silence", func(t *testing.T) {
		ctx, cancel := context.WithCancel(t.Context())
		at := liar(t, func([]byte, func([]byte)) { cancel() })
		_, err := new(Client).Ask(ctx, at, k, []Item{www})
		if want := fmt.Sprintf("load report from %s: context canceled", at); errorText(err) != want ||
			!errors.Is(err, context.Canceled) {
			t.Errorf("got %v, want %s", err, want)
		}
	})
	t.Run("no such key", func(t *testing.T) {
		heard := make(chan struct{})
		log := slog.New(slog.NewTextHandler(writerFunc(func(p []byte) (int, error) {
			if strings.Contains(string(p), `err="there is no key 80bb344b here" count=1`) {
				close(heard)
			}
			return len(p), nil
		}), nil))
		s := serve(t, Config{Listen: "127.0.0.1:0", Keys: []Key{k}, Log: log})
		ctx, cancel := context.WithCancel(patient(t))
		done := make(chan error, 1)
		go func() {
			_, err := new(Client).Ask(ctx, s.Addr(), key(t, "some other secret"), []Item{www})
			done <- err
		}()
		select {
		case <-heard:
		case err := <-done:
			t.Fatalf("there was an answer: %v", err)
		}
		cancel()
		if err := <-done; !errors.Is(err, context.Canceled) {
			t.Errorf("got %v", err)
		}
	})
}

type writerFunc func([]byte) (int, error)

func (f writerFunc) Write(p []byte) (int, error) { return f(p) }

func TestRefusalsAreLoggedOnceAMinute(t *testing.T) {
	var log strings.Builder
	h := slog.NewTextHandler(&log, &slog.HandlerOptions{ReplaceAttr: func(_ []string, a slog.Attr) slog.Attr {
		if a.Key == slog.TimeKey {
			return slog.Attr{}
		}
		return a
	}})
	s := &Server{cfg: Config{Log: slog.New(h)}}
	from := netip.MustParseAddrPort("192.0.2.1:5000")
	for i := range 120 {
		s.refused(from, errForeign, noon.Add(time.Duration(i)*time.Second))
	}
	want := ""
	for _, count := range []int{1, 60} {
		want += fmt.Sprintf("level=WARN msg=\"load report requests are not answered\" from=192.0.2.1:5000 err=\"not a "+
			"load report of version 1\" count=%d\n", count)
	}
	if diff := cmp.Diff(want, log.String()); diff != "" {
		t.Errorf("log (-want +got):\n%s", diff)
	}
}

func TestKeys(t *testing.T) {
	for _, test := range []struct {
		name, text string
		want       string // ids
		err        string
	}{
		{"one", "sixteen bytes or more\n", "[418cb865]", ""},
		{"no line end, spaces, comments", "# now\n\n  sixteen bytes or more  \n# next\r\nsome other secret",
			"[418cb865 80bb344b]", ""},
		{"base64", "base64:c2l4dGVlbiBieXRlcyBvciBtb3Jl\n", "[418cb865]", ""},
		{"none", "# later\n", "", "no key is in it: a line must hold one"},
		{"all faults at once", "short\nbase64:!\nsixteen bytes or more\nsixteen bytes or more\n", "",
			"line 1: a key must have at least 16 bytes, has 5\nline 2: what follows base64: is not base64\n" +
				"line 4: the key " +
				"is that of line 3"},
		{"too many", manyKeys(65), "", "at most 64 keys may be in it, are 65"},
	} {
		keys, err := ParseKeys([]byte(test.text))
		got := ""
		if err == nil {
			got = fmt.Sprint(keys)
		}
		if got != test.want || errorText(err) != test.err {
			t.Errorf("%s: got %s, error %q; want %s, error %q", test.name, got, errorText(err), test.want, test.err)
		}
	}
	if got, want := string(testKey(t).Secret()), "sixteen bytes or more"; got != want {
		t.Errorf("secret: got %q, want %q", got, want)
	}
	if got, want := fmt.Sprintf("%#v %v", testKey(t), testKey(t)), "loadreport.Key(418cb865) 418cb865"; got != want {
		t.Errorf("printed: got %s, want %s", got, want)
	}

	file := filepath.Join(t.TempDir(), "keys")
	read := func(mode os.FileMode, text string) string {
		t.Helper()
		if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		if err := os.Chmod(file, mode); err != nil {
			t.Fatal(err)
		}
		_, err := ReadKeys(file)
		return errorText(err)
	}
	for _, test := range []struct {
		mode       os.FileMode
		text, want string
	}{
		{0o640, "sixteen bytes or more\n", ""},
		{0o600, "short\n", "reading the keys in " + file + ": line 1: a key must have at least 16 bytes, has 5"},
		{0o600, "sixteen bytes or more\na secret of at least 16 bytes\n", "reading the keys in " + file +
			": one is that of the example, which is public: make one, as with head -c 32 /dev/urandom | base64"},
		{0o644, "sixteen bytes or more\n",
			"reading the keys: everybody may use " + file + ", mode -rw-r--r--: chmod o= it"},
	} {
		if got := read(test.mode, test.text); got != test.want {
			t.Errorf("mode %v: got %q, want %q", test.mode, got, test.want)
		}
	}
	if _, err := ReadKeys(file +
		".none"); errorText(err) != "reading the keys: stat "+file+".none: no such file or directory" {
		t.Errorf("no file: %v", err)
	}
}

func manyKeys(n int) string {
	var b strings.Builder
	for i := range n {
		fmt.Fprintf(&b, "a secret with the number %d\n", i)
	}
	return b.String()
}

func TestListenErrors(t *testing.T) {
	k := testKey(t)
	taken := serve(t, Config{Listen: "127.0.0.1:0", Keys: []Key{k}}).Addr().String()
	for _, test := range []struct {
		name string
		cfg  Config
		want string
	}{
		{"no key", Config{Listen: "127.0.0.1:0"}, "load reports: no key is given: nobody could ask"},
		{"an empty key", Config{Listen: "127.0.0.1:0", Keys: []Key{{}}}, "load reports: a key is empty"},
		{"no port", Config{Listen: "127.0.0.1", Keys: []Key{k}},
			"opening the load report socket: address 127.0.0.1: missing port in address"},
		{"taken", Config{Listen: taken, Keys: []Key{k}}, "opening the load report socket: listen udp " + taken +
			": bind: address already in use"},
	} {
		if _, err := Listen(test.cfg); errorText(err) != test.want {
			t.Errorf("%s: got %v, want %s", test.name, err, test.want)
		}
	}
}

func errorText(err error) string {
	if err == nil {
		return ""
	}
	return err.Error()
}

// Whatever comes in: no panic; nothing goes out that is greater than what came in, or to who has no key.
func FuzzRequest(f *testing.F) {
	k := testKey(f)
	for _, items := range [][]Item{{www}, {www6, Tag("shop")}, {Tag("a")}, {{Address: www.Address}}} {
		b, err := encodeRequest(k, noon, [nonceSize]byte{1, 2, 3}, items)
		if err != nil {
			f.Fatal(err)
		}
		f.Add(b, false)
		f.Add(b[:len(b)-macSize], true)
	}
	f.Add([]byte("SLR\x01"), false)
	f.Fuzz(func(t *testing.T, data []byte, sealed bool) {
		if sealed { // by somebody who has the key: the fuzzer cannot find a MAC
			data = k.seal(bytes.Clone(data))
		}
		s := holding(t, k)
		b, err := s.respond(data, noon, answers)
		if err != nil {
			if b != nil {
				t.Errorf("refused (%v) and answered", err)
			}
			return
		}
		if len(b) > len(data) {
			t.Errorf("%d bytes answer %d", len(b), len(data))
		}
		if _, ok := k.open(data); !ok {
			t.Error("answered without a key")
		}
		asked, _ := parseHeader(data)
		h, err := parseHeader(b)
		if err != nil || h.kind != reply || h.nonce != asked.nonce {
			t.Errorf("not the reply: %+v, %v", h, err)
		}
		if h.status != statusOK {
			return
		}
		body, _ := k.open(data)
		items, err := parseItems(asked, body)
		if err != nil {
			t.Fatal(err)
		}
		for _, i := range items {
			if i != (Item{}) && i.Check() != nil {
				t.Errorf("%v came in and cannot go out: %v", i, i.Check())
			}
		}
	})
}

// Whatever comes back: no panic, and reports only of the shape that was asked for.
func FuzzReply(f *testing.F) {
	k := testKey(f)
	h := header{key: k.id, nonce: [nonceSize]byte{1}}
	b := encodeReply(k, h, noon, statusOK, []Report{answers(www), {}})
	f.Add(b[:len(b)-macSize], 2)
	f.Add([]byte{}, 1)
	f.Fuzz(func(t *testing.T, data []byte, items int) {
		data = k.seal(bytes.Clone(data))
		h, err := parseHeader(data)
		if err != nil {
			return
		}
		body, ok := k.open(data)
		if !ok {
			t.Fatal("sealed and not open")
		}
		reports, err := parseReports(h, body, items)
		if err == nil && (len(reports) != items || items*reportSize != len(body)) {
			t.Errorf("%d reports to %d items", len(reports), items)
		}
		for _, r := range reports {
			if !r.Known && r != (Report{Load: Offline}) {
				t.Errorf("not known, and %+v", r)
			}
			if r.Unseen && r.Online() {
				t.Errorf("not seen, and traffic may come: %+v", r)
			}
		}
	})
}
