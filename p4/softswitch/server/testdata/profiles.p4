// SPDX-License-Identifier: Apache-2.0
// Action profiles that no packet meets. P4Info has all three; the device config has spare, of which no table is, and neither
// choice, which no table has, nor members, whose table the middle end removes.
// p4c-bm2-ss --std p4-16 --p4runtime-files profiles.p4info.txt -o profiles.json profiles.p4
#include <core.p4>
#include <v1model.p4>
header ethernet_t { bit<48> dst; bit<48> src; bit<16> type; }
struct headers_t { ethernet_t e; }
struct meta_t { bit<8> a; }
parser P(packet_in p, out headers_t h, inout meta_t m, inout standard_metadata_t std) {
    state start { p.extract(h.e); transition accept; }
}
control N(inout headers_t h, inout meta_t m) { apply { } }
control I(inout headers_t h, inout meta_t m, inout standard_metadata_t std) {
    action_profile(128) spare;
    action_selector(HashAlgorithm.crc16, 1024, 16) choice;
    action_selector(HashAlgorithm.crc16, 1024, 16) members;
    action fwd(bit<9> port) { std.egress_spec = port; }
    table live { key = { h.e.type : exact; } actions = { fwd; NoAction; } default_action = NoAction(); }
    table dead {
        key = { h.e.dst : exact; h.e.src : selector; }
        actions = { fwd; NoAction; }
        implementation = members;
    }
    apply {
        bit<8> feature = 0;
        live.apply();
        if (feature == 1) { dead.apply(); }
    }
}
control E(inout headers_t h, inout meta_t m, inout standard_metadata_t std) { apply { } }
control D(packet_out p, in headers_t h) { apply { p.emit(h.e); } }
V1Switch(P(), N(), I(), E(), N(), D()) main;
