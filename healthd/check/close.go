package check

import (
	"context"
	"errors"
	"net"
	"os"
	"time"
)

// Close is how a check ends its TCP connection.
type Close uint8

const (
	// CloseRST resets the connection: neither side is left with one in TIME_WAIT, so that thousands of
	// checks a second do not use up local ports.
	CloseRST Close = iota
	// CloseFIN closes in the orderly way, for servers that log a reset as an error.
	CloseFIN
)

func (c Close) end(conn net.Conn) {
	if c == CloseRST {
		if l, ok := conn.(interface{ SetLinger(sec int) error }); ok {
			l.SetLinger(0)
		}
	}
	conn.Close()
}

// hangUp sends a FIN and waits, for the given time, for the server's. A server that has not closed its side by then
// has passed all the same if its host acknowledged the FIN: it is there, and its program is in no hurry. Else the
// answer is missing, and hangUp waits on until ctx ends. Without a time, or where the connection cannot close
// its half alone, there is nothing to wait for.
func hangUp(ctx context.Context, conn net.Conn, wait time.Duration) error {
	half, ok := conn.(interface{ CloseWrite() error })
	if wait == 0 || !ok {
		return nil
	}
	if half.CloseWrite() != nil {
		return nil // the server has reset the connection
	}
	buffer := make([]byte, 512)
	read := func(until time.Time) error {
		conn.SetReadDeadline(until)
		if ctx.Err() != nil { // which has set a deadline too, perhaps before this one
			return ctx.Err()
		}
		_, err := conn.Read(buffer)
		return err
	}
	for until := time.Now().Add(wait); ; {
		switch err := read(until); {
		case err == nil: // what the server still had to say
		case !expired(err) || !unacknowledged(conn):
			return nil
		case ctx.Err() != nil:
			return err
		default:
			until = time.Now().Add(glance)
		}
	}
}

// glance is the time between looks at whether a late FIN has been acknowledged, which reading does not tell.
const glance = 50 * time.Millisecond

// expired reports that time ran out, and not that the connection ended.
func expired(err error) bool {
	return errors.Is(err, os.ErrDeadlineExceeded) || errors.Is(err, context.DeadlineExceeded) ||
		errors.Is(err, context.Canceled)
}
