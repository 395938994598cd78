// SPDX-License-Identifier: Apache-2.0
// Who may answer for an address. For a VIP the switch alone: nobody else's claim on it gets through. For a
// station to whose address the intent gives a MAC, nobody by another MAC.

// Who uses a VIP as the sender of its ARP requests.
struct disowned_t {
    @format(MAC_ADDRESS) mac_t mac;
    bit<16> port;
    @format(IPV4_ADDRESS) ipv4_addr_t address;
}

control Guard(inout headers_t hdr, inout metadata_t meta,
              inout standard_metadata_t standard_metadata) {
    @name(".arp_claims")
    direct_counter(CounterType.packets_and_bytes) arp_claims;

    @name(".claim")
    action claim() {
        meta.claim = 1;
        arp_claims.count();
    }

    // ARP whose *sender* address is a VIP: a real server that does not suppress ARP (arp_ignore,
    // arp_announce), or an impostor.
    @name(".arp_guard")
    table arp_guard {
        key = { hdr.arp_ipv4.sender_address: exact @name("sender_address") @format(IPV4_ADDRESS); }
        actions = { claim; @defaultonly NoAction; }
        const default_action = NoAction();
        counters = arp_claims;
        size = VIP_SIZE;
    }

    @name(".owned")
    action owned(@format(MAC_ADDRESS) mac_t mac) {
        meta.owner = mac;
    }

    // The one MAC of each address that the intent gives. Who gives it to another would get what is sent to
    // that station, and the checks of its health first of all.
    @name(".pinned_arp")
    table pinned_arp {
        key = { hdr.arp_ipv4.sender_address: exact @name("sender_address") @format(IPV4_ADDRESS); }
        actions = { owned; @defaultonly NoAction; }
        const default_action = NoAction();
        size = PINNED_SIZE;
    }

    apply {
        arp_guard.apply();
        pinned_arp.apply();
        // Reply or gratuitous ARP: the controller gets it, the network does not. A request for another
        // goes on, see Responder.
        if (meta.claim == 1 && (hdr.arp.operation != ARP_REQUEST
                                || hdr.arp_ipv4.target_address == hdr.arp_ipv4.sender_address)) {
            mark_to_drop(standard_metadata);
            meta.tally = DROP_ARP_CLAIM;
            meta.reason = REASON_ARP_CLAIM;
            meta.done = 1;
        } else if (meta.owner != 0 && meta.owner != hdr.arp_ipv4.sender_mac) {
            mark_to_drop(standard_metadata);
            meta.tally = DROP_ARP_SPOOF;
            meta.reason = REASON_ARP_SPOOF;
            meta.done = 1;
        }
    }
}

control Responder(inout headers_t hdr, inout metadata_t meta,
                  inout standard_metadata_t standard_metadata) {
    @name(".arp_answers")
    direct_counter(CounterType.packets_and_bytes) arp_answers;

    @name(".answer")
    action answer(@format(MAC_ADDRESS) mac_t mac) {
        hdr.ethernet.dst = hdr.ethernet.src;
        hdr.ethernet.src = mac;
        hdr.arp.operation = ARP_REPLY;
        hdr.arp_ipv4.target_mac = hdr.arp_ipv4.sender_mac;
        hdr.arp_ipv4.sender_mac = mac;
        ipv4_addr_t vip = hdr.arp_ipv4.target_address;
        hdr.arp_ipv4.target_address = hdr.arp_ipv4.sender_address;
        hdr.arp_ipv4.sender_address = vip;
        standard_metadata.egress_spec = standard_metadata.ingress_port;
        meta.done = 1;
        arp_answers.count();
    }

    // Requests for a VIP, probes (RFC 5227) included.
    @name(".arp_responder")
    table arp_responder {
        key = { hdr.arp_ipv4.target_address: exact @name("target_address") @format(IPV4_ADDRESS); }
        actions = { answer; @defaultonly NoAction; }
        const default_action = NoAction();
        counters = arp_answers;
        size = VIP_SIZE;
    }

    apply {
        if (meta.claim == 1) {
            // The server wants a neighbour's MAC and uses the VIP as its own name. Forwarded as a probe,
            // sender 0.0.0.0 (RFC 5227 section 1.1), it gets its answer and nobody learns the VIP from it.
            // The controller is told who it is.
            meta.disowned = hdr.arp_ipv4.sender_address;
            meta.disowned_mac = hdr.ethernet.src;
            hdr.arp_ipv4.sender_address = 0;
            meta.tally = ARP_DISOWNED;
        }
        if (hdr.arp.operation == ARP_REQUEST) {
            arp_responder.apply();
        }
    }
}
