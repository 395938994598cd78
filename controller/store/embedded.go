package store

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"math"
	"os"
	"path/filepath"
	"time"

	"go.etcd.io/bbolt"
	"go.etcd.io/etcd/api/v3/v3rpc/rpctypes"
	"go.etcd.io/etcd/client/pkg/v3/types"
	clientv3 "go.etcd.io/etcd/client/v3"
	"go.etcd.io/etcd/server/v3/config"
	"go.etcd.io/etcd/server/v3/etcdserver"
	"go.etcd.io/etcd/server/v3/etcdserver/api/membership"
	"go.etcd.io/etcd/server/v3/etcdserver/api/v3client"
	"go.etcd.io/etcd/server/v3/features"
	"go.etcd.io/etcd/server/v3/storage/wal"
	"go.uber.org/zap"
	"golang.org/x/sys/unix"
)

// embedded is one etcd node inside this process. It opens no socket: the client speaks to it in memory.
type embedded struct {
	dir       string
	log       *slog.Logger
	lock      *os.File
	etcd      *etcdserver.EtcdServer
	client    *clientv3.Client
	compacted int64 // the revision up to which history is gone

	// alive ends when etcd has given up, with the cause; it does not come back in this process.
	alive context.Context
	die   context.CancelCauseFunc
}

const (
	// snapshotCount is after how many changes etcd writes a snapshot. Those since the last one are read into memory at
	// the start, and applied anew. etcd has one goroutine apply them and another stand for election meanwhile, and dies
	// when the second one looks for what the first one has dropped: it drops those that are applied when there are more
	// than 100, but for the last catchUp.
	snapshotCount = 50
	catchUp       = 2 * snapshotCount
	maxDatabase   = 4 << 30 // far above what is in use: past it etcd refuses every write
	keepRevisions = 100     // nobody reads the past; each takes the room of what was written
	startTimeout  = 30 * time.Second

	// segment is what etcd sets aside for its log, twice, each time that it has filled one.
	segment = 8 << 20
	// room is what a file system must have left before a write. etcd, which cannot go on when it has none, would be
	// dead until a restart; so one that fills up is met before etcd meets it.
	room = 4 * segment
)

func init() { wal.SegmentSizeBytes = segment }

// checkRoom refuses to write where the file system is nearly full.
func checkRoom(dir string) error {
	var fs unix.Statfs_t
	if err := unix.Statfs(dir, &fs); err != nil {
		return nil // then a write tells
	}
	if left := fs.Bavail * uint64(fs.Bsize); left < room {
		return fmt.Errorf("%w: %w: %s has %d MiB left, the store needs %d MiB", ErrRefused, unix.ENOSPC, dir, left>>20,
			room>>20)
	}
	return nil
}

func startEmbedded(ctx context.Context, dir string, quota int64, log *slog.Logger) (*embedded, *clientv3.Client,
	error) {
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return nil, nil, fmt.Errorf("creating data directory: %w", err)
	}
	lock, err := lockDir(dir)
	if err != nil {
		return nil, nil, err
	}
	e := &embedded{dir: dir, lock: lock, log: log}
	e.alive, e.die = context.WithCancelCause(context.Background())
	if err := e.start(ctx, dir, quota, log); err != nil {
		e.close()
		return nil, nil, err
	}
	e.client = v3client.New(e.etcd)
	if err := e.do(func() error { return e.makeRoom(ctx) }); err != nil {
		e.client.Close()
		e.close()
		return nil, nil, err
	}
	return e, e.client, nil
}

// makeRoom gives the space of past revisions back to the file system, and lets etcd write again if it
// had run out of its quota. etcd does none of that by itself.
func (e *embedded) makeRoom(ctx context.Context) error {
	now, err := e.client.Get(ctx, keyHead)
	if err != nil {
		return fmt.Errorf("making room in the store: %w", err)
	}
	if err := e.compact(ctx, now.Header.Revision); err != nil {
		return err
	}
	if err := e.etcd.Backend().Defrag(); err != nil {
		e.log.Warn("the store's file stays as large as it is", "err", err) // a copy needs room too
	}
	if _, err := e.client.AlarmDisarm(ctx, &clientv3.AlarmMember{}); err != nil {
		return fmt.Errorf("making room in the store: clearing alarms: %w", err)
	}
	return nil
}

// compact forgets what was before revision.
func (e *embedded) compact(ctx context.Context, revision int64) error {
	_, err := e.client.Compact(ctx, revision, clientv3.WithCompactPhysical())
	if err != nil && !errors.Is(err, rpctypes.ErrCompacted) {
		return fmt.Errorf("compacting the store: %w", err)
	}
	e.compacted = revision
	return nil
}

// dataDir is where etcd keeps its files.
func dataDir(dir string) string { return filepath.Join(dir, "etcd") }

func (e *embedded) start(ctx context.Context, dir string, quota int64, log *slog.Logger) error {
	data := dataDir(dir)
	if err := checkFiles(data); err != nil {
		return err
	}
	if err := checkRoom(dir); err != nil {
		return err
	}
	hook := deathHook{die: e.die}
	cfg := serverConfig(data, quota, zap.New(&zapCore{log: log}, zap.WithFatalHook(hook), zap.WithPanicHook(hook)))
	started := make(chan error, 1)
	// Files that etcd cannot read end in deathHook, which never returns, or in a panic.
	go func() {
		defer func() {
			if r := recover(); r != nil {
				e.die(fmt.Errorf("%v", r))
			}
		}()
		etcd, err := etcdserver.NewServer(cfg)
		if err == nil {
			e.etcd = etcd
			etcd.Start()
			select {
			case <-etcd.ReadyNotify():
			case <-etcd.StopNotify():
				err = errors.New("it stopped")
			case <-ctx.Done():
				err = ctx.Err()
			}
		}
		started <- err
	}()
	select {
	case err := <-started:
		if err != nil {
			return fmt.Errorf("starting the embedded store: %w", err)
		}
		return nil
	case <-e.alive.Done():
		return fmt.Errorf("data directory %s cannot be read: %w; %s", dir, context.Cause(e.alive), remedy)
	case <-time.After(startTimeout):
		e.die(errors.New("it did not start")) // nobody can wait for it
		return fmt.Errorf("the embedded store is not ready after %v: the files in %s may be damaged: %s", startTimeout,
			data, remedy)
	}
}

// serverConfig is etcd's configuration. etcd's package embed would make it, and serve it on sockets: for those that it
// does not open here, it would link a gateway to HTTP, tracing exporters and debug handlers. Where there is
// no comment, a value is embed's default.
func serverConfig(dir string, quota int64, log *zap.Logger) config.ServerConfig {
	const name = "sluice"
	// A name in the list of members, which has one; nothing listens there.
	peers := types.URLs{{Scheme: "http", Host: "localhost:2380"}}
	return config.ServerConfig{
		Name:                name,
		DataDir:             dir,
		PeerURLs:            peers,
		InitialPeerURLsMap:  types.URLsMap{name: peers},
		InitialClusterToken: "etcd-cluster",
		NewCluster:          true,
		Logger:              log,

		// Nobody else stands for election, so there is nobody to wait for.
		TickMs:                     10,
		ElectionTicks:              5,
		InitialElectionTickAdvance: true,
		PreVote:                    true,

		SnapshotCount:          snapshotCount,
		SnapshotCatchUpEntries: catchUp,
		MaxSnapFiles:           5,
		MaxWALFiles:            5,

		QuotaBackendBytes:    quota,
		MaxTxnOps:            128,
		MaxRequestBytes:      1.5 * 1024 * 1024,
		BackendFreelistType:  bbolt.FreelistMapType,
		AutoCompactionMode:   "periodic", // every 0 s: never
		CompactHashCheckTime: time.Minute,
		WarningApplyDuration: 100 * time.Millisecond,
		DowngradeCheckTime:   5 * time.Second,
		ServerFeatureGate:    features.NewDefaultServerFeatureGate(name, log),
		V2Deprecation:        config.V2DeprDefault,
		MaxLearners:          membership.DefaultMaxLearners,
		StrictReconfigCheck:  true,
		MaxConcurrentStreams: math.MaxUint32,
		AuthToken:            "simple",
		BcryptCost:           10,
		TokenTTL:             300,
		Metrics:              "basic",
	}
}

// dead says why etcd has given up, nil while it has not.
func (e *embedded) dead() error {
	if e.alive.Err() == nil {
		return nil
	}
	return fmt.Errorf("the embedded store has stopped until a restart: %w: %w", ErrUnavailable, context.Cause(e.alive))
}

// do runs f, which uses etcd, unless etcd gives up: then f may be stuck for ever, and do returns all the same.
func (e *embedded) do(f func() error) error {
	if err := e.dead(); err != nil {
		return err
	}
	done := make(chan error, 1)
	go func() { done <- f() }()
	select {
	case err := <-done:
		return err
	case <-e.alive.Done():
		return e.dead()
	}
}

func (e *embedded) close() {
	// One that has given up would be waited for in vain.
	if e.alive.Err() == nil && e.etcd != nil {
		e.etcd.Stop()
	}
	e.lock.Close()
}
