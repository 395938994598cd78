package store

import (
	"net/url"
	"testing"

	"github.com/google/go-cmp/cmp"
	"go.etcd.io/etcd/server/v3/embed"
	"go.uber.org/zap"
)

// An external etcd is used through the same code: what one controller leaves there, the next one finds,
// and the first can write no more.
func TestExternal(t *testing.T) {
	cfg := embed.NewConfig()
	cfg.Dir = t.TempDir()
	loopback := url.URL{Scheme: "http", Host: "127.0.0.1:0"}
	cfg.ListenPeerUrls, cfg.ListenClientUrls = nil, []url.URL{loopback}
	cfg.TickMs, cfg.ElectionMs = 10, 50
	cfg.ZapLoggerBuilder = embed.NewZapLoggerBuilder(zap.NewNop())
	cluster, err := embed.StartEtcd(cfg)
	if err != nil {
		t.Fatal(err)
	}
	defer cluster.Close()
	<-cluster.Server.ReadyNotify()

	at := Config{Endpoints: []string{cluster.Clients[0].Addr().String()}}
	first, _ := open(t, at)
	defer first.Close()
	if err := first.Save(t.Context(), sample()); err != nil {
		t.Fatal(err)
	}
	second, st := open(t, at)
	defer second.Close()
	if diff := cmp.Diff(sample(), st); diff != "" {
		t.Errorf("what the second finds (-want +got):\n%s", diff)
	}
	st.Intent.Revision++
	if err := first.Save(t.Context(), st); err == nil || err.Error() != "writing the store: another controller has taken over the store" {
		t.Errorf("the first writes: %v", err)
	}
	if err := second.Save(t.Context(), st); err != nil {
		t.Error(err)
	}
}
