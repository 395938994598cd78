// SPDX-License-Identifier: Apache-2.0
// Every hash algorithm, on inputs that end within a byte, hold invalid headers, constants, wide and
// variable fields.
#include "frame.p4"

header fields_t {
    bit<3>   a;
    bit<13>  b;
    bit<8>   length;
    bit<48>  c;
    bit<128> d;
}
header options_t { varbit<64> options; }
header absent_t  { bit<32> e; }
header hashes_t {
    bit<16> crc16; bit<32> crc32; bit<16> csum16; bit<64> identity; bit<16> xor16;
    bit<32> odd32; bit<16> odd16; bit<64> oddid; bit<32> mod; bit<32> base; bit<16> small;
    bit<32> custom32; bit<16> custom16; bit<32> zero;
}
struct headers_t {
    fields_t  fields;
    options_t options;
    absent_t  absent;
    hashes_t  h;
}

parser P(packet_in packet, out headers_t hdr, inout metadata_t meta, inout standard_metadata_t std) {
    state start {
        packet.extract(hdr.fields);
        packet.extract(hdr.options, ((bit<32>) hdr.fields.length & 0x7f));
        transition accept;
    }
}

control I(inout headers_t hdr, inout metadata_t meta, inout standard_metadata_t std) {
    apply {
        std.egress_spec = std.ingress_port;
        hdr.h.setValid();
        hash(hdr.h.crc16, HashAlgorithm.crc16, 16w0, { hdr.fields.b, hdr.fields.a, hdr.fields.c }, 32w0x10000);
        hash(hdr.h.crc32, HashAlgorithm.crc32, 32w0, { hdr.fields.c, hdr.fields.d }, 64w0x100000000);
        hash(hdr.h.csum16, HashAlgorithm.csum16, 16w0, { hdr.fields.c, hdr.fields.d, hdr.fields.length }, 32w0x10000);
        hash(hdr.h.identity, HashAlgorithm.identity, 64w0, { hdr.fields.a, hdr.fields.c }, 64w0xffffffffffffffff);
        hash(hdr.h.xor16, HashAlgorithm.xor16, 16w0, { hdr.fields.d, hdr.fields.length }, 32w0x10000);
        hash(hdr.h.odd32, HashAlgorithm.crc32, 32w0, { hdr.fields.a, hdr.fields.d, 5w9 }, 64w0x100000000);
        hash(hdr.h.odd16, HashAlgorithm.crc16, 16w0, { hdr.fields.b, hdr.absent.e, hdr.fields.d }, 32w0x10000);
        hash(hdr.h.oddid, HashAlgorithm.identity, 64w0, { hdr.fields.b, hdr.fields.a }, 64w0xffffffffffffffff);
        hash(hdr.h.mod, HashAlgorithm.crc32, 32w0, { hdr.fields.c }, 32w1000);
        hash(hdr.h.base, HashAlgorithm.crc32, 32w500, { hdr.fields.c }, 32w100);
        hash(hdr.h.small, HashAlgorithm.crc32, 16w65535, { hdr.fields.c }, 32w100);
        hash(hdr.h.custom32, HashAlgorithm.crc32_custom, 32w0, { hdr.fields.c }, 64w0x100000000);
        hash(hdr.h.custom16, HashAlgorithm.crc16_custom, 16w0, { hdr.fields.c }, 32w0x10000);
        hash(hdr.h.zero, HashAlgorithm.crc32, 32w7, { hdr.fields.c }, 32w0);
    }
}
control D(packet_out packet, in headers_t hdr) { apply { packet.emit(hdr); } }

SWITCH(P, I, D)
