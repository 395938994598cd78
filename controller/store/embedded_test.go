package store

import (
	"net/url"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
	"go.etcd.io/etcd/server/v3/config"
	"go.etcd.io/etcd/server/v3/embed"
	"go.uber.org/zap"
)

// What is configured here is what etcd's own package makes of the same wishes: an etcd with other defaults, or more of
// them, is seen.
func TestServerConfig(t *testing.T) {
	dir, quota := t.TempDir(), int64(1<<30)
	cfg := embed.NewConfig()
	cfg.Name = "sluice"
	cfg.Dir = dir
	peer := url.URL{Scheme: "http", Host: "localhost:2380"}
	cfg.ListenPeerUrls, cfg.ListenClientUrls, cfg.AdvertiseClientUrls = nil, nil, nil
	cfg.AdvertisePeerUrls = []url.URL{peer}
	cfg.InitialCluster = cfg.Name + "=" + peer.String()
	cfg.TickMs, cfg.ElectionMs = 10, 50
	cfg.QuotaBackendBytes = quota
	cfg.SnapshotCount, cfg.SnapshotCatchUpEntries = snapshotCount, catchUp
	cfg.ZapLoggerBuilder = embed.NewZapLoggerBuilder(zap.NewNop())
	etcd, err := embed.StartEtcd(cfg)
	if err != nil {
		t.Fatal(err)
	}
	want := etcd.Server.Cfg
	etcd.Close()
	got := serverConfig(dir, quota, zap.NewNop())
	ignored := cmp.Options{
		cmpopts.IgnoreFields(config.ServerConfig{}, "Logger"),
		cmpopts.IgnoreFields(config.ServerConfig{}, "ServerFeatureGate"), // compared below
		// Of sockets, which nobody opens, and of searching other members.
		cmpopts.IgnoreFields(config.ServerConfig{}, "PeerTLSInfo", "CORS", "HostWhitelist", "EnableGRPCGateway",
			"DiscoveryCfg"),
		cmpopts.EquateEmpty(),
	}
	if diff := cmp.Diff(want, got, ignored); diff != "" {
		t.Errorf("configuration of etcd (-embed +here):\n%s", diff)
	}
	if diff := cmp.Diff(want.ServerFeatureGate.String(), got.ServerFeatureGate.String()); diff != "" {
		t.Errorf("features (-embed +here):\n%s", diff)
	}
	// A start applies what no snapshot covers yet, which is one snapshot's worth and what came in one go with its last
	// change, and must not drop any of it before raft knows.
	const more, inMemory = 32, 100 // the second is etcd's own memorySnapshotCount
	if n := got.SnapshotCount + more; n > inMemory || n > got.SnapshotCatchUpEntries {
		t.Errorf("a start applies up to %d changes, and may drop all but %d when they are more than %d", n,
			got.SnapshotCatchUpEntries, inMemory)
	}
}
