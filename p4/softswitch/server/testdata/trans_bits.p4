// SPDX-License-Identifier: Apache-2.0
// Types that the controller sees in another form (section "Translation", P4NewTypeTranslation).
// p4c-bm2-ss --std p4-16 --p4runtime-files trans_bits.p4info.txt -o trans_bits.json trans_bits.p4
#include <core.p4>
#include <v1model.p4>
@p4runtime_translation("example.org/port", 32)
type bit<9> port_id_t;
@p4runtime_translation("", string)
type bit<9> name_t;
header ethernet_t { bit<48> dst; bit<48> src; bit<16> type; }
struct headers_t { ethernet_t e; }
struct meta_t { port_id_t inp;  }
parser P(packet_in p, out headers_t h, inout meta_t m, inout standard_metadata_t std) {
    state start { p.extract(h.e); transition accept; }
}
control N(inout headers_t h, inout meta_t m) { apply { } }
control I(inout headers_t h, inout meta_t m, inout standard_metadata_t std) {
    action fwd(port_id_t port) { std.egress_spec = (bit<9>) port; }
    table t { key = { m.inp : exact; } actions = { fwd; NoAction; } }
    
    apply { m.inp = (port_id_t) std.ingress_port; t.apply();  }
}
control E(inout headers_t h, inout meta_t m, inout standard_metadata_t std) { apply { } }
control D(packet_out p, in headers_t h) { apply { p.emit(h.e); } }
V1Switch(P(), N(), I(), E(), N(), D()) main;
