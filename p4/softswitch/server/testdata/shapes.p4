// SPDX-License-Identifier: Apache-2.0
// What P4Data can be of what the data plane makes: wide and signed numbers, enums, errors, headers that are valid and not,
// structs within structs, tuples without a name, translated types; and a digest that no packet can make.
// p4c-bm2-ss --std p4-16 --p4runtime-files shapes.p4info.txt -o shapes.json shapes.p4
#include <core.p4>
#include <v1model.p4>

enum Color { red, green, blue }
enum bit<4> Level { low = 3, high = 9 }
type bit<9> port_t;
@p4runtime_translation("example.org/name", string) type bit<9> name_t;
@p4runtime_translation("example.org/number", 32) type bit<9> number_t;

header frame_t { bit<8> op; int<8> s; bit<128> w; }
header pair_t { bit<4> a; int<12> b; }
@controller_header("packet_in")
header cpu_in_t { name_t port; bit<7> pad; number_t number; bit<7> rest; }
@controller_header("packet_out")
header cpu_out_t { bit<7> pad; name_t port; }

struct inner_t { bit<8> op; int<8> s; }
struct report_t {
    inner_t  inner;
    Color    color;
    Level    level;
    error    problem;
    port_t   port;
    name_t   name;
    number_t number;
    bit<128> wide;
    pair_t   pair;
    int<100> signed;
}
struct headers_t { cpu_in_t cpu_in; cpu_out_t cpu_out; frame_t frame; pair_t pair; }
struct metadata_t { Color color; Level level; bit<128> wide; int<100> signed; name_t name; number_t number; }

parser P(packet_in packet, out headers_t hdr, inout metadata_t meta, inout standard_metadata_t std) {
    state start { transition select(std.ingress_port) { 510: cpu; default: frame; } }
    state cpu { packet.extract(hdr.cpu_out); transition frame; }
    state frame { packet.extract(hdr.frame); transition select(hdr.frame.op) { 2: pair; default: accept; } }
    state pair { packet.extract(hdr.pair); transition accept; }
}

control ShapesIngress(inout headers_t hdr, inout metadata_t meta, inout standard_metadata_t std) {
    @name(".wide") register<bit<128>>(2) wide;
    @name(".signed") register<int<100>>(2) signed;
    @name(".named") register<name_t>(2) named;
    @name(".numbered") register<number_t>(2) numbered;
    @name(".ports") register<port_t>(2) ports;
    @name(".levels") register<Level>(2) levels;

    action unseen() { digest<inner_t>(1, { 1, 2 }); }
    table gone { key = { hdr.frame.op: exact; } actions = { unseen; NoAction; } }

    apply {
        if (hdr.cpu_out.isValid()) {
            std.egress_spec = (bit<9>) hdr.cpu_out.port;
            hdr.cpu_out.setInvalid();
        } else {
            std.egress_spec = 510;
            meta.color = hdr.frame.op == 2 ? Color.blue : Color.green;
            meta.level = hdr.frame.op == 2 ? Level.high : Level.low;
            meta.signed = (int<100>) hdr.frame.s;
            meta.name = (name_t) std.ingress_port;
            meta.number = (number_t) std.ingress_port;
            wide.read(meta.wide, 1);
            wide.write(0, meta.wide + hdr.frame.w);
            signed.write(0, meta.signed);
            named.write(0, meta.name);
            numbered.write(0, meta.number);
            ports.write(0, (port_t) std.ingress_port);
            levels.write(0, meta.level);
            if (hdr.frame.op == 7) {
                digest<tuple<bit<8>, bool>>(1, { hdr.frame.op, hdr.pair.isValid() });
            } else {
                digest<report_t>(1, { { hdr.frame.op, hdr.frame.s }, meta.color, meta.level, std.parser_error,
                    (port_t) std.ingress_port, meta.name, meta.number, hdr.frame.w, hdr.pair, meta.signed });
            }
            bit<1> never = 0;
            if (never == 1) { gone.apply(); }
        }
    }
}

control ShapesEgress(inout headers_t hdr, inout metadata_t meta, inout standard_metadata_t std) {
    apply {
        if (std.egress_port == 510) {
            hdr.cpu_in.setValid();
            hdr.cpu_in.port = meta.name;
            hdr.cpu_in.number = meta.number;
        }
    }
}

control Nothing(inout headers_t hdr, inout metadata_t meta) { apply { } }
control ShapesDeparser(packet_out packet, in headers_t hdr) { apply { packet.emit(hdr); } }

V1Switch(P(), Nothing(), ShapesIngress(), ShapesEgress(), Nothing(), ShapesDeparser()) main;
