package check

import (
	"context"
	"net/netip"
)

// TCP passes when the server takes a connection.
type TCP struct {
	Network Network
	Address netip.AddrPort
	Close   Close
}

// Run connects once.
func (c TCP) Run(ctx context.Context) error {
	q := ask(ctx, "TCP "+c.Address.String())
	_, end, err := dial(ctx, c.Network, "tcp", c.Address, c.Close)
	if err != nil {
		return q.failed("connecting", err)
	}
	end()
	return nil
}
