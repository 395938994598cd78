// SPDX-License-Identifier: Apache-2.0
// Ranges of IPv6 addresses, beside a range of few bits.
#include "frame.p4"

header key_t { bit<8> a; bit<128> w; bit<8> answer; }
struct headers_t { key_t key; }

parser P(packet_in packet, out headers_t hdr, inout metadata_t meta, inout standard_metadata_t std) {
    state start { packet.extract(hdr.key); transition accept; }
}

control I(inout headers_t hdr, inout metadata_t meta, inout standard_metadata_t std) {
    action answer(bit<8> n) { hdr.key.answer = n; }
    table t {
        key = { hdr.key.w: range; hdr.key.a: range; }
        actions = { answer; NoAction; }
        const entries = {
            (0x20010db8000000010000000000000000 .. 0x20010db80000000100000000ffffffff, 0 .. 1): answer(1);
            (0x20010db8000000000000000000000000 .. 0x20010db80001ffffffffffffffffffff, 0 .. 0xfe): answer(2);
            (0x20010db8000000000000000000000000 .. 0x20010db8ffffffffffffffffffffffff, 0 .. 0xff): answer(3);
        }
    }
    apply { std.egress_spec = 2; t.apply(); }
}

control D(packet_out packet, in headers_t hdr) { apply { packet.emit(hdr.key); } }
SWITCH(P, I, D)
