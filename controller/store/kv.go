package store

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"
	"time"

	"go.etcd.io/etcd/api/v3/v3rpc/rpctypes"
	clientv3 "go.etcd.io/etcd/client/v3"
	"google.golang.org/grpc/codes"
)

// prefix holds everything; under it:
//
//	version   layout of what follows
//	head      the last change that counts, and who made it: compared by every write, set by every change
//	docs/...  the documents, in parts: docs/<change>/<part>-<parts>/<name>; 0-0 says that it is no more
//	leader    who holds an external store, while it lives (leader.go)
//	bids/...  the election ids that its leaders went to switches with (leader.go)
//
// A document is the newest of its versions whose change is not above the head's: those above were begun and
// never finished. So a change may take many requests, none larger than every etcd takes, and comes into
// effect with the last one, which sets the head.
const (
	prefix     = "/sluice/"
	keyVersion = prefix + "version"
	keyHead    = prefix + "head"
	keyLeader  = prefix + "leader"
	prefixDocs = prefix + "docs/"
	prefixBids = prefix + "bids/"

	layout = "3"
)

// What one request holds at most: an etcd with default settings takes 128 operations and 1.5 MiB.
const (
	maxOps   = 100
	maxBytes = 1 << 20
	partSize = 512 << 10
)

// kv keeps documents in etcd: it knows what the store holds, and writes what differs. A change goes through
// only on top of this writer's last one. For one goroutine at a time.
type kv struct {
	client  *clientv3.Client
	timeout time.Duration // of one request

	head     head
	revision int64 // at which etcd has the head; 0: there is none
	held     map[string]document
	stale    []string // keys that no longer count, in the order in which they may be deleted
	sure     bool     // the above is what the store holds
	wrote    int64    // etcd's revision of the last write
}

// head is where the store is. Writer is the opening that owns it. Taken counts how often writers made sure
// that nothing begun earlier can still come through.
type head struct {
	Writer  uint64    `json:"writer"`
	Changes uint64    `json:"changes"`
	Taken   uint64    `json:"taken"`
	SavedAt time.Time `json:"saved_at"`
}

// document is what the store holds of one.
type document struct {
	content []byte
	keys    []string
}

// open reads everything and makes this process the writer: later changes of an earlier one fail.
func (k *kv) open(ctx context.Context) error {
	return k.take(ctx, func(last head) (uint64, error) {
		// An opening has a number of its own, also where the store is an old copy of itself.
		return max(last.Writer+1, uint64(time.Now().UnixMicro())), nil
	})
}

// again finds out what the store holds, after a write whose outcome is unknown.
func (k *kv) again(ctx context.Context) error {
	return k.take(ctx, func(last head) (uint64, error) {
		if last.Writer != k.head.Writer {
			return 0, fmt.Errorf("writing the store: %w", ErrConflict)
		}
		return last.Writer, nil
	})
}

// take reads everything and sets the head, so that whatever was begun before, by this process too, can no
// longer come through. writer says who the store's writer is from then on.
func (k *kv) take(ctx context.Context, writer func(last head) (uint64, error)) error {
	k.sure = false
	for range 3 {
		found, err := k.read(ctx)
		if err != nil {
			return err
		}
		next := found.head
		if next.Writer, err = writer(found.head); err != nil {
			return err
		}
		next.Taken++
		then := []clientv3.Op{
			clientv3.OpDelete(prefixDocs+number(next.Changes+1),
				clientv3.WithRange(clientv3.GetPrefixRangeEnd(prefixDocs))),
		}
		if found.version == "" {
			then = append(then, clientv3.OpPut(keyVersion, layout))
		}
		k.head, k.revision, k.stale = found.head, found.revision, found.stale
		if err := k.write(ctx, then, &next); errors.Is(err, ErrConflict) {
			continue
		} else if err != nil {
			return err
		}
		if found.version != "" && found.version != layout {
			if found.docs, err = k.migrate(ctx, found); err != nil {
				return fmt.Errorf("bringing the store from layout %s to %s: %w", found.version, layout, err)
			}
		}
		k.held, k.sure = found.docs, true
		k.sweep(ctx, 0)
		return nil
	}
	return fmt.Errorf("writing the store: %w", ErrConflict)
}

// content is what a store holds.
type content struct {
	version  string
	head     head
	revision int64 // at which etcd has the head
	docs     map[string]document
	old      map[string][]byte // documents of the layout before
	stale    []string
}

// read reads everything.
func (k *kv) read(ctx context.Context) (content, error) {
	c := content{docs: make(map[string]document), old: make(map[string][]byte)}
	ctx, cancel := context.WithTimeout(ctx, 5*k.timeout) // it may be much
	defer cancel()
	resp, err := k.client.Get(ctx, prefix, clientv3.WithPrefix())
	if err != nil {
		return c, failed("reading the store", err)
	}
	var oldKeys []string
	versions := make(map[string]map[uint64]map[string][]byte) // by name, change and key
	for _, item := range resp.Kvs {
		switch key := string(item.Key); {
		case key == keyVersion:
			c.version = string(item.Value)
		case key == keyHead:
			c.revision = item.ModRevision
			if err := json.Unmarshal(item.Value, &c.head); err != nil {
				return c, fmt.Errorf("%w: %s: %w", ErrCorrupt, keyHead, err)
			}
		case key == keyLeader || strings.HasPrefix(key, prefixBids):
		case strings.HasPrefix(key, prefixOld):
			c.old[strings.TrimPrefix(key, prefixOld)] = item.Value
			oldKeys = append(oldKeys, key)
		case strings.HasPrefix(key, prefixDocs):
			p, ok := parsePart(key)
			if !ok {
				return c, fmt.Errorf("%w: key %s is not of this program", ErrCorrupt, key)
			}
			if versions[p.name] == nil {
				versions[p.name] = make(map[uint64]map[string][]byte)
			}
			if versions[p.name][p.change] == nil {
				versions[p.name][p.change] = make(map[string][]byte)
			}
			versions[p.name][p.change][key] = item.Value
		default:
			return c, fmt.Errorf("%w: key %s is not of this program", ErrCorrupt, key)
		}
	}
	switch {
	case c.version == layout:
		c.stale = oldKeys // left by a move to this layout
	case c.version == oldLayout || c.version == "" && c.revision == 0 && len(versions)+len(c.old) == 0:
		return c, nil
	default:
		return c, fmt.Errorf("%w: layout version %q, this program knows %q; start with an empty data directory and "+
			"--config",
			ErrVersion, c.version, layout)
	}
	if c.revision == 0 {
		return c, fmt.Errorf("%w: %s is missing", ErrCorrupt, keyHead)
	}
	for _, name := range slices.Sorted(maps.Keys(versions)) {
		if err := c.assemble(name, versions[name]); err != nil {
			return c, err
		}
	}
	return c, nil
}

// assemble finds the version of a document that counts.
func (c *content) assemble(name string, versions map[uint64]map[string][]byte) error {
	changes := slices.DeleteFunc(slices.Sorted(maps.Keys(versions)), func(n uint64) bool { return n > c.head.Changes })
	if len(changes) == 0 {
		return nil
	}
	newest := changes[len(changes)-1]
	for _, older := range changes[:len(changes)-1] {
		c.stale = append(c.stale, slices.Sorted(maps.Keys(versions[older]))...)
	}
	// Parts are numbered in fixed width, so keys sort by part.
	parts := versions[newest]
	keys := slices.Sorted(maps.Keys(parts))
	var doc document
	for i, key := range keys {
		p, _ := parsePart(key)
		if p.parts == 0 {
			c.stale = append(c.stale, key)
			return nil
		}
		if p.part != i+1 || p.parts != len(keys) {
			return fmt.Errorf("%w: %s: part %d of %d is missing", ErrCorrupt, name, i+1, p.parts)
		}
		doc.content = append(doc.content, parts[key]...)
	}
	doc.keys = keys
	c.docs[name] = doc
	return nil
}

// save makes the store hold exactly docs.
func (k *kv) save(ctx context.Context, docs map[string][]byte) error {
	for range 3 {
		if !k.sure {
			if err := k.again(ctx); err != nil {
				return err
			}
		}
		err := k.change(ctx, docs, time.Now())
		if !errors.Is(err, ErrConflict) {
			return err
		}
		// Either another writer took over, as k.again finds out, or a change of our own, given up for lost, came
		// through late.
	}
	return fmt.Errorf("writing the store: %w", ErrConflict)
}

// change writes what differs, the head with the last request.
func (k *kv) change(ctx context.Context, docs map[string][]byte, now time.Time, last ...clientv3.Op) error {
	next := k.head
	next.Changes++
	next.SavedAt = now
	held := make(map[string]document)
	maps.Copy(held, k.held)
	var ops []clientv3.Op
	var stale []string
	for _, name := range slices.Sorted(maps.Keys(docs)) {
		old, ok := k.held[name]
		if ok && bytes.Equal(old.content, docs[name]) {
			continue
		}
		stale = append(stale, old.keys...)
		doc := document{content: docs[name]}
		for i, part := range split(docs[name]) {
			key := partKey(docPart{name, next.Changes, i + 1, partsOf(docs[name])})
			doc.keys = append(doc.keys, key)
			ops = append(ops, clientv3.OpPut(key, string(part)))
		}
		held[name] = doc
	}
	for _, name := range slices.Sorted(maps.Keys(k.held)) {
		if _, ok := docs[name]; ok {
			continue
		}
		key := partKey(docPart{name: name, change: next.Changes})
		ops = append(ops, clientv3.OpPut(key, ""))
		stale = append(append(stale, k.held[name].keys...), key)
		delete(held, name)
	}
	if len(ops) == 0 && len(last) == 0 {
		return nil
	}
	ops = append(ops, last...)
	for len(ops) > 0 {
		n := batch(ops)
		request, commit, swept := ops[:n:n], (*head)(nil), 0
		if n == len(ops) {
			commit, swept = &next, min(len(k.stale), maxOps-n)
			for _, key := range k.stale[:swept] {
				request = append(request, clientv3.OpDelete(key))
			}
		}
		if err := k.write(ctx, request, commit); err != nil {
			return err
		}
		k.stale = k.stale[swept:]
		ops = ops[n:]
	}
	k.held, k.stale = held, append(k.stale, stale...)
	k.sweep(ctx, maxOps)
	return nil
}

// batch is how many of ops fit into one request, with the head.
func batch(ops []clientv3.Op) int {
	size := 0
	for n, op := range ops {
		size += len(op.KeyBytes()) + len(op.ValueBytes())
		if n > 0 && (n == maxOps || size > maxBytes) {
			return n
		}
	}
	return len(ops)
}

// sweep deletes stale keys while there are more than most. What it cannot delete now, it does later.
func (k *kv) sweep(ctx context.Context, most int) {
	for len(k.stale) > most {
		n := min(len(k.stale), maxOps)
		var ops []clientv3.Op
		for _, key := range k.stale[:n] {
			ops = append(ops, clientv3.OpDelete(key))
		}
		if k.write(ctx, ops, nil) != nil {
			return
		}
		k.stale = k.stale[n:]
	}
}

// write does ops in one transaction, if the head is as this writer left it, and sets the head unless next
// is nil.
func (k *kv) write(ctx context.Context, ops []clientv3.Op, next *head) error {
	ctx, cancel := context.WithTimeout(ctx, k.timeout)
	defer cancel()
	if next != nil {
		b, err := json.Marshal(next)
		if err != nil {
			return fmt.Errorf("encoding %s: %w", keyHead, err)
		}
		ops = append(ops[:len(ops):len(ops)], clientv3.OpPut(keyHead, string(b)))
	}
	resp, err := k.client.Txn(ctx).If(clientv3.Compare(clientv3.ModRevision(keyHead), "=", k.revision)).Then(
		ops...).Commit()
	if err != nil {
		k.sure = false // perhaps it was done, and only the answer is lost
		return failed("writing the store", err)
	}
	if !resp.Succeeded {
		k.sure = false
		return fmt.Errorf("writing the store: %w", ErrConflict)
	}
	k.wrote = resp.Header.Revision
	if next != nil {
		k.head, k.revision = *next, resp.Header.Revision
	}
	return nil
}

// failed tells an etcd that does not answer from one that has answered, with a refusal.
func failed(what string, err error) error {
	if refused, ok := errors.AsType[rpctypes.EtcdError](err); ok {
		switch refused.Code() {
		case codes.Unavailable, codes.DeadlineExceeded, codes.Canceled, codes.Unknown:
		default:
			return fmt.Errorf("%s: %w: %w", what, ErrRefused, err)
		}
	}
	return fmt.Errorf("%s: %w: %w", what, ErrUnavailable, err)
}

// docPart names a part of a document: part of parts, counted from 1. With no parts at all the document is gone.
type docPart struct {
	name        string
	change      uint64
	part, parts int
}

func number(n uint64) string { return fmt.Sprintf("%016x", n) }

func partKey(p docPart) string {
	return fmt.Sprintf("%s%s/%04x-%04x/%s", prefixDocs, number(p.change), p.part, p.parts, p.name)
}

func parsePart(key string) (p docPart, ok bool) {
	fields := strings.SplitN(strings.TrimPrefix(key, prefixDocs), "/", 3)
	if len(fields) != 3 {
		return p, false
	}
	first, second, _ := strings.Cut(fields[1], "-")
	change, err := strconv.ParseUint(fields[0], 16, 64)
	part, err1 := strconv.ParseUint(first, 16, 16)
	parts, err2 := strconv.ParseUint(second, 16, 16)
	p = docPart{fields[2], change, int(part), int(parts)}
	return p, errors.Join(err, err1, err2) == nil && key == partKey(p)
}

// partsOf is how many parts a document has: one at least.
func partsOf(doc []byte) int { return max(1, (len(doc)+partSize-1)/partSize) }

func split(doc []byte) [][]byte {
	if len(doc) == 0 {
		return [][]byte{nil}
	}
	return slices.Collect(slices.Chunk(doc, partSize))
}
