// SPDX-License-Identifier: Apache-2.0
// Headers, metadata and the constants that the controller shares with the pipeline.

const bit<9>  CPU_PORT = 510;
const bit<16> ETHERTYPE_IPV4 = 0x0800;
const bit<16> ETHERTYPE_ARP = 0x0806;
const bit<16> ETHERTYPE_CTAG = 0x8100;  // IEEE 802.1Q
const bit<16> ETHERTYPE_STAG = 0x88a8;  // 802.1ad
const bit<16> ETHERTYPE_QINQ1 = 0x9100; // what equipment older than 802.1ad stacks tags with
const bit<16> ETHERTYPE_QINQ2 = 0x9200;
const bit<16> ETHERTYPE_QINQ3 = 0x9300;
const bit<16> LENGTH_LAST = 0x05ff;     // up to here it is no EtherType: an 802.3 length, then LLC
const bit<24> LLC_SNAP = 0xaaaa03;
const bit<24> OUI_RFC1042 = 0x000000;   // an EtherType follows
const bit<24> OUI_TUNNEL = 0x0000f8;    // IEEE 802.1H; wireless stations take it for the same
const bit<8>  PROTOCOL_TCP = 6;
const bit<16> ARP_REQUEST = 1;
const bit<16> ARP_REPLY = 2;

// Table sizes are what one switch must hold: 4,000 VIPs; 100 pools of 4,096 slots, and room to
// write a second generation of the largest pool.
const bit<32> VIP_SIZE = 8192;      // VIPs, and their addresses
const bit<32> SLOT_SIZE = 524288;   // slots of all pools
const bit<32> PIN_SIZE = 65536;     // open flows that a move left with their old backend
const bit<32> BACKEND_SIZE = 32768; // twice what a configuration may have: those that left it serve on for a while
const bit<32> STATION_SIZE = 16384; // stations that are learned
const bit<32> PINNED_SIZE = 65536;  // every backend, every MAC of a VIP, and the stations that are named
const bit<32> METER_SIZE = 512;     // a cell for every port

// Cells of the `tally` counter: why a packet that this pipeline owns went nowhere, or was mended.
const bit<32> TALLY_NONE = 0;
const bit<32> DROP_NO_SERVICE = 1; // for a VIP, but no such protocol and port, or a runt
const bit<32> DROP_FRAGMENT = 2;   // fragment of a packet for a VIP: most carry no ports to hash
const bit<32> DROP_NO_SLOT = 3;    // the pool has no live backend
const bit<32> DROP_NO_BACKEND = 4; // a slot names a backend that is not there, or nobody takes new flows
const bit<32> DROP_ARP_CLAIM = 5;  // ARP reply or gratuitous ARP that claims a VIP
const bit<32> ARP_DISOWNED = 6;    // ARP request with a VIP as sender: forwarded as a probe
const bit<32> DROP_HAIRPIN = 7;    // for a station on the port that the frame came in by
const bit<32> DROP_TAGS = 8;       // more than one 802.1Q tag: what is inside could be a VIP's
const bit<32> DROP_PACKET_OUT = 9; // packet-out to a port that there cannot be
const bit<32> DROP_SPOOF = 10;     // source MAC of a pinned station, on a port that is not its own
const bit<32> DROP_VIP_MAC = 11;   // for the MAC of a VIP, and no service takes it
const bit<32> DROP_RUNT = 12;      // too short to say whose it is
const bit<32> DROP_SOURCE = 13;    // source MAC that is zero or a group's
const bit<32> DROP_RESERVED = 14;  // for a group address that no bridge passes on
const bit<32> DROP_LAND = 15;      // for a VIP, and from it
const bit<32> DROP_ARP_SPOOF = 16; // ARP that gives the address of a pinned station to another MAC
const bit<32> TALLY_SIZE = 32;     // reasons why a packet went nowhere, or was mended

const bit<32> BANKS = 4;       // of mark cells: as many moves may be told apart at a time
const bit<32> MARKS = 262144;  // cells of each array: BANKS times 65536

// packet_in.reason
const bit<16> REASON_NONE = 0;
const bit<16> REASON_ARP_CLAIM = 1;
const bit<16> REASON_SPOOF = 2;
const bit<16> REASON_ARP_SPOOF = 3;

const bit<2> GREEN = 0; // what a meter says of a packet within its rate

const bit<16> FLOOD_GROUP = 1;
const bit<9>  NO_PORT = 511;

// metadata_t.destination: who has the destination MAC.
const bit<2> STATION = 1;  // a station of the intent
const bit<2> VIP_MAC = 2;  // VIPs
const bit<2> BALANCED = 3; // a backend that a VIP's frame has just got

// IEEE 802.1Q table 8-1: 01:80:c2:00:00:00 to :0f concern one link (spanning tree, LACP, LLDP, 802.1X).
const bit<44> RESERVED_GROUPS = 0x0180c200000;

typedef bit<48> mac_t;
typedef bit<32> ipv4_addr_t;

@controller_header("packet_in")
header packet_in_t {
    bit<16> ingress_port;
    bit<16> reason;
}

@controller_header("packet_out")
header packet_out_t {
    bit<16> egress_port;
}

header ethernet_t {
    mac_t   dst;
    mac_t   src;
    bit<16> type;
}

// IEEE 802.1Q. The tag is looked past and kept: hosts take VID 0 for no tag at all, so a claim on a
// VIP must not hide behind one.
header tag_t {
    bit<3>  priority;
    bit<1>  drop_eligible;
    bit<12> vlan;
    bit<16> type;
}

// IEEE 802.2.
header llc_t {
    bit<24> sap_control; // both service access points and the control field
}

// RFC 1042.
header snap_t {
    bit<24> oui;
    bit<16> type;
}

// RFC 826, split where the address lengths become known.
header arp_t {
    bit<16> hardware_type;
    bit<16> protocol_type;
    bit<8>  hardware_length;
    bit<8>  protocol_length;
    bit<16> operation;
}

header arp_ipv4_t {
    mac_t       sender_mac;
    ipv4_addr_t sender_address;
    mac_t       target_mac;
    ipv4_addr_t target_address;
}

// RFC 791.
header ipv4_t {
    bit<4>      version;
    bit<4>      ihl;
    bit<8>      tos;
    bit<16>     total_length;
    bit<16>     identification;
    bit<3>      flags;
    bit<13>     fragment_offset;
    bit<8>      ttl;
    bit<8>      protocol;
    bit<16>     checksum;
    ipv4_addr_t src;
    ipv4_addr_t dst;
}

header ipv4_options_t {
    varbit<320> options;
}

// RFC 9293.
header tcp_t {
    bit<16> src_port;
    bit<16> dst_port;
    bit<32> sequence;
    bit<32> acknowledgement;
    bit<4>  data_offset;
    bit<4>  reserved;
    bit<1>  cwr;
    bit<1>  ece;
    bit<1>  urg;
    bit<1>  ack;
    bit<1>  psh;
    bit<1>  rst;
    bit<1>  syn;
    bit<1>  fin;
    bit<16> window;
    bit<16> checksum;
    bit<16> urgent_pointer;
}

struct headers_t {
    packet_in_t    packet_in;
    packet_out_t   packet_out;
    ethernet_t     ethernet;
    tag_t          tag;
    llc_t          llc;
    snap_t         snap;
    arp_t          arp;
    arp_ipv4_t     arp_ipv4;
    ipv4_t         ipv4;
    ipv4_options_t ipv4_options;
    tcp_t          tcp;
}

struct metadata_t {
    bit<1>  tags;           // more than one 802.1Q tag
    bit<1>  pinned;         // the source MAC has its port from the intent
    bit<2>  color;          // what the meter says of what goes up
    bit<1>  done;           // the packet's way is decided: L2 forwarding must not touch it
    bit<1>  claim;          // ARP that claims a VIP: never learned from
    bit<1>  moving;         // the slot is on its way from one backend to another
    bit<1>  back;           // it goes back: marked flows are the other backend's
    bit<2>  bank;
    bit<8>  generation;
    bit<16> slot_mask;
    bit<16> slot;
    bit<16> reason;         // packet_in.reason, when the packet goes to the CPU
    bit<32> tally;
    ipv4_addr_t disowned;   // the VIP that an ARP request had as its sender; 0: none
    mac_t   disowned_mac;   // whose request it was
    mac_t   owner;          // the MAC that the intent gives to the sender of ARP; 0: it gives none
    bit<9>  station_port;   // where the source MAC lives
    bit<2>  destination;    // who has the destination MAC; 0: nobody that the intent knows
    bit<9>  destination_port; // and where; NO_PORT: l2 knows
    bit<32> pool_id;
    bit<32> backend_id;
    bit<32> old_id;         // the backend of the other flows of a moving slot
    bit<64> secret_1;       // for the packet's source, and for its ports
    bit<64> secret_2;       // for the two CRCs of these
    bit<64> flow;           // the flow's key: these hashed once more. The slot is of its upper half
    bit<32> epoch;
    bit<32> mark_1;
    bit<32> mark_2;
    bit<32> mark_3;
    bit<32> mark_4;
}
