package store

import (
	"errors"
	"fmt"
	"log/slog"
	"net/url"
	"os"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	pb "go.etcd.io/etcd/api/v3/etcdserverpb"
	"go.etcd.io/etcd/client/pkg/v3/transport"
	clientv3 "go.etcd.io/etcd/client/v3"
	"go.etcd.io/etcd/server/v3/embed"
	"go.uber.org/zap"

	"github.com/sluicelb/sluice/controller/core"
)

// cluster starts an etcd with default limits that listens on loopback.
func cluster(t *testing.T) Config {
	t.Helper()
	return clusterOver(t, "http", transport.TLSInfo{})
}

func clusterOver(t *testing.T, scheme string, files transport.TLSInfo) Config {
	t.Helper()
	cfg := embed.NewConfig()
	cfg.Dir = t.TempDir()
	cfg.ClientTLSInfo = files
	loopback := url.URL{Scheme: scheme, Host: "127.0.0.1:0"}
	cfg.ListenPeerUrls, cfg.ListenClientUrls = nil, []url.URL{loopback}
	cfg.TickMs, cfg.ElectionMs = 10, 50
	cfg.ZapLoggerBuilder = embed.NewZapLoggerBuilder(zap.NewNop())
	etcd, err := embed.StartEtcd(cfg)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(etcd.Close)
	<-etcd.Server.ReadyNotify()
	return Config{Endpoints: []string{etcd.Clients[0].Addr().String()}, Timeout: 10 * time.Second, lapse: time.Second}
}

// lines is a log that tells when it has a text.
type lines struct {
	mu    sync.Mutex
	text  strings.Builder
	wrote chan struct{} // capacity 1
}

func (l *lines) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	select {
	case l.wrote <- struct{}{}:
	default:
	}
	return l.text.Write(p)
}

func (l *lines) wait(t *testing.T, want string) {
	t.Helper()
	late := time.After(20 * time.Second)
	for {
		l.mu.Lock()
		text := l.text.String()
		l.mu.Unlock()
		if strings.Contains(text, want) {
			return
		}
		select {
		case <-l.wrote:
		case <-late:
			t.Fatalf("the log lacks %s:\n%s", want, text)
		}
	}
}

// opening is an Open that may have to wait.
type opening struct {
	log  *lines
	done chan *Store
}

func standBy(t *testing.T, at Config) *opening {
	o := &opening{&lines{wrote: make(chan struct{}, 1)}, make(chan *Store, 1)}
	at.Log = slog.New(slog.NewTextHandler(o.log, nil))
	go func() {
		s, _, err := Open(t.Context(), at)
		if err != nil {
			t.Error(err)
			close(o.done)
			return
		}
		o.done <- s
	}()
	return o
}

// One that stands by says why it cannot take a store that is free, and takes it when it can.
func TestStandbyOfAFullStore(t *testing.T) {
	at := cluster(t)
	first, _ := open(t, at)
	second := standBy(t, at)
	second.log.wait(t, "another controller has the store")
	client, err := clientv3.New(clientv3.Config{Endpoints: at.Endpoints})
	if err != nil {
		t.Fatal(err)
	}
	defer client.Close()
	full := &pb.AlarmRequest{Action: pb.AlarmRequest_ACTIVATE, Alarm: pb.AlarmType_NOSPACE, MemberID: 1}
	if _, err := pb.NewMaintenanceClient(client.ActiveConnection()).Alarm(t.Context(), full); err != nil {
		t.Fatal(err)
	}
	first.Close()
	second.log.wait(t, `level=WARN msg="the store cannot be taken: this controller tries again" `+
		`err="taking the store: the store refuses the change: etcdserver: mvcc: database space exceeded"`)
	if _, err := client.AlarmDisarm(t.Context(),
		&clientv3.AlarmMember{MemberID: 1, Alarm: pb.AlarmType_NOSPACE}); err != nil {
		t.Fatal(err)
	}
	second.log.wait(t, "the store is free: this controller takes it")
	if s := <-second.done; s != nil {
		s.Close()
	}
	if n := strings.Count(second.log.text.String(), "this controller tries again"); n != 1 {
		t.Errorf("said %d times, want once", n)
	}
}

// An external etcd is used through the same code. Of two controllers that are alive one has it; the other says
// who, waits, and finds everything as soon as the first leaves.
func TestExternal(t *testing.T) {
	at := cluster(t)
	first, _ := open(t, at)
	if err := first.Save(t.Context(), sample()); err != nil {
		t.Fatal(err)
	}
	second := standBy(t, at)
	host, _ := os.Hostname()
	second.log.wait(t, fmt.Sprintf(`msg="another controller has the store: this one stands by until it has left" `+
		`holder="process %d on %s, since `, os.Getpid(), host))
	next := sample()
	next.Intent.Revision++
	time.Sleep(2 * at.lapse) // a lease that is kept alive does not lapse
	select {
	case <-second.done:
		t.Fatal("the second took the store from the first, which lives")
	case <-first.Lost():
		t.Fatal("the first lost the store")
	default:
	}
	if err := first.Save(t.Context(), next); err != nil {
		t.Errorf("the first writes while another waits: %v", err)
	}
	first.Close()
	s := <-second.done
	if s == nil {
		return
	}
	s.Close()
	s, st := open(t, at)
	defer s.Close()
	if diff := cmp.Diff(next, st); diff != "" {
		t.Errorf("what the next one finds (-want +got):\n%s", diff)
	}
}

// A controller that died without a word, or hangs, is replaced when its lease has lapsed; coming back it can
// write no more, is told so, and may not ask a switch for anything.
func TestLeaseLapses(t *testing.T) {
	at := cluster(t)
	first, _ := open(t, at)
	if err := first.Save(t.Context(), sample()); err != nil {
		t.Fatal(err)
	}
	if err := first.Bid(t.Context(), "leaf1:9559", "0:7"); err != nil {
		t.Errorf("the leader asks: %v", err)
	}
	second := standBy(t, at)
	second.log.wait(t, "another controller has the store")
	first.leader.stop() // no longer kept alive, nor given up
	first.leader.done.Wait()
	first.leader.session.Orphan()
	began := time.Now()
	s := <-second.done
	if s == nil {
		return
	}
	defer s.Close()
	t.Logf("took over after %v", time.Since(began))
	second.log.wait(t, `msg="the store is free: this controller takes it"`)

	if err := first.Bid(t.Context(), "leaf1:9559", "0:9"); !errors.Is(err, ErrConflict) {
		t.Errorf("the former leader asks: %v, want %v", err, ErrConflict)
	}
	err := first.Save(t.Context(), core.Stored{})
	if err == nil || err.Error() != "writing the store: another controller has taken over the store" {
		t.Errorf("the former leader writes: %v", err)
	}
	first.leader.keep(first.kv.head.Writer)
	<-first.Lost()
	first.Close()
	if got, err := s.Bidders(t.Context(), "leaf1:9559"); err != nil || cmp.Diff([]string{"0:7"}, got) != "" {
		t.Errorf("ids of the leader before: %v, %v, want 0:7", got, err)
	}
	if err := s.Save(t.Context(), core.Stored{}); err != nil {
		t.Error(err)
	}
}

// A leader whose lease lapsed while nobody else came is leader again.
func TestLeaseIsRegained(t *testing.T) {
	at := cluster(t)
	log := &lines{wrote: make(chan struct{}, 1)}
	at.Log = slog.New(slog.NewTextHandler(log, nil))
	s, _ := open(t, at)
	defer s.Close()
	if _, err := s.client.Revoke(t.Context(), s.leader.session.Lease()); err != nil {
		t.Fatal(err)
	}
	log.wait(t, `msg="the lease on the store has lapsed: another controller may take over"`)
	log.wait(t, `msg="the lease on the store is renewed"`)
	if err := s.Bid(t.Context(), "leaf1:9559", "0:7"); err != nil {
		t.Error(err)
	}
	if err := s.Save(t.Context(), sample()); err != nil {
		t.Error(err)
	}
}

// etcd may have a lease for longer than its owner, who heard nothing for a while: the leader is no other controller.
func TestLeaderIsNoOther(t *testing.T) {
	at := cluster(t)
	log := &lines{wrote: make(chan struct{}, 1)}
	at.Log = slog.New(slog.NewTextHandler(log, nil))
	at.lapse = time.Minute // in etcd it stays
	s, _ := open(t, at)
	s.leader.session.Orphan() // nobody hears of it any more
	log.wait(t, `msg="the lease on the store has lapsed: another controller may take over"`)
	log.wait(t, `msg="the lease on the store is renewed"`)
	if err := s.Bid(t.Context(), "leaf1:9559", "0:7"); err != nil {
		t.Error(err)
	}
	if err := s.Save(t.Context(), sample()); err != nil {
		t.Error(err)
	}
	select {
	case <-s.Lost():
		t.Error("the store counts as lost")
	default:
	}
	second := standBy(t, at)
	second.log.wait(t, "another controller has the store")
	s.Close()
	if s := <-second.done; s != nil {
		s.Close()
	}
}
