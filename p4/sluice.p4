// SPDX-License-Identifier: Apache-2.0
//
// Sluice: layer 4 load balancing with Direct Server Return (DSR), in the switch.
//
// A packet for a virtual IP (VIP) leaves with another destination MAC and nothing else changed, so
// the real server, which carries the VIP on its loopback, answers the client directly.
//
//   packet-out -> its port
//   all        -> frames that nobody honest sends stop here
//   ARP        -> guard: a claim on a VIP, or on the address of a pinned station, stops here
//   all        -> pins: a pinned station's MAC on another port stops here
//   all        -> learning: where the source MAC lives
//   all        -> destination: what the intent knows of the destination MAC
//   ARP        -> responder: the VIP's MAC
//   IPv4       -> VIP -> flow hash -> pin or slot -> backend; not for a frame that is for a station of the intent: it is
//                 its own way already, or another switch of the cluster has balanced it
//   the rest   -> L2 forwarding
//   what the controller should know of -> CPU, metered by the port that it came in by
#include <core.p4>
#include <v1model.p4>

#include "include/headers.p4"
#include "include/parser.p4"
#include "include/ownership.p4"
#include "include/balance.p4"
#include "include/l2.p4"

control SluiceVerifyChecksum(inout headers_t hdr, inout metadata_t meta) {
    // A forwarder does not judge checksums: the hosts do, on the bytes the sender wrote.
    apply { }
}

control SluiceIngress(inout headers_t hdr, inout metadata_t meta,
                      inout standard_metadata_t standard_metadata) {
    Guard() guard;
    Pins() pins;
    Learning() learning;
    Responder() responder;
    Destination() destination;
    Balance() balance;
    L2() l2;

    @name(".tally")
    counter(TALLY_SIZE, CounterType.packets_and_bytes) tally;

    // Of each port, so that a flood on one does not hide what happens on another. Unset cells let
    // everything through.
    @name(".alarm_meter")
    meter(METER_SIZE, MeterType.packets) alarm_meter;
    @name(".alarm_unsent")
    counter(METER_SIZE, CounterType.packets) alarm_unsent; // alarms that the meter held back, by port

    apply {
        if (hdr.packet_out.isValid()) {
            // A packet-out leaves by the port it names; no table sees it.
            if (hdr.packet_out.egress_port <= (bit<16>) CPU_PORT) {
                standard_metadata.egress_spec = (bit<9>) hdr.packet_out.egress_port;
                hdr.packet_out.setInvalid();
            } else {
                mark_to_drop(standard_metadata);
                meta.tally = DROP_PACKET_OUT;
            }
        } else if (!hdr.ethernet.isValid()
                   || standard_metadata.parser_error != error.NoError && !hdr.ipv4.isValid()) {
            mark_to_drop(standard_metadata);
            meta.tally = DROP_RUNT;
        } else if (meta.tags == 1) {
            mark_to_drop(standard_metadata);
            meta.tally = DROP_TAGS;
        } else if (hdr.ethernet.src == 0 || hdr.ethernet.src[40:40] == 1) {
            mark_to_drop(standard_metadata);
            meta.tally = DROP_SOURCE;
        } else if (hdr.ethernet.dst[47:4] == RESERVED_GROUPS) {
            mark_to_drop(standard_metadata);
            meta.tally = DROP_RESERVED;
        } else {
            if (hdr.arp_ipv4.isValid()) {
                guard.apply(hdr, meta, standard_metadata);
            }
            if (meta.done == 0) {
                pins.apply(hdr, meta, standard_metadata);
            }
            if (meta.done == 0) {
                learning.apply(hdr, meta, standard_metadata); // from the source MAC as it came
                destination.apply(hdr, meta);
                if (hdr.arp_ipv4.isValid()) {
                    responder.apply(hdr, meta, standard_metadata);
                } else if (hdr.ipv4.isValid() && meta.destination != STATION) {
                    balance.apply(hdr, meta, standard_metadata);
                }
            }
            if (meta.done == 0) {
                l2.apply(hdr, meta, standard_metadata);
            }
            if (meta.reason != REASON_NONE || meta.disowned != 0) {
                alarm_meter.execute_meter<bit<2>>((bit<32>) standard_metadata.ingress_port, meta.color);
                if (meta.color == GREEN) {
                    if (meta.reason != REASON_NONE) {
                        standard_metadata.egress_spec = CPU_PORT;
                    } else {
                        disowned_t alarm = { meta.disowned_mac, (bit<16>) standard_metadata.ingress_port, meta.disowned };
                        digest<disowned_t>(1, alarm);
                    }
                } else {
                    alarm_unsent.count((bit<32>) standard_metadata.ingress_port);
                }
            }
        }
        if (meta.tally != TALLY_NONE) {
            tally.count(meta.tally);
        }
    }
}

control SluiceEgress(inout headers_t hdr, inout metadata_t meta,
                     inout standard_metadata_t standard_metadata) {
    apply {
        if (standard_metadata.egress_port == CPU_PORT) {
            hdr.packet_in.setValid();
            hdr.packet_in.ingress_port = (bit<16>) standard_metadata.ingress_port;
            hdr.packet_in.reason = meta.reason;
        } else if (standard_metadata.mcast_grp != 0
                   && standard_metadata.egress_port == standard_metadata.ingress_port) {
            // A flooded copy never goes back where it came from.
            mark_to_drop(standard_metadata);
        }
    }
}

V1Switch(SluiceParser(), SluiceVerifyChecksum(), SluiceIngress(), SluiceEgress(),
         SluiceComputeChecksum(), SluiceDeparser()) main;
