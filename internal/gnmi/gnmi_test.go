package gnmi

import (
	"context"
	"fmt"
	"io"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"
	pb "github.com/openconfig/gnmi/proto/gnmi"
)

// The tree of the tests: lamps, each with bulbs in it, under an origin of its own beside one of OpenConfig's.
var (
	schema = NewSchema(
		Model{Name: "lamps", Organization: "we", Version: "1.2.3", Origin: "ours"},
		Model{Name: "lamps-more", Organization: "we", Version: "0.1.0"},
		Model{Name: "openconfig-things", Organization: "they", Version: "3.0.0", Origin: "openconfig"},
	)
	hour  = schema.Root().Event("lamps:lamps/hour", Uint8)
	lamps = schema.Root().List("lamps:lamps/lamp", "name")
	named = lamps.Event("name", String)
	lit   = lamps.Event("state/lit", Bool)
	color = lamps.Event("state/lamps-more:color", Enum)
	tags  = lamps.Event("state/tags", Strings)
	used  = lamps.Sampled("state/used", Uint64)
	watts = lamps.Sampled("state/watts", Decimal)
	place = lamps.Event("config/place", String)
	bulbs = lamps.List("bulb", "shelf", "socket")
	kind  = bulbs.Event("state/kind", String)
	burnt = bulbs.Sampled("state/burnt", Uint32)
	thing = schema.Root().List("openconfig-things:things/thing", "name")
	size  = thing.Event("state/size", Uint16)
)

// house is a Source.
type house struct {
	mu      sync.Mutex
	lamps   map[string]bool // lit
	used    uint64
	read    int // how often the samples were
	err     error
	changed chan struct{}
}

func newHouse(names ...string) *house {
	h := &house{lamps: make(map[string]bool), used: 1 << 60, changed: make(chan struct{})}
	for _, n := range names {
		h.lamps[n] = true
	}
	return h
}

func (h *house) Changed() <-chan struct{} {
	h.mu.Lock()
	defer h.mu.Unlock()
	return h.changed
}

// change changes the house and tells of it.
func (h *house) change(f func()) {
	h.mu.Lock()
	defer h.mu.Unlock()
	f()
	close(h.changed)
	h.changed = make(chan struct{})
}

func (h *house) Events(_ context.Context, t *Tree) error {
	h.mu.Lock()
	defer h.mu.Unlock()
	t.Entry(schema.Root()).Set(hour, uint64(len(h.lamps)))
	for name, is := range h.lamps {
		e := t.Entry(lamps, name)
		e.Set(named, name)
		e.Set(lit, is)
		if is {
			e.Set(color, "RED")
		}
		e.Set(tags, []string{"old", "green"})
		e.Set(place, "hall")
		t.Entry(bulbs, name, "2", "a").Set(kind, "led")
		t.Entry(bulbs, name, "1", "a").Set(kind, "neon")
	}
	t.Entry(thing, "t").Set(size, uint64(7))
	return h.err
}

func (h *house) Samples(_ context.Context, t *Tree) error {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.read++
	for name := range h.lamps {
		e := t.Entry(lamps, name)
		e.Set(used, h.used)
		e.Set(watts, 0.5)
		t.Entry(bulbs, name, "1", "a").Set(burnt, uint64(3))
	}
	return h.err
}

func serve(h *house) *Server {
	return New(Config{Schema: schema, Source: h, Lowest: time.Second, ReadOnly: "lamps have switches"})
}

// at reads a path as people write it; in tests, keys have neither / nor ].
func at(s string) *pb.Path {
	p := new(pb.Path)
	if origin, rest, ok := strings.Cut(s, ":"); ok {
		p.Origin, s = origin, rest
	}
	for part := range strings.SplitSeq(strings.TrimPrefix(s, "/"), "/") {
		if part == "" {
			continue
		}
		name, keys, _ := strings.Cut(part, "[")
		e := &pb.PathElem{Name: name}
		for key := range strings.SplitSeq(keys, "[") {
			if k, v, ok := strings.Cut(strings.TrimSuffix(key, "]"), "="); ok {
				if e.Key == nil {
					e.Key = make(map[string]string)
				}
				e.Key[k] = v
			}
		}
		p.Elem = append(p.Elem, e)
	}
	return p
}

// show is a notification as lines: prefix|path = value, with what was missed, or prefix|path gone.
func show(n *pb.Notification) (lines []string) {
	prefix := ""
	if p := n.GetPrefix(); p != nil {
		if p.Target != "" {
			prefix += "@" + p.Target + " "
		}
		if p.Origin != "" {
			prefix += p.Origin + ":"
		}
		if len(p.Elem) > 0 {
			prefix += pathText(p.Elem)
		}
		prefix += "|"
	}
	for _, d := range n.GetDelete() {
		lines = append(lines, prefix+pathText(d.Elem)+" gone")
	}
	for _, u := range n.GetUpdate() {
		line := prefix + pathText(u.Path.Elem) + " = " + showValue(u.Val)
		if u.Duplicates > 0 {
			line += fmt.Sprintf(" (%d missed)", u.Duplicates)
		}
		lines = append(lines, line)
	}
	return lines
}

func showValue(v *pb.TypedValue) string {
	switch v := v.GetValue().(type) {
	case *pb.TypedValue_JsonVal:
		return string(v.JsonVal)
	case *pb.TypedValue_JsonIetfVal:
		return string(v.JsonIetfVal)
	case *pb.TypedValue_LeaflistVal:
		var all []string
		for _, e := range v.LeaflistVal.Element {
			all = append(all, showValue(e))
		}
		return "[" + strings.Join(all, " ") + "]"
	}
	return strings.ReplaceAll(v.String(), "  ", " ")
}

func TestCapabilities(t *testing.T) {
	m, err := serve(newHouse()).Capabilities(t.Context(), nil)
	if err != nil {
		t.Fatal(err)
	}
	got := []string{m.GNMIVersion}
	for _, e := range m.SupportedEncodings {
		got = append(got, e.String())
	}
	for _, model := range m.SupportedModels {
		got = append(got, model.Name+" "+model.Organization+" "+model.Version)
	}
	want := []string{"0.10.0", "JSON", "JSON_IETF", "PROTO", "lamps we 1.2.3", "lamps-more we 0.1.0",
		"openconfig-things they 3.0.0"}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
}

func TestSetIsRefused(t *testing.T) {
	_, err := serve(newHouse()).Set(t.Context(), &pb.SetRequest{})
	if want := "rpc error: code = Unimplemented desc = gNMI is read-only here: lamps have switches"; err == nil ||
		err.Error() != want {
		t.Errorf("got %v, want %s", err, want)
	}
}

func TestGet(t *testing.T) {
	lampA := `{"lamps-more:color":"RED","lamps:lit":true,"lamps:tags":["old","green"],"lamps:used":"1152921504606846976","lamps:watts":"0.5"}`
	for _, tt := range []struct {
		name   string
		r      *pb.GetRequest
		prefix string
		path   string
		want   []string
	}{
		{"a leaf", &pb.GetRequest{}, "", "/lamps/lamp[name=a]/state/used",
			[]string{"/lamps/lamp[name=a]/state/used = 1152921504606846976"}},
		{"a leaf, JSON_IETF", &pb.GetRequest{Encoding: pb.Encoding_JSON_IETF}, "", "/lamps/lamp[name=a]/state/used",
			[]string{`/lamps/lamp[name=a]/state/used = "1152921504606846976"`}},
		{"32 bits are a number", &pb.GetRequest{Encoding: pb.Encoding_JSON_IETF}, "",
			"/lamps/lamp[name=a]/bulb[shelf=1]/state/burnt",
			[]string{"/lamps/lamp[name=a]/bulb[shelf=1][socket=a]/state/burnt = 3"}},
		{"a container", &pb.GetRequest{Encoding: pb.Encoding_JSON_IETF}, "", "/lamps/lamp[name=a]/state",
			[]string{"/lamps/lamp[name=a]/state = " + lampA}},
		{"of each entry", &pb.GetRequest{Encoding: pb.Encoding_JSON}, "", "/lamps/lamp/config",
			[]string{`/lamps/lamp[name=a]/config = {"place":"hall"}`, `/lamps/lamp[name=b]/config = {"place":"hall"}`}},
		{"lists in lists", &pb.GetRequest{Encoding: pb.Encoding_JSON_IETF}, "", "/lamps/lamp[name=b]",
			[]string{`/lamps/lamp[name=b] = ` +
				`{"lamps:bulb":[{"state":{"burnt":3,"kind":"neon"}},{"state":{"kind":"led"}}],"lamps:config":{"place":"hall"},` +
				`"lamps:name":"b","lamps:state":{"lamps-more:color":"RED","lit":true,"tags":["old","green"],"used":"1152921504606846976","watts":"0.5"}}`}},
		{"all of an origin", &pb.GetRequest{}, "", "openconfig:/",
			[]string{`openconfig:|/ = {"things":{"thing":[{"state":{"size":7}}]}}`}},
		{"leaves in PROTO", &pb.GetRequest{Encoding: pb.Encoding_PROTO}, "", "/lamps/lamp[name=a]/state", []string{
			`/lamps/lamp[name=a]/state/color = string_val:"RED"`, "/lamps/lamp[name=a]/state/lit = bool_val:true",
			`/lamps/lamp[name=a]/state/tags = [string_val:"old" string_val:"green"]`,
			"/lamps/lamp[name=a]/state/used = uint_val:1152921504606846976",
			"/lamps/lamp[name=a]/state/watts = double_val:0.5"}},
		{"prefix and target", &pb.GetRequest{Prefix: &pb.Path{Target: "home", Origin: "ours"}}, "/lamps/lamp[name=a]",
			"config/place",
			[]string{`@home ours:/lamps/lamp[name=a]|/config/place = "hall"`}},
		{"a prefix that names several", &pb.GetRequest{}, "/lamps/lamp", "config/place",
			[]string{`/lamps/lamp[name=a]/config/place = "hall"`, `/lamps/lamp[name=b]/config/place = "hall"`}},
		{"state only", &pb.GetRequest{Type: pb.GetRequest_STATE}, "", "/lamps/lamp[name=a]/config", nil},
		{"configuration only", &pb.GetRequest{Type: pb.GetRequest_CONFIG}, "", "/lamps/lamp[name=a]",
			[]string{`/lamps/lamp[name=a] = {"config":{"place":"hall"}}`}},
		{"any number of elements", &pb.GetRequest{}, "", "/lamps/.../kind", []string{
			`/lamps/lamp[name=a]/bulb[shelf=1][socket=a]/state/kind = "neon"`,
			`/lamps/lamp[name=a]/bulb[shelf=2][socket=a]/state/kind = "led"`,
			`/lamps/lamp[name=b]/bulb[shelf=1][socket=a]/state/kind = "neon"`,
			`/lamps/lamp[name=b]/bulb[shelf=2][socket=a]/state/kind = "led"`}},
		{"any element, any of one key", &pb.GetRequest{}, "", "/*/lamp[name=a]/bulb[shelf=*][socket=a]/*/kind",
			[]string{
				`/lamps/lamp[name=a]/bulb[shelf=1][socket=a]/state/kind = "neon"`,
				`/lamps/lamp[name=a]/bulb[shelf=2][socket=a]/state/kind = "led"`}},
		{"one model", &pb.GetRequest{UseModels: []*pb.ModelData{{Name: "lamps-more"}}}, "", "/lamps/lamp[name=a]",
			[]string{`/lamps/lamp[name=a] = {"state":{"color":"RED"}}`}},
	} {
		if tt.prefix != "" {
			if tt.r.Prefix == nil {
				tt.r.Prefix = new(pb.Path)
			}
			tt.r.Prefix.Elem = at(tt.prefix).Elem
		}
		tt.r.Path = []*pb.Path{at(tt.path)}
		m, err := serve(newHouse("a", "b")).Get(t.Context(), tt.r)
		if err != nil || len(m.Notification) != 1 || m.Notification[0].Timestamp == 0 {
			t.Errorf("%s: %v, %v", tt.name, m, err)
			continue
		}
		if diff := cmp.Diff(tt.want, show(m.Notification[0])); diff != "" {
			t.Errorf("%s (-want +got):\n%s", tt.name, diff)
		}
	}
}

// A path has an answer of its own, in the order of the request.
func TestGetOfSeveral(t *testing.T) {
	m, err := serve(newHouse("a")).Get(t.Context(),
		&pb.GetRequest{Path: []*pb.Path{at("/things/thing/state/size"), at("/lamps/hour")}})
	if err != nil {
		t.Fatal(err)
	}
	var got []string
	for _, n := range m.Notification {
		got = append(got, show(n)...)
	}
	if diff := cmp.Diff([]string{"/things/thing[name=t]/state/size = 7", "/lamps/hour = 1"}, got); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
}

// A list without entries is one.
func TestGetOfNone(t *testing.T) {
	for _, path := range []string{"/lamps/lamp", "/lamps/lamp/state", "/lamps/.../kind"} {
		m, err := serve(newHouse()).Get(t.Context(), &pb.GetRequest{Path: []*pb.Path{at(path)}})
		if err != nil || len(m.Notification) != 1 || len(m.Notification[0].Update) != 0 ||
			m.Notification[0].Timestamp <= 0 {
			t.Errorf("%s: %v, %v", path, m, err)
		}
	}
}

// elementOnly is a path as it was before version 0.4.
//
//lint:ignore SA1019 clients that use it are told so
var elementOnly = &pb.Path{Element: []string{"lamps"}}

// refused are paths that cannot be one, whoever asks for them.
var refused = []struct {
	name   string
	prefix *pb.Path
	path   *pb.Path
	want   string
}{
	{"an element without a name", nil, &pb.Path{Elem: []*pb.PathElem{{Name: "lamps"}, {}}},
		"path /lamps/: element 2 has no name: must be the name of a node, * or ..."},
	{"a key that a list does not have", nil, at("/lamps/lamp[id=1]"),
		"path /lamps/lamp[id=1]: the keys of lamp are id: must be name"},
	{"keys of what is no list", nil, at("/lamps[name=a]/lamp"),
		"path /lamps[name=a]/lamp: lamps has keys: must have none, as it is no list"},
	{"keys of any number of elements", nil, at("/lamps/...[name=a]"),
		"path /lamps/...[name=a]: ... has keys: must have none"},
	{"another origin", nil, at("theirs:/lamps"), `path /lamps: origin "theirs": must be ours or openconfig, or empty ` +
		`for whatever has the path`},
	{"two origins", &pb.Path{Origin: "ours"}, at("ours:/lamps"),
		`path /lamps: origin "ours" in the prefix and "ours" in the path: must be in one of the two`},
	{"an origin behind elements", at("/lamps"), at("ours:/hour"),
		`path /lamps/hour: origin "ours" in the path: must be in the prefix, as that has elements`},
	{"a target in a path", nil, &pb.Path{Target: "home"}, `path /: target "home" in the path: must be in the prefix`},
	{"the old form", nil, elementOnly, "path /: it has the field element: must be elem, with names and keys apart"},
	{"a long one", nil, at(strings.Repeat("/*", 33)),
		"path " + strings.Repeat("/*", 33) + ": 33 elements: must be at most 32"},
	{"a deep one", nil, at("/.../*/.../*/.../*/.../*/..."),
		"path /.../*/.../*/.../*/.../*/...: ... stands there 5 times: must be at most 4"},
	{"one that fills the log", nil, at("/lamps/lamp[" + strings.Repeat("x", 1000) + "=1]"),
		"path /lamps/lamp[" + strings.Repeat("x", 244) + "... (1015 bytes): the keys of lamp are " + strings.Repeat("x",
			256) + "... (1000 bytes): must be name"},
}

func TestGetRefuses(t *testing.T) {
	s := serve(newHouse("a"))
	for _, tt := range refused {
		_, err := s.Get(t.Context(), &pb.GetRequest{Prefix: tt.prefix, Path: []*pb.Path{tt.path}})
		if want := "rpc error: code = InvalidArgument desc = " + tt.want; err == nil || err.Error() != want {
			t.Errorf("%s: got %v\nwant %s", tt.name, err, want)
		}
	}
	for _, tt := range []struct {
		name string
		r    *pb.GetRequest
		want string
	}{
		{"another encoding", &pb.GetRequest{Encoding: pb.Encoding_ASCII, Path: []*pb.Path{at("/")}},
			"rpc error: code = Unimplemented desc = encoding ASCII is not supported: must be JSON, JSON_IETF or PROTO"},
		{"no path", &pb.GetRequest{}, "rpc error: code = InvalidArgument desc = 0 paths: must be 1..64; / is all " +
			"there is"},
		{"very many", &pb.GetRequest{Path: make([]*pb.Path, 65)},
			"rpc error: code = InvalidArgument desc = 65 paths: must be 1..64; / is all there is"},
		{"a path that there is not", &pb.GetRequest{Path: []*pb.Path{at("/lamps/lamp[name=a]/states/lit")}},
			"rpc error: code = Unimplemented desc = path /lamps/lamp[name=a]/states/lit: there is no states in " +
				"/lamps/lamp[name=a], but bulb, config, name, state"},
		{"a list of others", &pb.GetRequest{Path: []*pb.Path{at("/lldp/interfaces/interface[name=a]")}},
			"rpc error: code = Unimplemented desc = path /lldp/interfaces/interface[name=a]: there is no lldp in /, " +
				"but lamps, things"},
		{"in another origin", &pb.GetRequest{Path: []*pb.Path{at("openconfig:/lamps")}},
			"rpc error: code = Unimplemented desc = path /lamps: there is no lamps in /, but things"},
		{"below a leaf", &pb.GetRequest{Path: []*pb.Path{at("/lamps/hour/half")}},
			"rpc error: code = Unimplemented desc = path /lamps/hour/half: /lamps/hour is a leaf: nothing is below it"},
		{"an entry that there is not", &pb.GetRequest{Path: []*pb.Path{at("/lamps/lamp[name=z]/state")}},
			"rpc error: code = NotFound desc = path /lamps/lamp[name=z]/state: there is nothing now"},
		{"an entry with lists in it", &pb.GetRequest{Path: []*pb.Path{at("/lamps/lamp[name=z]")}},
			"rpc error: code = NotFound desc = path /lamps/lamp[name=z]: there is nothing now"},
		{"another model", &pb.GetRequest{Path: []*pb.Path{at("/")},
			UseModels: []*pb.ModelData{{Name: "lamps", Version: "2.0.0"}}},
			`rpc error: code = InvalidArgument desc = model "lamps", version "2.0.0", is not served: must be one ` +
				`that Capabilities tells`},
	} {
		if _, err := s.Get(t.Context(), tt.r); err == nil || err.Error() != tt.want {
			t.Errorf("%s: got %v\nwant %s", tt.name, err, tt.want)
		}
	}
	broken := newHouse()
	broken.err = context.Canceled
	if _, err := serve(broken).Get(t.Context(), &pb.GetRequest{Path: []*pb.Path{at("/")}}); err == nil ||
		err.Error() != "rpc error: code = Canceled desc = context canceled" {
		t.Errorf("of a source that has stopped: %v", err)
	}
}

// stream is a client of Subscribe in this process. Lines come as they are sent, unless it stands still.
type stream struct {
	t     *testing.T
	sends chan *pb.SubscribeRequest
	done  chan error
	leave context.CancelFunc

	mu    sync.Mutex
	lines []string
	gate  chan struct{} // closed when the client reads; replaced by stop
	at    time.Time     // when lines were cleared
}

// open begins a stream in a synctest bubble.
func open(t *testing.T, s *Server) *stream {
	ctx, leave := context.WithCancel(t.Context())
	c := &stream{t: t, sends: make(chan *pb.SubscribeRequest), done: make(chan error, 1), leave: leave,
		gate: make(chan struct{}), at: time.Now()}
	close(c.gate)
	go func() {
		defer leave()
		c.done <- s.subscribe(ctx, func() (*pb.SubscribeRequest, error) {
			select {
			case r, ok := <-c.sends:
				if !ok {
					return nil, io.EOF
				}
				return r, nil
			case <-ctx.Done():
				return nil, ctx.Err()
			}
		}, func(m *pb.SubscribeResponse) error {
			c.mu.Lock()
			gate := c.gate
			c.mu.Unlock()
			select {
			case <-gate:
			case <-ctx.Done():
				return ctx.Err()
			}
			c.mu.Lock()
			defer c.mu.Unlock()
			if m.GetSyncResponse() {
				c.lines = append(c.lines, "synced")
			}
			c.lines = append(c.lines, show(m.GetUpdate())...)
			return nil
		}, leave)
	}()
	t.Cleanup(func() { leave(); <-c.done })
	return c
}

// subscribe opens a stream with one subscription to path.
func subscribe(t *testing.T, s *Server, mode pb.SubscriptionList_Mode, sub *pb.Subscription, path string) *stream {
	c := open(t, s)
	sub.Path = at(path)
	c.sends <- list(&pb.SubscriptionList{Mode: mode, Encoding: pb.Encoding_JSON_IETF,
		Subscription: []*pb.Subscription{sub}})
	return c
}

func list(l *pb.SubscriptionList) *pb.SubscribeRequest {
	return &pb.SubscribeRequest{Request: &pb.SubscribeRequest_Subscribe{Subscribe: l}}
}

var poll = &pb.SubscribeRequest{Request: &pb.SubscribeRequest_Poll{Poll: &pb.Poll{}}}

// got returns what has come since it was asked last, once all is quiet, or once that time is over.
func (c *stream) got(after time.Duration) []string {
	time.Sleep(after)
	synctest.Wait()
	c.mu.Lock()
	defer c.mu.Unlock()
	lines := c.lines
	c.lines = nil
	return lines
}

func (c *stream) want(name string, after time.Duration, want ...string) {
	c.t.Helper()
	if diff := cmp.Diff(want, c.got(after)); diff != "" {
		c.t.Errorf("%s (-want +got):\n%s", name, diff)
	}
}

// stop makes the client read no more until read.
func (c *stream) stop() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.gate = make(chan struct{})
}

func (c *stream) read() {
	c.mu.Lock()
	defer c.mu.Unlock()
	close(c.gate)
}

func (c *stream) ends(name, want string) {
	c.t.Helper()
	synctest.Wait()
	select {
	case err := <-c.done:
		if c.done <- err; fmt.Sprint(err) != want {
			c.t.Errorf("%s: ends with %v\nwant %s", name, err, want)
		}
	default:
		c.t.Errorf("%s: goes on", name)
	}
}

const second1 = uint64(time.Second)

// Every mode ends its first answer with sync_response, also where nothing is there, by the schema or now.
func TestSync(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := serve(newHouse("a"))
		for _, tt := range []struct {
			name, path string
			want       []string
		}{
			{"a leaf", "/lamps/lamp[name=a]/state/lit", []string{"/lamps/lamp[name=a]/state/lit = true"}},
			{"no such entry", "/lamps/lamp[name=z]/state/lit", nil},
			{"no such leaf", "/lamps/lamp[name=a]/state/dark", nil},
			{"nothing at all", "/none", nil},
		} {
			once := subscribe(t, s, pb.SubscriptionList_ONCE, &pb.Subscription{}, tt.path)
			once.want("ONCE, "+tt.name, 0, append(tt.want, "synced")...)
			once.ends("ONCE, "+tt.name, "<nil>")
			polled := subscribe(t, s, pb.SubscriptionList_POLL, &pb.Subscription{}, tt.path)
			polled.want("POLL, "+tt.name, 0, append(tt.want, "synced")...)
			polled.sends <- poll
			polled.want("the next poll, "+tt.name, 0, append(tt.want, "synced")...)
			close(polled.sends)
			polled.ends("POLL, "+tt.name, "<nil>")
			for _, mode := range []pb.SubscriptionMode{pb.SubscriptionMode_SAMPLE, pb.SubscriptionMode_ON_CHANGE,
				pb.SubscriptionMode_TARGET_DEFINED} {
				stream := subscribe(t, s, pb.SubscriptionList_STREAM, &pb.Subscription{Mode: mode}, tt.path)
				stream.want(mode.String()+", "+tt.name, 0, append(tt.want, "synced")...)
			}
		}
	})
}

// With updates_only the first word is sync_response, in every mode.
func TestUpdatesOnly(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := newHouse("a")
		s := serve(h)
		begin := func(mode pb.SubscriptionList_Mode, sub *pb.Subscription) *stream {
			c := open(t, s)
			sub.Path = at("/lamps/lamp[name=a]/state/lit")
			c.sends <- list(&pb.SubscriptionList{Mode: mode, UpdatesOnly: true, Subscription: []*pb.Subscription{sub}})
			c.want(mode.String(), 0, "synced")
			return c
		}
		begin(pb.SubscriptionList_ONCE, &pb.Subscription{}).ends("ONCE", "<nil>")
		changes := begin(pb.SubscriptionList_STREAM, &pb.Subscription{Mode: pb.SubscriptionMode_ON_CHANGE})
		sampled := begin(pb.SubscriptionList_STREAM, &pb.Subscription{Mode: pb.SubscriptionMode_SAMPLE})
		polled := begin(pb.SubscriptionList_POLL, &pb.Subscription{})
		polled.sends <- poll
		polled.want("a poll", 0, "/lamps/lamp[name=a]/state/lit = true", "synced")
		sampled.want("the next sample", time.Second, "/lamps/lamp[name=a]/state/lit = true")
		changes.want("no change", 0)
		h.change(func() { h.lamps["a"] = false })
		changes.want("a change", 0, "/lamps/lamp[name=a]/state/lit = false")
	})
}

// A sample comes at its interval, which is in nanoseconds, and 0 is the lowest one.
func TestSample(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := newHouse("a")
		s := serve(h)
		const path = "/lamps/lamp[name=a]/state/used"
		line := func(n int) []string {
			var all []string
			for range n {
				all = append(all, fmt.Sprintf(`%s = "%d"`, path, h.used))
			}
			return all
		}
		slow := subscribe(t, s, pb.SubscriptionList_STREAM, &pb.Subscription{Mode: pb.SubscriptionMode_SAMPLE,
			SampleInterval: 3 * second1}, path)
		lowest := subscribe(t, s, pb.SubscriptionList_STREAM, &pb.Subscription{Mode: pb.SubscriptionMode_SAMPLE}, path)
		slow.want("at first", 0, append(line(1), "synced")...)
		lowest.want("at first", 0, append(line(1), "synced")...)
		slow.want("before it is time", 2999*time.Millisecond)
		lowest.want("two were due", 0, line(2)...)
		slow.want("on time", time.Millisecond, line(1)...)
		lowest.want("the third", 0, line(1)...)
		h.mu.Lock()
		h.used++
		h.mu.Unlock()
		slow.want("later", 30*time.Second, line(10)...)
		lowest.want("later", 0, line(30)...)
		if h.read != 34 {
			t.Errorf("the source was read %d times, want 34: who asks at the same time shares what is read", h.read)
		}
	})
}

// Who wants counters alone does not have the events looked at, and the other way round.
func TestOnlyWhatIsAskedFor(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		looked := 0
		h := newHouse("a")
		s := New(Config{Schema: schema, Source: silent{h, &looked}, Lowest: time.Second})
		for _, mode := range []pb.SubscriptionMode{pb.SubscriptionMode_SAMPLE, pb.SubscriptionMode_ON_CHANGE} {
			c := subscribe(t, s, pb.SubscriptionList_STREAM, &pb.Subscription{Mode: mode}, "/lamps/lamp/state/used")
			c.want(mode.String(), 0, `/lamps/lamp[name=a]/state/used = "1152921504606846976"`, "synced")
			time.Sleep(10 * time.Second)
			c.leave()
		}
		if _, err := s.Get(t.Context(), &pb.GetRequest{Path: []*pb.Path{at("/lamps/lamp/state/used")}}); err != nil ||
			looked != 0 {
			t.Errorf("%d looks at the events, %v", looked, err)
		}
		read := h.read
		if _, err := s.Get(t.Context(), &pb.GetRequest{Path: []*pb.Path{at("/lamps/hour")}}); err != nil ||
			h.read != read {
			t.Errorf("%d looks at the samples, %v", h.read-read, err)
		}
	})
}

// With suppress_redundant a sample has what has changed, and all of it at each heartbeat.
func TestSuppressRedundant(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := newHouse("a")
		c := subscribe(t, serve(h), pb.SubscriptionList_STREAM, &pb.Subscription{
			Mode: pb.SubscriptionMode_SAMPLE, SampleInterval: second1, SuppressRedundant: true,
			HeartbeatInterval: 5 * second1,
		}, "/lamps/lamp[name=a]/state")
		all := func() []string {
			return []string{
				fmt.Sprintf("/lamps/lamp[name=a]/state/lit = %v", h.lamps["a"]),
				`/lamps/lamp[name=a]/state/color = "RED"`, `/lamps/lamp[name=a]/state/tags = ["old","green"]`,
				fmt.Sprintf(`/lamps/lamp[name=a]/state/used = "%d"`, h.used), `/lamps/lamp[name=a]/state/watts = "0.5"`,
			}
		}
		c.want("at first", 0, append(all(), "synced")...)
		c.want("all is redundant", 2*time.Second)
		h.change(func() { h.used = 5 })
		c.want("one has changed", time.Second, `/lamps/lamp[name=a]/state/used = "5"`)
		c.want("and stays", time.Second)
		c.want("heartbeat", time.Second, all()...)
		c.want("between", 4*time.Second)
		c.want("heartbeat", time.Second, all()...)
		h.change(func() { h.lamps["a"] = false })
		c.want("an event is sampled too", time.Second, "/lamps/lamp[name=a]/state/color gone",
			"/lamps/lamp[name=a]/state/lit = false")
	})
}

// ON_CHANGE tells each change, what came and what went, and all of it at each heartbeat.
func TestOnChange(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := newHouse("a")
		c := subscribe(t, serve(h), pb.SubscriptionList_STREAM, &pb.Subscription{
			Mode: pb.SubscriptionMode_ON_CHANGE, HeartbeatInterval: 60 * second1,
		}, "/lamps/lamp/state")
		a := []string{"/lamps/lamp[name=a]/state/lit = true", `/lamps/lamp[name=a]/state/color = "RED"`,
			`/lamps/lamp[name=a]/state/tags = ["old","green"]`}
		counted := []string{`/lamps/lamp[name=a]/state/used = "1152921504606846976"`,
			`/lamps/lamp[name=a]/state/watts = "0.5"`}
		c.want("at first", 0, append(append(a[:3:3], counted...), "synced")...)
		c.want("nothing happens", 10*time.Second)
		h.change(func() { h.lamps["a"] = false })
		c.want("one changes, and takes another with it", 0, "/lamps/lamp[name=a]/state/color gone",
			"/lamps/lamp[name=a]/state/lit = false")
		h.change(func() { h.lamps["b"] = false })
		c.want("one comes", 10*time.Millisecond, "/lamps/lamp[name=b]/state/lit = false",
			`/lamps/lamp[name=b]/state/tags = ["old","green"]`)
		c.want("its counters are looked at", time.Second, `/lamps/lamp[name=b]/state/used = "1152921504606846976"`,
			`/lamps/lamp[name=b]/state/watts = "0.5"`)
		h.change(func() { h.used++; delete(h.lamps, "b") })
		c.want("one goes", 10*time.Millisecond, "/lamps/lamp[name=b]/state/lit gone",
			"/lamps/lamp[name=b]/state/tags gone")
		c.want("with its counters", time.Second, "/lamps/lamp[name=b]/state/used gone",
			"/lamps/lamp[name=b]/state/watts gone",
			`/lamps/lamp[name=a]/state/used = "1152921504606846977"`)
		h.change(func() {})
		c.want("a false alarm", time.Second)
		h.change(func() { h.lamps["a"] = true })
		c.want("back", 0, "/lamps/lamp[name=a]/state/lit = true", `/lamps/lamp[name=a]/state/color = "RED"`)
		counted[0] = `/lamps/lamp[name=a]/state/used = "1152921504606846977"`
		c.want("heartbeat", 60*time.Second, append(a[:3:3], counted...)...)
	})
}

// The target sends events when they come, and samples what counts.
func TestTargetDefined(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := newHouse("a")
		c := subscribe(t, serve(h), pb.SubscriptionList_STREAM, &pb.Subscription{}, "/lamps/lamp/bulb[shelf=1]")
		first := []string{`/lamps/lamp[name=a]/bulb[shelf=1][socket=a]/state/kind = "neon"`,
			"/lamps/lamp[name=a]/bulb[shelf=1][socket=a]/state/burnt = 3"}
		c.want("at first", 0, append(first, "synced")...)
		h.change(func() { h.lamps["b"] = true })
		c.want("an event", calm, `/lamps/lamp[name=b]/bulb[shelf=1][socket=a]/state/kind = "neon"`)
		c.want("a sample", targetDefined-calm, "/lamps/lamp[name=a]/bulb[shelf=1][socket=a]/state/burnt = 3",
			"/lamps/lamp[name=b]/bulb[shelf=1][socket=a]/state/burnt = 3")
	})
}

// A path that is not there yet is told of when it is.
func TestLater(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := newHouse()
		c := subscribe(t, serve(h), pb.SubscriptionList_STREAM, &pb.Subscription{Mode: pb.SubscriptionMode_ON_CHANGE},
			"/lamps/lamp[name=a]/state/lit")
		c.want("at first", 0, "synced")
		h.change(func() { h.lamps["a"] = true })
		c.want("later", time.Second, "/lamps/lamp[name=a]/state/lit = true")
	})
}

// A source that does not say when it changes is looked at while somebody wants to know, and not otherwise.
func TestSilentSource(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := newHouse("a")
		looked := 0
		s := New(Config{Schema: schema, Source: silent{h, &looked}, Lowest: time.Second})
		c := subscribe(t, s, pb.SubscriptionList_STREAM, &pb.Subscription{Mode: pb.SubscriptionMode_ON_CHANGE},
			"/lamps/lamp/state/lit")
		c.want("at first", 0, "/lamps/lamp[name=a]/state/lit = true", "synced")
		h.change(func() { h.lamps["a"] = false })
		c.want("a look later", lookInterval, "/lamps/lamp[name=a]/state/lit = false")
		close(c.sends)
		h.change(func() { h.lamps["a"] = true })
		c.want("it has no more to say, and listens", lookInterval, "/lamps/lamp[name=a]/state/lit = true")
		c.leave()
		synctest.Wait()
		before := looked
		time.Sleep(time.Hour)
		if looked != before {
			t.Errorf("%d looks while nobody wants to know", looked-before)
		}
	})
}

type silent struct {
	*house
	looked *int
}

func (s silent) Events(ctx context.Context, t *Tree) error {
	*s.looked++
	return s.house.Events(ctx, t)
}
func (silent) Changed() <-chan struct{} { return nil }

// Several subscriptions of a stream go by their own modes; prefix, target and origin come back.
func TestSeveral(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := newHouse("a", "b")
		c := open(t, serve(h))
		prefix := at("ours:/lamps/lamp[name=a]")
		prefix.Target = "home"
		c.sends <- list(&pb.SubscriptionList{Prefix: prefix, Encoding: pb.Encoding_PROTO,
			Subscription: []*pb.Subscription{
				{Path: at("state/lit"), Mode: pb.SubscriptionMode_ON_CHANGE},
				{Path: at("state/used"), Mode: pb.SubscriptionMode_SAMPLE, SampleInterval: 2 * second1},
			}})
		c.want("at first", 0, "@home ours:/lamps/lamp[name=a]|/state/lit = bool_val:true",
			"@home ours:/lamps/lamp[name=a]|/state/used = uint_val:1152921504606846976", "synced")
		h.change(func() { h.lamps["a"], h.lamps["b"] = false, false })
		c.want("a change", calm, "@home ours:/lamps/lamp[name=a]|/state/lit = bool_val:false")
		c.want("a sample", 2*time.Second-calm,
			"@home ours:/lamps/lamp[name=a]|/state/used = uint_val:1152921504606846976")
		h.change(func() { delete(h.lamps, "a") })
		c.want("it goes", 0, "@home ours:/lamps/lamp[name=a]|/state/lit gone")
	})
}

// What the prefix leaves open is told: the paths that come back have no wildcards.
func TestPrefixes(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		for _, tt := range []struct {
			prefix, path string
			want         []string
		}{
			{"/lamps/lamp", "config", []string{`/lamps/lamp[name=a]|/config/place = "hall"`,
				`/lamps/lamp[name=b]|/config/place = "hall"`}},
			{"/*/lamp[name=a]/*", "place", []string{`/lamps/lamp[name=a]/config|/place = "hall"`}},
			{"/...", "place", []string{`/lamps/lamp[name=a]/config/place = "hall"`,
				`/lamps/lamp[name=b]/config/place = "hall"`}},
			{"/lamps/hour", "", []string{"/lamps/hour|/ = 2"}},
			{"/lamps/lamp[name=a]/*", "*", []string{
				`/lamps/lamp[name=a]/state|/lit = true`, `/lamps/lamp[name=a]/state|/color = "RED"`,
				`/lamps/lamp[name=a]/state|/tags = ["old","green"]`,
				`/lamps/lamp[name=a]/config|/place = "hall"`,
				`/lamps/lamp[name=a]/bulb[shelf=1][socket=a]|/state/kind = "neon"`,
				`/lamps/lamp[name=a]/bulb[shelf=2][socket=a]|/state/kind = "led"`,
				`/lamps/lamp[name=a]/state|/used = "1152921504606846976"`, `/lamps/lamp[name=a]/state|/watts = "0.5"`,
				`/lamps/lamp[name=a]/bulb[shelf=1][socket=a]|/state/burnt = 3`,
			}},
		} {
			c := open(t, serve(newHouse("a", "b")))
			c.sends <- list(&pb.SubscriptionList{Mode: pb.SubscriptionList_ONCE, Encoding: pb.Encoding_JSON_IETF,
				Prefix: at(tt.prefix), Subscription: []*pb.Subscription{{Path: at(tt.path)}}})
			c.want(tt.prefix+" "+tt.path, 0, append(tt.want, "synced")...)
		}
	})
}

func TestSubscribeRefuses(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := serve(newHouse("a"))
		for _, tt := range refused {
			c := open(t, s)
			c.sends <- list(&pb.SubscriptionList{Prefix: tt.prefix, Subscription: []*pb.Subscription{{Path: tt.path}}})
			c.ends(tt.name, "rpc error: code = InvalidArgument desc = "+tt.want)
		}
		lamps := at("/lamps")
		for _, tt := range []struct {
			name string
			r    *pb.SubscribeRequest
			want string
		}{
			{"nothing", &pb.SubscribeRequest{}, "InvalidArgument desc = the first request of a stream must be a " +
				"subscription: there is none to poll"},
			{"a poll at first", poll, "InvalidArgument desc = the first request of a stream must be a subscription: " +
				"there is none to poll"},
			{"no subscription", list(&pb.SubscriptionList{}),
				"InvalidArgument desc = 0 subscriptions: must be 1..64; the path / is all there is"},
			{"very many", list(&pb.SubscriptionList{Subscription: make([]*pb.Subscription, 65)}),
				"InvalidArgument desc = 65 subscriptions: must be 1..64; the path / is all there is"},
			{"another mode", list(&pb.SubscriptionList{Mode: 7, Subscription: make([]*pb.Subscription, 1)}),
				"InvalidArgument desc = mode 7: must be STREAM, ONCE or POLL"},
			{"another encoding", list(&pb.SubscriptionList{Encoding: pb.Encoding_BYTES,
				Subscription: make([]*pb.Subscription, 1)}),
				"Unimplemented desc = encoding BYTES is not supported: must be JSON, JSON_IETF or PROTO"},
			{"another mode of one", list(
				&pb.SubscriptionList{Subscription: []*pb.Subscription{{Path: lamps, Mode: 7}}}),
				"InvalidArgument desc = path /lamps: mode 7: must be TARGET_DEFINED, ON_CHANGE or SAMPLE"},
			{"seconds for nanoseconds",
				list(&pb.SubscriptionList{
					Subscription: []*pb.Subscription{{Path: lamps, Mode: pb.SubscriptionMode_SAMPLE,
						SampleInterval: 10}}}),
				"InvalidArgument desc = path /lamps: sample_interval of 10 ns: must be 1000000000 (1s) at least, or 0"},
			{"for ever", list(&pb.SubscriptionList{
				Subscription: []*pb.Subscription{{Path: lamps, Mode: pb.SubscriptionMode_ON_CHANGE,
					HeartbeatInterval: 1 << 63}}}),
				"InvalidArgument desc = path /lamps: heartbeat_interval of 9223372036854775808 ns: must be " +
					"1000000000 (1s) at least, or 0"},
			{"an interval that the target chooses",
				list(&pb.SubscriptionList{Subscription: []*pb.Subscription{{Path: lamps, SampleInterval: second1}}}),
				"InvalidArgument desc = path /lamps: sample_interval with TARGET_DEFINED: must be 0, as the target " +
					"chooses it; SAMPLE has one"},
		} {
			c := open(t, s)
			c.sends <- tt.r
			c.ends(tt.name, "rpc error: code = "+tt.want)
		}
		c := subscribe(t, s, pb.SubscriptionList_STREAM, &pb.Subscription{}, "/none")
		c.sends <- poll
		c.ends("a poll of a stream", "rpc error: code = InvalidArgument desc = poll: the mode of the subscription "+
			"must be POLL")
		c = subscribe(t, s, pb.SubscriptionList_POLL, &pb.Subscription{}, "/none")
		c.sends <- list(&pb.SubscriptionList{})
		c.ends("a second subscription", "rpc error: code = InvalidArgument desc = a stream has one subscription: "+
			"another one needs a stream of its own")
		c = open(t, s)
		time.Sleep(firstWord)
		c.ends("one that says nothing", "rpc error: code = DeadlineExceeded desc = no request came within 30s")
		c = open(t, s)
		close(c.sends)
		c.ends("one that leaves", "<nil>")
	})
}

// There is room for so many calls, and again when one has left.
func TestPlaces(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := serve(newHouse("a"))
		var all []*stream
		for range mostCalls {
			all = append(all, subscribe(t, s, pb.SubscriptionList_STREAM, &pb.Subscription{}, "/none"))
		}
		open(t, s).ends("one more", "rpc error: code = ResourceExhausted desc = 64 subscriptions are under way: must "+
			"be at most 64")
		get := &pb.GetRequest{Path: []*pb.Path{at("/lamps/hour")}}
		if _, err := s.Get(t.Context(), get); err != nil {
			t.Errorf("a Get beside them: %v", err)
		}
		all[0].leave()
		synctest.Wait()
		subscribe(t, s, pb.SubscriptionList_ONCE, &pb.Subscription{}, "/none").want("one has left", 0, "synced")
		for range mostCalls {
			s.gets.others <- struct{}{} // as slow ones do
		}
		const full = "rpc error: code = ResourceExhausted desc = 64 Gets are under way: must be at most 64"
		if _, err := s.Get(t.Context(), get); err == nil || err.Error() != full {
			t.Errorf("Get: %v, want %s", err, full)
		}
	})
}

// Who reads slowly gets the latest, with a count of what was in between.
func TestSlowReader(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := newHouse("a")
		s := serve(h)
		changes := subscribe(t, s, pb.SubscriptionList_STREAM, &pb.Subscription{Mode: pb.SubscriptionMode_ON_CHANGE},
			"/lamps/lamp/state/lit")
		samples := subscribe(t, s, pb.SubscriptionList_STREAM, &pb.Subscription{Mode: pb.SubscriptionMode_SAMPLE},
			"/lamps/lamp[name=a]/state/used")
		changes.want("at first", 0, "/lamps/lamp[name=a]/state/lit = true", "synced")
		samples.want("at first", 0, `/lamps/lamp[name=a]/state/used = "1152921504606846976"`, "synced")
		changes.stop()
		samples.stop()
		flip := func() {
			h.change(func() { h.lamps["a"] = !h.lamps["a"] })
			time.Sleep(calm)
			synctest.Wait()
		}
		for range 7 {
			flip()
		}
		h.change(func() { h.lamps["b"] = true })
		time.Sleep(calm)
		h.change(func() { delete(h.lamps, "b") })
		time.Sleep(10*time.Second + 500*time.Millisecond)
		changes.read()
		samples.read()
		changes.want("the first was under way", 0, "/lamps/lamp[name=a]/state/lit = false",
			"/lamps/lamp[name=a]/state/lit = false (5 missed)")
		samples.want("the first was under way", 0, `/lamps/lamp[name=a]/state/used = "1152921504606846976"`,
			`/lamps/lamp[name=a]/state/used = "1152921504606846976" (8 missed)`)
		samples.want("and goes on", time.Second, `/lamps/lamp[name=a]/state/used = "1152921504606846976"`)
	})
}

// Samples of a large tree are read less often: a fifth of a processor is what that may take.
func TestLargeTree(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := newHouse()
		for i := range 100_000 {
			h.lamps[fmt.Sprint(i)] = true
		}
		s := serve(h)
		get := &pb.GetRequest{Path: []*pb.Path{at("/lamps/lamp[name=1]/state/used")}}
		pause := 0 * time.Second
		for _, step := range []struct {
			name  string
			after func() time.Duration
			read  int
		}{
			{"at first", func() time.Duration { return 0 }, 1},
			{"just before it is old", func() time.Duration { return pause - time.Millisecond }, 1},
			{"it is old", func() time.Duration { return time.Millisecond }, 2},
			{"again", func() time.Duration { return pause / 2 }, 2},
		} {
			time.Sleep(step.after())
			if _, err := s.Get(t.Context(), get); err != nil || h.read != step.read {
				t.Errorf("%s: read %d times, %v, want %d", step.name, h.read, err, step.read)
			}
			latest, _ := s.trees[sampled].current()
			pause = 5 * time.Duration(latest.values) * perValue
		}
		if pause < 2*s.cfg.Lowest/10 {
			t.Errorf("the tree is small: it stays fresh for %v", pause)
		}
	})
}

// Who takes nothing for a minute is let go, with the reason; who has nothing to take is not.
func TestStandstill(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := newHouse("a")
		s := serve(h)
		stands := subscribe(t, s, pb.SubscriptionList_STREAM, &pb.Subscription{Mode: pb.SubscriptionMode_SAMPLE},
			"/lamps/lamp[name=a]/state/used")
		quiet := subscribe(t, s, pb.SubscriptionList_STREAM, &pb.Subscription{Mode: pb.SubscriptionMode_ON_CHANGE},
			"/lamps/lamp/state/lit")
		synctest.Wait()
		stands.stop()
		time.Sleep(standstill - time.Second)
		stands.read()
		synctest.Wait()
		stands.stop()
		time.Sleep(standstill + standstill/2)
		stands.ends("it stands", "rpc error: code = DeadlineExceeded desc = the client has taken nothing for 1m0s")
		quiet.want("it has nothing to take", 0, "/lamps/lamp[name=a]/state/lit = true", "synced")
		h.change(func() { h.lamps["a"] = false })
		quiet.want("and then it has", calm, "/lamps/lamp[name=a]/state/lit = false")
	})
}

func TestSource(t *testing.T) {
	for name, f := range map[string]func(){
		"a leaf of another list":  func() { newTree(schema, event).Entry(lamps, "a").Set(kind, "led") },
		"another type":            func() { newTree(schema, event).Entry(lamps, "a").Set(lit, "yes") },
		"a sample of events":      func() { newTree(schema, event).Entry(lamps, "a").Set(used, uint64(1)) },
		"a key too few":           func() { newTree(schema, event).Entry(bulbs, "a", "1") },
		"a module that is no one": func() { NewSchema().Root().Event("x:y", Bool) },
	} {
		func() {
			defer func() {
				if recover() == nil {
					t.Errorf("%s is taken", name)
				}
			}()
			f()
		}()
	}
	tree := newTree(schema, event)
	tree.Entry(lamps, "a\xff").Set(place, "h\xffll")
	tree.Entry(lamps, "a\xff").Set(tags, []string{"\xff"})
	s := tree.follow(new(state), time.Now())
	if e := s.lists[lamps.index]; len(e) != 1 || e[0].keys[0] != "a\ufffd" ||
		e[0].values[tags.index].([]string)[0] != "\ufffd" {
		t.Errorf("what is no text, twice: %v", e)
	}
}
