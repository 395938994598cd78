package port

import (
	"bytes"
	"errors"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/sluicelb/sluice/p4/packet"
)

func TestTap(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p, host := NewLink()
		defer host.Close()
		var seen []string
		p = Tap(p, func(d Direction, at time.Time, frame []byte) {
			if !at.Equal(time.Now()) {
				t.Errorf("frame %q is stamped %v, want %v", frame, at, time.Now())
			}
			seen = append(seen, map[Direction]string{In: "in ", Out: "out "}[d]+string(frame))
		})
		got := collect(t, p)
		host.Receive(func([]byte) {})
		host.Send([]byte("request"))
		synctest.Wait()
		p.Send([]byte("reply"))
		synctest.Wait()
		if diff := cmp.Diff([]string{"in request", "out reply"}, seen); diff != "" {
			t.Errorf("seen (-want +got):\n%s", diff)
		}
		if diff := cmp.Diff([]string{"request"}, got()); diff != "" {
			t.Errorf("passed on (-want +got):\n%s", diff)
		}
	})
}

func TestPcap(t *testing.T) {
	var file bytes.Buffer
	c, err := NewPcap(&file)
	if err != nil {
		t.Fatal(err)
	}
	p, host := NewLink()
	defer host.Close()
	Capture(p, c).Send([]byte("abc"))
	c.Record(time.Unix(1, 2_003_999), []byte{0xff})
	b := file.Bytes()
	const header = "\xd4\xc3\xb2\xa1\x02\x00\x04\x00\x00\x00\x00\x00\x00\x00\x00\x00\x11\x00\x01\x00\x01\x00\x00\x00"
	if string(b[:24]) != header {
		t.Errorf("header is %q, want %q", b[:24], header)
	}
	if got, want := string(b[24+8:24+16+3]), "\x03\x00\x00\x00\x03\x00\x00\x00abc"; got != want {
		t.Errorf("first record is %q, want %q", got, want)
	}
	want := "\x01\x00\x00\x00\xd3\x07\x00\x00\x01\x00\x00\x00\x01\x00\x00\x00\xff"
	if got := string(b[24+16+3:]); got != want {
		t.Errorf("second record is %q, want %q", got, want)
	}
}

type failingWriter struct{ left int }

func (w *failingWriter) Write(b []byte) (int, error) {
	if w.left--; w.left < 0 {
		return 0, errors.New("disk full")
	}
	return len(b), nil
}

func TestPcapWriteError(t *testing.T) {
	if _, err := NewPcap(&failingWriter{}); err == nil || err.Error() != "writing capture: disk full" {
		t.Errorf("NewPcap: %v", err)
	}
	c, err := NewPcap(&failingWriter{left: 2})
	if err != nil {
		t.Fatal(err)
	}
	for range 3 {
		c.Record(time.Now(), []byte("x"))
	}
	if err := c.Err(); err == nil || err.Error() != "writing capture: disk full" {
		t.Errorf("Err: %v", err)
	}
}

func TestPcapIsReadByTcpdump(t *testing.T) {
	tcpdump, err := exec.LookPath("tcpdump")
	if err != nil {
		t.Skip("tcpdump is not installed")
	}
	name := filepath.Join(t.TempDir(), "port1.pcap")
	f, err := os.Create(name)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	c, err := NewPcap(f)
	if err != nil {
		t.Fatal(err)
	}
	c.Record(time.Unix(5, 0), packet.NewARPRequest(packet.MAC{2, 0, 0, 0, 0, 1},
		netip.MustParseAddr("10.0.0.1"), netip.MustParseAddr("10.0.0.100")))
	out, err := exec.Command(tcpdump, "-tnr", name).Output()
	if err != nil {
		t.Fatal(err)
	}
	if got, want := strings.TrimSpace(string(out)),
		"ARP, Request who-has 10.0.0.100 tell 10.0.0.1, length 28"; got != want {
		t.Errorf("tcpdump says %q, want %q", got, want)
	}
}
