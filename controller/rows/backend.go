package rows

import (
	"cmp"
	"fmt"
)

// BackendRow is forward_to_backend(MAC, Port). Where Port is Anywhere, the frame goes by l2.
type BackendRow struct {
	ID BackendID
	Forward
}

var forwardToBackend = &Action{"forward_to_backend", []string{"mac", "port"}}

var backend = kind(&Table{
	Name: "backend", Keys: []string{"backend_id"}, Actions: []*Action{forwardToBackend},
	decode: func(e Entry) (Row, bool) {
		return BackendRow{BackendID(e.Key[0].Lo), Forward{e.Params[0].MAC(), uint16(e.Params[1].Lo)}}, true
	},
	diff: keyed(func(t *Tables) map[BackendID]Forward { return t.Backend }, cmp.Compare,
		func(id BackendID, f Forward) Row { return BackendRow{id, f} }),
})

func (BackendRow) Kind() *Kind  { return backend }
func (r BackendRow) Ref() Ref   { return r.ID }
func (BackendRow) Needs() []Ref { return nil }
func (r BackendRow) Entry() Entry {
	return entry(forwardToBackend, keys(number(r.ID)), mac(r.MAC), number(r.Port))
}
func (r BackendRow) String() string {
	if r.Forward.Port == Anywhere {
		return fmt.Sprintf("backend %d: forward_to_backend(%s, no port: as l2 says)", r.ID, r.MAC)
	}
	return fmt.Sprintf("backend %d: forward_to_backend(%s, port %d)", r.ID, r.MAC, r.Forward.Port)
}

func (r BackendRow) Held(t *Tables) (Row, bool) {
	return held(t.Backend, r.ID, func(f Forward) Row { return BackendRow{r.ID, f} })
}

func (r BackendRow) set(t *Tables, gone bool) { set(&t.Backend, r.ID, r.Forward, gone) }
