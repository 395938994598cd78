// SPDX-License-Identifier: Apache-2.0
// Tables of every kind with entries of their own, on narrow, wide and odd keys; hit, miss,
// action_run, defaults, actions with parameters of all widths.
#include "frame.p4"

header key_t {
    bit<8>   a;
    bit<16>  b;
    bit<32>  c;
    bit<128> d;
    bit<4>   e;
    bit<12>  f;
}
header flag_t { bit<8> g; }
header answer_t {
    bit<8> exact8; bit<8> lpm; bit<8> lpm64; bit<8> ternary; bit<8> ranges; bit<8> mixed; bit<8> valid;
    bit<8> way; bit<128> wide; bit<9> nine; bit<7> seven; bit<8> masked;
}
struct headers_t {
    key_t    key;
    flag_t   flag;
    answer_t answer;
}

parser P(packet_in packet, out headers_t hdr, inout metadata_t meta, inout standard_metadata_t std) {
    state start {
        packet.extract(hdr.key);
        transition select(hdr.key.e) {
            0 .. 7: flag;
            default: accept;
        }
    }
    state flag { packet.extract(hdr.flag); transition accept; }
}

control I(inout headers_t hdr, inout metadata_t meta, inout standard_metadata_t std) {
    action exact8(bit<8> v) { hdr.answer.exact8 = v; }
    action lpm32(bit<8> v) { hdr.answer.lpm = v; }
    action lpm64(bit<8> v) { hdr.answer.lpm64 = v; }
    action ternary8(bit<8> v) { hdr.answer.ternary = v; }
    action ranges(bit<8> v) { hdr.answer.ranges = v; }
    action mixed(bit<8> v) { hdr.answer.mixed = v; }
    action validity(bit<8> v) { hdr.answer.valid = v; }
    action params(bit<128> wide, bit<9> nine, bit<7> seven) {
        hdr.answer.wide = wide + hdr.key.d;
        hdr.answer.nine = nine;
        hdr.answer.seven = seven;
    }
    action masked(bit<8> v) { hdr.answer.masked = v; }
    action one() { hdr.answer.way = hdr.answer.way | 16; }
    action two() { hdr.answer.way = hdr.answer.way | 32; }

    table t_exact {
        key = { hdr.key.a: exact; hdr.key.f: exact; }
        actions = { exact8; }
        const default_action = exact8(0xee);
        const entries = { (0, 0): exact8(1); (0xff, 0xfff): exact8(2); (0, 0xfff): exact8(3); }
    }
    table t_lpm {
        key = { hdr.key.c: lpm; }
        actions = { lpm32; NoAction; }
        default_action = NoAction();
        const entries = {
            0x00000000 &&& 0xff000000: lpm32(1);
            0x00ff0000 &&& 0xffff0000: lpm32(2);
            0x80000000 &&& 0x80000000: lpm32(3);
            0xff000000 &&& 0xffe00000: lpm32(4);
            0xffffffff: lpm32(5);
        }
    }
    table t_lpm64 {
        key = { hdr.key.d[127:64]: lpm; hdr.key.e: exact; }
        actions = { lpm64; }
        const default_action = lpm64(0x77);
        const entries = {
            (_, 0): lpm64(1);
            (0xff << 56 &&& 0xff << 56, 0): lpm64(2);
            (0xff << 56 &&& 0xff << 56, 0xf): lpm64(3);
            (0 &&& 0xffff << 48, 0xf): lpm64(4);
        }
    }
    table t_ternary {
        key = { hdr.key.b: ternary; hdr.key.c: ternary; hdr.key.d: ternary; }
        actions = { ternary8; }
        default_action = ternary8(9);
        const entries = {
            (0xff00 &&& 0xff00, _, _): ternary8(1);
            (_, 0xff &&& 0xff, _): ternary8(2);
            (_, _, 0xff << 64 &&& 0xff << 64): ternary8(3);
            (0x0000 &&& 0x00ff, 0 &&& 0xff00, _): ternary8(4);
            (_, 0x80000000 &&& 0x80000000, 1 &&& 1): ternary8(5);
        }
    }
    table t_range {
        key = { hdr.key.b: range; hdr.key.a: exact; hdr.key.f: ternary; }
        actions = { ranges; }
        const default_action = ranges(9);
        const entries = {
            (0 .. 0xff, 0, _): ranges(1);
            (0xff .. 0xff, 0xff, _): ranges(2);
            (0x100 .. 0xfffe, 0xff, 0xf &&& 0xf): ranges(3);
            (_, 0, 0 &&& 0xf): ranges(4);
            (0x8000 .. 0xffff, 0xff, _): ranges(5);
        }
    }
    table t_mixed {
        key = { hdr.key.c: lpm; hdr.key.a: ternary; }
        actions = { mixed; }
        const default_action = mixed(9);
        const entries = {
            (0x80000000 &&& 0x80000000, 0x80 &&& 0x80): mixed(1);
            (0xff000000 &&& 0xff000000, _): mixed(2);
            (_, 0 &&& 1): mixed(3);
        }
    }
    table t_valid {
        key = { hdr.flag.isValid(): exact; hdr.flag.g: ternary; }
        actions = { validity; }
        const default_action = validity(9);
        const entries = {
            (true, 0x00): validity(1);
            (true, 0xff): validity(2);
            (true, _): validity(3);
            (false, _): validity(4);
        }
    }
    table t_params {
        key = { hdr.key.a: exact; }
        actions = { params; NoAction; }
        const default_action = params(0x123456789abcdef0123456789abcdef0, 0x1ff, 0x55);
        const entries = {
            0: params(0xffffffffffffffffffffffffffffffff, 1, 2);
            0xff: params(1, 0x100, 0x7f);
            1: NoAction();
        }
    }
    table t_masked {
        key = { hdr.key.b & 0x0ff0: exact; hdr.key.c[23:8]: exact; }
        actions = { masked; }
        const default_action = masked(9);
        const entries = { (0, 0): masked(1); (0xff0, 0xffff): masked(2); (0, 0xffff): masked(3); (0xff0, 0): masked(4); }
    }
    table t_way {
        key = { hdr.key.e: exact; }
        actions = { one; two; NoAction; }
        const default_action = NoAction();
        const entries = { 0: one(); 0xf: two(); }
    }
    apply {
        std.egress_spec = std.ingress_port;
        hdr.answer.setValid();
        if (t_exact.apply().hit) { hdr.answer.way = 1; } else { hdr.answer.way = 2; }
        if (t_lpm.apply().miss) { hdr.answer.way = hdr.answer.way | 4; }
        t_lpm64.apply();
        t_ternary.apply();
        t_range.apply();
        t_mixed.apply();
        if (!hdr.flag.isValid()) { hdr.flag.g = 0; }
        t_valid.apply();
        t_params.apply();
        t_masked.apply();
        switch (t_way.apply().action_run) {
            one: { hdr.answer.way = hdr.answer.way | 64; }
            two: { hdr.answer.way = hdr.answer.way | 128; }
            default: { hdr.answer.way = hdr.answer.way | 8; }
        }
    }
}
control D(packet_out packet, in headers_t hdr) { apply { packet.emit(hdr); } }

SWITCH(P, I, D)
