package store

import (
	"context"
	"encoding/json"
	"fmt"
	"time"

	clientv3 "go.etcd.io/etcd/client/v3"

	"github.com/sluicelb/sluice/controller/core"
)

// The layout before had each document whole, under prefixOld and its name, and the intent's text up to
// twice: as it runs, and as the file had it.
const (
	oldLayout = "2"
	prefixOld = prefix + "data/"
)

type oldIntent struct {
	YAML      string    `json:"yaml"`
	File      string    `json:"file"`
	Revision  int64     `json:"revision"`
	AppliedAt time.Time `json:"applied_at"`
	Loaded    string    `json:"loaded"`
}

// migrate brings a store of the old layout to this one. The old one counts until the last request, which sets
// the version; what it leaves to be deleted is gone after the next opening at the latest.
func (k *kv) migrate(ctx context.Context, found content) (map[string]document, error) {
	docs := make(map[string][]byte)
	for name, doc := range found.old {
		if name != docIntent {
			docs[name] = doc
			continue
		}
		var old oldIntent
		if err := json.Unmarshal(doc, &old); err != nil {
			return nil, fmt.Errorf("%w: %s: %w", ErrCorrupt, name, err)
		}
		now := core.Intent{YAML: old.YAML, File: old.File, Revision: old.Revision, AppliedAt: old.AppliedAt}
		if old.Loaded != "" {
			now.Loaded = core.Fingerprint(old.Loaded)
		}
		if err := encodeIntent(now, docs); err != nil {
			return nil, err
		}
	}
	if _, err := decode(docs); err != nil {
		return nil, err // nothing is changed
	}
	k.held, k.stale = nil, nil
	if err := k.change(ctx, docs, time.Time{}, clientv3.OpPut(keyVersion, layout)); err != nil {
		return nil, err
	}
	for name := range found.old {
		k.stale = append(k.stale, prefixOld+name)
	}
	return k.held, nil
}
