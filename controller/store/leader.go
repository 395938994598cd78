package store

import (
	"context"
	"crypto/rand"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"slices"
	"sync"
	"time"

	clientv3 "go.etcd.io/etcd/client/v3"
	"go.etcd.io/etcd/client/v3/concurrency"
)

const (
	defaultLapse = 5 * time.Second
	retryLeader  = time.Second // between tries while etcd does not answer
	bidsKept     = 8
)

// leader is this controller's hold on an external store: a key that lives for as long as its lease is kept
// alive.
//
//	standby --nobody has the key--> leader --the lease lapsed--> lapsed --the key is free, and nobody wrote--> leader
//	                                                                +-----another has it, or had it------------> lost
type leader struct {
	client  *clientv3.Client
	timeout time.Duration
	lapse   time.Duration
	log     *slog.Logger
	self    holder
	lost    chan struct{} // closed when another controller has taken over
	stop    context.CancelFunc
	done    sync.WaitGroup

	mu       sync.Mutex // guards what follows
	session  *concurrency.Session
	revision int64               // at which the key was made
	bids     map[string][]string // as stored, by switch
}

// holder says who has the store. ID is of this hold's process and opening, and nobody else's.
type holder struct {
	ID    string    `json:"id"`
	Host  string    `json:"host"`
	PID   int       `json:"pid"`
	Since time.Time `json:"since"`
}

func (h holder) String() string {
	return fmt.Sprintf("process %d on %s, since %s", h.PID, h.Host, h.Since.Format(time.RFC3339))
}

// campaign returns when this controller has the store. While another has it, it stands by, and says so.
func campaign(ctx context.Context, client *clientv3.Client, via *external, cfg Config) (*leader, error) {
	host, err := os.Hostname()
	if err != nil {
		host = "an unknown host"
	}
	l := &leader{
		client: client, timeout: cfg.Timeout, lapse: cfg.lapse, log: cfg.Log,
		self: holder{ID: rand.Text(), Host: host, PID: os.Getpid()},
		lost: make(chan struct{}), stop: func() {}, bids: make(map[string][]string),
	}
	if l.lapse == 0 {
		l.lapse = defaultLapse
	}
	var told holder
	var complaint string
	for first := true; ; first = false {
		other, err := l.take(ctx)
		err = via.because(err)
		switch {
		case ctx.Err() != nil:
			return nil, ctx.Err()
		case err != nil && first:
			return nil, err
		case err != nil:
			if complaint != err.Error() {
				complaint = err.Error()
				l.log.Warn("the store cannot be taken: this controller tries again", "err", err)
				cfg.StandsBy("the store cannot be taken: " + complaint)
			}
		case other == nil:
			if !first {
				l.log.Info("the store is free: this controller takes it")
			}
			return l, nil
		case *other != told:
			told, complaint = *other, ""
			l.log.Warn("another controller has the store: this one stands by until it has left", "holder", told,
				"lapse", l.lapse)
			cfg.StandsBy("another controller has the store: " + told.String())
		}
		l.wait(ctx, err == nil)
	}
}

// take makes the key, or says who else has it. A key of this controller's own is there where its lease has not ended
// in etcd, though nobody heard of it for so long that it had to count as lapsed.
func (l *leader) take(ctx context.Context) (*holder, error) {
	ctx, cancel := context.WithTimeout(ctx, l.timeout)
	defer cancel()
	// A lease costs more than a look.
	found, err := l.client.Get(ctx, keyLeader)
	if err != nil {
		return nil, failed("asking who has the store", err)
	}
	if len(found.Kvs) > 0 {
		key := found.Kvs[0]
		other := readHolder(key.Value)
		if other.ID != l.self.ID {
			return other, nil
		}
		return nil, l.hold(clientv3.LeaseID(key.Lease), key.CreateRevision)
	}
	grant, err := l.client.Grant(ctx, l.ttl())
	if err != nil {
		return nil, failed("taking the store", err)
	}
	self := l.self
	self.Since = time.Now()
	b, err := json.Marshal(self)
	if err != nil {
		return nil, err
	}
	resp, err := l.client.Txn(ctx).
		If(clientv3.Compare(clientv3.CreateRevision(keyLeader), "=", 0)).
		Then(clientv3.OpPut(keyLeader, string(b), clientv3.WithLease(grant.ID))).
		Else(clientv3.OpGet(keyLeader)).Commit()
	if err == nil && resp.Succeeded {
		return nil, l.hold(grant.ID, resp.Header.Revision)
	}
	// Not ours, or unknown: a key that was made all the same goes with its lease.
	revokeCtx, revoked := context.WithTimeout(context.WithoutCancel(ctx), l.timeout)
	_, _ = l.client.Revoke(revokeCtx, grant.ID)
	revoked()
	if err != nil {
		return nil, failed("taking the store", err)
	}
	if kvs := resp.Responses[0].GetResponseRange().Kvs; len(kvs) > 0 {
		return readHolder(kvs[0].Value), nil
	}
	return nil, fmt.Errorf("taking the store: %w", ErrUnavailable)
}

// hold keeps the key's lease alive.
func (l *leader) hold(lease clientv3.LeaseID, revision int64) error {
	session, err := concurrency.NewSession(l.client, concurrency.WithLease(lease), concurrency.WithTTL(int(l.ttl())))
	if err != nil {
		return failed("taking the store", err)
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	l.session, l.revision = session, revision
	return nil
}

// ttl is that of the lease, in seconds.
func (l *leader) ttl() int64 { return max(1, int64(l.lapse/time.Second)) }

func readHolder(b []byte) *holder {
	h := new(holder)
	if err := json.Unmarshal(b, h); err != nil {
		h.Host = "an unknown host"
	}
	return h
}

// wait returns when there is news of the key, or after a while.
func (l *leader) wait(ctx context.Context, answers bool) {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	timer := time.NewTimer(retryLeader)
	defer timer.Stop()
	var watch clientv3.WatchChan
	if answers {
		watch = l.client.Watch(ctx, keyLeader, clientv3.WithFilterPut())
	}
	select {
	case <-ctx.Done():
	case <-watch:
	case <-timer.C:
	}
}

// keep holds on to the store, as its writer, until leave.
func (l *leader) keep(writer uint64) {
	ctx, cancel := context.WithCancel(context.Background())
	l.stop = cancel
	l.done.Go(func() {
		for {
			l.mu.Lock()
			lapsed := l.session.Done()
			l.mu.Unlock()
			select {
			case <-ctx.Done():
				return
			case <-lapsed:
			}
			l.log.Warn("the lease on the store has lapsed: another controller may take over")
			if err := l.regain(ctx, writer); err != nil {
				if ctx.Err() == nil {
					close(l.lost)
				}
				return
			}
			l.log.Info("the lease on the store is renewed")
		}
	})
}

// regain takes the key again, unless another controller has it or had it.
func (l *leader) regain(ctx context.Context, writer uint64) error {
	for {
		other, err := l.take(ctx)
		switch {
		case ctx.Err() != nil:
			return ctx.Err()
		case err == nil && other != nil:
			return ErrConflict
		case err == nil:
			now, err := l.writer(ctx)
			if err == nil && now != writer {
				return ErrConflict
			} else if err == nil {
				return nil
			}
			l.revoke()
		}
		l.wait(ctx, false)
	}
}

// writer reads who wrote the store last.
func (l *leader) writer(ctx context.Context) (uint64, error) {
	ctx, cancel := context.WithTimeout(ctx, l.timeout)
	defer cancel()
	resp, err := l.client.Get(ctx, keyHead)
	if err != nil || len(resp.Kvs) == 0 {
		return 0, errors.Join(err, ErrUnavailable)
	}
	var h head
	err = json.Unmarshal(resp.Kvs[0].Value, &h)
	return h.Writer, err
}

// revoke gives the key up. It is gone at once, or when its lease lapses.
func (l *leader) revoke() {
	l.mu.Lock()
	session := l.session
	l.mu.Unlock()
	if session != nil {
		_ = session.Close()
	}
}

func (l *leader) leave() {
	l.stop()
	l.done.Wait()
	l.revoke()
}

// bid makes sure that this controller still has the store, and notes there that it goes to a switch with an
// election id.
func (l *leader) bid(ctx context.Context, to, id string) error {
	ctx, cancel := context.WithTimeout(ctx, l.timeout)
	defer cancel()
	before, err := l.bidsTo(ctx, to)
	if err != nil {
		return err
	}
	bids := append(slices.Clone(before), id)
	bids = bids[max(0, len(bids)-bidsKept):]
	b, err := json.Marshal(bids)
	if err != nil {
		return err
	}
	l.mu.Lock()
	revision := l.revision
	l.mu.Unlock()
	resp, err := l.client.Txn(ctx).
		If(clientv3.Compare(clientv3.CreateRevision(keyLeader), "=", revision)).
		Then(clientv3.OpPut(prefixBids+to, string(b))).
		Else(clientv3.OpGet(keyLeader)).Commit()
	if err != nil {
		return failed("making sure of the store", err)
	}
	if !resp.Succeeded {
		if len(resp.Responses[0].GetResponseRange().Kvs) > 0 {
			return ErrConflict
		}
		return fmt.Errorf("making sure of the store: %w: the lease has lapsed", ErrUnavailable)
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	l.bids[to] = bids
	return nil
}

// bidsTo returns the last ids that leaders of this store went to a switch with. No one else writes them now.
func (l *leader) bidsTo(ctx context.Context, to string) ([]string, error) {
	l.mu.Lock()
	bids, ok := l.bids[to]
	l.mu.Unlock()
	if ok {
		return bids, nil
	}
	resp, err := l.client.Get(ctx, prefixBids+to)
	if err != nil {
		return nil, failed("reading the store", err)
	}
	if len(resp.Kvs) > 0 {
		if err := json.Unmarshal(resp.Kvs[0].Value, &bids); err != nil {
			return nil, fmt.Errorf("%w: %s%s: %w", ErrCorrupt, prefixBids, to, err)
		}
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	l.bids[to] = bids
	return bids, nil
}

// Lost is closed when another controller has taken the store over. A directory that is locked is not lost.
func (s *Store) Lost() <-chan struct{} {
	if s.leader == nil {
		return nil
	}
	return s.leader.lost
}

// Bid must come before this controller asks the switch at target to be its primary: it makes sure that the
// store is still this controller's, and notes the election id where the next leader finds it. ErrConflict:
// the store is another's. ErrUnavailable: it cannot be told.
func (s *Store) Bid(ctx context.Context, target, id string) error {
	if s.leader == nil {
		return nil // the directory is locked for as long as this process lives
	}
	return s.leader.bid(ctx, target, id)
}

// Bidders returns the election ids that are known to be this controller's, or those of former leaders of the same
// store. An embedded store knows none: it may be a copy.
func (s *Store) Bidders(ctx context.Context, target string) ([]string, error) {
	if s.leader == nil {
		return nil, nil
	}
	ctx, cancel := context.WithTimeout(ctx, s.leader.timeout)
	defer cancel()
	return s.leader.bidsTo(ctx, target)
}
