// SPDX-License-Identifier: Apache-2.0
// Every operator, on operands of every kind of width: the operands come in, the results go out.
#include "frame.p4"

header operands_t {
    bit<8>   a;
    bit<8>   b;
    bit<3>   n;
    bit<13>  o;
    bit<48>  m;
    bit<64>  c;
    bit<64>  d;
    bit<128> e;
    bit<128> f;
    int<8>   s;
    int<8>   t;
    int<64>  x;
    int<64>  y;
}

header results8_t  {
    bit<8> add; bit<8> sub; bit<8> mul; bit<8> and; bit<8> or; bit<8> xor; bit<8> not; bit<8> neg;
    bit<8> shl; bit<8> shr; bit<8> sadd; bit<8> ssub; bit<8> cat; bit<8> slice; bit<8> pick;
    bit<8> lt;
}
header results64_t {
    bit<64> add; bit<64> sub; bit<64> mul; bit<64> and; bit<64> or; bit<64> xor; bit<64> not; bit<64> neg;
    bit<64> shl; bit<64> shr; bit<64> sadd; bit<64> ssub; bit<64> cat; bit<64> slice; bit<64> pick;
    bit<8> lt;
}
header results128_t {
    bit<128> add; bit<128> sub; bit<128> mul; bit<128> and; bit<128> or; bit<128> xor; bit<128> not; bit<128> neg;
    bit<128> shl; bit<128> shr; bit<128> sadd; bit<128> ssub; bit<128> cat; bit<128> slice; bit<128> pick;
    bit<8> lt;
}
header resultss_t {
    int<8> add; int<8> sub; int<8> mul; int<8> and; int<8> or; int<8> xor; int<8> not; int<8> neg;
    int<8> shl; int<8> shr; int<8> sadd; int<8> ssub; int<64> widen; bit<8> lt;
    int<64> add64; int<64> sub64; int<64> mul64; int<64> shr64; int<64> sadd64; int<64> ssub64;
    bit<8> lt64; int<16> cut; bit<128> wide;
}
header resultsm_t {
    bit<48> add; bit<48> sub; bit<3> n; bit<13> o; bit<48> rot;
}

struct headers_t {
    operands_t    op;
    results8_t    r8;
    results64_t   r64;
    results128_t  r128;
    resultss_t    rs;
    resultsm_t    rm;
}

parser P(packet_in packet, out headers_t hdr, inout metadata_t meta, inout standard_metadata_t std) {
    state start { packet.extract(hdr.op); transition accept; }
}

#define TRUTH(p, q) ((bit<8>) ((p < q ? 8w1 : 0) | (p <= q ? 8w2 : 0) | (p > q ? 8w4 : 0) | \
                     (p >= q ? 8w8 : 0) | (p == q ? 8w16 : 0) | (p != q ? 8w32 : 0)))

control I(inout headers_t hdr, inout metadata_t meta, inout standard_metadata_t std) {
    apply {
        std.egress_spec = std.ingress_port;
        hdr.r8.setValid();
        hdr.r8.add = hdr.op.a + hdr.op.b;
        hdr.r8.sub = hdr.op.a - hdr.op.b;
        hdr.r8.mul = hdr.op.a * hdr.op.b;
        hdr.r8.and = hdr.op.a & hdr.op.b;
        hdr.r8.or = hdr.op.a | hdr.op.b;
        hdr.r8.xor = hdr.op.a ^ hdr.op.b;
        hdr.r8.not = ~hdr.op.a;
        hdr.r8.neg = -hdr.op.a;
        hdr.r8.shl = hdr.op.a << hdr.op.b;
        hdr.r8.shr = hdr.op.a >> hdr.op.b;
        hdr.r8.sadd = hdr.op.a |+| hdr.op.b;
        hdr.r8.ssub = hdr.op.a |-| hdr.op.b;
        hdr.r8.cat = hdr.op.a[3:0] ++ hdr.op.b[7:4];
        hdr.r8.slice = 3w0 ++ hdr.op.a[6:2];
        hdr.r8.pick = hdr.op.a < hdr.op.b ? hdr.op.a : hdr.op.b;
        hdr.r8.lt = TRUTH(hdr.op.a, hdr.op.b);
        hdr.r64.setValid();
        hdr.r64.add = hdr.op.c + hdr.op.d;
        hdr.r64.sub = hdr.op.c - hdr.op.d;
        hdr.r64.mul = hdr.op.c * hdr.op.d;
        hdr.r64.and = hdr.op.c & hdr.op.d;
        hdr.r64.or = hdr.op.c | hdr.op.d;
        hdr.r64.xor = hdr.op.c ^ hdr.op.d;
        hdr.r64.not = ~hdr.op.c;
        hdr.r64.neg = -hdr.op.c;
        hdr.r64.shl = hdr.op.c << hdr.op.b;
        hdr.r64.shr = hdr.op.c >> hdr.op.b;
        hdr.r64.sadd = hdr.op.c |+| hdr.op.d;
        hdr.r64.ssub = hdr.op.c |-| hdr.op.d;
        hdr.r64.cat = hdr.op.c[31:0] ++ hdr.op.d[63:32];
        hdr.r64.slice = 11w0 ++ hdr.op.c[59:7];
        hdr.r64.pick = hdr.op.c < hdr.op.d ? hdr.op.c : hdr.op.d;
        hdr.r64.lt = TRUTH(hdr.op.c, hdr.op.d);
        hdr.r128.setValid();
        hdr.r128.add = hdr.op.e + hdr.op.f;
        hdr.r128.sub = hdr.op.e - hdr.op.f;
        hdr.r128.mul = hdr.op.e * hdr.op.f;
        hdr.r128.and = hdr.op.e & hdr.op.f;
        hdr.r128.or = hdr.op.e | hdr.op.f;
        hdr.r128.xor = hdr.op.e ^ hdr.op.f;
        hdr.r128.not = ~hdr.op.e;
        hdr.r128.neg = -hdr.op.e;
        hdr.r128.shl = hdr.op.e << hdr.op.b;
        hdr.r128.shr = hdr.op.e >> hdr.op.b;
        hdr.r128.sadd = hdr.op.e |+| hdr.op.f;
        hdr.r128.ssub = hdr.op.e |-| hdr.op.f;
        hdr.r128.cat = hdr.op.c ++ hdr.op.d;
        hdr.r128.slice = 20w0 ++ hdr.op.e[120:13];
        hdr.r128.pick = hdr.op.e < hdr.op.f ? hdr.op.e : hdr.op.f;
        hdr.r128.lt = TRUTH(hdr.op.e, hdr.op.f);
        hdr.rs.setValid();
        hdr.rs.add = hdr.op.s + hdr.op.t;
        hdr.rs.sub = hdr.op.s - hdr.op.t;
        hdr.rs.mul = hdr.op.s * hdr.op.t;
        hdr.rs.and = hdr.op.s & hdr.op.t;
        hdr.rs.or = hdr.op.s | hdr.op.t;
        hdr.rs.xor = hdr.op.s ^ hdr.op.t;
        hdr.rs.not = ~hdr.op.s;
        hdr.rs.neg = -hdr.op.s;
        hdr.rs.shl = hdr.op.s << hdr.op.b;
        hdr.rs.shr = hdr.op.s >> hdr.op.b;
        hdr.rs.sadd = hdr.op.s |+| hdr.op.t;
        hdr.rs.ssub = hdr.op.s |-| hdr.op.t;
        hdr.rs.widen = (int<64>) hdr.op.s;
        hdr.rs.lt = TRUTH(hdr.op.s, hdr.op.t);
        hdr.rs.add64 = hdr.op.x + hdr.op.y;
        hdr.rs.sub64 = hdr.op.x - hdr.op.y;
        hdr.rs.mul64 = hdr.op.x * hdr.op.y;
        hdr.rs.shr64 = hdr.op.x >> hdr.op.b;
        hdr.rs.sadd64 = hdr.op.x |+| hdr.op.y;
        hdr.rs.ssub64 = hdr.op.x |-| hdr.op.y;
        hdr.rs.lt64 = TRUTH(hdr.op.x, hdr.op.y);
        hdr.rs.cut = (int<16>) hdr.op.x;
        hdr.rs.wide = (bit<128>) (int<128>) hdr.op.x;
        hdr.rm.setValid();
        hdr.rm.add = hdr.op.m + (bit<48>) hdr.op.o;
        hdr.rm.sub = hdr.op.m - (bit<48>) hdr.op.o;
        hdr.rm.n = hdr.op.n - 5;
        hdr.rm.o = hdr.op.o * 77;
        hdr.rm.rot = hdr.op.m[12:0] ++ hdr.op.m[47:13];
    }
}

control D(packet_out packet, in headers_t hdr) { apply { packet.emit(hdr); } }

SWITCH(P, I, D)
