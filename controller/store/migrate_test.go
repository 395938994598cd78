package store

import (
	"encoding/json"
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/sluicelb/sluice/controller/core"
)

// oldStore makes a store of layout 2 that holds st, with loaded as the text last read from the file.
func oldStore(t *testing.T, cfg Config, st core.Stored, loaded string) {
	t.Helper()
	s, _ := open(t, cfg)
	defer s.Close()
	docs, err := s.encode(st)
	if err != nil {
		t.Fatal(err)
	}
	delete(docs, docText)
	docs[docIntent], err = json.Marshal(oldIntent{st.Intent.YAML, st.Intent.File, st.Intent.Revision,
		st.Intent.AppliedAt, loaded})
	if err != nil {
		t.Fatal(err)
	}
	put := func(key, value string) {
		if _, err := s.client.Put(t.Context(), key, value); err != nil {
			t.Fatal(err)
		}
	}
	put(keyVersion, oldLayout)
	put(keyHead, `{"writer":1764201600000001,"changes":57}`)
	for name, doc := range docs {
		put(prefixOld+name, string(doc))
	}
}

// A store of the layout before is taken as it is, wherever an earlier try to do so ended.
func TestOldLayout(t *testing.T) {
	want := wide(150, 600<<10)
	want.Intent.Loaded = core.Fingerprint("pools: [] # the file\n")
	for n := 0; ; n++ {
		cfg := Config{Dir: t.TempDir(), Timeout: 20 * time.Second}
		oldStore(t, cfg, want, "pools: [] # the file\n")
		e, client, err := startEmbedded(t.Context(), cfg.Dir, maxDatabase, quiet)
		if err != nil {
			t.Fatal(err)
		}
		client.KV = &lossy{KV: client.KV, answer: n}
		k := kv{client: client, timeout: cfg.Timeout}
		opened := k.open(t.Context())
		client.Close()
		e.close()

		s, got := open(t, cfg)
		if diff := cmp.Diff(want, got); diff != "" {
			t.Errorf("a try of %d requests before (-want +got):\n%s", n, diff)
		}
		if s.kv.head.Changes != 58 || s.kv.head.Writer <= 1764201600000001 {
			t.Errorf("the head is %v", s.kv.head)
		}
		if opened != nil && !s.SavedAt().IsZero() {
			t.Errorf("saved at %v, want unknown", s.SavedAt())
		}
		for key := range dump(t, s) {
			if strings.HasPrefix(key, prefixOld) {
				t.Errorf("%s is left", key)
			}
		}
		s.Close()
		if opened == nil {
			if n < 3 {
				t.Errorf("it took %d requests: too few to tell", n)
			}
			return
		}
	}
}

// One that is damaged is refused, and stays as it is.
func TestOldLayoutDamaged(t *testing.T) {
	cfg := Config{Dir: t.TempDir()}
	oldStore(t, cfg, sample(), "")
	s, client, err := startEmbedded(t.Context(), cfg.Dir, maxDatabase, quiet)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := client.Put(t.Context(), prefixOld+docAdmin, "{"); err != nil {
		t.Fatal(err)
	}
	client.Close()
	s.close()
	for range 2 {
		_, _, err = Open(t.Context(), cfg)
		want := "opening the store: bringing the store from layout 2 to 3: store is corrupt: admin: unexpected end " +
			"of JSON input"
		if !errors.Is(err, ErrCorrupt) || err.Error() != want {
			t.Errorf("got %v, want %s", err, want)
		}
	}
}
