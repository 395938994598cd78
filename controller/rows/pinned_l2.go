package rows

import (
	"fmt"

	"github.com/sluicelb/sluice/p4/packet"
)

// PinnedL2Row is at(Port), by destination MAC, anywhere() when Port is Anywhere, or discard() when it is Nowhere.
type PinnedL2Row struct {
	MAC  packet.MAC
	Port uint16
}

var (
	at       = &Action{"at", []string{"port"}}
	anywhere = &Action{Name: "anywhere"}
	discard  = &Action{Name: "discard"}
)

var pinnedL2 = kind(&Table{
	Name: "pinned_l2", Keys: []string{"mac"}, Actions: []*Action{at, anywhere, discard},
	decode: func(e Entry) (Row, bool) {
		r := PinnedL2Row{e.Key[0].MAC(), uint16(e.Params[0].Lo)}
		switch {
		case e.Do == discard:
			r.Port = Nowhere
		case e.Do == anywhere:
			r.Port = Anywhere
		case r.Port == Nowhere || r.Port == Anywhere:
			return r, false // these have actions of their own
		}
		return r, true
	},
	diff: keyed(func(t *Tables) map[packet.MAC]uint16 { return t.PinnedL2 }, packet.MAC.Compare,
		func(m packet.MAC, port uint16) Row { return PinnedL2Row{m, port} }),
})

// pinnedL2Ref is the Ref of a PinnedL2Row.
type pinnedL2Ref packet.MAC

func (PinnedL2Row) Kind() *Kind  { return pinnedL2 }
func (r PinnedL2Row) Ref() Ref   { return pinnedL2Ref(r.MAC) }
func (PinnedL2Row) Needs() []Ref { return nil }

func (r PinnedL2Row) Entry() Entry {
	switch r.Port {
	case Nowhere:
		return entry(discard, keys(mac(r.MAC)))
	case Anywhere:
		return entry(anywhere, keys(mac(r.MAC)))
	}
	return entry(at, keys(mac(r.MAC)), number(r.Port))
}

func (r PinnedL2Row) String() string {
	switch r.Port {
	case Nowhere:
		return fmt.Sprintf("pinned_l2 %s: discard()", r.MAC)
	case Anywhere:
		return fmt.Sprintf("pinned_l2 %s: anywhere()", r.MAC)
	}
	return fmt.Sprintf("pinned_l2 %s: at(port %d)", r.MAC, r.Port)
}

func (r PinnedL2Row) Held(t *Tables) (Row, bool) {
	return held(t.PinnedL2, r.MAC, func(port uint16) Row { return PinnedL2Row{r.MAC, port} })
}

func (r PinnedL2Row) set(t *Tables, gone bool) { set(&t.PinnedL2, r.MAC, r.Port, gone) }
