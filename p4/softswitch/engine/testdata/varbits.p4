// SPDX-License-Identifier: Apache-2.0
// Headers with variable fields that are compared and copied, in metadata too.
#include <core.p4>
#include <v1model.p4>

header head_t { bit<4> op; bit<2> m; bit<2> n; }
header options_t { varbit<24> o; bit<2> y; bit<6> z; }
header result_t { bit<8> same; }

struct headers_t { result_t result; head_t head; options_t a; options_t b; }
struct kept_t { options_t a; bit<8> x; }
struct metadata_t { kept_t one; kept_t two; }

parser P(packet_in packet, out headers_t hdr, inout metadata_t meta, inout standard_metadata_t std) {
    state start {
        packet.extract(hdr.head);
        packet.extract(hdr.a, (bit<32>) hdr.head.m << 3);
        packet.extract(meta.one.a, (bit<32>) hdr.head.n << 3);
        transition select(hdr.head.op) {
            0 &&& 3: accept;
            default: more;
        }
    }
    state more {
        packet.extract(hdr.b, (bit<32>) hdr.head.m << 3);
        transition accept;
    }
}

control I(inout headers_t hdr, inout metadata_t meta, inout standard_metadata_t std) {
    apply {
        std.egress_spec = 2;
        hdr.result.setValid();
        if (hdr.b.isValid() && hdr.head.op[2:2] == 1) { hdr.a.y = hdr.b.y; hdr.a.z = hdr.b.z; meta.one.a.y = hdr.b.y; meta.one.a.z = hdr.b.z; }
        if (hdr.a == hdr.b) { hdr.result.same = hdr.result.same | 1; }
        if (hdr.a != meta.one.a) { hdr.result.same = hdr.result.same | 2; }
        if (hdr.head.op[3:3] == 1) { meta.two = meta.one; }
        if (meta.one == meta.two) { hdr.result.same = hdr.result.same | 4; }
        if (hdr.b == meta.two.a) { hdr.b = meta.one.a; hdr.result.same = hdr.result.same | 8; }
    }
}

control D(packet_out packet, in headers_t hdr) { apply { packet.emit(hdr); } }
control NoVerify(inout headers_t hdr, inout metadata_t meta) { apply { } }
control NoUpdate(inout headers_t hdr, inout metadata_t meta) { apply { } }
control NoEgress(inout headers_t hdr, inout metadata_t meta, inout standard_metadata_t std) { apply { } }
V1Switch(P(), NoVerify(), I(), NoEgress(), NoUpdate(), D()) main;
