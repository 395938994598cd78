package ratelimit

import (
	"net/netip"
	"slices"
)

// ranges are the addresses of prefixes: ascending, apart from each other.
type ranges []addrRange

type addrRange struct{ from, to netip.Addr }

func merge(prefixes []netip.Prefix) ranges {
	sorted := slices.Clone(prefixes)
	// A prefix sorts before those inside of it.
	slices.SortFunc(sorted, func(a, b netip.Prefix) int {
		if c := a.Masked().Addr().Compare(b.Masked().Addr()); c != 0 {
			return c
		}
		return a.Bits() - b.Bits()
	})
	var r ranges
	for _, p := range sorted {
		p = p.Masked()
		if n := len(r); n > 0 && p.Addr().BitLen() == r[n-1].to.BitLen() && p.Addr().Compare(r[n-1].to) <= 0 {
			continue // inside of the one before
		}
		r = append(r, addrRange{p.Addr(), last(p)})
	}
	return r
}

// last is the highest address of a masked prefix.
func last(p netip.Prefix) netip.Addr {
	b := p.Addr().AsSlice()
	for i := p.Bits(); i < len(b)*8; i++ {
		b[i/8] |= 0x80 >> (i % 8)
	}
	a, _ := netip.AddrFromSlice(b)
	return a
}

func (r ranges) has(a netip.Addr) bool {
	if len(r) == 0 {
		return false
	}
	a = a.Unmap().WithZone("")
	i, found := slices.BinarySearchFunc(r, a, func(x addrRange, a netip.Addr) int { return x.from.Compare(a) })
	if found {
		return true
	}
	return i > 0 && r[i-1].to.BitLen() == a.BitLen() && a.Compare(r[i-1].to) <= 0
}
