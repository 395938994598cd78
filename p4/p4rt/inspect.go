package p4rt

import (
	"cmp"
	"context"
	"fmt"
	"iter"
	"slices"
	"strings"

	v1 "github.com/p4lang/p4runtime/go/p4/v1"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/encoding/prototext"
	"google.golang.org/protobuf/proto"

	"github.com/sluicelb/sluice/internal/text"
)

// Inspector reads what a target holds, by the names of its P4Info. It never writes.
type Inspector struct {
	*Client
	Info *Info
}

// Entries reads what query asks for and decodes it, entry by entry. An entry that the P4Info does not explain ends it.
func (t Inspector) Entries(ctx context.Context, query *v1.Entity) iter.Seq2[Entry, error] {
	return func(yield func(Entry, error) bool) {
		for e, err := range t.Read(ctx, query) {
			var entry Entry
			if err == nil {
				entry, err = t.Info.DecodeEntry(e.GetTableEntry())
			}
			if !yield(entry, err) || err != nil {
				return
			}
		}
	}
}

// Summary is what of a table is worth a line.
type Summary struct {
	*Table
	Entries int
	Miss    string // what a miss does; "" when the target does not tell
}

// Holding is a table with what it holds.
type Holding struct {
	*Table
	Entries []Entry // in order: the highest priority first, then by match
	Raws    Raws    // entries, members and groups
	Count   int     // of entries, the raw ones too
	Miss    string

	Profile Profile // empty when the target does not tell
}

// Counting is an indirect counter with its cells.
type Counting struct {
	*CounterArray
	Cells []Cell
	Raws  Raws
}

// Raw is what a target holds and its P4Info does not explain: it is shown as it came.
type Raw struct {
	Why  error
	Text string
}

// Raws are what of a table, a counter or the groups is raw: the first of them, and how many more there were.
type Raws struct {
	list []Raw
	more int
}

// A target may tell nothing that the P4Info explains: so many are shown, so far.
const (
	mostRaws    = 1000
	mostRawText = 1024 // bytes
)

func (r *Raws) add(e *v1.Entity, why error) {
	if len(r.list) == mostRaws {
		r.more++
		return
	}
	r.list = append(r.list, Raw{why, text.CutTo(messageText(e), mostRawText)})
}

// Count is how many there were.
func (r *Raws) Count() int { return len(r.list) + r.more }

// All returns what was kept, in an order that does not change, and at the end how many more there were.
func (r *Raws) All() []Raw {
	slices.SortFunc(r.list, func(a, b Raw) int { return cmp.Compare(a.Text, b.Text) })
	if r.more == 0 {
		return r.list
	}
	return append(slices.Clip(r.list), Raw{Why: fmt.Errorf("and %d more", r.more)})
}

// messageText prints a message on one line, the same every time: prototext itself puts spaces here and there, lest
// anybody rely on them.
func messageText(m proto.Message) string {
	var b strings.Builder
	quoted, escaped, space := false, false, false
	line := prototext.MarshalOptions{}.Format(m)
	for _, c := range line {
		switch {
		case escaped:
			escaped = false
		case quoted && c == '\\':
			escaped = true
		case c == '"':
			quoted = !quoted
		case !quoted && c == ' ':
			space = true
			continue
		}
		if space && b.Len() > 0 {
			b.WriteByte(' ')
		}
		space = false
		b.WriteRune(c)
	}
	return b.String()
}

// unsupported reports whether a target says that it cannot tell. Targets differ in what they can:
// that is no reason to fail.
func unsupported(err error) bool { return status.Code(err) == codes.Unimplemented }

// Summarize counts a table's entries.
func (t Inspector) Summarize(ctx context.Context, table *Table) (Summary, error) {
	s := Summary{Table: table}
	for e, err := range t.Read(ctx, TableEntity(&v1.TableEntry{TableId: table.ID})) {
		if err != nil {
			return s, fmt.Errorf("table %s: %w", table.Name, err)
		}
		if !e.GetTableEntry().GetIsDefaultAction() {
			s.Entries++
		}
	}
	var err error
	s.Miss, err = t.miss(ctx, table)
	return s, err
}

// mostRows is how many rows of a table or cells of a counter are read, whatever size the target tells: as many as
// the largest table of sluice.p4 has.
const mostRows = 1 << 19

// tooMany says that a target tells of more than it has room for: it may never come to an end.
func tooMany(what, name string, n int, size int64) error {
	most := int64(mostRows)
	if size > 0 {
		most = min(size, most)
	}
	if int64(n) < most {
		return nil
	}
	return fmt.Errorf("%s %s: the target tells of more than %d, and should have no more: given up", what, name, most)
}

// Hold reads a table.
func (t Inspector) Hold(ctx context.Context, table *Table) (Holding, error) {
	h := Holding{Table: table}
	for e, err := range t.Read(ctx, table.Query()) {
		if err != nil {
			return h, fmt.Errorf("table %s: %w", table.Name, err)
		}
		if err := tooMany("table", table.Name, h.Count, table.Size); err != nil {
			return h, err
		}
		switch entry, err := t.Info.DecodeEntry(e.GetTableEntry()); {
		case err != nil:
			h.Raws.add(e, err)
			h.Count++
		case !entry.Default:
			h.Entries = append(h.Entries, entry)
			h.Count++
		}
	}
	slices.SortFunc(h.Entries, compareEntries)
	if err := t.profile(ctx, &h); err != nil {
		return h, err
	}
	var err error
	h.Miss, err = t.miss(ctx, table)
	return h, err
}

// profile reads what the members and groups of h are, where entries name some.
func (t Inspector) profile(ctx context.Context, h *Holding) error {
	if !slices.ContainsFunc(h.Entries, func(e Entry) bool { return e.Member != 0 || e.Group != 0 }) {
		return nil
	}
	members, groups := h.QueryProfile()
	var entities []*v1.Entity
	for _, query := range []*v1.Entity{members, groups} {
		for e, err := range t.Read(ctx, query) {
			if unsupported(err) {
				break
			}
			if err != nil {
				return fmt.Errorf("action profile of table %s: %w", h.Name, err)
			}
			if err := tooMany("action profile of table", h.Name, len(entities)+h.Raws.Count(), 0); err != nil {
				return err
			}
			if _, err := h.DecodeProfile([]*v1.Entity{e}); err != nil {
				h.Raws.add(e, err)
				continue
			}
			entities = append(entities, e)
		}
	}
	var err error
	h.Profile, err = h.DecodeProfile(entities)
	return err
}

// Does says what an entry does, and what is in the group or the member that it names.
func (h Holding) Does(e Entry) string {
	if e.Member == 0 && e.Group == 0 {
		return e.Does()
	}
	switch held, ok := h.Profile.Holds(e); {
	case !ok:
		return e.Does() + " (the target does not tell what it holds)"
	case len(held) == 0:
		return e.Does() + " (empty)"
	case e.Member != 0:
		return e.Does() + ": " + Entry{Action: held[0].Action, Params: held[0].Params}.Does()
	default:
		return e.Does() + ": " + Set(held)
	}
}

// miss says what a packet that no entry matches meets.
func (t Inspector) miss(ctx context.Context, table *Table) (string, error) {
	if table.ConstDefault != nil && len(table.ConstDefault.Params) == 0 {
		return Entry{Action: table.ConstDefault.Name}.Does(), nil
	}
	for e, err := range t.Read(ctx, table.QueryDefault()) {
		if unsupported(err) {
			return "", nil
		}
		if err != nil {
			return "", fmt.Errorf("default entry of table %s: %w", table.Name, err)
		}
		entry, err := t.Info.DecodeEntry(e.GetTableEntry())
		if err != nil {
			return text.CutTo(messageText(e.GetTableEntry().GetAction()), mostRawText), nil
		}
		return entry.Does(), nil
	}
	return "", nil
}

// Count reads a counter; no cells where the target cannot tell.
func (t Inspector) Count(ctx context.Context, counter *CounterArray) (Counting, error) {
	c := Counting{CounterArray: counter}
	for e, err := range t.Read(ctx, counter.Query()) {
		if unsupported(err) {
			return Counting{CounterArray: counter}, nil
		}
		if err != nil {
			return c, fmt.Errorf("counter %s: %w", counter.Name, err)
		}
		if err := tooMany("counter", counter.Name, len(c.Cells)+c.Raws.Count(), counter.Size); err != nil {
			return c, err
		}
		cell, err := t.Info.DecodeCell(e.GetCounterEntry())
		if err != nil {
			c.Raws.add(e, err)
			continue
		}
		c.Cells = append(c.Cells, cell)
	}
	slices.SortFunc(c.Cells, func(a, b Cell) int { return cmp.Compare(a.Index, b.Index) })
	return c, nil
}

// Groups reads the multicast groups; none where the target cannot tell.
func (t Inspector) Groups(ctx context.Context) (groups []MulticastGroup, rest Raws, err error) {
	replicas := 0
	for e, err := range t.Read(ctx, QueryMulticastGroups()) {
		if unsupported(err) {
			return nil, rest, nil
		}
		if err != nil {
			return nil, rest, fmt.Errorf("multicast groups: %w", err)
		}
		if err := tooMany("list of", "multicast groups", replicas+rest.Count(), 0); err != nil {
			return nil, rest, err
		}
		g, err := DecodeMulticastGroup(e.GetPacketReplicationEngineEntry().GetMulticastGroupEntry())
		if err != nil {
			rest.add(e, err)
			continue
		}
		slices.SortFunc(g.Replicas, func(a, b Replica) int {
			return cmp.Or(cmp.Compare(a.Port, b.Port), cmp.Compare(a.Instance, b.Instance))
		})
		groups = append(groups, g)
		replicas += len(g.Replicas) + 1
	}
	slices.SortFunc(groups, func(a, b MulticastGroup) int { return cmp.Compare(a.ID, b.ID) })
	return groups, rest, nil
}

// compareEntries orders entries of one table: the highest priority first, then by match.
func compareEntries(a, b Entry) int {
	if c := cmp.Compare(b.Priority, a.Priority); c != 0 {
		return c
	}
	return slices.CompareFunc(a.Match, b.Match, func(x, y Field) int {
		return cmp.Or(
			cmp.Compare(x.Name, y.Name),
			x.Value.Compare(y.Value),
			cmp.Compare(x.PrefixLen, y.PrefixLen),
			x.Mask.Compare(y.Mask),
			x.High.Compare(y.High),
		)
	})
}
