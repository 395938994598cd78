// SPDX-License-Identifier: Apache-2.0
// Keys that P4Info has no width for: errors, in a table that packets meet and in one that none does.
// p4c-bm2-ss --std p4-16 --p4runtime-files nowidth.p4info.txt -o nowidth.json nowidth.p4
#include <core.p4>
#include <v1model.p4>

header frame_t { bit<8> op; }
struct headers_t { frame_t frame; frame_t next; }
struct metadata_t { bit<8> op; }

parser P(packet_in packet, out headers_t hdr, inout metadata_t meta, inout standard_metadata_t std) {
    state start { packet.extract(hdr.frame); packet.extract(hdr.next); transition accept; }
}

control I(inout headers_t hdr, inout metadata_t meta, inout standard_metadata_t std) {
    action mark(bit<8> op) { hdr.frame.op = op; }
    table met { key = { std.parser_error: exact; meta.op: ternary; } actions = { mark; NoAction; } }
    table unmet { key = { std.parser_error: exact; } actions = { mark; NoAction; } }
    apply {
        std.egress_spec = 2;
        meta.op = hdr.frame.op;
        met.apply();
        bit<1> feature = 0;
        if (feature == 1) { unmet.apply(); }
    }
}

control D(packet_out packet, in headers_t hdr) { apply { packet.emit(hdr); } }
control NoVerify(inout headers_t hdr, inout metadata_t meta) { apply { } }
control NoUpdate(inout headers_t hdr, inout metadata_t meta) { apply { } }
control NoEgress(inout headers_t hdr, inout metadata_t meta, inout standard_metadata_t std) { apply { } }
V1Switch(P(), NoVerify(), I(), NoEgress(), NoUpdate(), D()) main;
