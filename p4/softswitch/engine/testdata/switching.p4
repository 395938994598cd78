// SPDX-License-Identifier: Apache-2.0
// What happens around tables: checksums, registers, headers that come and go, exit, conditions within
// actions, drops in both pipelines, packet_length, the metadata that egress sees.
#include <core.p4>
#include <v1model.p4>

header ip_t {
    bit<4>  version;
    bit<4>  ihl;
    bit<8>  tos;
    bit<16> length;
    bit<8>  ttl;
    bit<8>  protocol;
    bit<16> checksum;
    bit<32> src;
    bit<32> dst;
}
header tag_t { bit<3> p; bit<13> id; bit<16> type; }
header tail_t { bit<16> checksum; bit<8> op; bit<8> index; bit<32> value; }
header seen_t {
    bit<8>  error_bit;
    bit<32> length;
    bit<16> egress_port;
    bit<16> egress_spec;
    bit<32> instance;
    bit<8>  equal;
    bit<32> register_value;
    bit<16> ingress_port;
}

struct headers_t {
    seen_t seen;
    ip_t   ip;
    tag_t  outer;
    tag_t  inner;
    tail_t tail;
}
struct metadata_t {
    bit<32> register_value;
    bit<8>  equal;
    bit<16> tail_length;
}

parser P(packet_in packet, out headers_t hdr, inout metadata_t meta, inout standard_metadata_t std) {
    state start {
        packet.extract(hdr.ip);
        transition select(hdr.ip.tos) {
            0: tail;
            default: outer;
        }
    }
    state outer {
        packet.extract(hdr.outer);
        transition select(hdr.outer.p) {
            7: inner;
            default: tail;
        }
    }
    state inner { packet.extract(hdr.inner); transition tail; }
    state tail { packet.extract(hdr.tail); transition accept; }
}

control Verify(inout headers_t hdr, inout metadata_t meta) {
    apply {
        verify_checksum(hdr.ip.isValid(), { hdr.ip.version, hdr.ip.ihl, hdr.ip.tos, hdr.ip.length, hdr.ip.ttl,
            hdr.ip.protocol, hdr.ip.src, hdr.ip.dst }, hdr.ip.checksum, HashAlgorithm.csum16);
    }
}

control I(inout headers_t hdr, inout metadata_t meta, inout standard_metadata_t std) {
    register<bit<32>>(200) sums;
    register<bit<7>>(256) narrow;
    counter(16, CounterType.packets) calls;
    tag_t spare;
    action branch(bit<8> op) {
        if (op == 9) {
            hdr.ip.ttl = hdr.ip.ttl - 1;
        } else if (op > 200) {
            hdr.ip.ttl = 0;
            hdr.ip.protocol = hdr.ip.protocol ^ 0xff;
        } else {
            hdr.ip.ttl = 77;
        }
        hdr.ip.src = hdr.ip.src + 1;
    }
    action stop() { hdr.ip.dst = 0; exit; }
    apply {
        std.egress_spec = (std.ingress_port & 1) + 1;
        calls.count((bit<32>) hdr.tail.index);
        log_msg("op {} index {}", { hdr.tail.op, hdr.tail.index });
        bit<32> old = 0;
        if (hdr.tail.isValid()) {
            @atomic {
                sums.read(old, (bit<32>) hdr.tail.index);
                sums.write((bit<32>) hdr.tail.index, old + hdr.tail.value);
            }
            meta.register_value = old;
            bit<7> few = 1;
            narrow.write((bit<32>) hdr.tail.index, (bit<7>) hdr.tail.value);
            narrow.read(few, (bit<32>) hdr.tail.index);
            hdr.tail.value = (bit<32>) few;
        }
        meta.equal = 0;
        if (hdr.outer == hdr.inner) { meta.equal = meta.equal | 1; }
        if (hdr.outer != hdr.inner) { meta.equal = meta.equal | 2; }
        spare.setInvalid();
        switch (hdr.tail.op & 0x0f) {
            0: { hdr.outer.setInvalid(); }
            1: { hdr.outer.setValid(); hdr.outer.id = 0x1abc; }
            2: { hdr.inner = hdr.outer; }
            3: { spare = hdr.outer; hdr.outer = hdr.inner; hdr.inner = spare; }
            4: { mark_to_drop(std); }
            5: { stop(); }
            6: { branch(hdr.tail.op); }
            7: { branch(hdr.tail.index); }
            8: { hdr.ip.setInvalid(); }
            9: { hdr.ip.setInvalid(); hdr.ip.setValid(); hdr.ip.version = 4; }
            10: { std.egress_spec = 3; mark_to_drop(std); std.egress_spec = 3; }
            11: { hdr.inner.setValid(); hdr.inner = { 1, 2, 3 }; }
            default: { }
        }
        hdr.ip.length = hdr.ip.length + 1;
    }
}

control E(inout headers_t hdr, inout metadata_t meta, inout standard_metadata_t std) {
    apply {
        hdr.seen.setValid();
        hdr.seen.error_bit = (bit<8>) std.checksum_error;
        hdr.seen.length = std.packet_length;
        hdr.seen.egress_port = (bit<16>) std.egress_port;
        hdr.seen.egress_spec = (bit<16>) std.egress_spec;
        hdr.seen.instance = std.instance_type;
        hdr.seen.equal = meta.equal;
        hdr.seen.register_value = meta.register_value;
        hdr.seen.ingress_port = (bit<16>) std.ingress_port;
        if (hdr.tail.op == 12) { mark_to_drop(std); }
        if (hdr.tail.op == 13) { std.egress_spec = 2; }
    }
}

control Update(inout headers_t hdr, inout metadata_t meta) {
    apply {
        update_checksum(hdr.ip.isValid() && hdr.ip.version == 4, { hdr.ip.version, hdr.ip.ihl, hdr.ip.tos,
            hdr.ip.length, hdr.ip.ttl, hdr.ip.protocol, hdr.ip.src, hdr.ip.dst }, hdr.ip.checksum,
            HashAlgorithm.csum16);
        update_checksum_with_payload(hdr.tail.isValid(), { hdr.ip.src, 8w0, hdr.ip.protocol, hdr.outer.id, hdr.outer.p,
            hdr.tail.value }, hdr.tail.checksum, HashAlgorithm.csum16);
    }
}

control D(packet_out packet, in headers_t hdr) { apply { packet.emit(hdr); } }

V1Switch(P(), Verify(), I(), E(), Update(), D()) main;
