package watch

import (
	"encoding/binary"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/sluicelb/sluice/controller/api"
	"github.com/sluicelb/sluice/internal/alloctest"
)

// What a lying controller says costs no more than what an honest one might.
func TestLyingController(t *testing.T) {
	dir, err := os.MkdirTemp("", "watch") // the path of a unix socket must be short
	if err != nil {
		t.Fatal(err)
	}
	defer os.RemoveAll(dir)
	path := filepath.Join(dir, "api")
	l, err := net.Listen("unix", path)
	if err != nil {
		t.Fatal(err)
	}
	var word []byte // the encoded VIPs that it sends
	s := &http.Server{Protocols: new(http.Protocols),
		Handler: http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Content-Type", "application/connect+proto")
			_, _ = w.Write(binary.BigEndian.AppendUint32([]byte{0}, uint32(len(word))))
			_, _ = w.Write(word)
		})}
	s.Protocols.SetUnencryptedHTTP2(true)
	go s.Serve(l)
	defer s.Close()
	empty := func(n int) []byte { return []byte(strings.Repeat("\x12\x00", n)) }
	for _, test := range []struct {
		name string
		word []byte
		want string
		most int // MiB
	}{
		{"6 MB of nothing", empty(3 << 20),
			"invalid_argument: unmarshal message: too many items in a sluice.v1.VIPs: must be at most 262144", 40},
		{"more VIPs than there may be", empty(api.MaxVIPs + 1),
			"the controller tells of 8193 VIPs: must be at most 8192", 20},
		{"a word without an end", make([]byte, 33<<20),
			"resource_exhausted: message size 34603008 is larger than configured max 33554432", 8},
	} {
		word = test.word
		w := New(Deps{})
		used := alloctest.AtMost(test.most,
			func() { _, err = w.talk(t.Context(), &link{site: &site{}, address: "unix:" + path}) })
		if err == nil || err.Error() != test.want {
			t.Errorf("%s: got %v, want %s", test.name, err, test.want)
		}
		if used > test.most {
			t.Errorf("%s: took %d MiB, want %d at most", test.name, used, test.most)
		}
	}
}
