package device

import (
	"context"
	"errors"
	"fmt"

	v1 "github.com/p4lang/p4runtime/go/p4/v1"

	"github.com/sluicelb/sluice/controller/rows"
	"github.com/sluicelb/sluice/p4/limits"
	"github.com/sluicelb/sluice/p4/p4rt"
	"github.com/sluicelb/sluice/p4/packet"
)

// Count is what a counter of the switch has counted.
type Count struct{ Packets, Bytes uint64 }

// Counters is what a switch has counted.
type Counters struct {
	VIP     map[rows.VIPKey]Count
	Backend map[rows.BackendID]Count
	Pinned  map[packet.MAC]Count // what came under the MAC of a pinned station, by whatever port
	Tally   map[string]Count     // why packets went nowhere; cells that counted nothing are absent

	Openings [limits.Banks]uint64         // packets that marked a flow as new, by bank
	Unsent   map[string]map[uint16]uint64 // what meters held back from going up, by kind and port; without zeros
}

// unsent names what the counters count of what meters held back (p4/sluice.p4, p4/include/l2.p4).
var unsent = map[string]string{"learn_unsent": "new_station", "alarm_unsent": "alarm"}

// tallies names the cells of the counter `tally` (p4/include/headers.p4).
var tallies = [...]string{
	1:  "drop_no_service",
	2:  "drop_fragment",
	3:  "drop_no_slot",
	4:  "drop_no_backend",
	5:  "drop_arp_claim",
	6:  "arp_disowned",
	7:  "drop_hairpin",
	8:  "drop_tags",
	9:  "drop_packet_out",
	10: "drop_spoof",
	11: "drop_vip_mac",
	12: "drop_runt",
	13: "drop_source",
	14: "drop_reserved",
	15: "drop_land",
	16: "drop_arp_spoof",
}

// Mended names the tallies of packets that were forwarded after a change.
var Mended = map[string]bool{"arp_disowned": true}

var errNoSession = errors.New("there is no session")

// Counters asks the switch, while there is a session. Any goroutine may call it.
func (d *Device) Counters(ctx context.Context) (Counters, error) {
	c := Counters{VIP: make(map[rows.VIPKey]Count), Backend: make(map[rows.BackendID]Count),
		Pinned: make(map[packet.MAC]Count), Tally: make(map[string]Count), Unsent: make(map[string]map[uint16]uint64)}
	client := d.client.Load()
	if client == nil {
		return c, fmt.Errorf("reading the counters: %w", errNoSession)
	}
	tally, err := d.codec.info.Counter("tally")
	if err != nil {
		return c, err
	}
	openings, err := d.codec.info.Counter("openings")
	if err != nil {
		return c, err
	}
	queries := []*v1.Entity{tally.Query(), openings.Query()}
	kinds := make(map[uint32]string)
	for name, kind := range unsent {
		array, err := d.codec.info.Counter(name)
		if err != nil {
			return c, err
		}
		kinds[array.ID], c.Unsent[kind] = kind, make(map[uint16]uint64)
		for _, port := range d.get().Tables.Flood { // nobody is at the others
			queries = append(queries, array.QueryCell(int64(port)))
		}
	}
	for e, err := range client.Read(ctx, queries...) {
		if err != nil {
			return c, fmt.Errorf("reading the counters: %w", err)
		}
		cell := e.GetCounterEntry()
		c.add(cell.GetIndex().GetIndex(), count(cell.GetData()), cell.GetCounterId() == openings.ID,
			kinds[cell.GetCounterId()])
	}
	return c, d.countRows(ctx, client, &c)
}

// countRows adds what rows have counted.
func (d *Device) countRows(ctx context.Context, client *p4rt.Client, c *Counters) error {
	var queries []*v1.Entity
	for _, t := range rows.Counting {
		q := d.codec.byTable[t].query()
		q.GetTableEntry().CounterData = &v1.CounterData{}
		queries = append(queries, q)
	}
	for e, err := range client.ReadCounted(ctx, queries...) {
		if err != nil {
			return fmt.Errorf("reading the counters: %w", err)
		}
		t := d.codec.byID[e.Table]
		if t == nil {
			continue
		}
		key, ok := t.key(e.Matches, e.Exact)
		if !ok {
			continue
		}
		n := Count{e.Packets, e.Bytes}
		switch of := rows.CountingKey(t.Table, key).(type) {
		case rows.VIPKey:
			c.VIP[of] = n
		case rows.BackendID:
			c.Backend[of] = n
		case packet.MAC:
			c.Pinned[of] = n
		}
	}
	return nil
}

// add takes up a cell of a counter: of openings, of what is not sent up, or else of the tally.
func (c *Counters) add(cell int64, n Count, opened bool, kind string) {
	switch {
	case n == (Count{}) || cell < 0:
	case opened:
		if cell < limits.Banks {
			c.Openings[cell] = n.Packets
		}
	case kind != "":
		if cell < limits.MeterSize {
			c.Unsent[kind][uint16(cell)] = n.Packets
		}
	case cell > 0 && cell < int64(len(tallies)):
		c.Tally[tallies[cell]] = n
	}
}

func count(d *v1.CounterData) Count {
	return Count{Packets: uint64(d.GetPacketCount()), Bytes: uint64(d.GetByteCount())}
}

// Add returns the sum.
func (c Count) Add(o Count) Count { return Count{c.Packets + o.Packets, c.Bytes + o.Bytes} }
