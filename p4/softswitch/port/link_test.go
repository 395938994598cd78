package port

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"sync"
	"testing"
	"testing/synctest"

	"github.com/google/go-cmp/cmp"
)

// collect runs p until the test ends, and returns what it has received so far when asked.
func collect(t *testing.T, p Port) func() []string {
	t.Helper()
	var mu sync.Mutex
	var got []string
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error, 1)
	go func() {
		done <- p.Run(ctx, func(frames [][]byte) {
			mu.Lock()
			defer mu.Unlock()
			for _, f := range frames {
				got = append(got, string(f))
			}
		})
	}()
	t.Cleanup(func() {
		cancel()
		if err := <-done; err != nil && !errors.Is(err, ErrClosed) {
			t.Errorf("Run: %v", err)
		}
	})
	return func() []string {
		mu.Lock()
		defer mu.Unlock()
		return append([]string(nil), got...)
	}
}

func TestLink(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p, host := NewLink()
		defer host.Close()
		atSwitch := collect(t, p)

		early := []byte("before Receive")
		p.Send(early)
		copy(early, "overwritten   ")
		var atHost []string
		host.Receive(func(frame []byte) { atHost = append(atHost, string(frame)) })
		p.Send([]byte("two"))
		host.Send([]byte("up"))
		synctest.Wait()
		if diff := cmp.Diff([]string{"before Receive", "two"}, atHost); diff != "" {
			t.Errorf("at the host (-want +got):\n%s", diff)
		}
		if diff := cmp.Diff([]string{"up"}, atSwitch()); diff != "" {
			t.Errorf("at the switch (-want +got):\n%s", diff)
		}

		var later []string
		host.Receive(func(frame []byte) { later = append(later, string(frame)) })
		p.Send([]byte("three"))
		synctest.Wait()
		if diff := cmp.Diff([]string{"three"}, later); diff != "" || len(atHost) != 2 {
			t.Errorf("after the second Receive (-want +got):\n%s", diff)
		}
		if diff := cmp.Diff(Counters{Received: 1, Sent: 3}, p.Counters()); diff != "" {
			t.Errorf("counters (-want +got):\n%s", diff)
		}
	})
}

func TestLinkDropsWhenFull(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p, host := NewLink()
		defer host.Close()
		for i := range queueFrames + 10 {
			frame := binary.BigEndian.AppendUint32(nil, uint32(i))
			p.Send(frame)
			host.Send(frame)
		}
		p.Send(make([]byte, MaxFrame+1))
		want := Counters{ReceiveDropped: 10, Sent: queueFrames, SendDropped: 11}
		if diff := cmp.Diff(want, p.Counters()); diff != "" {
			t.Errorf("counters (-want +got):\n%s", diff)
		}
		got := collect(t, p)
		synctest.Wait()
		frames := got()
		if len(frames) != queueFrames {
			t.Fatalf("%d frames arrived, want %d", len(frames), queueFrames)
		}
		for i, f := range frames {
			if n := binary.BigEndian.Uint32([]byte(f)); n != uint32(i) {
				t.Fatalf("frame %d arrived in place %d", n, i)
			}
		}
	})
}

func TestLinkDown(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p, host := NewLink()
		defer host.Close()
		var atHost []string
		p.Send([]byte("on the way"))
		host.SetUp(false)
		p.Send([]byte("lost"))
		host.Send([]byte("lost"))
		host.SetUp(true)
		atSwitch := collect(t, p)
		host.Receive(func(frame []byte) { atHost = append(atHost, string(frame)) })
		p.Send([]byte("again"))
		host.Send([]byte("again"))
		synctest.Wait()
		if diff := cmp.Diff([]string{"again"}, atHost); diff != "" {
			t.Errorf("at the host (-want +got):\n%s", diff)
		}
		if diff := cmp.Diff([]string{"again"}, atSwitch()); diff != "" {
			t.Errorf("at the switch (-want +got):\n%s", diff)
		}
	})
}

func TestLinkClose(t *testing.T) {
	p, host := NewLink()
	host.Receive(func([]byte) {})
	done := make(chan error)
	go func() { done <- p.Run(t.Context(), func([][]byte) {}) }()
	if err := host.Close(); err != nil {
		t.Error(err)
	}
	if err := <-done; !errors.Is(err, ErrClosed) {
		t.Errorf("Run on a closed link: %v, want %v", err, ErrClosed)
	}
	p.Send([]byte("nowhere"))
	host.Send([]byte("nowhere"))
	if err := p.Close(); err != nil {
		t.Error(err)
	}
}

// Frames that pass many senders are neither lost nor mixed up.
func TestLinkManySenders(t *testing.T) {
	p, host := NewLink()
	defer host.Close()
	const senders, each = 4, 200
	seen := make(chan string, senders*each)
	host.Receive(func(frame []byte) { seen <- string(frame) })
	var all sync.WaitGroup
	for s := range senders {
		all.Go(func() {
			for i := range each {
				p.Send(fmt.Appendf(nil, "%d/%d", s, i))
			}
		})
	}
	all.Wait()
	got := map[string]bool{}
	for range senders * each {
		got[<-seen] = true
	}
	if len(got) != senders*each {
		t.Errorf("%d different frames arrived, want %d", len(got), senders*each)
	}
}

func BenchmarkLink(b *testing.B) {
	p, host := NewLink()
	defer host.Close()
	got := make(chan struct{}, queueFrames)
	host.Receive(func([]byte) { got <- struct{}{} })
	frame := make([]byte, 1500)
	b.ReportAllocs()
	for b.Loop() {
		p.Send(frame)
		<-got
	}
}
