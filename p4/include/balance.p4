// SPDX-License-Identifier: Apache-2.0
// VIP -> flow hash -> pin or slot -> backend.
//
// A slot on the move from backend A (old) to B (new) breaks no connection, and only connections that it may yet break
// take room. The packet that opens a flow (SYN without ACK) goes to B and leaves the move's epoch in four cells, one of
// each array, chosen by the flow's hashes. Any other packet goes to B when all four hold the epoch, else to A, and its
// flow is reported: the controller pins it to A, so that the slot need not wait for its end. Cells hold epochs, so they
// are never cleared; each live epoch owns one of the banks, so two moves cannot overwrite each other's marks. A flow that
// is not pinned yet is taken for a new one when all its cells are marked by newer ones: (1 - e^(-n / 65536))^4 for n
// flows opened in the epoch. Where nobody takes new flows, B is 0, and packets that open one are dropped: they leave no
// mark.
//
// A slot that goes back to A, because A lives after all or is wanted again, keeps its epoch: marked flows stay with B,
// which is the old one now, and are reported; all others are A's, and a packet that opens a flow takes back the mark
// that an earlier flow of the same addresses and ports may have left.
//
// A pinned flow knows no slot: a packet that opens it once more goes where it is pinned to.

// Nobody outside can aim at a slot, at cells or at a flow's key. A CRC is linear: who knows it knows flows that fall
// together, whatever is XORed into it. Addition is not, as carries depend on all lower bits. So the secret of the
// cluster is added to what the packet says, and again to the CRC of that: through one addition alone, flows that differ
// in few bits, or in the highest one, still go together. It is no cipher: whoever sees which server answers him learns
// something of it.
//
// The key is two such hashes, of the same sums in two orders. What two CRCs of one polynomial make of the 64 bits of
// source and ports, x^72 s + p + ... and s + x^72 p + ..., can be solved for them as long as x^144 is not 1, and each
// second round is a permutation: two flows to one address, by one secret, never have the same key.

// An open flow that a move leaves with its old backend.
struct flow_t {
    bit<64> flow;
    bit<32> backend_id;
}

control Balance(inout headers_t hdr, inout metadata_t meta,
                inout standard_metadata_t standard_metadata) {
    @name(".vip_packets")
    direct_counter(CounterType.packets_and_bytes) vip_packets;

    @name(".to_pool")
    action to_pool(bit<32> pool_id, bit<8> generation, @format(HEX_STRING) bit<16> slot_mask,
                   @secret bit<64> secret_1, @secret bit<64> secret_2) {
        meta.pool_id = pool_id;
        meta.generation = generation;
        meta.slot_mask = slot_mask;
        meta.done = 1;
        meta.secret_1 = secret_1;
        meta.secret_2 = secret_2;
        vip_packets.count();
    }

    @name(".vip")
    table vip {
        key = {
            hdr.ipv4.dst: exact @name("address") @format(IPV4_ADDRESS);
            hdr.ipv4.protocol: exact @name("protocol");
            hdr.tcp.dst_port: exact @name("port");
        }
        actions = { to_pool; @defaultonly NoAction; }
        const default_action = NoAction();
        counters = vip_packets;
        size = VIP_SIZE;
    }

    @name(".vip_address_packets")
    direct_counter(CounterType.packets_and_bytes) vip_address_packets;

    @name(".refuse")
    action refuse() {
        mark_to_drop(standard_metadata);
        meta.done = 1;
        vip_address_packets.count();
    }

    // Addresses of VIPs, for packets that no row of `vip` takes: they have no other owner, and L2
    // forwarding would flood them.
    @name(".vip_address")
    table vip_address {
        key = { hdr.ipv4.dst: exact @name("address") @format(IPV4_ADDRESS); }
        actions = { refuse; @defaultonly NoAction; }
        const default_action = NoAction();
        counters = vip_address_packets;
        size = VIP_SIZE;
    }

    @name(".pin_packets")
    direct_counter(CounterType.packets_and_bytes) pin_packets;

    @name(".pin_to")
    action pin_to(bit<32> backend_id) {
        meta.backend_id = backend_id;
        pin_packets.count();
    }

    // Flows that were open when their slot moved, each until it idles.
    @name(".pin")
    table pin {
        key = { meta.flow: exact @name("flow"); }
        actions = { pin_to; @defaultonly NoAction; }
        const default_action = NoAction();
        counters = pin_packets;
        support_timeout = true;
        size = PIN_SIZE;
    }

    @name(".to_backend")
    action to_backend(bit<32> backend_id) {
        meta.backend_id = backend_id;
    }

    @name(".move")
    action move(bit<32> backend_id, bit<32> old_id, bit<2> bank, bit<32> epoch) {
        meta.backend_id = backend_id;
        meta.old_id = old_id;
        meta.moving = 1;
        meta.bank = bank;
        meta.epoch = epoch;
    }

    @name(".back")
    action back(bit<32> backend_id, bit<32> old_id, bit<2> bank, bit<32> epoch) {
        meta.backend_id = backend_id;
        meta.old_id = old_id;
        meta.moving = 1;
        meta.back = 1;
        meta.bank = bank;
        meta.epoch = epoch;
    }

    @name(".slot")
    table slot {
        key = {
            meta.pool_id: exact @name("pool_id");
            meta.generation: exact @name("generation");
            meta.slot: exact @name("slot");
        }
        actions = { to_backend; move; back; @defaultonly NoAction; }
        const default_action = NoAction();
        size = SLOT_SIZE;
    }

    @name(".mark_1")
    register<bit<32>>(MARKS) mark_1;
    @name(".mark_2")
    register<bit<32>>(MARKS) mark_2;
    @name(".mark_3")
    register<bit<32>>(MARKS) mark_3;
    @name(".mark_4")
    register<bit<32>>(MARKS) mark_4;
    @name(".openings")
    counter(BANKS, CounterType.packets) openings; // packets that marked, by bank: what a false positive follows from

    // Of each port, so that a flood of packets that open nothing takes no more than its share of the pins.
    @name(".pin_meter")
    meter(METER_SIZE, MeterType.packets) pin_meter;
    @name(".pin_unsent")
    counter(BANKS, CounterType.packets) pin_unsent; // reports that the meter held back, by bank

    @name(".backend_packets")
    direct_counter(CounterType.packets_and_bytes) backend_packets;

    // Where this switch has no port for the backend, NO_PORT, the frame goes where L2 has learned it.
    @name(".forward_to_backend")
    action forward_to_backend(@format(MAC_ADDRESS) mac_t mac, bit<9> port) {
        hdr.ethernet.dst = mac;
        standard_metadata.egress_spec = port;
        backend_packets.count();
    }

    @name(".backend")
    table backend {
        key = { meta.backend_id: exact @name("backend_id"); }
        actions = { forward_to_backend; @defaultonly NoAction; }
        const default_action = NoAction();
        counters = backend_packets;
        size = BACKEND_SIZE;
    }

    apply {
        if (hdr.tcp.isValid() && hdr.ipv4.src != hdr.ipv4.dst) {
            vip.apply();
        }
        if (meta.done == 1) {
            bit<32> src = hdr.ipv4.src + meta.secret_1[63:32];
            bit<32> ports = (hdr.tcp.src_port ++ hdr.tcp.dst_port) + meta.secret_1[31:0];
            bit<32> first_a;
            bit<32> first_b;
            hash(first_a, HashAlgorithm.crc32, 32w0, { src, hdr.ipv4.dst, hdr.ipv4.protocol, ports }, 64w0x100000000);
            hash(first_b, HashAlgorithm.crc32, 32w0, { ports, hdr.ipv4.protocol, hdr.ipv4.dst, src }, 64w0x100000000);
            bit<32> second_a = first_a + meta.secret_2[63:32];
            bit<32> second_b = first_b + meta.secret_2[31:0];
            bit<32> flow_a;
            bit<32> flow_b;
            hash(flow_a, HashAlgorithm.crc32, 32w0, { second_a }, 64w0x100000000);
            hash(flow_b, HashAlgorithm.crc32, 32w0, { second_b }, 64w0x100000000);
            meta.flow = flow_a ++ flow_b;
            if (!pin.apply().hit) {
                meta.slot = flow_a[15:0] & meta.slot_mask;
                if (!slot.apply().hit) {
                    mark_to_drop(standard_metadata);
                    meta.tally = DROP_NO_SLOT;
                } else if (meta.moving == 1) {
                    // Of both halves each, keyed once more: flows that are neighbours, or share a slot, do not share
                    // cells, which two words of one CRC would let them.
                    bit<32> one_a = flow_a + meta.secret_2[31:0];
                    bit<32> one_b = flow_b + meta.secret_2[63:32];
                    bit<32> two_a = flow_a + meta.secret_1[31:0];
                    bit<32> two_b = flow_b + meta.secret_1[63:32];
                    bit<32> three_a = first_a + meta.secret_2[31:0];
                    bit<32> three_b = first_b + meta.secret_2[63:32];
                    bit<32> four_a = first_a + meta.secret_1[31:0];
                    bit<32> four_b = first_b + meta.secret_1[63:32];
                    bit<16> mark_of_1;
                    bit<16> mark_of_2;
                    bit<16> mark_of_3;
                    bit<16> mark_of_4;
                    hash(mark_of_1, HashAlgorithm.crc16, 16w0, { one_a, one_b }, 32w0x10000);
                    hash(mark_of_2, HashAlgorithm.crc16, 16w0, { two_b, two_a }, 32w0x10000);
                    hash(mark_of_3, HashAlgorithm.crc16, 16w0, { three_a, three_b }, 32w0x10000);
                    hash(mark_of_4, HashAlgorithm.crc16, 16w0, { four_b, four_a }, 32w0x10000);
                    bit<32> cell_1 = 14w0 ++ meta.bank ++ mark_of_1;
                    bit<32> cell_2 = 14w0 ++ meta.bank ++ mark_of_2;
                    bit<32> cell_3 = 14w0 ++ meta.bank ++ mark_of_3;
                    bit<32> cell_4 = 14w0 ++ meta.bank ++ mark_of_4;
                    bool opens = hdr.tcp.syn == 1 && hdr.tcp.ack == 0;
                    if (opens && meta.back == 0) {
                        if (meta.backend_id != 0) {
                            mark_1.write(cell_1, meta.epoch);
                            mark_2.write(cell_2, meta.epoch);
                            mark_3.write(cell_3, meta.epoch);
                            mark_4.write(cell_4, meta.epoch);
                            openings.count((bit<32>) meta.bank);
                        }
                    } else {
                        mark_1.read(meta.mark_1, cell_1);
                        mark_2.read(meta.mark_2, cell_2);
                        mark_3.read(meta.mark_3, cell_3);
                        mark_4.read(meta.mark_4, cell_4);
                        bit<1> marked = 0;
                        if (meta.mark_1 == meta.epoch && meta.mark_2 == meta.epoch && meta.mark_3 == meta.epoch
                            && meta.mark_4 == meta.epoch) {
                            marked = 1;
                        }
                        if (opens) {
                            // For a register this is one visit: "if the others were marked and the cell holds the
                            // epoch, make it 0", as the cell that is written is the one that was read.
                            if (marked == 1) {
                                mark_4.write(cell_4, 0);
                            }
                        } else if (marked == meta.back) { // a flow of the other backend
                            meta.backend_id = meta.old_id;
                            // Of a packet's digests the last one is sent: a source that is new is learned from the
                            // flow's next packet.
                            pin_meter.execute_meter<bit<2>>((bit<32>) standard_metadata.ingress_port, meta.color);
                            if (meta.color == GREEN) {
                                flow_t report = { meta.flow, meta.old_id };
                                digest<flow_t>(1, report);
                            } else {
                                pin_unsent.count((bit<32>) meta.bank);
                            }
                        }
                    }
                }
            }
            if (meta.tally == TALLY_NONE) {
                if (!backend.apply().hit) {
                    mark_to_drop(standard_metadata);
                    meta.tally = DROP_NO_BACKEND;
                } else if (standard_metadata.egress_spec == NO_PORT) {
                    meta.destination = BALANCED;
                    meta.destination_port = NO_PORT;
                    meta.done = 0;
                }
            }
        } else {
            if (vip_address.apply().hit) {
                if (hdr.ipv4.fragment_offset != 0 || hdr.ipv4.flags[0:0] == 1) {
                    meta.tally = DROP_FRAGMENT;
                } else if (hdr.ipv4.src == hdr.ipv4.dst) {
                    meta.tally = DROP_LAND;
                } else {
                    meta.tally = DROP_NO_SERVICE;
                }
            }
        }
    }
}
