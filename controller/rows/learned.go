package rows

import "github.com/sluicelb/sluice/p4/packet"

// Station and L2 are the tables of the L2 switch: where a source MAC lives, and where frames to it go. What hosts send
// decides what they hold, so their entries are Learned, and no rows of a plan.
var (
	forward = &Action{"forward", []string{"port"}}

	Station = &Table{Name: "station", Keys: []string{"mac"}, Actions: []*Action{{"known", []string{"port"}}}}
	L2      = &Table{Name: "l2", Keys: []string{"mac"}, Actions: []*Action{forward}}
)

// Learned is what an entry of Station or L2 says.
type Learned struct {
	MAC  packet.MAC
	Port uint16
}

// Entry is what stands in t, which is Station or L2.
func (l Learned) Entry(t *Table) Entry { return entry(t.Actions[0], keys(mac(l.MAC)), number(l.Port)) }

// ReadLearned reads an entry of Station or L2.
func ReadLearned(e Entry) Learned { return Learned{e.Key[0].MAC(), uint16(e.Params[0].Lo)} }
