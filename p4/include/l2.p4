// SPDX-License-Identifier: Apache-2.0
// Everything else: a learning switch. The controller learns from digests and ages by idle timeout.
// Stations whose port the intent gives (backends, named routers, the VIPs' own MAC) are pinned: they
// are never learned, and nobody takes their traffic by sending under their MAC from another port.

struct learn_t {
    @format(MAC_ADDRESS) mac_t mac;
    bit<16> port;
}

control Pins(inout headers_t hdr, inout metadata_t meta,
             inout standard_metadata_t standard_metadata) {
    // What came under each pinned MAC, by whatever port: one that never sends is not a server's.
    @name(".pinned_packets")
    direct_counter(CounterType.packets_and_bytes) pinned_packets;

    @name(".pinned")
    action pinned(bit<9> port) {
        meta.station_port = port;
        meta.pinned = 1;
        pinned_packets.count();
    }

    // The one port of each pinned source MAC; NO_PORT for that of a VIP.
    @name(".pinned_station")
    table pinned_station {
        key = { hdr.ethernet.src: exact @name("mac") @format(MAC_ADDRESS); }
        actions = { pinned; @defaultonly NoAction; }
        const default_action = NoAction();
        counters = pinned_packets;
        size = PINNED_SIZE;
    }

    apply {
        pinned_station.apply();
        if (meta.pinned == 1 && meta.station_port != standard_metadata.ingress_port) {
            mark_to_drop(standard_metadata);
            meta.tally = DROP_SPOOF;
            meta.reason = REASON_SPOOF;
            meta.done = 1;
        }
    }
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

    // Of each port: a host that invents MACs has its own share of the controller's attention. Unset
    // cells let everything through.
    @name(".learn_meter")
    meter(METER_SIZE, MeterType.packets) learn_meter;
    @name(".learn_unsent")
    counter(METER_SIZE, CounterType.packets) learn_unsent; // notices that the meter held back, by port

    apply {
        if (meta.claim == 0 && meta.pinned == 0) {
            meta.station_port = NO_PORT;
            station.apply();
            if (meta.station_port != standard_metadata.ingress_port) {
                learn_meter.execute_meter<bit<2>>((bit<32>) standard_metadata.ingress_port, meta.color);
                if (meta.color == GREEN) {
                    learn_t seen = { hdr.ethernet.src, (bit<16>) standard_metadata.ingress_port };
                    digest<learn_t>(1, seen);
                } else {
                    learn_unsent.count((bit<32>) standard_metadata.ingress_port);
                }
            }
        }
    }
}

// Who a frame is for, as it came in.
control Destination(inout headers_t hdr, inout metadata_t meta) {
    @name(".at")
    action at(bit<9> port) {
        meta.destination = STATION;
        meta.destination_port = port;
    }

    @name(".anywhere")
    action anywhere() {
        meta.destination = STATION;
    }

    @name(".discard")
    action discard() {
        meta.destination = VIP_MAC;
    }

    // Where pinned stations live. `anywhere` is for a backend whose port on this switch the intent does not give: it is
    // learned as any, but frames to it are known for what they are. Frames for the MAC of a VIP that no service takes end
    // here: flooded, everybody would read what clients send.
    @name(".pinned_l2")
    table pinned_l2 {
        key = { hdr.ethernet.dst: exact @name("mac") @format(MAC_ADDRESS); }
        actions = { at; anywhere; discard; @defaultonly NoAction; }
        const default_action = NoAction();
        size = PINNED_SIZE;
    }

    apply {
        meta.destination_port = NO_PORT;
        pinned_l2.apply();
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
        if (meta.destination == VIP_MAC) {
            mark_to_drop(standard_metadata);
            meta.tally = DROP_VIP_MAC;
        } else if (meta.destination_port != NO_PORT) {
            standard_metadata.egress_spec = meta.destination_port;
        } else {
            l2.apply();
        }
        if (meta.destination != BALANCED && standard_metadata.mcast_grp == 0
            && standard_metadata.egress_spec == standard_metadata.ingress_port) {
            mark_to_drop(standard_metadata);
            meta.tally = DROP_HAIRPIN;
        }
    }
}
