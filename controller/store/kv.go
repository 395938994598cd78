package store

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"time"

	clientv3 "go.etcd.io/etcd/client/v3"
)

// prefix holds everything; under it:
//
//	version   layout of what follows
//	head      who wrote last, and that writer's count of changes: compared and set by every change
//	data/...  the documents
const (
	prefix     = "/sluice/"
	keyVersion = prefix + "version"
	keyHead    = prefix + "head"
	prefixData = prefix + "data/"

	layout = "2"
)

// kv keeps documents in etcd: it knows what the store holds, and writes what differs, in one transaction.
// A change goes through only on top of this writer's last one. For one goroutine at a time.
type kv struct {
	client  *clientv3.Client
	timeout time.Duration

	writer  uint64
	changes uint64
	wrote   int64  // etcd's revision of the last change
	head    string // in the store, as far as known
	held    map[string][]byte
	unsure  bool // head and held may be out of date
}

type head struct {
	Writer  uint64 `json:"writer"`
	Changes uint64 `json:"changes"`
}

func (h head) String() string {
	b, _ := json.Marshal(h)
	return string(b)
}

// open reads everything and makes this process the writer: later changes of an earlier one fail.
func (k *kv) open(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, k.timeout)
	defer cancel()
	resp, err := k.client.Get(ctx, prefix, clientv3.WithPrefix())
	if err != nil {
		return fmt.Errorf("reading the store: %w: %w", ErrUnavailable, err)
	}
	k.held = make(map[string][]byte)
	version := ""
	for _, item := range resp.Kvs {
		switch key := string(item.Key); {
		case key == keyVersion:
			version = string(item.Value)
		case key == keyHead:
			k.head = string(item.Value)
		case strings.HasPrefix(key, prefixData):
			k.held[strings.TrimPrefix(key, prefixData)] = item.Value
		default:
			return fmt.Errorf("%w: key %s is not of this program", ErrCorrupt, key)
		}
	}
	var last head
	switch {
	case len(resp.Kvs) == 0:
		// A new store's writers outrank those of a store that was lost: switches remember the
		// highest election id they have seen. Openings take more than a microsecond, so the count
		// never catches up with the clock.
		last.Writer = uint64(time.Now().UnixMicro())
	case version != layout:
		return fmt.Errorf("%w: layout version %q, this program knows %q; start with an empty data directory and --config", ErrVersion, version, layout)
	default:
		if err := json.Unmarshal([]byte(k.head), &last); err != nil {
			return fmt.Errorf("%w: %s: %w", ErrCorrupt, keyHead, err)
		}
	}
	k.writer = last.Writer + 1
	return k.write(ctx, nil, []clientv3.Op{clientv3.OpPut(keyVersion, layout)})
}

// save makes the store hold exactly docs.
func (k *kv) save(ctx context.Context, docs map[string][]byte) error {
	ctx, cancel := context.WithTimeout(ctx, k.timeout)
	defer cancel()
	for {
		if k.unsure {
			if err := k.reread(ctx); err != nil {
				return err
			}
		}
		var ops []clientv3.Op
		for name, doc := range docs {
			if old, ok := k.held[name]; !ok || !bytes.Equal(old, doc) {
				ops = append(ops, clientv3.OpPut(prefixData+name, string(doc)))
			}
		}
		for name := range k.held {
			if _, ok := docs[name]; !ok {
				ops = append(ops, clientv3.OpDelete(prefixData+name))
			}
		}
		if len(ops) == 0 {
			return nil
		}
		err := k.write(ctx, docs, ops)
		if !errors.Is(err, ErrConflict) {
			return err
		}
		// Either another writer took over, which reread tells, or a change of our own, given up for
		// lost, came through late.
	}
}

// write does ops in one transaction. docs (nil: unchanged) is what the store holds afterwards.
func (k *kv) write(ctx context.Context, docs map[string][]byte, ops []clientv3.Op) error {
	next := head{k.writer, k.changes + 1}.String()
	unchanged := clientv3.Compare(clientv3.Value(keyHead), "=", k.head)
	if k.head == "" {
		unchanged = clientv3.Compare(clientv3.CreateRevision(keyHead), "=", 0)
	}
	resp, err := k.client.Txn(ctx).If(unchanged).Then(append(ops, clientv3.OpPut(keyHead, next))...).Commit()
	if err != nil {
		k.unsure = true // perhaps it was done, and only the answer is lost
		return fmt.Errorf("writing the store: %w: %w", ErrUnavailable, err)
	}
	if !resp.Succeeded {
		k.unsure = true
		return fmt.Errorf("writing the store: %w", ErrConflict)
	}
	k.changes++
	k.wrote = resp.Header.Revision
	k.head = next
	if docs != nil {
		k.held = docs
	}
	return nil
}

// reread finds out what the store holds, after a change whose outcome is unknown.
func (k *kv) reread(ctx context.Context) error {
	resp, err := k.client.Get(ctx, prefix, clientv3.WithPrefix())
	if err != nil {
		return fmt.Errorf("reading the store: %w: %w", ErrUnavailable, err)
	}
	held, found := make(map[string][]byte), ""
	for _, item := range resp.Kvs {
		key := string(item.Key)
		if key == keyHead {
			found = string(item.Value)
		} else if name, ok := strings.CutPrefix(key, prefixData); ok {
			held[name] = item.Value
		}
	}
	var last head
	if err := json.Unmarshal([]byte(found), &last); err != nil {
		return fmt.Errorf("%w: %s: %w", ErrCorrupt, keyHead, err)
	}
	if last.Writer != k.writer {
		return fmt.Errorf("writing the store: %w", ErrConflict)
	}
	k.changes, k.head, k.held, k.unsure = last.Changes, found, held, false
	return nil
}
