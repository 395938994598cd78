// SPDX-License-Identifier: Apache-2.0
// A table that the front end keeps (so P4Info has it) and the middle end removes (so the device config has not).
// p4c-bm2-ss --std p4-16 --p4runtime-files deadtable.p4info.txt -o deadtable.json deadtable.p4
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
    counter(4, CounterType.packets) unused_counter;
    register<bit<8>>(4) unused_register;
    action fwd(bit<9> port) { std.egress_spec = port; }
    action never() { unused_counter.count(0); unused_register.write(0, 1); }
    table live { key = { h.e.type : exact; } actions = { fwd; NoAction; } }
    table dead { key = { h.e.src : exact; } actions = { fwd; never; NoAction; } }
    apply {
        bit<1> feature = 0;
        live.apply();
        if (feature == 1) { dead.apply(); }
    }
}
control E(inout headers_t h, inout meta_t m, inout standard_metadata_t std) { apply { } }
control D(packet_out p, in headers_t h) { apply { p.emit(h.e); } }
V1Switch(P(), N(), I(), E(), N(), D()) main;
