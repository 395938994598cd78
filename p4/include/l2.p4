// SPDX-License-Identifier: Apache-2.0
// Everything else: a learning switch. The controller learns from digests and ages by idle timeout.

struct learn_t {
    @format(MAC_ADDRESS) mac_t mac;
    bit<16> port;
}

control Learning(inout headers_t hdr, inout metadata_t meta,
                 inout standard_metadata_t standard_metadata) {
    @name(".known")
    action known(bit<9> port) {
        meta.station_port = port;
    }

    // Where each source MAC lives; an entry that idles has left.
    @name(".station")
    table station {
        key = { hdr.ethernet.src: exact @name("mac") @format(MAC_ADDRESS); }
        actions = { known; @defaultonly NoAction; }
        const default_action = NoAction();
        support_timeout = true;
        size = STATION_SIZE;
    }

    apply {
        if (meta.claim == 0) {
            meta.station_port = 511;
            station.apply();
            // Group addresses are nobody's source.
            if (meta.station_port != standard_metadata.ingress_port && hdr.ethernet.src[40:40] == 0) {
                learn_t report = { hdr.ethernet.src, (bit<16>) standard_metadata.ingress_port };
                digest<learn_t>(1, report);
            }
        }
    }
}

control L2(inout headers_t hdr, inout metadata_t meta,
           inout standard_metadata_t standard_metadata) {
    @name(".forward")
    action forward(bit<9> port) {
        standard_metadata.egress_spec = port;
    }

    @name(".flood")
    action flood() {
        standard_metadata.mcast_grp = FLOOD_GROUP;
    }

    @name(".l2")
    table l2 {
        key = { hdr.ethernet.dst: exact @name("mac") @format(MAC_ADDRESS); }
        actions = { forward; @defaultonly flood; }
        const default_action = flood();
        size = STATION_SIZE;
    }

    apply {
        if (meta.done == 0) {
            l2.apply();
            if (standard_metadata.mcast_grp == 0
                && standard_metadata.egress_spec == standard_metadata.ingress_port) {
                mark_to_drop(standard_metadata);
                meta.tally = DROP_HAIRPIN;
            }
        }
    }
}
