// SPDX-License-Identifier: Apache-2.0
// VIP -> flow hash -> slot -> backend.
//
// A slot on the move from backend A (old) to B (new) breaks no connection and needs no connection
// table. The packet that opens a flow (SYN without ACK) goes to B and leaves the move's epoch in two
// cells chosen by the flow's hash. Any other packet goes to B when both cells hold the epoch, else
// to A. Cells hold epochs, so they are never cleared; each live epoch owns one of four banks, so two
// moves cannot overwrite each other's marks. A false positive needs both cells of an old flow to be
// marked by newer ones: (n / 65536)^2 for n flows opened in the epoch.
//
// A slot that leaves a backend which is called dead works the same way, but for the old backend standing in
// the slot's own row: it must be a single write, and no timeout ends it. Where nobody takes its place, the
// new backend is 0, and packets that open a flow are dropped: they leave no mark.
//
// A slot that goes back to A, because A lives after all or is wanted again, keeps its epoch: marked flows
// stay with B, all others are A's, and a packet that opens a flow takes back the mark that an earlier flow
// of the same addresses and ports may have left.

// Nobody outside can aim at a slot or at cells. A CRC is linear: who knows it knows flows that fall together, whatever
// is XORed into it. Addition is not, as carries depend on all lower bits. So the secret of the cluster is added to what
// the packet says, and again to the CRC of that: through one addition alone, flows that differ in few bits, or in the
// highest one, still go together. It is no cipher: whoever sees which server answers him learns something of it.

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

    @name(".to_backend")
    action to_backend(bit<32> backend_id) {
        meta.backend_id = backend_id;
    }

    @name(".move")
    action move(bit<32> backend_id, bit<2> bank, bit<32> epoch) {
        meta.backend_id = backend_id;
        meta.moving = 1;
        meta.bank = bank;
        meta.epoch = epoch;
    }

    @name(".leave")
    action leave(bit<32> backend_id, bit<32> old_id, bit<2> bank, bit<32> epoch) {
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
        actions = { to_backend; move; leave; back; @defaultonly NoAction; }
        const default_action = NoAction();
        size = SLOT_SIZE;
    }

    @name(".slot_old_packets")
    direct_counter(CounterType.packets_and_bytes) slot_old_packets;

    @name(".stay")
    action stay(bit<32> backend_id) {
        meta.backend_id = backend_id;
        slot_old_packets.count();
    }

    // The other backend of a moving slot, to which no new flows go. Idle here means that those which it
    // has are gone.
    @name(".slot_old")
    table slot_old {
        key = {
            meta.pool_id: exact @name("pool_id");
            meta.generation: exact @name("generation");
            meta.slot: exact @name("slot");
        }
        actions = { stay; @defaultonly NoAction; }
        const default_action = NoAction();
        counters = slot_old_packets;
        support_timeout = true;
        size = MOVING_SIZE;
    }

    @name(".mark_1")
    register<bit<32>>(262144) mark_1;
    @name(".mark_2")
    register<bit<32>>(262144) mark_2;
    @name(".openings")
    counter(BANKS, CounterType.packets) openings; // packets that marked, by bank: what a false positive follows from

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
            bit<32> flow;
            hash(flow, HashAlgorithm.crc32, 32w0, { src, hdr.ipv4.dst, hdr.ipv4.protocol, ports }, 64w0x100000000);
            bit<32> flow_1 = flow + meta.secret_2[63:32];
            hash(meta.flow_hash, HashAlgorithm.crc32, 32w0, { flow_1 }, 64w0x100000000);
            meta.slot = meta.flow_hash[15:0] & meta.slot_mask;
            if (slot.apply().hit) {
                if (meta.moving == 1) {
                    bit<32> flow_2 = flow + meta.secret_2[31:0];
                    hash(meta.flow_hash_2, HashAlgorithm.crc16, 16w0, { flow_2 }, 32w0x10000);
                    bit<32> cell_1 = 14w0 ++ meta.bank ++ meta.flow_hash[31:16];
                    bit<32> cell_2 = 14w0 ++ meta.bank ++ meta.flow_hash_2;
                    bool opens = hdr.tcp.syn == 1 && hdr.tcp.ack == 0;
                    if (opens && meta.back == 0) {
                        if (meta.backend_id != 0) {
                            mark_1.write(cell_1, meta.epoch);
                            mark_2.write(cell_2, meta.epoch);
                            openings.count((bit<32>) meta.bank);
                        }
                    } else {
                        mark_1.read(meta.mark_1, cell_1);
                        mark_2.read(meta.mark_2, cell_2);
                        bit<1> marked = 0;
                        if (meta.mark_1 == meta.epoch && meta.mark_2 == meta.epoch) {
                            marked = 1;
                        }
                        if (opens) {
                            if (marked == 1) {
                                mark_2.write(cell_2, 0);
                            }
                        } else if (marked == meta.back) { // a flow of the other backend
                            if (meta.old_id != 0) {
                                meta.backend_id = meta.old_id;
                            } else {
                                slot_old.apply();
                            }
                        }
                    }
                }
                if (!backend.apply().hit) {
                    mark_to_drop(standard_metadata);
                    meta.tally = DROP_NO_BACKEND;
                } else if (standard_metadata.egress_spec == NO_PORT) {
                    meta.destination = BALANCED;
                    meta.destination_port = NO_PORT;
                    meta.done = 0;
                }
            } else {
                mark_to_drop(standard_metadata);
                meta.tally = DROP_NO_SLOT;
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
