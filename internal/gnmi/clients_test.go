package gnmi

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/openconfig/gnmi/client"
	gclient "github.com/openconfig/gnmi/client/gnmi"
	pb "github.com/openconfig/gnmi/proto/gnmi"
	"github.com/openconfig/gnmic/pkg/api"
)

// served is a house behind both ways of serving, by their names.
func served(t *testing.T, test func(t *testing.T, h *house, address string)) {
	for name, by := range map[string]func(*testing.T, *Server) string{"gRPC": byGRPC, "Connect": byConnect} {
		t.Run(name, func(t *testing.T) {
			h := newHouse("a", "b")
			test(t, h, by(t, serve(h)))
		})
	}
}

// The client of openconfig/gnmi understands ONCE, POLL and STREAM.
func TestOpenConfigClient(t *testing.T) {
	served(t, func(t *testing.T, h *house, address string) {
		var got []string
		lines := make(chan string, 100)
		handler := func(n client.Notification) error {
			switch n := n.(type) {
			case client.Update:
				lines <- fmt.Sprintf("%s = %v", strings.Join(n.Path, "/"), n.Val)
			case client.Delete:
				lines <- strings.Join(n.Path, "/") + " gone"
			case client.Sync:
				lines <- "synced"
			}
			return nil
		}
		want := func(name string, want ...string) {
			t.Helper()
			got = nil
			for len(got) < len(want) {
				select {
				case line := <-lines:
					got = append(got, line)
				case <-time.After(20 * time.Second):
					t.Fatalf("%s: %q after 20 s", name, got)
				}
			}
			if diff := cmp.Diff(want, got); diff != "" {
				t.Fatalf("%s (-want +got):\n%s", name, diff)
			}
		}
		all := []string{"home/lamps/lamp/a/state/lit = true", "home/lamps/lamp/b/state/lit = true", "synced"}
		query := func(kind client.Type) client.Query {
			return client.Query{
				Addrs: []string{address}, Target: "home", Timeout: 10 * time.Second, Type: kind,
				Encoding: pb.Encoding_PROTO,
				Queries:  []client.Path{{"lamps", "lamp[name=*]", "state", "lit"}}, NotificationHandler: handler,
			}
		}
		ctx, cancel := context.WithCancel(t.Context())
		defer cancel()
		once := client.New()
		if err := once.Subscribe(ctx, query(client.Once), gclient.Type); err != nil {
			t.Fatal(err)
		}
		once.Close()
		want("ONCE", all...)
		polled := client.New()
		defer polled.Close()
		if err := polled.Subscribe(ctx, query(client.Poll), gclient.Type); err != nil {
			t.Fatal(err)
		}
		want("POLL", all...)
		if err := polled.Poll(); err != nil {
			t.Fatal(err)
		}
		want("a poll", all...)
		stream := client.New()
		done := make(chan error, 1)
		go func() { done <- stream.Subscribe(ctx, query(client.Stream), gclient.Type) }()
		want("STREAM", all...)
		h.change(func() { h.lamps["a"] = false })
		want("a change", "home/lamps/lamp/a/state/lit = false")
		h.change(func() { delete(h.lamps, "b") })
		want("one goes", "home/lamps/lamp/b/state/lit gone")
		stream.Close()
		if err := <-done; err == nil {
			t.Error("a closed stream ends without an error")
		}
	})
}

// So do gnmic's packages, with what they send: origins, prefixes, intervals, heartbeats.
func TestGNMIc(t *testing.T) {
	served(t, func(t *testing.T, h *house, address string) {
		tg, err := api.NewTarget(api.Name("home"), api.Address(address), api.Insecure(true),
			api.Timeout(10*time.Second))
		if err != nil {
			t.Fatal(err)
		}
		ctx, cancel := context.WithCancel(t.Context())
		defer cancel()
		if err := tg.CreateGNMIClient(ctx); err != nil {
			t.Fatal(err)
		}
		defer tg.Close()
		if c, err := tg.Capabilities(ctx); err != nil || c.GNMIVersion != "0.10.0" || len(c.SupportedModels) != 3 {
			t.Errorf("Capabilities: %v, %v", c, err)
		}
		get, err := api.NewGetRequest(api.Path("ours:/lamps/lamp[name=a]/config"), api.EncodingJSON_IETF(),
			api.Target("home"))
		if err != nil {
			t.Fatal(err)
		}
		m, err := tg.Get(ctx, get)
		if err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff([]string{`@home ours:|/lamps/lamp[name=a]/config = {"lamps:place":"hall"}`},
			show(m.Notification[0])); diff != "" {
			t.Errorf("Get (-want +got):\n%s", diff)
		}
		set, err := api.NewSetRequest(api.Update(api.Path("/lamps/hour"), api.Value(3, "json")))
		if err != nil {
			t.Fatal(err)
		}
		if _, err := tg.Set(ctx, set); err == nil ||
			!strings.HasSuffix(err.Error(), "desc = gNMI is read-only here: lamps have switches") {
			t.Errorf("Set: %v", err)
		}
		once, err := api.NewSubscribeRequest(api.SubscriptionListModeONCE(), api.EncodingPROTO(), api.Prefix("/lamps"),
			api.Subscription(api.Path("lamp[name=b]/state/lit")), api.Subscription(api.Path("none")))
		if err != nil {
			t.Fatal(err)
		}
		responses, err := tg.SubscribeOnce(ctx, once)
		var got []string
		for _, r := range responses {
			got = append(got, show(r.GetUpdate())...)
		}
		if diff := cmp.Diff([]string{"/lamps|/lamp[name=b]/state/lit = bool_val:true"}, got); diff != "" || err != nil {
			t.Errorf("ONCE: %v (-want +got):\n%s", err, diff)
		}
		streamed, err := api.NewSubscribeRequest(api.SubscriptionListModeSTREAM(), api.EncodingPROTO(),
			api.Target("home"),
			api.Subscription(api.Path("/lamps/lamp/state/lit"), api.SubscriptionModeON_CHANGE(),
				api.HeartbeatInterval(time.Minute)),
			api.Subscription(api.Path("/lamps/lamp[name=a]/state/used"), api.SubscriptionModeSAMPLE(),
				api.SampleInterval(time.Second)))
		if err != nil {
			t.Fatal(err)
		}
		answers, failed := tg.SubscribeStreamChan(ctx, streamed, "one")
		var samples int
		next := func() []string {
			select {
			case r := <-answers:
				if r.GetSyncResponse() {
					return []string{"synced"}
				}
				lines := show(r.GetUpdate())
				if slices.Contains(lines, "@home |/lamps/lamp[name=a]/state/used = uint_val:1152921504606846976") {
					samples++
				}
				return lines
			case err := <-failed:
				t.Fatal(err)
			case <-time.After(20 * time.Second):
				t.Fatal("nothing comes for 20 s")
			}
			return nil
		}
		for !slices.Contains(next(), "synced") {
		}
		if samples != 1 {
			t.Errorf("%d samples before sync_response", samples)
		}
		h.change(func() { h.lamps["b"] = false })
		for !slices.Contains(next(), "@home |/lamps/lamp[name=b]/state/lit = bool_val:false") {
		}
		for samples < 3 {
			next()
		}
		wrong, err := api.NewSubscribeRequest(api.SubscriptionListModeSTREAM(),
			api.Subscription(api.Path("/lamps/lamp[id=1]")))
		if err != nil {
			t.Fatal(err)
		}
		_, failed = tg.SubscribeStreamChan(ctx, wrong, "two")
		if err := <-failed; err == nil || errors.Is(err, context.Canceled) ||
			!strings.HasSuffix(err.Error(), "path /lamps/lamp[id=1]: the keys of lamp are id: must be name") {
			t.Errorf("a key that there is not: %v", err)
		}
	})
}
