package netstack

import (
	"bytes"
	"context"
	"fmt"
	"net/netip"
	"time"

	"gvisor.dev/gvisor/pkg/tcpip"
	"gvisor.dev/gvisor/pkg/tcpip/header"
	"gvisor.dev/gvisor/pkg/tcpip/network/ipv4"
	"gvisor.dev/gvisor/pkg/tcpip/transport/icmp"
	"gvisor.dev/gvisor/pkg/waiter"
)

// Ping sends one ICMP echo request and waits for its reply until ctx ends. It returns the round-trip
// time.
func (h *Host) Ping(ctx context.Context, addr netip.Addr) (time.Duration, error) {
	rtt, err := h.ping(ctx, addr)
	if err != nil {
		return 0, fmt.Errorf("pinging %v from %s: %w", addr, h.name, err)
	}
	return rtt, nil
}

func (h *Host) ping(ctx context.Context, addr netip.Addr) (time.Duration, error) {
	var queue waiter.Queue
	endpoint, terr := h.stack.NewEndpoint(icmp.ProtocolNumber4, ipv4.ProtocolNumber, &queue)
	if terr != nil {
		return 0, asError(terr)
	}
	defer endpoint.Close()
	entry, readable := waiter.NewChannelEntry(waiter.ReadableEvents)
	queue.EventRegister(&entry)
	defer queue.EventUnregister(&entry)
	// The endpoint takes an identifier of its own, so replies to others never reach it.
	if terr := endpoint.Connect(tcpip.FullAddress{Addr: address(addr)}); terr != nil {
		return 0, asError(terr)
	}
	echo := header.ICMPv4(make([]byte, header.ICMPv4MinimumSize))
	echo.SetType(header.ICMPv4Echo)
	sent := time.Now()
	if _, terr := endpoint.Write(bytes.NewReader(echo), tcpip.WriteOptions{}); terr != nil {
		return 0, asError(terr)
	}
	for {
		var reply bytes.Buffer
		_, terr := endpoint.Read(&reply, tcpip.ReadOptions{})
		switch terr.(type) {
		case nil:
			if r := header.ICMPv4(reply.Bytes()); len(r) >= header.ICMPv4MinimumSize &&
				r.Type() == header.ICMPv4EchoReply {
				return time.Since(sent), nil
			}
		case *tcpip.ErrWouldBlock:
			select {
			case <-ctx.Done():
				return 0, ctx.Err()
			case <-readable:
			}
		default:
			return 0, asError(terr)
		}
	}
}
