// SPDX-License-Identifier: Apache-2.0
// Parser and deparser. A packet too short for a header it announces keeps the headers before it:
// the pipeline then treats it as what it could still read.

parser SluiceParser(packet_in packet, out headers_t hdr, inout metadata_t meta,
                    inout standard_metadata_t standard_metadata) {
    state start {
        transition select(standard_metadata.ingress_port) {
            CPU_PORT: from_cpu;
            default: ethernet;
        }
    }

    state from_cpu {
        packet.extract(hdr.packet_out);
        transition ethernet;
    }

    state ethernet {
        packet.extract(hdr.ethernet);
        transition select(hdr.ethernet.type) {
            ETHERTYPE_ARP: arp;
            ETHERTYPE_IPV4: ipv4;
            ETHERTYPE_CTAG: tag;
            ETHERTYPE_STAG: tag;
            default: accept;
        }
    }

    state tag {
        packet.extract(hdr.tag);
        transition select(hdr.tag.type) {
            ETHERTYPE_ARP: arp;
            ETHERTYPE_IPV4: ipv4;
            ETHERTYPE_CTAG: tags;
            ETHERTYPE_STAG: tags;
            default: accept;
        }
    }

    state tags {
        meta.tags = 1;
        transition accept;
    }

    state arp {
        packet.extract(hdr.arp);
        transition select(hdr.arp.hardware_type, hdr.arp.protocol_type,
                          hdr.arp.hardware_length, hdr.arp.protocol_length) {
            (1, ETHERTYPE_IPV4, 6, 4): arp_ipv4; // Ethernet
            (6, ETHERTYPE_IPV4, 6, 4): arp_ipv4; // IEEE 802, which hosts take on Ethernet too
            default: accept;
        }
    }

    state arp_ipv4 {
        packet.extract(hdr.arp_ipv4);
        transition accept;
    }

    state ipv4 {
        packet.extract(hdr.ipv4);
        transition select(hdr.ipv4.version, hdr.ipv4.ihl) {
            (4, 5): ipv4_payload;
            (4, 6 .. 15): ipv4_options;
            default: accept;
        }
    }

    state ipv4_options {
        packet.extract(hdr.ipv4_options, ((bit<32>) hdr.ipv4.ihl - 5) << 5);
        transition ipv4_payload;
    }

    state ipv4_payload {
        transition select(hdr.ipv4.fragment_offset, hdr.ipv4.protocol) {
            (0, PROTOCOL_TCP): tcp;
            default: accept;
        }
    }

    state tcp {
        packet.extract(hdr.tcp);
        transition accept;
    }
}

control SluiceComputeChecksum(inout headers_t hdr, inout metadata_t meta) {
    // Nothing under a checksum is ever rewritten.
    apply { }
}

control SluiceDeparser(packet_out packet, in headers_t hdr) {
    apply {
        packet.emit(hdr.packet_in);
        packet.emit(hdr.ethernet);
        packet.emit(hdr.tag);
        packet.emit(hdr.arp);
        packet.emit(hdr.arp_ipv4);
        packet.emit(hdr.ipv4);
        packet.emit(hdr.ipv4_options);
        packet.emit(hdr.tcp);
    }
}
