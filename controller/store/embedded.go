package store

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/url"
	"os"
	"path/filepath"
	"time"

	"go.etcd.io/bbolt"
	clientv3 "go.etcd.io/etcd/client/v3"
	"go.etcd.io/etcd/server/v3/embed"
	"go.etcd.io/etcd/server/v3/etcdserver/api/v3client"
	"go.uber.org/zap"
)

// embedded is one etcd node inside this process. It opens no socket: the client speaks to it in memory.
type embedded struct {
	lock *os.File
	etcd *embed.Etcd
}

const (
	maxRequestBytes = 64 << 20 // a change of every slot of a large configuration
	maxTxnOps       = 16384
	startTimeout    = 30 * time.Second
)

func startEmbedded(ctx context.Context, dir string, log *slog.Logger) (*embedded, *clientv3.Client, error) {
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return nil, nil, fmt.Errorf("creating data directory: %w", err)
	}
	lock, err := lockDir(dir)
	if err != nil {
		return nil, nil, err
	}
	e := &embedded{lock: lock}
	if err := e.start(ctx, dir, log); err != nil {
		e.close()
		return nil, nil, err
	}
	return e, v3client.New(e.etcd.Server), nil
}

func (e *embedded) start(ctx context.Context, dir string, log *slog.Logger) (err error) {
	data := filepath.Join(dir, "etcd")
	if err := checkBackend(data); err != nil {
		return err
	}
	defer func() {
		// etcd gives up on files it cannot read by logging at panic or fatal level.
		if r := recover(); r != nil {
			err = fmt.Errorf("data directory %s cannot be read: %v", dir, r)
		}
	}()
	cfg := embed.NewConfig()
	cfg.Name = "sluice"
	cfg.Dir = data
	// A name in the list of members, which has one; nothing listens there.
	peer := url.URL{Scheme: "http", Host: "localhost:2380"}
	cfg.ListenPeerUrls, cfg.ListenClientUrls, cfg.AdvertiseClientUrls = nil, nil, nil
	cfg.AdvertisePeerUrls = []url.URL{peer}
	cfg.InitialCluster = cfg.Name + "=" + peer.String()
	// Nobody else stands for election, so there is nobody to wait for.
	cfg.TickMs, cfg.ElectionMs = 10, 50
	cfg.MaxRequestBytes, cfg.MaxTxnOps = maxRequestBytes, maxTxnOps
	cfg.AutoCompactionMode, cfg.AutoCompactionRetention = embed.CompactorModeRevision, "1000"
	cfg.ZapLoggerBuilder = embed.NewZapLoggerBuilder(zap.New(&zapCore{log: log}, zap.WithFatalHook(panicHook{})))
	if e.etcd, err = embed.StartEtcd(cfg); err != nil {
		return fmt.Errorf("starting the embedded store: %w", err)
	}
	select {
	case <-e.etcd.Server.ReadyNotify():
		return nil
	case err := <-e.etcd.Err():
		return fmt.Errorf("starting the embedded store: %w", err)
	case <-time.After(startTimeout):
		return fmt.Errorf("starting the embedded store: not ready after %v", startTimeout)
	case <-ctx.Done():
		return ctx.Err()
	}
}

func (e *embedded) close() {
	if e.etcd != nil {
		e.etcd.Close()
	}
	e.lock.Close()
}

// checkBackend opens the database as etcd is going to, because etcd opens it in a goroutine of its
// own, whose panic nobody could catch.
func checkBackend(data string) (err error) {
	file := filepath.Join(data, "member", "snap", "db")
	if _, err := os.Stat(file); errors.Is(err, os.ErrNotExist) {
		return nil
	}
	defer func() {
		if r := recover(); r != nil {
			err = fmt.Errorf("%s is corrupt: %v", file, r)
		}
	}()
	db, err := bbolt.Open(file, 0o600, &bbolt.Options{ReadOnly: true, Timeout: 2 * time.Second})
	if err != nil {
		return fmt.Errorf("%s is corrupt or unreadable: %w", file, err)
	}
	return db.Close()
}
