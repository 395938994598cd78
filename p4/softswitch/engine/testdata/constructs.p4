// SPDX-License-Identifier: Apache-2.0
// What is legal and rare: selects over wide fields and lookaheads, registers wider than a machine word, headers that are
// copied on a condition within an action, assertions that hold, truncation, bool and int in headers.
#include <core.p4>
#include <v1model.p4>

enum bit<4> Kind { one = 1, two = 2 }

header key_t { bit<8> op; bool f; int<7> s; bit<128> w; bit<72> x; }
header pair_t { bit<8> a; bit<8> b; }
header result_t { bit<128> wide; int<104> signed; bit<8> kind; bit<8> path; }

struct headers_t { result_t result; key_t key; pair_t left; pair_t right; pair_t copy; }
struct metadata_t { bit<8> path; bit<128> wide; int<104> signed; Kind kind; }

parser P(packet_in packet, out headers_t hdr, inout metadata_t meta, inout standard_metadata_t std) {
    state start {
        packet.extract(hdr.key);
        transition select(hdr.key.w, hdr.key.f, packet.lookahead<bit<80>>()) {
            (0 &&& 0xff << 120, true, _): left;
            (0xffffffffffffffffffffffffffffffff &&& 0xf << 64, _, 0 &&& 0xff): right;
            (_, false, 0xff << 72 &&& 0x80 << 72): both;
            default: accept;
        }
    }
    state left { meta.path = 1; packet.extract(hdr.left); transition accept; }
    state right { meta.path = 2; packet.extract(hdr.right); transition accept; }
    state both {
        meta.path = 3;
        packet.extract(hdr.left);
        packet.extract(hdr.right);
        transition select(hdr.key.x) { 0 &&& 1 << 71: accept; _: again; }
    }
    state again { meta.path = 4; packet.extract(hdr.copy); transition accept; }
}

control I(inout headers_t hdr, inout metadata_t meta, inout standard_metadata_t std) {
    register<bit<128>>(4) wide;
    register<int<104>>(4) signed;
    register<Kind>(2) kinds;

    action sum() {
        wide.read(meta.wide, (bit<32>) hdr.key.op & 7); // half of the indexes do not exist
        meta.wide = meta.wide + hdr.key.w;
        wide.write((bit<32>) hdr.key.op & 7, meta.wide);
        signed.read(meta.signed, 1);
        meta.signed = meta.signed - (int<104>) hdr.key.s;
        signed.write(1, meta.signed);
        kinds.write(1, Kind.two);
        kinds.read(meta.kind, 1);
    }
    action choose() { hdr.copy = hdr.key.op[0:0] == 1 ? hdr.left : hdr.right; }
    action chain() {
        if (hdr.key.op[1:1] == 1) { hdr.copy = hdr.left; } else if (hdr.key.op[2:2] == 1) { hdr.copy = hdr.right; }
        assert(hdr.key.isValid());
    }
    apply {
        std.egress_spec = 2;
        sum();
        if (hdr.key.f) { choose(); } else { chain(); }
        assume(std.egress_spec == 2);
        if (hdr.left.isValid()) { hdr.key.f = !hdr.key.f; hdr.key.s = -hdr.key.s; }
        if (hdr.key.op[3:3] == 1) { truncate(30); }
        hdr.result.setValid();
        hdr.result.wide = meta.wide;
        hdr.result.signed = meta.signed;
        hdr.result.kind = (bit<8>) (bit<4>) meta.kind;
        hdr.result.path = meta.path;
        if (hdr.key.op[4:4] == 1) { truncate(50); }
    }
}

control D(packet_out packet, in headers_t hdr) { apply { packet.emit(hdr); } }
control NoVerify(inout headers_t hdr, inout metadata_t meta) { apply { } }
control NoUpdate(inout headers_t hdr, inout metadata_t meta) { apply { } }
control NoEgress(inout headers_t hdr, inout metadata_t meta, inout standard_metadata_t std) {
    apply { if (hdr.key.op[5:5] == 1) { truncate(20); } }
}
V1Switch(P(), NoVerify(), I(), NoEgress(), NoUpdate(), D()) main;
