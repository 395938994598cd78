package selection

import (
	"cmp"
	"encoding/binary"
	"math/bits"
	"net/netip"
	"slices"

	"github.com/sluicelb/sluice/gslb/config"
)

// sources says which of some source lists have an address, longest prefix first. It is a table of the prefixes of all
// of them, cut into intervals that no other prefix begins or ends in, so that one search by halves finds the longest.
// It is shared by all rule sets that use just these lists.
type sources struct {
	lists  []int32 // of the configuration, ascending
	nodes  []sourceNode
	v4, v6 intervals
}

// sourceNode is a prefix that lists have.
type sourceNode struct {
	prefix netip.Prefix
	parent int32   // the next shorter prefix around it; -1: none
	lists  []int32 // positions in sources.lists
}

// intervals covers all addresses of a family: the i-th interval begins at starts[i] and ends before the next one.
type intervals struct {
	starts []address // the first is 0
	nodes  []int32   // the longest prefix around; -1: none
}

// address is an address of either family, its first bit on top.
type address struct{ hi, lo uint64 }

func toAddress(a netip.Addr) address {
	if a.Is4() {
		b := a.As4()
		return address{hi: uint64(binary.BigEndian.Uint32(b[:])) << 32}
	}
	b := a.As16()
	return address{binary.BigEndian.Uint64(b[:8]), binary.BigEndian.Uint64(b[8:])}
}

func (a address) less(b address) bool {
	return a.hi < b.hi || a.hi == b.hi && a.lo < b.lo
}

// common is how many leading bits two addresses share.
func (a address) common(b address) int {
	if x := a.hi ^ b.hi; x != 0 {
		return bits.LeadingZeros64(x)
	}
	return 64 + bits.LeadingZeros64(a.lo^b.lo)
}

// before is the address before a, which is not 0.
func (a address) before() address {
	lo, borrow := bits.Sub64(a.lo, 1, 0)
	return address{a.hi - borrow, lo}
}

// cut keeps the first n bits.
func (a address) cut(n int) address {
	switch {
	case n >= 128:
		return a
	case n > 64:
		return address{a.hi, a.lo &^ (^uint64(0) >> (n - 64))}
	}
	return address{hi: a.hi &^ (^uint64(0) >> n)}
}

// after is the first address behind the prefix of n bits at a; ok is false if there is none.
func (a address) after(n int) (end address, ok bool) {
	if n > 64 {
		lo, carry := bits.Add64(a.lo, 1<<(128-n), 0)
		hi, over := bits.Add64(a.hi, 0, carry)
		return address{hi, lo}, over == 0
	}
	if n == 0 {
		return address{}, false
	}
	hi, over := bits.Add64(a.hi, 1<<(64-n), 0)
	return address{hi: hi}, over == 0
}

// anywhere is the list that every client is in, whatever prefixes it is written with.
const anywhere = 0

var everyone = []netip.Prefix{
	netip.PrefixFrom(netip.IPv4Unspecified(), 0),
	netip.PrefixFrom(netip.IPv6Unspecified(), 0),
}

// newSources makes the table of some lists, which are ascending indices into the configuration.
func newSources(c *config.Config, lists []int32) *sources {
	t := &sources{lists: lists}
	has := make(map[netip.Prefix][]int32)
	for i, list := range lists {
		prefixes := c.SourceLists[list].Prefixes
		if list == anywhere {
			prefixes = everyone
		}
		for _, p := range prefixes {
			has[p] = append(has[p], int32(i))
		}
	}
	t.v4 = t.add(has, true)
	t.v6 = t.add(has, false)
	return t
}

// add makes the nodes and intervals of one family.
func (t *sources) add(has map[netip.Prefix][]int32, v4 bool) intervals {
	first := len(t.nodes)
	for p, lists := range has {
		if p.Addr().Is4() == v4 {
			t.nodes = append(t.nodes, sourceNode{prefix: p, parent: -1, lists: lists})
		}
	}
	// A prefix comes before those inside it.
	slices.SortFunc(t.nodes[first:], func(a, b sourceNode) int {
		return cmp.Or(a.prefix.Addr().Compare(b.prefix.Addr()), cmp.Compare(a.prefix.Bits(), b.prefix.Bits()))
	})
	iv := intervals{starts: []address{{}}, nodes: []int32{-1}}
	begin := func(at address, node int32) {
		if last := len(iv.starts) - 1; iv.starts[last] == at {
			iv.nodes[last] = node
			return
		}
		iv.starts, iv.nodes = append(iv.starts, at), append(iv.nodes, node)
	}
	open := int32(-1)
	// closeUntil ends the open prefixes that do not contain at; without at, all of them.
	closeUntil := func(at *netip.Addr) {
		for open >= 0 && (at == nil || !t.nodes[open].prefix.Contains(*at)) {
			p := t.nodes[open].prefix
			open = t.nodes[open].parent
			if end, ok := toAddress(p.Addr()).after(p.Bits()); ok {
				begin(end, open)
			}
		}
	}
	for i := first; i < len(t.nodes); i++ {
		at := t.nodes[i].prefix.Addr()
		closeUntil(&at)
		t.nodes[i].parent = open
		open = int32(i)
		begin(toAddress(at), open)
	}
	closeUntil(nil)
	return iv
}

// find returns the longest prefix, of at most limit bits, that has the address, -1 if none has it; and the length of
// the largest prefix around the address that lies within one interval. All addresses in that have the same longest
// prefix, and no two such prefixes overlap.
func (t *sources) find(a netip.Addr, limit int) (node int32, block uint8) {
	iv := &t.v6
	if a.Is4() {
		iv = &t.v4
	}
	at := toAddress(a)
	low, high := 0, len(iv.starts)
	for high-low > 1 {
		if middle := int(uint(low+high) >> 1); at.less(iv.starts[middle]) {
			high = middle
		} else {
			low = middle
		}
	}
	n := 0
	if low > 0 {
		n = at.common(iv.starts[low].before()) + 1
	}
	if high < len(iv.starts) {
		n = max(n, at.common(iv.starts[high])+1)
	}
	node = iv.nodes[low]
	for node >= 0 && t.nodes[node].prefix.Bits() > limit {
		node = t.nodes[node].parent
	}
	return node, uint8(n)
}
