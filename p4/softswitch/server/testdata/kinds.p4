// SPDX-License-Identifier: Apache-2.0
// A table for every rule of the P4Runtime service that the Sluice pipeline does not exercise.
// p4c-bm2-ss --std p4-16 --p4runtime-files kinds.p4info.txt -o kinds.json kinds.p4
#include <core.p4>
#include <v1model.p4>

header ethernet_t { bit<48> dst; bit<48> src; bit<16> type; }

@controller_header("packet_in")
header cpu_in_t { bit<9> port; bit<3> class; bit<4> pad; }
@controller_header("packet_out")
header cpu_out_t { bit<4> pad; bit<9> port; bit<3> class; }

struct headers_t { cpu_in_t cpu_in; cpu_out_t cpu_out; ethernet_t ethernet; }
struct metadata_t { bit<32> a; bit<16> b; bit<8> c; bit<12> d; bit<2> e; bit<2> f; }

parser P(packet_in packet, out headers_t hdr, inout metadata_t meta, inout standard_metadata_t std) {
    state start {
        transition select(std.ingress_port) { 510: cpu; default: ethernet; }
    }
    state cpu { packet.extract(hdr.cpu_out); transition ethernet; }
    state ethernet { packet.extract(hdr.ethernet); transition accept; }
}

control KindsIngress(inout headers_t hdr, inout metadata_t meta, inout standard_metadata_t std) {
    @name(".hits") direct_counter(CounterType.packets_and_bytes) hits;
    @name(".cells") counter(4, CounterType.packets_and_bytes) cells;
    @name(".words") register<bit<12>>(4) words;
    @name(".rates") meter(4, MeterType.packets) rates;
    @name(".marks") direct_meter<bit<2>>(MeterType.bytes) marks;

    @name(".forward") action forward(bit<9> port) { std.egress_spec = port; }
    @name(".forward_counted") action forward_counted(bit<9> port) { std.egress_spec = port; hits.count(); }
    @name(".drop") action drop() { mark_to_drop(std); }

    @name(".prefixes") table prefixes {
        key = { meta.a: lpm @name("a"); meta.c: exact @name("c"); }
        actions = { forward; drop; }
        default_action = drop();
        size = 16;
    }
    @name(".rules") table rules {
        key = { meta.b: ternary @name("b"); meta.c: optional @name("c"); meta.d: range @name("d"); }
        actions = { forward; @tableonly drop; @defaultonly NoAction; }
        default_action = NoAction();
        size = 16;
    }
    @name(".small") table small {
        key = { hdr.ethernet.dst: exact @name("dst"); }
        actions = { forward_counted; }
        default_action = forward_counted(7);
        counters = hits;
        support_timeout = true;
        size = 2;
    }
    @name(".fixed") table fixed {
        key = { meta.c: exact @name("c"); }
        actions = { forward; drop; }
        const default_action = drop();
        const entries = { 1: forward(3); 2: drop(); }
    }
    @name(".mark") action mark() { marks.read(meta.e); }
    @name(".marked") table marked {
        key = { hdr.ethernet.dst: exact @name("dst"); }
        actions = { mark; @defaultonly NoAction; }
        default_action = NoAction();
        meters = marks;
        size = 2;
    }
    @name(".keyless") table keyless {
        actions = { forward; drop; }
        default_action = forward(4);
    }

    apply {
        if (hdr.cpu_out.isValid()) {
            std.egress_spec = hdr.cpu_out.port;
            meta.c = (bit<8>) hdr.cpu_out.class;
            hdr.cpu_out.setInvalid();
        } else {
            keyless.apply();
            meta.a = (bit<32>) hdr.ethernet.type;
            meta.b = hdr.ethernet.type;
            meta.c = hdr.ethernet.src[7:0];
            meta.d = hdr.ethernet.src[11:0];
            prefixes.apply();
            rules.apply();
            fixed.apply();
            small.apply();
            cells.count(1);
            words.write(0, meta.d);
            if (hdr.ethernet.type == 0xc01c) { // a frame that shows its colors, by entry and by cell
                marked.apply();
                rates.execute_meter(1, meta.f);
                hdr.ethernet.type = 8w0 ++ 2w0 ++ meta.e ++ 2w0 ++ meta.f;
            }
        }
    }
}

control KindsEgress(inout headers_t hdr, inout metadata_t meta, inout standard_metadata_t std) {
    apply {
        if (std.egress_port == 510) {
            hdr.cpu_in.setValid();
            hdr.cpu_in.port = std.ingress_port;
            hdr.cpu_in.class = 5;
        }
    }
}

control Nothing(inout headers_t hdr, inout metadata_t meta) { apply { } }
control KindsDeparser(packet_out packet, in headers_t hdr) {
    apply { packet.emit(hdr.cpu_in); packet.emit(hdr.ethernet); }
}

V1Switch(P(), Nothing(), KindsIngress(), KindsEgress(), Nothing(), KindsDeparser()) main;
