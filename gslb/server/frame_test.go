package server

import (
	"bufio"
	"bytes"
	"encoding/binary"
	"errors"
	"io"
	"testing"
	"testing/iotest"
)

// FuzzTCPFraming: however a stream is cut into segments, its messages are the same, and so is how it ends.
func FuzzTCPFraming(f *testing.F) {
	message := bytes.Repeat([]byte("message "), 3)
	f.Add(appendFrame(nil, message), uint8(1))
	f.Add(appendFrame(appendFrame(nil, message), bytes.Repeat(message, 100)), uint8(7))
	f.Add(append(appendFrame(nil, message), 0, 0), uint8(2))
	f.Add([]byte{0xFF, 0xFF, 1, 2, 3}, uint8(3))
	f.Add([]byte{0}, uint8(3))
	f.Add([]byte(nil), uint8(1))
	f.Fuzz(func(t *testing.T, stream []byte, cut uint8) {
		var want [][]byte
		wantErr := error(io.EOF)
		for rest := stream; len(rest) > 0; {
			if len(rest) < 2 {
				wantErr = io.ErrUnexpectedEOF
				break
			}
			n := int(binary.BigEndian.Uint16(rest))
			if n < headerSize {
				wantErr = errBadFrame
				break
			}
			if len(rest) < 2+n {
				wantErr = io.ErrUnexpectedEOF
				break
			}
			want = append(want, rest[2:2+n])
			rest = rest[2+n:]
		}
		for name, r := range map[string]io.Reader{
			"whole":         bytes.NewReader(stream),
			"byte by byte":  iotest.OneByteReader(bytes.NewReader(stream)),
			"in pieces":     &pieces{stream, int(cut)},
			"end with data": iotest.DataErrReader(bytes.NewReader(stream)),
		} {
			messages := frames{bufio.NewReader(r)}
			for i := 0; ; i++ {
				started := 0
				got, err := messages.next(func() { started++ })
				if err != nil {
					if !errors.Is(err, wantErr) || i != len(want) {
						t.Fatalf("%s: ends with %v after %d messages, want %v after %d", name, err, i, wantErr,
							len(want))
					}
					break
				}
				if i >= len(want) || !bytes.Equal(got, want[i]) || started != 1 {
					t.Fatalf("%s: message %d is %x, started %d times; want one of %d", name, i, got, started, len(want))
				}
			}
		}
	})
}

// pieces reads so many bytes at a time.
type pieces struct {
	rest []byte
	n    int
}

func (p *pieces) Read(b []byte) (int, error) {
	if len(p.rest) == 0 {
		return 0, io.EOF
	}
	n := copy(b, p.rest[:min(len(p.rest), p.n+1)])
	p.rest = p.rest[n:]
	return n, nil
}

// A length that is a lie takes no memory.
func TestFrameLengthIsOnlyAPromise(t *testing.T) {
	stream := append([]byte{0xFF, 0xFF}, make([]byte, 600)...)
	allocated := testing.Benchmark(func(b *testing.B) {
		b.ReportAllocs()
		r := bufio.NewReader(nil)
		for b.Loop() {
			r.Reset(bytes.NewReader(stream))
			if _, err := (frames{r}).next(func() {}); !errors.Is(err, io.ErrUnexpectedEOF) {
				b.Fatal(err)
			}
		}
	}).AllocedBytesPerOp()
	if allocated > 8192 {
		t.Errorf("%d bytes for a message of which 600 came", allocated)
	}
}
