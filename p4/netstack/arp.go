package netstack

import (
	"fmt"
	"net/netip"
)

// AnswerARP turns on and off what Config.AnswerARPForVIPs says from the start, for one VIP: a
// running server gets the ARP problem, or is mended.
func (h *Host) AnswerARP(vip netip.Addr, on bool) error {
	if on {
		return h.addAddress(h.nics[0].id, netip.PrefixFrom(vip, 32))
	}
	if err := h.stack.RemoveAddress(h.nics[0].id, address(vip)); err != nil {
		return fmt.Errorf("removing %v from %s: %w", vip, h.name, asError(err))
	}
	return nil
}
