package rows

import (
	"fmt"

	"github.com/sluicelb/sluice/p4/limits"
	"github.com/sluicelb/sluice/p4/packet"
)

// PinnedStationRow is pinned(Port), by source MAC; Port may be Nowhere.
type PinnedStationRow struct {
	MAC  packet.MAC
	Port uint16
}

var pinned = &Action{"pinned", []string{"port"}}

var pinnedStation = kind(&Table{
	Name: "pinned_station", Keys: []string{"mac"}, Actions: []*Action{pinned},
	decode: func(e Entry) (Row, bool) {
		r := PinnedStationRow{e.Key[0].MAC(), uint16(e.Params[0].Lo)}
		switch r.Port {
		case Nowhere:
			return r, false // the switch has another number for it
		case limits.NoPort:
			r.Port = Nowhere
		}
		return r, true
	},
	diff: keyed(func(t *Tables) map[packet.MAC]uint16 { return t.PinnedStation }, packet.MAC.Compare,
		func(m packet.MAC, port uint16) Row { return PinnedStationRow{m, port} }),
})

// pinnedStationRef is the Ref of a PinnedStationRow.
type pinnedStationRef packet.MAC

func (PinnedStationRow) Kind() *Kind  { return pinnedStation }
func (r PinnedStationRow) Ref() Ref   { return pinnedStationRef(r.MAC) }
func (PinnedStationRow) Needs() []Ref { return nil }

func (r PinnedStationRow) Entry() Entry {
	port := r.Port
	if port == Nowhere {
		port = limits.NoPort
	}
	return entry(pinned, keys(mac(r.MAC)), number(port))
}

func (r PinnedStationRow) String() string {
	if r.Port == Nowhere {
		return fmt.Sprintf("pinned_station %s: pinned(no port)", r.MAC)
	}
	return fmt.Sprintf("pinned_station %s: pinned(port %d)", r.MAC, r.Port)
}

func (r PinnedStationRow) Held(t *Tables) (Row, bool) {
	return held(t.PinnedStation, r.MAC, func(port uint16) Row { return PinnedStationRow{r.MAC, port} })
}

func (r PinnedStationRow) set(t *Tables, gone bool) { set(&t.PinnedStation, r.MAC, r.Port, gone) }
