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
            ETHERTYPE_QINQ1: tag;
            ETHERTYPE_QINQ2: tag;
            ETHERTYPE_QINQ3: tag;
            0 .. LENGTH_LAST: llc;
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
            ETHERTYPE_QINQ1: tags;
            ETHERTYPE_QINQ2: tags;
            ETHERTYPE_QINQ3: tags;
            0 .. LENGTH_LAST: llc;
            default: accept;
        }
    }

    state llc {
        packet.extract(hdr.llc);
        transition select(hdr.llc.sap_control) {
            LLC_SNAP: snap;
            default: accept;
        }
    }

    // Hosts and access points take what is inside for plain Ethernet.
    state snap {
        packet.extract(hdr.snap);
        transition select(hdr.snap.oui) {
            OUI_RFC1042: snap_type;
            OUI_TUNNEL: snap_type;
            default: accept;
        }
    }

    state snap_type {
        transition select(hdr.snap.type) {
            ETHERTYPE_ARP: arp;
            ETHERTYPE_IPV4: ipv4;
            ETHERTYPE_CTAG: tags; // a tag in SNAP form: nobody here sends it
            ETHERTYPE_STAG: tags;
            ETHERTYPE_QINQ1: tags;
            ETHERTYPE_QINQ2: tags;
            ETHERTYPE_QINQ3: tags;
            default: accept;
        }
    }

    state tags {
        meta.tags = 1;
        transition accept;
    }

    state arp {
        packet.extract(hdr.arp);
        // Of any hardware type: hosts differ in which of them they take on Ethernet.
        transition select(hdr.arp.protocol_type, hdr.arp.hardware_length, hdr.arp.protocol_length) {
            (ETHERTYPE_IPV4, 6, 4): arp_ipv4;
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
        // No fragment, not even the first: the others cannot follow it.
        transition select(hdr.ipv4.flags, hdr.ipv4.fragment_offset, hdr.ipv4.protocol) {
            (0 &&& 1, 0, PROTOCOL_TCP): tcp;
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
        packet.emit(hdr.llc);
        packet.emit(hdr.snap);
        packet.emit(hdr.arp);
        packet.emit(hdr.arp_ipv4);
        packet.emit(hdr.ipv4);
        packet.emit(hdr.ipv4_options);
        packet.emit(hdr.tcp);
    }
}
