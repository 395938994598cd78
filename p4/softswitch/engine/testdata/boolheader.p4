// SPDX-License-Identifier: Apache-2.0
// A bool in a header.
#include <core.p4>
#include <v1model.p4>
header f_t { bool f; bit<7> pad; }
struct headers_t { f_t f; }
struct meta_t { bool g; bit<8> a; }
parser P(packet_in p, out headers_t h, inout meta_t m, inout standard_metadata_t std) { state start { p.extract(h.f); transition accept; } }
control N(inout headers_t h, inout meta_t m) { apply { } }
control I(inout headers_t h, inout meta_t m, inout standard_metadata_t std) { apply { std.egress_spec = 2; m.g = !h.f.f; h.f.f = m.g; } }
control E(inout headers_t h, inout meta_t m, inout standard_metadata_t std) { apply { } }
control D(packet_out p, in headers_t h) { apply { p.emit(h.f); } }
V1Switch(P(), N(), I(), E(), N(), D()) main;
