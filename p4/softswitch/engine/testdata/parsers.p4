// SPDX-License-Identifier: Apache-2.0
// What a parser can do: lookahead, advance, verify, masks and ranges, keys wider than 64 bits,
// variable fields in the middle of a header, sub-parsers, errors that the pipeline sees.
#include "frame.p4"

error { NotAllowed }

header first_t {
    bit<4>  kind;
    bit<4>  length;
    bit<16> x;
}
header middle_t {
    bit<8>     before;
    varbit<96> options;
    bit<12>    after;
    bit<4>     rest;
}
header wide_t { bit<40> p; bit<5> q; bit<35> r; }
header peeked_t { bit<12> odd; bit<96> wide; bit<4> pad; }
header report_t {
    bit<32> error_code;
    bit<8>  path;
    bit<32> length;
}

struct headers_t {
    report_t report;
    first_t  first;
    middle_t middle;
    wide_t   wide;
    peeked_t peeked;
}

parser P(packet_in packet, out headers_t hdr, inout metadata_t meta, inout standard_metadata_t std) {
    state start {
        packet.extract(hdr.first);
        transition select(hdr.first.kind) {
            0: varying;
            1 .. 3: skip;
            4: peek;
            5: wide;
            6 &&& 0xe: strict;
            8: ahead;
            9: far;
            default: accept;
        }
    }
    state varying {
        packet.extract(hdr.middle, (bit<32>) hdr.first.length << 3);
        transition accept;
    }
    state skip {
        packet.advance((bit<32>) hdr.first.length << 2);
        transition wide;
    }
    state peek {
        hdr.peeked.setValid();
        hdr.peeked.odd = packet.lookahead<bit<12>>();
        hdr.peeked.wide = packet.lookahead<bit<96>>();
        transition accept;
    }
    state wide {
        packet.extract(hdr.wide);
        transition select(hdr.wide.p, hdr.wide.q, hdr.first.x) {
            (0xffffffffff, 0x1f, 0xffff): accept;
            (0xff00000000 &&& 0xff00000000, _, _): strict;
            (_, 0 .. 7, 0x8000 &&& 0x8000): peek;
            default: accept;
        }
    }
    state strict {
        verify(hdr.first.length > 7, error.NotAllowed);
        packet.extract(hdr.peeked);
        transition accept;
    }
    state ahead {
        transition select(packet.lookahead<bit<9>>()) {
            0 .. 255: wide;
            default: peek;
        }
    }
    state far {
        packet.advance(800);
        transition accept;
    }
}

control I(inout headers_t hdr, inout metadata_t meta, inout standard_metadata_t std) {
    action result(bit<32> code) { hdr.report.error_code = code; }
    apply {
        std.egress_spec = std.ingress_port;
        hdr.report.setValid();
        hdr.report.length = std.packet_length;
        if (std.parser_error == error.NoError) {
            result(100);
        } else if (std.parser_error == error.PacketTooShort) {
            result(101);
        } else if (std.parser_error == error.NotAllowed) {
            result(102);
        } else if (std.parser_error == error.HeaderTooShort) {
            result(103);
        } else if (std.parser_error == error.ParserInvalidArgument) {
            result(104);
        } else {
            result(105);
        }
        if (hdr.middle.isValid()) { hdr.report.path = hdr.report.path | 1; hdr.middle.after = hdr.middle.after + 1; }
        if (hdr.wide.isValid()) { hdr.report.path = hdr.report.path | 2; hdr.wide.r = hdr.wide.r + 1; }
        if (hdr.peeked.isValid()) { hdr.report.path = hdr.report.path | 4; }
    }
}
control D(packet_out packet, in headers_t hdr) { apply { packet.emit(hdr); } }

SWITCH(P, I, D)
