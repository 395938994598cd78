// Package store keeps what the controller must not forget in etcd: the intent, the plan's state, the
// operator's drains and the last verdicts. Every deployment uses etcd: embedded in this process with
// a data directory, or an external cluster; the code above the connection is the same. Only the
// controller's loop calls it.
package store

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"os"
	"time"

	"go.etcd.io/etcd/api/v3/v3rpc/rpctypes"
	clientv3 "go.etcd.io/etcd/client/v3"

	"github.com/sluicelb/sluice/controller/core"
	"github.com/sluicelb/sluice/controller/plan"
	"github.com/sluicelb/sluice/internal/rpc"
)

var (
	// ErrLocked: another process has the data directory.
	ErrLocked = errors.New("in use by another process")
	// ErrConflict: another controller has taken the store over; this one must stop.
	ErrConflict = errors.New("another controller has taken over the store")
	// ErrUnavailable: etcd did not answer; the change may or may not be there. Try again.
	ErrUnavailable = errors.New("the store does not answer")
	// ErrRefused: etcd has answered, and the change is not there: no room is left, a limit is lower than an etcd's
	// default, or the caller may not. Until that is changed another try ends the same.
	ErrRefused = errors.New("the store refuses the change")
	// ErrVersion: written by a program that lays out the store differently.
	ErrVersion = errors.New("store of an unknown version")
	// ErrCorrupt: what is there cannot be what a controller wrote.
	ErrCorrupt = errors.New("store is corrupt")
)

// Config says where the store is: Dir for an embedded etcd, or Endpoints of an external one.
type Config struct {
	Dir       string
	Endpoints []string      // as package endpoint reads them
	Security  rpc.Security  // for endpoints beyond this machine
	Timeout   time.Duration // of one operation; default 2s
	Log       *slog.Logger  // default: none
	// StandsBy hears why an external store cannot be taken now, each time that is another reason; may be nil. Open
	// calls it, and has called it last when it returns.
	StandsBy func(reason string)

	quota int64         // bytes of the embedded database; default maxDatabase
	lapse time.Duration // after which a leader of an external store that is silent counts as gone; default 5s
}

// Absent reports that the data directory has no store yet: Open will make one.
func (c Config) Absent() bool {
	if c.Dir == "" {
		return false
	}
	_, err := os.Stat(dataDir(c.Dir))
	return errors.Is(err, fs.ErrNotExist)
}

// Store is an open store.
type Store struct {
	client   *clientv3.Client
	embedded *embedded // nil when external
	external *external // nil when embedded
	leader   *leader   // nil when embedded: there the directory's lock says who leads
	kv       kv
	log      *slog.Logger
	encoded  map[*plan.Pool][]byte // what the last encode made; pools are never modified
	pins     struct {              // the documents of those that were encoded last
		of   *plan.Pins
		docs map[string][]byte
	}
	verdicts map[string]encodedVerdicts // the same, by pool
}

// Open opens the store, takes it over from an earlier writer and returns what it holds. It takes no store from a
// controller that lives: the directory of an embedded store is locked, which is an error; for an external store it
// waits as a standby until the other has left, or is silent for so long that its lease lapses.
func Open(ctx context.Context, cfg Config) (*Store, core.Stored, error) {
	if (cfg.Dir == "") == (len(cfg.Endpoints) == 0) {
		return nil, core.Stored{}, errors.New("the store needs a data directory or etcd endpoints, one of the two")
	}
	if cfg.Timeout == 0 {
		cfg.Timeout = 2 * time.Second
	}
	if cfg.Log == nil {
		cfg.Log = slog.New(slog.DiscardHandler)
	}
	if cfg.quota == 0 {
		cfg.quota = maxDatabase
	}
	if cfg.StandsBy == nil {
		cfg.StandsBy = func(string) {}
	}
	s := &Store{log: cfg.Log}
	var err error
	if cfg.Dir != "" {
		s.embedded, s.client, err = startEmbedded(ctx, cfg.Dir, cfg.quota, cfg.Log)
	} else {
		s.external, s.client, err = dialExternal(cfg)
	}
	if err != nil {
		return nil, core.Stored{}, fmt.Errorf("opening the store: %w", err)
	}
	s.kv = kv{client: s.client, timeout: cfg.Timeout}
	if s.embedded == nil {
		s.leader, err = campaign(ctx, s.client, s.external, cfg)
		if err != nil {
			s.Close()
			return nil, core.Stored{}, fmt.Errorf("opening the store: %w", err)
		}
	}
	st, err := s.load(ctx)
	if err != nil {
		s.Close()
		return nil, core.Stored{}, fmt.Errorf("opening the store: %w", err)
	}
	return s, st, nil
}

func (s *Store) load(ctx context.Context) (core.Stored, error) {
	open := func() error { return s.kv.open(ctx) }
	if s.embedded != nil {
		open = func() error { return s.embedded.do(func() error { return s.kv.open(ctx) }) }
	}
	if err := open(); err != nil {
		return core.Stored{}, err
	}
	if s.leader != nil {
		s.leader.keep(s.kv.head.Writer)
	}
	docs := make(map[string][]byte)
	for name, doc := range s.kv.held {
		docs[name] = doc.content
	}
	return decode(docs)
}

// SavedAt is the time of the last save: by this process, or of what Open returned; zero when it is unknown. While a
// controller cannot save, what is stored says less and less of how things are.
func (s *Store) SavedAt() time.Time { return s.kv.head.SavedAt }

// Save makes the store hold st, writing what differs: all of it, or nothing. Errors: ErrUnavailable and
// ErrRefused, after which the next Save brings everything up to date, and ErrConflict, after which none will.
func (s *Store) Save(ctx context.Context, st core.Stored) error {
	docs, err := s.encode(st)
	if err != nil {
		return err
	}
	if s.embedded == nil {
		return s.external.because(s.kv.save(ctx, docs)) // history and space are the cluster's own business
	}
	return s.embedded.do(func() error { return s.saveEmbedded(ctx, docs) })
}

func (s *Store) saveEmbedded(ctx context.Context, docs map[string][]byte) error {
	if err := checkRoom(s.embedded.dir); err != nil {
		return fmt.Errorf("writing the store: %w", err)
	}
	err := s.kv.save(ctx, docs)
	if errors.Is(err, rpctypes.ErrNoSpace) {
		s.log.Warn("the store is full: making room")
		if err := s.embedded.makeRoom(ctx); err != nil {
			return fmt.Errorf("%w: %w", ErrUnavailable, err)
		}
		err = s.kv.save(ctx, docs)
	}
	if err == nil && s.kv.wrote >= s.embedded.compacted+keepRevisions {
		if err := s.embedded.compact(ctx, s.kv.wrote); err != nil {
			s.log.Warn("the history of the store could not be dropped: it stays for now", "err", err)
		}
	}
	return err
}

// Close closes the store and, if it is embedded, its etcd. An external one is free for the next controller
// at once.
func (s *Store) Close() {
	if s.leader != nil {
		s.leader.leave()
	}
	s.client.Close()
	if s.embedded != nil {
		s.embedded.close()
	}
}
