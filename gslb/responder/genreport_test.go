package responder

import (
	"bytes"
	"encoding/binary"
	"slices"
	"testing"

	"github.com/miekg/dns"
)

// Flags of a header and of an OPT record.
const (
	flagAA, flagTC, flagRD, flagRA, flagZ, flagAD, flagCD uint16 = 1 << 10, 1 << 9, 1 << 8, 1 << 7, 1 << 6, 1 << 5,
		1 << 4

	flagDO uint16 = 1 << 15
)

var (
	nsidOption     = []byte{0, 3, 0, 0}
	noSubnetOption = []byte{0, 8, 0, 4, 0, 1, 0, 0} // 0.0.0.0/0
	expireOption   = []byte{0, 9, 0, 0}
	cookieOption   = []byte{0, 10, 0, 8, 1, 2, 3, 4, 5, 6, 7, 8}
	option100      = []byte{0, 100, 0, 0}
)

// probes are the queries of the full report of ISC's genreport about one server of a zone, under its names for them.
// All ask for a type at the apex; those of opcode 15 are a header alone.
var probes = []struct {
	name    string
	qtype   uint16
	flags   uint16
	opcode  uint16
	tcp     bool
	size    uint16 // in OPT; 0: no OPT
	version byte
	eflags  uint16
	options []byte
}{
	{name: "dns", qtype: dns.TypeSOA},
	{name: "aa", qtype: dns.TypeSOA, flags: flagAA},
	{name: "ad", qtype: dns.TypeSOA, flags: flagAD},
	{name: "cd", qtype: dns.TypeSOA, flags: flagCD},
	{name: "ra", qtype: dns.TypeSOA, flags: flagRA},
	{name: "rd", qtype: dns.TypeSOA, flags: flagRD},
	{name: "tc", qtype: dns.TypeSOA, flags: flagTC},
	{name: "zflag", qtype: dns.TypeSOA, flags: flagZ},
	{name: "opcode", opcode: 15},
	{name: "opcodeflg", opcode: 15, flags: flagTC | flagRD | flagRA | flagCD | flagAD | flagAA | flagZ},
	{name: "type666", qtype: 666},
	{name: "tcp", qtype: dns.TypeSOA, tcp: true},
	{name: "edns", qtype: dns.TypeSOA, size: 4096},
	{name: "edns1", qtype: dns.TypeSOA, size: 4096, version: 1},
	{name: "edns@512", qtype: dns.TypeDNSKEY, size: 512, eflags: flagDO},
	{name: "ednsopt", qtype: dns.TypeSOA, size: 4096, options: option100},
	{name: "edns1opt", qtype: dns.TypeSOA, size: 4096, version: 1, options: option100},
	{name: "do", qtype: dns.TypeSOA, size: 4096, eflags: flagDO},
	{name: "docd", qtype: dns.TypeSOA, size: 4096, eflags: flagDO, flags: flagCD},
	{name: "edns1do", qtype: dns.TypeSOA, size: 4096, version: 1, eflags: flagDO},
	{name: "ednsflags", qtype: dns.TypeSOA, size: 4096, eflags: 0x0080},
	{name: "optlist", qtype: dns.TypeSOA, size: 4096, options: slices.Concat(nsidOption, noSubnetOption, expireOption,
		cookieOption)},
	{name: "ednsnsid", qtype: dns.TypeSOA, size: 4096, options: nsidOption},
	{name: "ednscookie", qtype: dns.TypeSOA, size: 4096, options: cookieOption},
	{name: "ednsexpire", qtype: dns.TypeSOA, size: 4096, options: expireOption},
	{name: "ednssubnet", qtype: dns.TypeSOA, size: 4096, options: noSubnetOption},
	{name: "edns1nsid", qtype: dns.TypeSOA, size: 4096, version: 1, options: nsidOption},
	{name: "edns1cookie", qtype: dns.TypeSOA, size: 4096, version: 1, options: cookieOption},
	{name: "edns1expire", qtype: dns.TypeSOA, size: 4096, version: 1, options: expireOption},
	{name: "edns1subnet", qtype: dns.TypeSOA, size: 4096, version: 1, options: noSubnetOption},
	{name: "ednstcp", qtype: dns.TypeDNSKEY, tcp: true, size: 512, eflags: flagDO},
	// The report's last column repeats what came of "do", and adds whether there were signatures.
	{name: "signed", qtype: dns.TypeSOA, size: 4096, eflags: flagDO},
}

// TestGenreport sends what ISC's genreport sends and judges the responses as it does: every probe must be "ok".
func TestGenreport(t *testing.T) {
	if len(probes) != 32 {
		t.Fatalf("%d probes, want 32", len(probes))
	}
	r := newRig(t)
	for _, p := range probes {
		t.Run(p.name, func(t *testing.T) {
			r := *r
			r.t, r.tcp = t, p.tcp
			wire := binary.BigEndian.AppendUint16(nil, 0x1234)
			wire = binary.BigEndian.AppendUint16(wire, p.opcode<<11|p.flags)
			wire = append(wire, make([]byte, 8)...)
			if p.opcode == 0 {
				wire[5] = 1
				wire = append(wire, "\x07example\x03com\x00"...)
				wire = binary.BigEndian.AppendUint16(wire, p.qtype)
				wire = append(wire, 0, 1)
			}
			if p.size > 0 {
				wire[11] = 1
				wire = append(wire, 0, 0, byte(dns.TypeOPT))
				wire = binary.BigEndian.AppendUint16(wire, p.size)
				wire = append(wire, 0, p.version)
				wire = binary.BigEndian.AppendUint16(wire, p.eflags)
				wire = binary.BigEndian.AppendUint16(wire, uint16(len(p.options)))
				wire = append(wire, p.options...)
			}
			resp := r.respond(wire)
			m := r.check(wire, resp)
			flags := binary.BigEndian.Uint16(resp.Wire[2:])

			wantRcode := dns.RcodeSuccess
			switch {
			case p.opcode != 0:
				wantRcode = dns.RcodeNotImplemented
			case p.version != 0:
				wantRcode = dns.RcodeBadVers
			}
			if m.Rcode != wantRcode {
				t.Errorf("RCODE %d, want %d", m.Rcode, wantRcode)
			}
			if p.opcode != 0 && (len(resp.Wire) != headerSize ||
				flags&(flagAA|flagTC|flagRD|flagRA|flagAD|flagCD) != 0) {
				t.Errorf("to an unknown opcode %x, want a header without flags", resp.Wire)
			}
			if aa := wantRcode == dns.RcodeSuccess; m.Authoritative != aa {
				t.Errorf("AA %v, want %v", m.Authoritative, aa)
			}
			if rd := p.flags&flagRD != 0 && p.opcode == 0; m.RecursionDesired != rd {
				t.Errorf("RD %v, want %v", m.RecursionDesired, rd)
			}
			if flags&(flagTC|flagRA|flagZ|flagAD|flagCD) != 0 {
				t.Errorf("flags %04x", flags)
			}
			soa := len(m.Answer) == 1 && m.Answer[0].Header().Rrtype == dns.TypeSOA
			if want := p.qtype == dns.TypeSOA && p.version == 0; soa != want {
				t.Errorf("SOA in the answer: %v, want %v", soa, want)
			}
			if p.opcode == 0 && !soa && wantRcode == dns.RcodeSuccess && len(m.Ns) != 1 {
				t.Errorf("NODATA without SOA: %v", m)
			}

			opt := m.IsEdns0()
			if (opt != nil) != (p.size > 0) {
				t.Fatalf("OPT %v", opt)
			}
			if p.name == "edns@512" && len(resp.Wire) > 512 {
				t.Errorf("%d bytes", len(resp.Wire))
			}
			if opt == nil {
				return
			}
			if opt.Version() != 0 || opt.Hdr.Ttl&0x7FFF != 0 {
				t.Errorf("version %d, flags %04x", opt.Version(), opt.Hdr.Ttl&0xFFFF)
			}
			if optionOf(m, 100) != nil || optionOf(m, dns.EDNS0EXPIRE) != nil {
				t.Errorf("an option that is not known came back: %v", opt)
			}
			known := p.version == 0
			asks := func(o []byte) bool { return known && bytes.Contains(p.options, o) }
			if got := optionOf(m, dns.EDNS0NSID); asks(nsidOption) != (string(got) == "node-1") {
				t.Errorf("NSID %q", got)
			}
			if got := optionOf(m, dns.EDNS0COOKIE); asks(cookieOption) != (len(got) == 24 &&
				bytes.Equal(got[:8], cookieOption[4:])) {
				t.Errorf("COOKIE %x", got)
			}
			if got := optionOf(m, dns.EDNS0SUBNET); asks(noSubnetOption) != bytes.Equal(got, noSubnetOption[4:]) {
				t.Errorf("client subnet %x", got)
			}
		})
	}
}
