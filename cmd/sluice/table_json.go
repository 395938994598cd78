package main

import (
	"fmt"

	"github.com/sluicelb/sluice/p4/p4rt"
)

// The shapes of `sluice table ... --json`; the commands' help describes them.

type tableJSON struct {
	Kind        string    `json:"kind"` // "table"
	Name        string    `json:"name"`
	Keys        []keyJSON `json:"keys"`
	Entries     int       `json:"entries"`
	Size        int64     `json:"size"`
	Counts      []string  `json:"counts"`
	IdleTimeout bool      `json:"idle_timeout"`
	Miss        string    `json:"miss,omitempty"`
}

type keyJSON struct {
	Name string `json:"name"`
	Kind string `json:"match"`
	Bits int    `json:"bits,omitempty"`
}

type counterJSON struct {
	Kind   string   `json:"kind"` // "counter"
	Name   string   `json:"name"`
	Size   int64    `json:"size"`
	Counts []string `json:"counts"`
}

type groupJSON struct {
	Kind     string        `json:"kind"` // "multicast_group"
	Group    uint32        `json:"group"`
	Replicas []replicaJSON `json:"replicas"`
}

type replicaJSON struct {
	Port     uint32 `json:"port"`
	Instance uint32 `json:"instance"`
}

type entryJSON struct {
	Kind          string         `json:"kind"` // "entry"
	Table         string         `json:"table"`
	Match         map[string]any `json:"match"`
	Priority      int32          `json:"priority,omitempty"`
	Action        string         `json:"action,omitempty"`
	Params        map[string]any `json:"params,omitempty"`
	Member        uint32         `json:"member,omitempty"`
	Group         uint32         `json:"group,omitempty"`
	Holds         []actionJSON   `json:"holds,omitempty"` // the member or the group
	OneShot       []actionJSON   `json:"one_shot,omitempty"`
	IdleTimeoutNS int64          `json:"idle_timeout_ns,omitempty"`
	SinceHitNS    *int64         `json:"since_hit_ns,omitempty"`
	countJSON
}

type actionJSON struct {
	Action string         `json:"action"`
	Params map[string]any `json:"params,omitempty"`
	Weight int32          `json:"weight"`
}

type cellJSON struct {
	Kind    string `json:"kind"` // "counter"
	Counter string `json:"counter"`
	Index   int64  `json:"index"`
	countJSON
}

type rawJSON struct {
	Kind    string `json:"kind"` // "raw"
	Table   string `json:"table,omitempty"`
	Counter string `json:"counter,omitempty"`
	Error   string `json:"error"`
	Text    string `json:"text"`
}

type countJSON struct {
	Packets *int64 `json:"packets,omitempty"`
	Bytes   *int64 `json:"bytes,omitempty"`
}

func listJSON(tables []p4rt.Summary, counters []*p4rt.CounterArray, groups []p4rt.MulticastGroup) []any {
	objects := []any{}
	for _, t := range tables {
		out := tableJSON{Kind: "table", Name: t.Name, Keys: []keyJSON{}, Entries: t.Entries, Size: t.Size,
			Counts: units(t.Counter), IdleTimeout: t.IdleTimeout, Miss: t.Miss}
		for _, k := range t.Keys {
			out.Keys = append(out.Keys, keyJSON{Name: k.Name, Kind: k.Kind.String(), Bits: k.Bits()})
		}
		objects = append(objects, out)
	}
	for _, c := range counters {
		objects = append(objects, counterJSON{Kind: "counter", Name: c.Name, Size: c.Size, Counts: units(c.Unit)})
	}
	return append(objects, groupsJSON(groups)...)
}

func groupsJSON(groups []p4rt.MulticastGroup) []any {
	var objects []any
	for _, g := range groups {
		out := groupJSON{Kind: "multicast_group", Group: g.ID, Replicas: []replicaJSON{}}
		for _, r := range g.Replicas {
			out.Replicas = append(out.Replicas, replicaJSON(r))
		}
		objects = append(objects, out)
	}
	return objects
}

func entriesJSON(h p4rt.Holding) []any {
	var objects []any
	for _, e := range h.Entries {
		out := entryJSON{
			Kind:          "entry",
			Table:         e.Table,
			Match:         fieldsJSON(e.Match),
			Priority:      e.Priority,
			Action:        e.Action,
			Member:        e.Member,
			Group:         e.Group,
			IdleTimeoutNS: e.IdleTimeout.Nanoseconds(),
			countJSON:     countOf(h.Counter, e.Counter),
		}
		if e.Action != "" {
			out.Params = fieldsJSON(e.Params)
		}
		out.OneShot = actionsJSON(e.OneShot)
		if held, ok := h.Profile.Holds(e); ok {
			out.Holds = actionsJSON(held)
		}
		if e.SinceHit != nil {
			ns := e.SinceHit.Nanoseconds()
			out.SinceHitNS = &ns
		}
		objects = append(objects, out)
	}
	return append(objects, rawsJSON(h.Name, "", h.Raws)...)
}

func rawsJSON(table, counter string, rest p4rt.Raws) []any {
	var objects []any
	for _, r := range rest.All() {
		objects = append(objects, rawJSON{Kind: "raw", Table: table, Counter: counter, Error: r.Why.Error(),
			Text: r.Text})
	}
	return objects
}

func actionsJSON(actions []p4rt.WeightedAction) []actionJSON {
	var list []actionJSON
	for _, a := range actions {
		list = append(list, actionJSON{Action: a.Action, Params: fieldsJSON(a.Params), Weight: a.Weight})
	}
	return list
}

func cellsJSON(c p4rt.Counting) []any {
	var objects []any
	for _, cell := range c.Cells {
		objects = append(objects, cellJSON{Kind: "counter", Counter: cell.Name, Index: cell.Index,
			countJSON: countOf(c.Unit, &cell.Counter)})
	}
	return append(objects, rawsJSON("", c.Name, c.Raws)...)
}

func countOf(unit p4rt.Unit, c *p4rt.Counter) countJSON {
	var out countJSON
	if c != nil && unit&p4rt.Packets != 0 {
		out.Packets = &c.Packets
	}
	if c != nil && unit&p4rt.Bytes != 0 {
		out.Bytes = &c.Bytes
	}
	return out
}

func fieldsJSON(fields []p4rt.Field) map[string]any {
	out := make(map[string]any, len(fields))
	for _, f := range fields {
		// JavaScript and jq hold integers up to 53 bits.
		if v := f.Value; (f.Kind == p4rt.Exact || f.Kind == p4rt.Optional) && v.Format() == p4rt.Decimal &&
			v.Bits() <= 53 {
			out[f.Name] = v.Uint()
			continue
		}
		out[f.Name] = textOf(f)
	}
	return out
}

// textOf is the field's text; strings of the P4 program go without quotes, JSON has its own.
func textOf(f p4rt.Field) string {
	if f.Value.Format() == p4rt.Text {
		return string(f.Value.Bytes())
	}
	return fmt.Sprint(f)
}
