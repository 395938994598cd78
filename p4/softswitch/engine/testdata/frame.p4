// SPDX-License-Identifier: Apache-2.0
// What all programs of this directory have in common: no checksums, no egress.
#include <core.p4>
#include <v1model.p4>

struct metadata_t { }

#define SWITCH(P, I, D) \
    control NoVerify(inout headers_t hdr, inout metadata_t meta) { apply { } } \
    control NoUpdate(inout headers_t hdr, inout metadata_t meta) { apply { } } \
    control NoEgress(inout headers_t hdr, inout metadata_t meta, \
                     inout standard_metadata_t std) { apply { } } \
    V1Switch(P(), NoVerify(), I(), NoEgress(), NoUpdate(), D()) main;
