package server

import (
	"context"
	"errors"
	"iter"
	"maps"
	"slices"
	"time"

	v1 "github.com/p4lang/p4runtime/go/p4/v1"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"github.com/sluicelb/sluice/p4/softswitch/engine"
)

// A message of a Read ends at this many entities, or when those with data of unbounded size have
// reached this many bytes, well below the 4 MiB that clients take by default.
const (
	readEntities = 2048
	readBytes    = 1 << 20
)

// maxReads is how many requests one Read may hold. Each may select all that the switch has.
const maxReads = 1024

// result yields the entities of one request of a Read. It reads the snapshot, never the tables, and so
// needs no lock.
type result iter.Seq[*v1.Entity]

// Read implements v1.P4RuntimeServer. What the requests select is fixed while no write runs; turning
// it into messages and sending them goes on without the lock, however slowly the client reads.
func (s *Server) Read(req *v1.ReadRequest, rpc v1.P4Runtime_ReadServer) error {
	if err := s.checkDevice(req.GetDeviceId()); err != nil {
		return err
	}
	if n := len(req.GetEntities()); n > maxReads {
		return status.Errorf(codes.ResourceExhausted, "a Read of %d entities, want %d at most", n, maxReads)
	}
	ctx := rpc.Context()
	results, errs, err := s.selectAll(ctx, req)
	if err != nil {
		return err
	}
	var pending []*v1.Entity
	size := 0
	flush := func() error {
		if len(pending) == 0 {
			return nil
		}
		err := rpc.Send(&v1.ReadResponse{Entities: pending})
		pending, size = pending[:0], 0
		return err
	}
	for _, r := range results {
		// A request may go over a whole table and find nothing to send.
		if err := ctx.Err(); err != nil {
			return status.FromContextError(err).Err()
		}
		for e := range r {
			pending = append(pending, e)
			size += extraSize(e)
			if len(pending) == readEntities || size >= readBytes {
				if err := flush(); err != nil {
					return err
				}
			}
		}
	}
	if err := flush(); err != nil {
		return err
	}
	return batchError(errs)
}

// extraSize estimates what an entity holds beyond the few bytes that every one has.
func extraSize(e *v1.Entity) int {
	if group := e.GetPacketReplicationEngineEntry().GetMulticastGroupEntry(); group != nil {
		return len(group.GetMetadata()) + 16*len(group.GetReplicas())
	}
	return len(e.GetTableEntry().GetMetadata())
}

// snapshot is what the tables and groups held when a Read began, each taken once, when the first of its
// requests needs it.
type snapshot struct {
	tables map[*table][]row
	groups []*v1.MulticastGroupEntry // in the order of their ids, nil when not taken
}

// row is an entry as it was when the snapshot was taken.
type row struct {
	entry *engine.Installed
	note  note
}

// rows returns all entries of a table. state is locked.
func (s *snapshot) rows(t *table) []row {
	if rows, ok := s.tables[t]; ok {
		return rows
	}
	rows := make([]row, 0, t.engine.Len())
	for e := range t.engine.All() {
		rows = append(rows, row{e, t.notes[e]})
	}
	s.tables[t] = rows
	return rows
}

// multicastGroups returns all groups of p. state is locked.
func (s *snapshot) multicastGroups(p *pipeline) []*v1.MulticastGroupEntry {
	if s.groups == nil {
		s.groups = make([]*v1.MulticastGroupEntry, 0, len(p.groups))
		for _, id := range slices.Sorted(maps.Keys(p.groups)) {
			s.groups = append(s.groups, p.groups[id])
		}
	}
	return s.groups
}

// selectAll selects what every request of a Read asks for, all from one snapshot; errs has their
// errors.
func (s *Server) selectAll(ctx context.Context, req *v1.ReadRequest) (results []result, errs []error, err error) {
	s.state.RLock()
	defer s.state.RUnlock()
	if s.current == nil {
		return nil, nil, errNoPipeline
	}
	shot := &snapshot{tables: map[*table][]row{}}
	errs = make([]error, len(req.GetEntities()))
	for i, e := range req.GetEntities() {
		if err := ctx.Err(); err != nil {
			return nil, nil, status.FromContextError(err).Err()
		}
		var r result
		if r, errs[i] = s.selectEntities(s.current, shot, e); errs[i] == nil {
			results = append(results, r)
		}
	}
	return results, errs, nil
}

func (s *Server) selectEntities(p *pipeline, shot *snapshot, e *v1.Entity) (result, error) {
	switch e := e.GetEntity().(type) {
	case nil:
		return nil, invalid("no entity in the request")
	case *v1.Entity_TableEntry:
		return p.readTables(shot, e.TableEntry, s.cfg.Plane.Now)
	case *v1.Entity_DirectCounterEntry:
		return p.readDirectCounters(shot, e.DirectCounterEntry)
	case *v1.Entity_CounterEntry:
		return p.readCounters(e.CounterEntry)
	case *v1.Entity_MeterEntry:
		return p.readMeters(e.MeterEntry)
	case *v1.Entity_DirectMeterEntry:
		return p.readDirectMeters(shot, e.DirectMeterEntry)
	case *v1.Entity_RegisterEntry:
		return p.readRegisters(e.RegisterEntry)
	case *v1.Entity_PacketReplicationEngineEntry:
		return p.readReplication(shot, e.PacketReplicationEngineEntry)
	case *v1.Entity_DigestEntry:
		return p.digests.read(e.DigestEntry)
	case *v1.Entity_ActionProfileMember:
		return p.noneOfProfile(e.ActionProfileMember.GetActionProfileId())
	case *v1.Entity_ActionProfileGroup:
		return p.noneOfProfile(e.ActionProfileGroup.GetActionProfileId())
	case *v1.Entity_ValueSetEntry:
		return none("value_set_id", e.ValueSetEntry.GetValueSetId())
	case *v1.Entity_ExternEntry:
		return none("extern_type_id", e.ExternEntry.GetExternTypeId())
	default:
		return nil, invalid("entities of type %T are not known", e)
	}
}

// none selects of a kind that no program has which this target runs: of all there are (section "Wildcard Reads")
// nothing, and no single one.
func none(what string, id uint32) (result, error) {
	if id != 0 {
		return nil, invalid("%s %d is not in the P4Info", what, id)
	}
	return func(func(*v1.Entity) bool) {}, nil
}

// noneOfProfile selects of an action profile, or all, the members or groups.
func (p *pipeline) noneOfProfile(id uint32) (result, error) {
	if p.profiles[id] {
		id = 0
	}
	return none("action_profile_id", id)
}

// selection is what a request selects of one table: some rows of the snapshot.
type selection struct {
	rows   []row
	accept func(row) bool
}

func (s selection) all(yield func(row) bool) {
	for _, r := range s.rows {
		if s.accept(r) && !yield(r) {
			return
		}
	}
}

// oneEntry says whether a request names one entry, by its whole key.
func (t *table) oneEntry(ask *v1.TableEntry) bool {
	return len(ask.GetMatch()) > 0 && (!t.prioritised || ask.GetPriority() != 0)
}

// selectRows returns the entries of a table that a request selects (section "Wildcard Reads" of
// "TableEntry"). state is locked; the selection is good without.
func (t *table) selectRows(shot *snapshot, ask *v1.TableEntry) (selection, error) {
	want, priority := noteOf(ask), int(ask.GetPriority())
	action := ""
	if a := ask.GetAction(); a != nil {
		c := t.calls[a.GetAction().GetActionId()]
		if c == nil {
			return selection{}, invalid("table %s has no action with id %d", t.name, a.GetAction().GetActionId())
		}
		action = c.name
	}
	var match []engine.Match
	if len(ask.GetMatch()) > 0 {
		var err error
		match, err = t.match(ask.GetMatch(), false)
		if errors.Is(err, errNoSuchName) { // no entry can have it
			return selection{accept: func(row) bool { return false }}, nil
		}
		if err != nil {
			return selection{}, err
		}
	}
	out := selection{accept: func(r row) bool {
		e := r.entry.Entry()
		return (want.cookie == 0 || r.note.cookie == want.cookie) &&
			(want.metadata == "" || r.note.metadata == want.metadata) &&
			(action == "" || e.Call.Action == action) &&
			(priority == 0 || e.Priority == priority) &&
			(match == nil || slices.EqualFunc(match, e.Match, sameMatch))
	}}
	if t.oneEntry(ask) {
		if e, ok := t.engine.Lookup(match, priority); ok {
			out.rows = []row{{e, t.notes[e]}}
		}
	} else {
		out.rows = shot.rows(t)
	}
	return out, nil
}

func sameMatch(a, b engine.Match) bool {
	return a.PrefixLen == b.PrefixLen && slices.Equal(a.Value, b.Value) && slices.Equal(a.Mask, b.Mask)
}

// readTables selects table entries: table id 0 is all tables and takes no filter.
func (p *pipeline) readTables(shot *snapshot, ask *v1.TableEntry, now func() time.Duration) (result, error) {
	tables := p.tables
	if ask.GetTableId() == 0 {
		if len(ask.GetMatch()) > 0 || ask.GetAction() != nil || ask.GetPriority() != 0 || noteOf(ask) != (note{}) ||
			ask.GetIsDefaultAction() {
			return nil, invalid("table_id 0 means all tables and takes no other filter")
		}
	} else {
		t, err := p.table(ask.GetTableId())
		if err != nil {
			return nil, err
		}
		tables = []*table{t}
		switch {
		case ask.GetTimeSinceLastHit() != nil && (!t.timeout || ask.GetIsDefaultAction()):
			return nil, invalid("table %s has no idle timeouts there", t.name)
		case ask.GetCounterData() != nil && !t.counter:
			return nil, invalid("table %s has no direct counter", t.name)
		case (ask.GetMeterConfig() != nil || ask.GetMeterCounterData() != nil) && !t.meter:
			return nil, invalid("table %s has no direct meter", t.name)
		case ask.GetMeterCounterData() != nil:
			return nil, unimplemented("counters of colors")
		}
		if ask.GetIsDefaultAction() {
			return t.readDefault(ask)
		}
	}
	selected := make([]selection, len(tables))
	for i, t := range tables {
		var err error
		if selected[i], err = t.selectRows(shot, ask); err != nil {
			return nil, err
		}
	}
	return func(yield func(*v1.Entity) bool) {
		at := now()
		for i, t := range tables {
			for r := range selected[i].all {
				e := t.encode(r)
				if ask.GetCounterData() != nil && t.counter {
					e.CounterData = counterData(r.entry.Counter())
				}
				if ask.GetMeterConfig() != nil {
					e.MeterConfig = meterConfig(r.entry.Rates())
				}
				if ask.GetTimeSinceLastHit() != nil && t.timeout {
					e.TimeSinceLastHit = &v1.TableEntry_IdleTimeout{ElapsedNs: int64(max(0, at-r.entry.LastHit()))}
				}
				if !yield(&v1.Entity{Entity: &v1.Entity_TableEntry{TableEntry: e}}) {
					return
				}
			}
		}
	}, nil
}

// readDefault selects a table's default entry.
func (t *table) readDefault(ask *v1.TableEntry) (result, error) {
	if len(ask.GetMatch()) > 0 || ask.GetPriority() != 0 {
		return nil, invalid("table %s: the default entry has no match and no priority", t.name)
	}
	e := &v1.TableEntry{TableId: t.id, IsDefaultAction: true, IsConst: t.constDefault}
	if c, ok := t.engine.Default(); ok {
		e.Action = t.encodeCall(c)
	}
	if ask.GetCounterData() != nil {
		e.CounterData = counterData(t.engine.Miss().Counter())
	}
	if ask.GetMeterConfig() != nil {
		e.MeterConfig = meterConfig(t.engine.Miss().Rates())
	}
	t.noteDefault.write(e)
	return single(&v1.Entity{Entity: &v1.Entity_TableEntry{TableEntry: e}}), nil
}

func single(e *v1.Entity) result {
	return func(yield func(*v1.Entity) bool) { yield(e) }
}

func (n note) write(e *v1.TableEntry) {
	setCookie(e, n.cookie)
	if n.metadata != "" {
		e.Metadata = []byte(n.metadata)
	}
}

// encode converts an entry for the client: key, action, idle timeout and the client's own data.
func (t *table) encode(r row) *v1.TableEntry {
	entry := r.entry.Entry()
	e := &v1.TableEntry{
		TableId:       t.id,
		Priority:      int32(entry.Priority),
		Action:        t.encodeCall(entry.Call),
		IdleTimeoutNs: int64(entry.IdleTimeout),
		IsConst:       t.constEntries,
	}
	e.Match = make([]*v1.FieldMatch, 0, len(t.fields))
	for i := range t.fields {
		if m := t.fields[i].encode(entry.Match[i]); m != nil {
			e.Match = append(e.Match, m)
		}
	}
	r.note.write(e)
	return e
}

// encodeCall converts an action; nil for one that P4Info does not have.
func (t *table) encodeCall(c engine.Call) *v1.TableAction {
	known := t.callBy[c.Action]
	if known == nil {
		return nil
	}
	a := &v1.Action{ActionId: known.id}
	if len(known.params) > 0 {
		a.Params = make([]*v1.Action_Param, len(known.params))
		for i, p := range known.params {
			a.Params[i] = &v1.Action_Param{ParamId: p.id, Value: p.toBytes(c.Params[i])}
		}
	}
	return &v1.TableAction{Type: &v1.TableAction_Action{Action: a}}
}
