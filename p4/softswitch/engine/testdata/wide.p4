// SPDX-License-Identifier: Apache-2.0
// A select over 128 bits, as over an IPv6 destination.
#include <core.p4>
#include <v1model.p4>
header ip6_t { bit<128> src; bit<128> dst; }
header b_t { bit<8> x; }
struct headers_t { ip6_t e; b_t b; }
struct meta_t { bit<8> a; }
parser P(packet_in p, out headers_t h, inout meta_t m, inout standard_metadata_t std) {
    state start { p.extract(h.e); transition select(h.e.dst) { 0xff020000000000000000000000000000 &&& 0xffff0000000000000000000000000000 : mc; default : accept; } }
    state mc { p.extract(h.b); transition accept; }
}
control N(inout headers_t h, inout meta_t m) { apply { } }
control I(inout headers_t h, inout meta_t m, inout standard_metadata_t std) { apply { std.egress_spec = 2; if (h.b.isValid()) { h.b.x = 0x55; } } }
control E(inout headers_t h, inout meta_t m, inout standard_metadata_t std) { apply { } }
control D(packet_out p, in headers_t h) { apply { p.emit(h.e); p.emit(h.b); } }
V1Switch(P(), N(), I(), E(), N(), D()) main;
