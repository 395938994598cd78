package check

import (
	"context"
	"net/netip"
	"time"
)

// TCP passes when the server takes a connection.
type TCP struct {
	Network Network
	Address netip.AddrPort
	Close   Close
	// Wait is how long a check that closes by FIN waits for the server's FIN; 0: it does not, and passes
	// once it is connected. The server's host must acknowledge the FIN in any case before ctx ends.
	Wait time.Duration
}

// Run connects once.
func (c TCP) Run(ctx context.Context) error {
	q := ask(ctx, "TCP "+c.Address.String(), c.Network, c.Address.Addr())
	conn, end, err := q.dial("tcp", c.Address, c.Close)
	if err != nil {
		return q.failed("connecting", err)
	}
	defer end()
	if c.Close == CloseRST {
		return nil
	}
	if err := hangUp(ctx, conn, c.Wait); err != nil {
		return q.failed("closing", err)
	}
	return nil
}
