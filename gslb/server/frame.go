package server

import (
	"bufio"
	"encoding/binary"
	"errors"
	"io"
	"slices"
)

// errBadFrame is a message too short to be one. What follows it cannot be trusted to be in step.
var errBadFrame = errors.New("message shorter than a header")

// frames reads the messages of a TCP connection (RFC 1035 section 4.2.2): each after its length in two bytes, in
// segments cut anywhere.
type frames struct{ r *bufio.Reader }

// next waits for the first byte of a message, calls started, and reads the message. io.EOF is the end between two
// messages.
func (f frames) next(started func()) ([]byte, error) {
	if _, err := f.r.Peek(1); err != nil {
		return nil, err
	}
	started()
	var length [2]byte
	if _, err := io.ReadFull(f.r, length[:]); err != nil {
		return nil, noEOF(err)
	}
	n := int(binary.BigEndian.Uint16(length[:]))
	if n < headerSize {
		return nil, errBadFrame
	}
	// A length is only a promise: memory is given for what came.
	message := make([]byte, 0, min(n, firstRead))
	for len(message) < n {
		message = slices.Grow(message, min(n-len(message), max(len(message), firstRead)))
		got, err := io.ReadFull(f.r, message[len(message):min(n, cap(message))])
		message = message[:len(message)+got]
		if err != nil {
			return nil, noEOF(err)
		}
	}
	return message, nil
}

// firstRead is how much of a message gets memory before it came; a query is seldom longer.
const firstRead = 512

// noEOF is what an end within a message is.
func noEOF(err error) error {
	if errors.Is(err, io.EOF) {
		return io.ErrUnexpectedEOF
	}
	return err
}

// appendFrame appends a message after its length.
func appendFrame(dst, message []byte) []byte {
	return append(binary.BigEndian.AppendUint16(dst, uint16(len(message))), message...)
}
