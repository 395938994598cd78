// SPDX-License-Identifier: Apache-2.0
// Types of P4Data that are not plain bit<W>: digests, registers, translated types.
// p4c-bm2-ss --std p4-16 --p4runtime-files types.p4info.txt -o types.json types.p4
#include <core.p4>
#include <v1model.p4>
header ethernet_t { bit<48> dst; bit<48> src; bit<16> type; }
struct headers_t { ethernet_t e; }
struct meta_t { bit<8> a; int<16> s; bool f; }
enum bit<8> Kind { one = 1, two = 2 }
struct learn_t { bit<48> mac; int<16> s; bool f; bit<12> v; }
parser P(packet_in p, out headers_t h, inout meta_t m, inout standard_metadata_t std) {
    state start { p.extract(h.e); transition accept; }
}
control N(inout headers_t h, inout meta_t m) { apply { } }
control I(inout headers_t h, inout meta_t m, inout standard_metadata_t std) {
    register<int<16>>(4) signed16;

    register<Kind>(4) kinds;
    apply {
        std.egress_spec = 2;
        m.s = (int<16>) (bit<16>) h.e.type;
        m.f = h.e.dst[0:0] == 1;
        signed16.write(0, m.s);

        digest<learn_t>(1, { h.e.src, m.s, m.f, h.e.dst[11:0] });
    }
}
control E(inout headers_t h, inout meta_t m, inout standard_metadata_t std) { apply { } }
control D(packet_out p, in headers_t h) { apply { p.emit(h.e); } }
V1Switch(P(), N(), I(), E(), N(), D()) main;
