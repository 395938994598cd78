package port

import (
	"context"
	"encoding/binary"
	"fmt"
	"io"
	"sync"
	"time"
)

// Direction tells which way a frame passed a tap.
type Direction int

// In is toward the switch, Out away from it.
const (
	In Direction = iota
	Out
)

// Tap returns p with every frame shown to see, before the switch gets it or after the switch sent it.
// The frame is valid during the call only; see must be safe for calls from several goroutines.
func Tap(p Port, see func(d Direction, at time.Time, frame []byte)) Port {
	return &tap{Port: p, see: see}
}

type tap struct {
	Port
	see func(Direction, time.Time, []byte)
}

func (t *tap) Send(frame []byte) {
	t.see(Out, time.Now(), frame)
	t.Port.Send(frame)
}

func (t *tap) Run(ctx context.Context, receive func(frames [][]byte)) error {
	return t.Port.Run(ctx, func(frames [][]byte) {
		now := time.Now()
		for _, frame := range frames {
			t.see(In, now, frame)
		}
		receive(frames)
	})
}

// Capture returns p with every frame of both directions recorded to c.
func Capture(p Port, c *Pcap) Port {
	return Tap(p, func(_ Direction, at time.Time, frame []byte) { c.Record(at, frame) })
}

// Pcap writes a capture file: the classic format with microseconds and link type Ethernet
// (draft-ietf-opsawg-pcap), which tcpdump and Wireshark read. Every record is one Write, so the file
// is readable while it grows.
type Pcap struct {
	mu     sync.Mutex // guards what follows
	w      io.Writer
	record []byte
	err    error
}

// NewPcap writes the file's header to w.
func NewPcap(w io.Writer) (*Pcap, error) {
	header := binary.LittleEndian.AppendUint32(nil, 0xa1b2c3d4)
	header = binary.LittleEndian.AppendUint16(header, 2) // version 2.4
	header = binary.LittleEndian.AppendUint16(header, 4)
	header = append(header, make([]byte, 8)...)
	header = binary.LittleEndian.AppendUint32(header, MaxFrame) // the longest record
	header = binary.LittleEndian.AppendUint32(header, 1)        // LINKTYPE_ETHERNET
	if _, err := w.Write(header); err != nil {
		return nil, fmt.Errorf("writing capture: %w", err)
	}
	return &Pcap{w: w}, nil
}

// Record appends a frame. After a failed write nothing more is recorded; Err has the reason.
func (c *Pcap) Record(at time.Time, frame []byte) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.err != nil {
		return
	}
	r := binary.LittleEndian.AppendUint32(c.record[:0], uint32(at.Unix()))
	r = binary.LittleEndian.AppendUint32(r, uint32(at.Nanosecond()/1000))
	r = binary.LittleEndian.AppendUint32(r, uint32(len(frame)))
	r = binary.LittleEndian.AppendUint32(r, uint32(len(frame)))
	c.record = append(r, frame...)
	if _, err := c.w.Write(c.record); err != nil {
		c.err = fmt.Errorf("writing capture: %w", err)
	}
}

// Err returns why recording stopped, nil while it goes on.
func (c *Pcap) Err() error {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.err
}
