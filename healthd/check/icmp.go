package check

import (
	"context"
	"net/netip"
)

// ICMP passes when the server answers an echo request.
type ICMP struct {
	Network Network
	Address netip.Addr
}

// Run pings once.
func (c ICMP) Run(ctx context.Context) error {
	q := ask(ctx, "ICMP echo "+c.Address.String(), c.Network, c.Address)
	if _, err := c.Network.Ping(ctx, c.Address); err != nil {
		return q.failed("pinging", err)
	}
	return nil
}
