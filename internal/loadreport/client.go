package loadreport

import (
	"context"
	"crypto/rand"
	"fmt"
	"net"
	"net/netip"
	"time"
)

// Client asks controllers. Its zero value is ready; any number of goroutines may use one.
type Client struct {
	// Dial opens the connected UDP socket; default net.Dialer's.
	Dial func(ctx context.Context, network, address string) (net.Conn, error)
	// Now is the clock that requests are stamped with; default time.Now.
	Now func() time.Time
}

// Ask asks the controller at addr for the items, at most MaxItems and what fits into MaxSize, and returns
// a report for each, in their order. It sends one datagram and waits for its reply until ctx ends, whose
// error it then returns wrapped; to ask again is the caller's decision. Only when the controller says that
// the clocks differ is the question sent once more, with the controller's time. What is not the reply to
// this very question is not looked at.
func (c *Client) Ask(ctx context.Context, addr netip.AddrPort, key Key, items []Item) ([]Report, error) {
	reports, err := c.ask(ctx, addr, key, items)
	if err != nil {
		return nil, fmt.Errorf("load report from %s: %w", addr, err)
	}
	return reports, nil
}

func (c *Client) ask(ctx context.Context, addr netip.AddrPort, key Key, items []Item) ([]Report, error) {
	now, dial := c.Now, c.Dial
	if now == nil {
		now = time.Now
	}
	if dial == nil {
		dial = new(net.Dialer).DialContext
	}
	conn, err := dial(ctx, "udp", addr.String())
	if err != nil {
		return nil, err
	}
	defer conn.Close()
	defer context.AfterFunc(ctx, func() { conn.SetDeadline(time.Unix(1, 0)) })()

	x := exchange{conn, key, items}
	h, body, err := x.round(ctx, now())
	if err == nil && h.status == statusClock {
		ours := h.time()
		if h, body, err = x.round(ctx, ours); err == nil && h.status == statusClock {
			err = fmt.Errorf("the controller refuses even the time that it gave, %v", ours.UTC())
		}
	}
	switch {
	case err != nil:
		return nil, err
	case h.status != statusOK:
		return nil, fmt.Errorf("the controller refuses the question with status %d", h.status)
	}
	return parseReports(h, body, len(items))
}

// exchange is one question, and the socket it goes through.
type exchange struct {
	conn  net.Conn
	key   Key
	items []Item
}

// round sends the question, stamped with at, and waits for the reply to it.
func (x exchange) round(ctx context.Context, at time.Time) (header, []byte, error) {
	var nonce [nonceSize]byte
	rand.Read(nonce[:]) // never fails
	question, err := encodeRequest(x.key, at, nonce, x.items)
	if err != nil {
		return header{}, nil, err
	}
	if _, err := x.conn.Write(question); err != nil {
		return header{}, nil, cause(ctx, err)
	}
	buffer := make([]byte, MaxSize+1)
	for {
		n, err := x.conn.Read(buffer)
		if err != nil {
			return header{}, nil, cause(ctx, err)
		}
		h, err := parseHeader(buffer[:n])
		if err != nil || h.kind != reply || h.key != x.key.id || h.nonce != nonce {
			continue
		}
		if body, ok := x.key.open(buffer[:n]); ok {
			return h, body, nil
		}
	}
}

// cause is ctx's error when that is why a socket failed.
func cause(ctx context.Context, err error) error {
	if ctx.Err() != nil {
		return ctx.Err()
	}
	return err
}
