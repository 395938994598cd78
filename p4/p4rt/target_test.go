package p4rt_test

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	v1 "github.com/p4lang/p4runtime/go/p4/v1"
	"google.golang.org/grpc/codes"

	"github.com/sluicelb/sluice/p4"
	"github.com/sluicelb/sluice/p4/limits"
	"github.com/sluicelb/sluice/p4/p4rt"
	"github.com/sluicelb/sluice/p4/packet"
	"github.com/sluicelb/sluice/p4/softswitch"
)

// The scenarios in this file run on every target that is at hand, with the real pipeline.
//
//	test -- Session -- TCP -- target (no ports but the CPU port)

const deviceID = 1

// targets starts what is there, and returns addresses by name.
var targets = map[string]func(t *testing.T) (address string){
	"bmv2":       startBMv2,
	"softswitch": startSoftswitch,
}

func eachTarget(t *testing.T, f func(t *testing.T, address string)) {
	for name, start := range targets {
		t.Run(name, func(t *testing.T) { f(t, start(t)) })
	}
}

// startBMv2 runs simple_switch_grpc without ports until the test ends.
func startBMv2(t *testing.T) string {
	binary, err := exec.LookPath("simple_switch_grpc")
	if err != nil {
		t.Skip("simple_switch_grpc is not installed")
	}
	address := freeAddress(t)
	log := filepath.Join(t.TempDir(), "bmv2")
	cmd := exec.Command(binary, "--no-p4", "--device-id", fmt.Sprint(deviceID), "--log-file", log, "--log-flush",
		"--", "--grpc-server-addr", address, "--cpu-port", fmt.Sprint(limits.CPUPort))
	cmd.Dir = t.TempDir()
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		cmd.Process.Kill()
		cmd.Wait()
		if t.Failed() {
			text, _ := os.ReadFile(log + ".txt")
			t.Logf("bmv2 log:\n%s", text)
		}
	})
	waitForTarget(t, address)
	return address
}

// startSoftswitch runs an embedded switch without ports until the test ends.
func startSoftswitch(t *testing.T) string {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan error, 1)
	go func() {
		ended <- softswitch.New(softswitch.Config{DeviceID: deviceID, Log: slog.New(slog.DiscardHandler)}).RunAndServe(
			ctx, l)
	}()
	t.Cleanup(func() {
		cancel()
		if err := <-ended; err != nil && !errors.Is(err, context.Canceled) {
			t.Errorf("softswitch: %v", err)
		}
	})
	return l.Addr().String()
}

func freeAddress(t *testing.T) string {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	return l.Addr().String()
}

// waitForTarget polls, because a process tells nobody when it listens.
func waitForTarget(t *testing.T, address string) {
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
	defer cancel()
	for {
		c, err := p4rt.Dial(ctx, address, deviceID)
		if err == nil {
			c.Close()
			return
		}
		if ctx.Err() != nil {
			t.Fatalf("the target does not come up: %v", err)
		}
		time.Sleep(20 * time.Millisecond)
	}
}

func pipeline() *v1.ForwardingPipelineConfig {
	return &v1.ForwardingPipelineConfig{
		P4Info:         p4.P4Info(),
		P4DeviceConfig: p4.DeviceConfig(),
		Cookie:         &v1.ForwardingPipelineConfig_Cookie{Cookie: p4.Cookie()},
	}
}

// asPrimary runs f as the device's primary.
func asPrimary(t *testing.T, address string, election uint64, f func(ctx context.Context, p *p4rt.Primary)) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 60*time.Second)
	defer cancel()
	s := p4rt.NewSession(p4rt.Config{
		Target: address, DeviceID: deviceID, Pipeline: pipeline(), Election: &p4rt.ElectionID{Low: election},
	})
	type turn struct {
		ctx context.Context
		p   *p4rt.Primary
	}
	turns := make(chan turn)
	finish, ended := make(chan struct{}), make(chan error, 1)
	go func() {
		ended <- s.Run(ctx, func(ctx context.Context, p *p4rt.Primary) error {
			select {
			case turns <- turn{ctx, p}:
				<-finish
			case <-ctx.Done():
			}
			return nil
		})
	}()
	select {
	case turn := <-turns:
		defer func() {
			close(finish)
			cancel() // in case that it is primary no longer
			if err := <-ended; err != nil && !errors.Is(err, context.Canceled) {
				t.Errorf("session: %v", err)
			}
		}()
		f(turn.ctx, turn.p)
	case err := <-ended:
		t.Fatalf("session: %v; status %+v", err, s.Status())
	}
}

func field(name string, v p4rt.Value) p4rt.Field { return p4rt.Field{Name: name, Value: v} }

func u(name string, x uint64) p4rt.Field { return field(name, p4rt.UintValue(x)) }

var (
	vipAddress = p4rt.AddrValue(netip.MustParseAddr("10.0.0.100"))
	someMAC    = p4rt.MACValue(packet.MAC{2, 0, 0, 0, 0, 0x11})
	otherMAC   = p4rt.MACValue(packet.MAC{2, 0, 0, 0, 0, 0x12})
)

// rows has an entry of every table, and what it is modified to.
var rows = []struct{ entry, modified p4rt.Entry }{
	{
		p4rt.Entry{Table: "arp_guard", Match: []p4rt.Field{field("sender_address", vipAddress)}, Action: "claim"},
		p4rt.Entry{Table: "arp_guard", Match: []p4rt.Field{field("sender_address", vipAddress)}, Action: "claim"},
	},
	{
		p4rt.Entry{Table: "arp_responder", Match: []p4rt.Field{field("target_address", vipAddress)},
			Action: "answer", Params: []p4rt.Field{field("mac", someMAC)}},
		p4rt.Entry{Table: "arp_responder", Match: []p4rt.Field{field("target_address", vipAddress)},
			Action: "answer", Params: []p4rt.Field{field("mac", otherMAC)}},
	},
	{
		p4rt.Entry{Table: "vip", Match: []p4rt.Field{field("address", vipAddress), u("protocol", 6), u("port", 80)},
			Action: "to_pool", Params: []p4rt.Field{u("pool_id", 1), u("generation", 0), u("slot_mask", 4095),
				u("secret_1", 1), u("secret_2", 2)}},
		p4rt.Entry{Table: "vip", Match: []p4rt.Field{field("address", vipAddress), u("protocol", 6), u("port", 80)},
			Action: "to_pool", Params: []p4rt.Field{u("pool_id", 1), u("generation", 1), u("slot_mask", 0xffff),
				u("secret_1", 1<<63), u("secret_2", 2)}},
	},
	{
		p4rt.Entry{Table: "vip_address", Match: []p4rt.Field{field("address", vipAddress)}, Action: "refuse"},
		p4rt.Entry{Table: "vip_address", Match: []p4rt.Field{field("address", vipAddress)}, Action: "refuse"},
	},
	{
		p4rt.Entry{Table: "slot", Match: []p4rt.Field{u("pool_id", 1), u("generation", 0), u("slot", 0)},
			Action: "to_backend", Params: []p4rt.Field{u("backend_id", 7)}},
		p4rt.Entry{Table: "slot", Match: []p4rt.Field{u("pool_id", 1), u("generation", 0), u("slot", 0)},
			Action: "move", Params: []p4rt.Field{u("backend_id", 256), u("old_id", 7), u("bank", 3),
				u("epoch", 1<<31)}},
	},
	{
		p4rt.Entry{Table: "pin", Match: []p4rt.Field{u("flow", 1<<63)},
			Action: "pin_to", Params: []p4rt.Field{u("backend_id", 7)}, IdleTimeout: 60 * time.Second},
		p4rt.Entry{Table: "pin", Match: []p4rt.Field{u("flow", 1<<63)},
			Action: "pin_to", Params: []p4rt.Field{u("backend_id", 8)}, IdleTimeout: 30 * time.Second},
	},
	{
		p4rt.Entry{Table: "backend", Match: []p4rt.Field{u("backend_id", 7)},
			Action: "forward_to_backend", Params: []p4rt.Field{field("mac", someMAC), u("port", 3)}},
		p4rt.Entry{Table: "backend", Match: []p4rt.Field{u("backend_id", 7)},
			Action: "forward_to_backend", Params: []p4rt.Field{field("mac", otherMAC), u("port", 509)}},
	},
	{
		p4rt.Entry{Table: "station", Match: []p4rt.Field{field("mac", someMAC)},
			Action: "known", Params: []p4rt.Field{u("port", 1)}, IdleTimeout: 300 * time.Second},
		p4rt.Entry{Table: "station", Match: []p4rt.Field{field("mac", someMAC)},
			Action: "known", Params: []p4rt.Field{u("port", 2)}, IdleTimeout: 300 * time.Second},
	},
	{
		p4rt.Entry{Table: "l2", Match: []p4rt.Field{field("mac", someMAC)}, Action: "forward",
			Params: []p4rt.Field{u("port", 1)}},
		p4rt.Entry{Table: "l2", Match: []p4rt.Field{field("mac", someMAC)}, Action: "forward",
			Params: []p4rt.Field{u("port", 2)}},
	},
}

func entity(t *testing.T, info *p4rt.Info, e p4rt.Entry) *v1.Entity {
	t.Helper()
	m, err := info.EncodeEntry(e)
	if err != nil {
		t.Fatal(err)
	}
	return p4rt.TableEntity(m)
}

// readEntries reads the one table, without what changes by itself.
func readEntries(ctx context.Context, t *testing.T, p *p4rt.Primary, table string) []p4rt.Entry {
	t.Helper()
	info, err := p.Info().Table(table)
	if err != nil {
		t.Fatal(err)
	}
	var list []p4rt.Entry
	for e, err := range p.Read(ctx, info.Query()) {
		if err != nil {
			t.Fatal(err)
		}
		entry, err := p.Info().DecodeEntry(e.GetTableEntry())
		if err != nil {
			t.Fatal(err)
		}
		if (info.Counter != 0) != (entry.Counter != nil) {
			t.Errorf("table %s: counter is %v, but the table's unit is %v", table, entry.Counter, info.Counter)
		}
		entry.Counter = nil
		if info.IdleTimeout && entry.SinceHit == nil {
			t.Errorf("table %s: no time since the last hit", table)
		}
		entry.SinceHit = nil
		list = append(list, entry)
	}
	return list
}

func TestEveryTable(t *testing.T) {
	eachTarget(t, func(t *testing.T, address string) {
		asPrimary(t, address, 1, func(ctx context.Context, p *p4rt.Primary) {
			for _, row := range rows {
				table := row.entry.Table
				if err := p.Write(ctx, []*v1.Update{p4rt.Insert(entity(t, p.Info(), row.entry))}); err != nil {
					t.Errorf("insert: %v", err)
				}
				if diff := cmp.Diff([]p4rt.Entry{row.entry}, readEntries(ctx, t, p, table)); diff != "" {
					t.Errorf("%s after insert (-want +got):\n%s", table, diff)
				}
				if err := p.Write(ctx, []*v1.Update{p4rt.Modify(entity(t, p.Info(), row.modified))}); err != nil {
					t.Errorf("modify: %v", err)
				}
				if diff := cmp.Diff([]p4rt.Entry{row.modified}, readEntries(ctx, t, p, table)); diff != "" {
					t.Errorf("%s after modify (-want +got):\n%s", table, diff)
				}
				key := p4rt.Entry{Table: table, Match: row.entry.Match}
				if err := p.Write(ctx, []*v1.Update{p4rt.Delete(entity(t, p.Info(), key))}); err != nil {
					t.Errorf("delete: %v", err)
				}
				if got := readEntries(ctx, t, p, table); len(got) > 0 {
					t.Errorf("%s after delete: %v", table, got)
				}
			}
		})
	})
}

func TestRefusedUpdates(t *testing.T) {
	eachTarget(t, func(t *testing.T, address string) {
		asPrimary(t, address, 1, func(ctx context.Context, p *p4rt.Primary) {
			there, absent := rows[8].entry, rows[6].entry
			if err := p.Write(ctx, []*v1.Update{p4rt.Insert(entity(t, p.Info(), there))}); err != nil {
				t.Fatal(err)
			}
			err := p.Write(ctx, []*v1.Update{
				p4rt.Insert(entity(t, p.Info(), there)),
				p4rt.Insert(entity(t, p.Info(), rows[7].entry)),
				p4rt.Modify(entity(t, p.Info(), absent)),
				p4rt.Delete(entity(t, p.Info(), absent)),
			})
			batch, ok := errors.AsType[*p4rt.BatchError](err)
			if !ok {
				t.Fatalf("error is %v, want a *BatchError", err)
			}
			got := map[int]codes.Code{}
			for _, f := range batch.Failed {
				got[f.Index] = f.Code
			}
			want := map[int]codes.Code{0: codes.AlreadyExists, 2: codes.NotFound, 3: codes.NotFound}
			if diff := cmp.Diff(want, got); diff != "" {
				t.Errorf("codes by index (-want +got):\n%s\n%v", diff, err)
			}
			if got := readEntries(ctx, t, p, "station"); len(got) != 1 {
				t.Errorf("station holds %v; the update among refused ones must be done", got)
			}
		})
	})
}

// A reconnect of the primary pushes the pipeline only the first time: entries survive.
func TestReconnectKeepsEntries(t *testing.T) {
	eachTarget(t, func(t *testing.T, address string) {
		asPrimary(t, address, 1, func(ctx context.Context, p *p4rt.Primary) {
			if err := p.Write(ctx, []*v1.Update{p4rt.Insert(entity(t, p.Info(), rows[2].entry))}); err != nil {
				t.Fatal(err)
			}
		})
		asPrimary(t, address, 2, func(ctx context.Context, p *p4rt.Primary) {
			if diff := cmp.Diff([]p4rt.Entry{rows[2].entry}, readEntries(ctx, t, p, "vip")); diff != "" {
				t.Errorf("after reconnect (-want +got):\n%s", diff)
			}
		})
	})
}

func TestEngineEntities(t *testing.T) {
	eachTarget(t, func(t *testing.T, address string) {
		asPrimary(t, address, 1, func(ctx context.Context, p *p4rt.Primary) {
			group := p4rt.MulticastGroup{ID: limits.FloodGroup,
				Replicas: []p4rt.Replica{{Port: 1, Instance: 1}, {Port: 2, Instance: 1}}}
			if err := p.Write(ctx, []*v1.Update{p4rt.Insert(group.Entity())}); err != nil {
				t.Fatalf("multicast group: %v", err)
			}
			group.Replicas = group.Replicas[:1]
			if err := p.Write(ctx, []*v1.Update{p4rt.Modify(group.Entity())}); err != nil {
				t.Fatalf("multicast group: %v", err)
			}
			var groups []p4rt.MulticastGroup
			for e, err := range p.Read(ctx, p4rt.QueryMulticastGroups()) {
				if err != nil {
					t.Fatal(err)
				}
				g, err := p4rt.DecodeMulticastGroup(e.GetPacketReplicationEngineEntry().GetMulticastGroupEntry())
				if err != nil {
					t.Fatal(err)
				}
				groups = append(groups, g)
			}
			if diff := cmp.Diff([]p4rt.MulticastGroup{group}, groups); diff != "" {
				t.Errorf("multicast groups (-want +got):\n%s", diff)
			}
			digest, err := p.Info().DigestEntity("learn_t",
				p4rt.DigestConfig{MaxTimeout: 100 * time.Millisecond, MaxListSize: 100, AckTimeout: time.Second})
			if err != nil {
				t.Fatal(err)
			}
			if err := p.Write(ctx, []*v1.Update{p4rt.Insert(digest)}); err != nil {
				t.Fatalf("digest: %v", err)
			}
			tally, err := p.Info().Counter("tally")
			if err != nil {
				t.Fatal(err)
			}
			var cells int64
			for e, err := range p.Read(ctx, tally.Query()) {
				if err != nil {
					t.Fatal(err)
				}
				cell, err := p.Info().DecodeCell(e.GetCounterEntry())
				if err != nil {
					t.Fatal(err)
				}
				if diff := cmp.Diff(p4rt.Cell{Name: "tally", Index: cells}, cell); diff != "" {
					t.Errorf("cell (-want +got):\n%s", diff)
				}
				cells++
			}
			if cells != tally.Size {
				t.Errorf("%d cells, want %d", cells, tally.Size)
			}
		})
	})
}

// The pipeline sends a packet-out for the CPU port back as a packet-in.
func TestPacketOutAndIn(t *testing.T) {
	eachTarget(t, func(t *testing.T, address string) {
		asPrimary(t, address, 1, func(ctx context.Context, p *p4rt.Primary) {
			payload := make([]byte, 60)
			copy(payload, "\x02\x00\x00\x00\x00\x01\x02\x00\x00\x00\x00\x02\x88\xb5 there and back")
			if err := p.PacketOut(payload, u("egress_port", limits.CPUPort)); err != nil {
				t.Fatal(err)
			}
			ctx, cancel := context.WithTimeout(ctx, 10*time.Second)
			defer cancel()
			for {
				select {
				case <-p.Waiting():
					m := p.Next()
					if m.GetPacket() == nil {
						t.Logf("also got %v", m)
						continue
					}
					in, err := p.Info().DecodePacketIn(m.GetPacket())
					if err != nil {
						t.Fatal(err)
					}
					want := p4rt.PacketIn{Payload: payload, Metadata: []p4rt.Field{u("ingress_port", limits.CPUPort),
						u("reason", 0)}}
					if diff := cmp.Diff(want, in); diff != "" {
						t.Errorf("packet-in (-want +got):\n%s", diff)
					}
					return
				case <-ctx.Done():
					t.Fatal("no packet-in")
				}
			}
		})
	})
}

func TestIdleNotification(t *testing.T) {
	eachTarget(t, func(t *testing.T, address string) {
		asPrimary(t, address, 1, func(ctx context.Context, p *p4rt.Primary) {
			row := rows[7].entry
			row.IdleTimeout = 500 * time.Millisecond // the least that bmv2 keeps
			if err := p.Write(ctx, []*v1.Update{p4rt.Insert(entity(t, p.Info(), row))}); err != nil {
				t.Fatal(err)
			}
			ctx, cancel := context.WithTimeout(ctx, 10*time.Second)
			defer cancel()
			select {
			case <-p.Waiting():
				m := p.Next()
				idle := m.GetIdleTimeoutNotification().GetTableEntry()
				if len(idle) != 1 {
					t.Fatalf("got %v, want one idle entry", m)
				}
				got, err := p.Info().DecodeEntry(idle[0])
				if err != nil {
					t.Fatal(err)
				}
				got.Action, got.Params, got.SinceHit = "", nil, nil // may be set, to be ignored
				want := p4rt.Entry{Table: "station", Match: row.Match, IdleTimeout: row.IdleTimeout}
				if diff := cmp.Diff(want, got); diff != "" {
					t.Errorf("idle entry (-want +got):\n%s", diff)
				}
			case <-ctx.Done():
				t.Fatal("no idle timeout notification")
			}
		})
	})
}

// A batch of DefaultMaxBatch updates that are all refused brings as many details back, in full.
func TestFullTableAndFullDetails(t *testing.T) {
	full := map[string]codes.Code{
		"bmv2":       codes.Unknown, // the specification wants RESOURCE_EXHAUSTED
		"softswitch": codes.ResourceExhausted,
	}
	eachTarget(t, func(t *testing.T, address string) {
		asPrimary(t, address, 1, func(ctx context.Context, p *p4rt.Primary) {
			vip, err := p.Info().Table("vip")
			if err != nil {
				t.Fatal(err)
			}
			var inserts []*v1.Update
			for i := range vip.Size + 2 {
				row := rows[2].entry
				row.Match = []p4rt.Field{field("address", vipAddress), u("protocol", 6), u("port", uint64(i))}
				inserts = append(inserts, p4rt.Insert(entity(t, p.Info(), row)))
			}
			began := time.Now()
			err = p.Write(ctx, inserts)
			t.Logf("%d inserts in %v: %v", len(inserts), time.Since(began), err)
			batch, ok := errors.AsType[*p4rt.BatchError](err)
			if !ok || len(batch.Failed) != 2 {
				t.Fatalf("error is %v, want a *BatchError with 2 failures", err)
			}
			if got, want := batch.Failed[0].Code, full[filepath.Base(t.Name())]; got != want {
				t.Errorf("a full table answers %v, want %v", got, want)
			}
			began = time.Now()
			entries := len(readEntries(ctx, t, p, "vip"))
			t.Logf("%d entries read in %v", entries, time.Since(began))
			if entries != int(vip.Size) {
				t.Errorf("%d entries, want %d", entries, vip.Size)
			}
			err = p.Write(ctx, inserts[:p4rt.DefaultMaxBatch])
			batch, ok = errors.AsType[*p4rt.BatchError](err)
			if !ok || len(batch.Failed) != p4rt.DefaultMaxBatch {
				t.Fatalf("error is %.300v, want a *BatchError with %d failures", err, p4rt.DefaultMaxBatch)
			}
			t.Logf("%v", err)
		})
	})
}

func TestTakeover(t *testing.T) {
	eachTarget(t, func(t *testing.T, address string) {
		asPrimary(t, address, 1, func(ctx context.Context, p *p4rt.Primary) {
			same := p4rt.NewSession(p4rt.Config{Target: address, DeviceID: deviceID, Pipeline: pipeline(),
				Election: &p4rt.ElectionID{Low: 1}})
			sameCtx, cancel := context.WithCancel(t.Context())
			sameEnded := make(chan error, 1)
			go func() { sameEnded <- same.Run(sameCtx, nil) }()
			eventually(t, "the second client of an id is told so",
				func() bool { return errors.Is(same.Status().Err, p4rt.ErrElectionIDInUse) })
			cancel()
			<-sameEnded

			asPrimary(t, address, 2, func(context.Context, *p4rt.Primary) {
				<-ctx.Done()
				if cause := context.Cause(ctx); !errors.Is(cause, p4rt.ErrNotPrimary) {
					t.Errorf("cause is %v", cause)
				}
				err := p.Write(t.Context(), []*v1.Update{p4rt.Insert(entity(t, p.Info(), rows[8].entry))})
				if !errors.Is(err, p4rt.ErrNotPrimary) {
					t.Errorf("a write of the former primary: %v", err)
				}
			})
		})
	})
}

func TestAfterTakeover(t *testing.T) {
	after := map[string]p4rt.State{
		"bmv2":       p4rt.Active, // its primary is the highest id that is live
		"softswitch": p4rt.Backup, // the specification's is the highest id ever seen
	}
	eachTarget(t, func(t *testing.T, address string) {
		low := p4rt.NewSession(p4rt.Config{Target: address, DeviceID: deviceID, Pipeline: pipeline(),
			Election: &p4rt.ElectionID{Low: 1}})
		ctx, cancel := context.WithCancel(t.Context())
		ended := make(chan error, 1)
		go func() {
			ended <- low.Run(ctx, func(ctx context.Context, _ *p4rt.Primary) error { <-ctx.Done(); return nil })
		}()
		eventually(t, "the only client is primary", func() bool { return low.Status().State == p4rt.Active })
		asPrimary(t, address, 2, func(context.Context, *p4rt.Primary) {
			eventually(t, "the lower id is backup", func() bool { return low.Status().State == p4rt.Backup })
		})
		want := after[filepath.Base(t.Name())]
		eventually(t, "the lower id is "+want.String()+" after the higher left", func() bool {
			s := low.Status()
			return s.State == want && (s.Err == nil || strings.Contains(s.Err.Error(), "nobody is until"))
		})
		cancel()
		<-ended
	})
}

// eventually polls, because another process decides when.
func eventually(t *testing.T, what string, ok func() bool) {
	t.Helper()
	for end := time.Now().Add(10 * time.Second); !ok(); time.Sleep(5 * time.Millisecond) {
		if time.Now().After(end) {
			t.Fatalf("not within 10 s: %s", what)
		}
	}
}
