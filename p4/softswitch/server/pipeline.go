package server

import (
	"errors"
	"fmt"
	"maps"
	"slices"
	"time"

	configv1 "github.com/p4lang/p4runtime/go/p4/config/v1"
	v1 "github.com/p4lang/p4runtime/go/p4/v1"

	"github.com/sluicelb/sluice/p4/softswitch/engine"
)

// pipeline is one forwarding pipeline: its configuration, the compiled program, and what P4Info says
// of both, by id. What clients write besides tables and counters is kept here too, so that a new
// pipeline starts empty.
type pipeline struct {
	config    *v1.ForwardingPipelineConfig
	program   *engine.Program
	tables    []*table
	tableBy   map[uint32]*table
	counters  []*counter
	counterBy map[uint32]*counter
	meters    []*meter
	meterBy   map[uint32]*meter
	registers []*register
	registry  map[uint32]*register
	digests   *digests
	groups    map[uint32]*v1.MulticastGroupEntry
	profiles  map[uint32]bool   // action profiles: no table has one, so they have no members
	packetIn  *controllerHeader // nil: packet-ins carry no metadata
	packetOut *controllerHeader
	// unmet names what only P4Info has: the compiler found that no packet meets it.
	unmet []string
}

type table struct {
	id     uint32
	name   string
	engine *engine.Table
	fields []field // in the order of the engine's keys
	calls  map[uint32]*call
	callBy map[string]*call
	// prioritised tables have a ternary, range or optional key.
	prioritised  bool
	timeout      bool
	counter      bool
	meter        bool
	profiled     bool // its entries take their actions from an action profile, and so there are none
	constEntries bool
	constDefault bool
	// notes are what clients asked to keep with entries, if anything; noteDefault that of the default.
	notes       map[*engine.Installed]note
	noteDefault note
	// shortest is the shortest idle timeout that was written, 0 for none.
	shortest time.Duration
}

// note is data of a client that the target keeps and returns.
type note struct {
	cookie   uint64
	metadata string
}

type field struct {
	id   uint32
	name string
	kind configv1.MatchField_MatchType
	valueType
}

type call struct {
	id     uint32
	name   string
	params []param
	scope  configv1.ActionRef_Scope
}

type param struct {
	id   uint32
	name string
	valueType
}

type counter struct {
	id     uint32
	name   string
	engine *engine.Counter
}

type meter struct {
	id     uint32
	name   string
	engine *engine.Meter
}

type register struct {
	id     uint32
	name   string
	value  valueType
	engine *engine.Register
}

// newPipeline compiles a configuration. Its errors say what in it cannot be realised, all of it.
// digestsDue gets a token when a digest may be due earlier than before.
func newPipeline(config *v1.ForwardingPipelineConfig, cpuPort uint16, digestsDue chan<- struct{}) (*pipeline, error) {
	info := config.GetP4Info()
	if info == nil {
		return nil, errors.New("p4info is not set")
	}
	if len(config.GetP4DeviceConfig()) == 0 {
		return nil, errors.New("p4_device_config is empty")
	}
	program, err := engine.Load(config.GetP4DeviceConfig())
	if err != nil {
		return nil, fmt.Errorf("p4_device_config: %w", err)
	}
	p := &pipeline{
		config:    config,
		program:   program,
		tableBy:   map[uint32]*table{},
		counterBy: map[uint32]*counter{},
		meterBy:   map[uint32]*meter{},
		registry:  map[uint32]*register{},
		groups:    map[uint32]*v1.MulticastGroupEntry{},
		profiles:  map[uint32]bool{},
	}
	var problems []error
	problem := func(format string, args ...any) { problems = append(problems, fmt.Errorf("p4info: "+format, args...)) }
	r := resolver{info: info, types: newTypes(info, cpuPort), program: program, foreign: foreignTable(info, program)}
	for _, t := range r.metFirst(info.GetTables()) {
		resolved, err := r.table(t)
		if err == nil && p.tableBy[resolved.id] != nil {
			err = fmt.Errorf("id %d is used twice", resolved.id)
		}
		if err != nil {
			problem("table %s: %w", t.GetPreamble().GetName(), err)
			continue
		}
		p.tables, p.tableBy[resolved.id] = append(p.tables, resolved), resolved
		if program.Table(resolved.name) == nil {
			p.unmet = append(p.unmet, "table "+resolved.name)
		}
	}
	for _, c := range info.GetCounters() {
		pre := c.GetPreamble()
		e := program.Counter(pre.GetName())
		if e == nil {
			problem("counter %s: not in p4_device_config", pre.GetName())
			continue
		}
		resolved := &counter{id: pre.GetId(), name: pre.GetName(), engine: e}
		p.counters, p.counterBy[resolved.id] = append(p.counters, resolved), resolved
	}
	for _, m := range info.GetMeters() {
		pre := m.GetPreamble()
		e := program.Meter(pre.GetName())
		switch {
		case e == nil:
			problem("meter %s: not in p4_device_config", pre.GetName())
			continue
		case m.GetSpec().GetType() != configv1.MeterSpec_TWO_RATE_THREE_COLOR:
			problem("meter %s: type %v is not supported", pre.GetName(), m.GetSpec().GetType())
			continue
		}
		resolved := &meter{id: pre.GetId(), name: pre.GetName(), engine: e}
		p.meters, p.meterBy[resolved.id] = append(p.meters, resolved), resolved
	}
	for _, reg := range info.GetRegisters() {
		pre := reg.GetPreamble()
		e := program.Register(pre.GetName())
		if e == nil {
			problem("register %s: not in p4_device_config", pre.GetName())
			continue
		}
		data, err := r.types.data(reg.GetTypeSpec(), &planeValues{widths: []int{e.Bits()}})
		if err == nil && data.shape != noShape {
			err = errors.New("want cells of a single value")
		}
		if err != nil {
			problem("register %s: %w", pre.GetName(), err)
			continue
		}
		resolved := &register{id: pre.GetId(), name: pre.GetName(), value: data.value, engine: e}
		p.registers, p.registry[resolved.id] = append(p.registers, resolved), resolved
	}
	for _, a := range info.GetActionProfiles() {
		// No table has one that packets meet: the engine would not have loaded the program.
		p.profiles[a.GetPreamble().GetId()] = true
		p.unmet = append(p.unmet, "action profile "+a.GetPreamble().GetName())
	}
	if p.digests, err = newDigests(info, r.types, program.Digests(), digestsDue); err != nil {
		problem("%w", err)
	}
	for _, id := range slices.Sorted(maps.Keys(p.digests.byID)) {
		if d := p.digests.byID[id]; !slices.Contains(slices.Collect(maps.Values(p.digests.byName)), d) {
			p.unmet = append(p.unmet, "digest "+d.name)
		}
	}
	for _, m := range info.GetControllerPacketMetadata() {
		header, err := r.controllerHeader(m)
		if err != nil {
			problem("controller_packet_metadata %s: %w", m.GetPreamble().GetName(), err)
			continue
		}
		switch m.GetPreamble().GetName() {
		case "packet_in":
			p.packetIn = header
		case "packet_out":
			p.packetOut = header
		default:
			problem("controller_packet_metadata %s: want packet_in or packet_out", m.GetPreamble().GetName())
		}
	}
	if err := errors.Join(problems...); err != nil {
		return nil, err
	}
	return p, nil
}

// resolver finds in the program what P4Info names.
type resolver struct {
	info    *configv1.P4Info
	types   *types
	program *engine.Program
	foreign string // a table that only the program has, "" when there is none
}

// foreignTable returns a table with a key that the program has and P4Info has not.
func foreignTable(info *configv1.P4Info, program *engine.Program) string {
	for _, t := range program.Tables() {
		named := func(x *configv1.Table) bool { return x.GetPreamble().GetName() == t.Name() }
		if len(t.Keys()) > 0 && !slices.ContainsFunc(info.GetTables(), named) {
			return t.Name()
		}
	}
	return ""
}

// metFirst returns the tables that packets meet before the others, which take the widths of translated types from them.
func (r *resolver) metFirst(tables []*configv1.Table) []*configv1.Table {
	out := slices.Clone(tables)
	met := func(t *configv1.Table) int {
		if r.program.Table(t.GetPreamble().GetName()) != nil {
			return 0
		}
		return 1
	}
	slices.SortStableFunc(out, func(a, b *configv1.Table) int { return met(a) - met(b) })
	return out
}

func (r *resolver) table(t *configv1.Table) (*table, error) {
	if t.GetPreamble().GetId() == 0 {
		return nil, errors.New("id 0")
	}
	e := r.program.Table(t.GetPreamble().GetName())
	if e == nil {
		// The compiler removes tables that no packet meets from the device configuration only. But where the program
		// has a table that P4Info does not know, the two belong to different programs.
		if r.foreign != "" {
			return nil, fmt.Errorf("not in p4_device_config, whose table %s is not in p4info", r.foreign)
		}
		var err error
		if e, err = r.unapplied(t); err != nil {
			return nil, err
		}
	}
	if t.GetImplementationId() != 0 && r.program.Table(t.GetPreamble().GetName()) != nil {
		return nil, errors.New("an action profile, but none in p4_device_config")
	}
	out := &table{
		id:           t.GetPreamble().GetId(),
		name:         t.GetPreamble().GetName(),
		engine:       e,
		calls:        map[uint32]*call{},
		callBy:       map[string]*call{},
		timeout:      t.GetIdleTimeoutBehavior() == configv1.Table_NOTIFY_CONTROL,
		counter:      r.hasDirectCounter(t),
		meter:        r.hasDirectMeter(t),
		profiled:     t.GetImplementationId() != 0,
		constEntries: t.GetIsConstTable(),
		constDefault: t.GetConstDefaultActionId() != 0 || e.ConstDefault(),
		notes:        map[*engine.Installed]note{},
	}
	if e.ConstEntries() && !out.constEntries { // section "Preinitialized tables"
		e.Release(int(t.GetSize()))
	}
	if out.timeout && !e.SupportsTimeout() {
		return nil, errors.New("idle_timeout_behavior NOTIFY_CONTROL, but p4_device_config keeps no timeouts")
	}
	keys := e.Keys()
	if len(keys) != len(t.GetMatchFields()) {
		return nil, fmt.Errorf("%d match fields, but %d keys in p4_device_config", len(t.GetMatchFields()), len(keys))
	}
	for i, f := range t.GetMatchFields() {
		if !sameKind(f.GetMatchType(), keys[i].Kind) {
			return nil, fmt.Errorf("match field %s: %v, but %v in p4_device_config", f.GetName(), f.GetMatchType(),
				keys[i].Kind)
		}
		typ, err := r.types.of(f.GetTypeName(), f.GetBitwidth(), keys[i].Bits)
		if err != nil {
			return nil, fmt.Errorf("match field %s: %w", f.GetName(), err)
		}
		switch f.GetMatchType() {
		case configv1.MatchField_TERNARY, configv1.MatchField_RANGE, configv1.MatchField_OPTIONAL:
			out.prioritised = true
		}
		whole := f.GetMatchType() == configv1.MatchField_EXACT || f.GetMatchType() == configv1.MatchField_OPTIONAL
		if typ.kind == text && !whole {
			return nil, fmt.Errorf("match field %s: %v of strings, want EXACT or OPTIONAL", f.GetName(),
				f.GetMatchType())
		}
		out.fields = append(out.fields, field{id: f.GetId(), name: f.GetName(), kind: f.GetMatchType(), valueType: typ})
	}
	if out.counter && !e.HasCounter() {
		return nil, errors.New("a direct counter, but none in p4_device_config")
	}
	if out.meter && !e.HasMeter() {
		return nil, errors.New("a direct meter, but none in p4_device_config")
	}
	for _, ref := range t.GetActionRefs() {
		c, err := r.call(e, ref)
		if err != nil {
			return nil, err
		}
		out.calls[c.id], out.callBy[c.name] = c, c
	}
	return out, nil
}

func (r *resolver) hasDirectCounter(t *configv1.Table) bool {
	return slices.ContainsFunc(r.info.GetDirectCounters(), func(d *configv1.DirectCounter) bool {
		return d.GetDirectTableId() == t.GetPreamble().GetId()
	})
}

func (r *resolver) hasDirectMeter(t *configv1.Table) bool {
	return slices.ContainsFunc(r.info.GetDirectMeters(), func(d *configv1.DirectMeter) bool {
		return d.GetDirectTableId() == t.GetPreamble().GetId()
	})
}

func (r *resolver) action(id uint32) (*configv1.Action, error) {
	for _, a := range r.info.GetActions() {
		if a.GetPreamble().GetId() == id {
			return a, nil
		}
	}
	return nil, fmt.Errorf("action %d: not in p4info", id)
}

func (r *resolver) call(t *engine.Table, ref *configv1.ActionRef) (*call, error) {
	a, err := r.action(ref.GetId())
	if err != nil {
		return nil, err
	}
	c := &call{id: ref.GetId(), name: a.GetPreamble().GetName(), scope: ref.GetScope()}
	for _, e := range t.Actions() {
		if e.Name != c.name {
			continue
		}
		if len(a.GetParams()) != len(e.Params) {
			return nil, fmt.Errorf("action %s: %d parameters, but %d in p4_device_config",
				c.name, len(a.GetParams()), len(e.Params))
		}
		for i, p := range a.GetParams() {
			typ, err := r.types.of(p.GetTypeName(), p.GetBitwidth(), e.Params[i].Bits)
			if err != nil {
				return nil, fmt.Errorf("action %s: parameter %s: %w", c.name, p.GetName(), err)
			}
			c.params = append(c.params, param{id: p.GetId(), name: p.GetName(), valueType: typ})
		}
		return c, nil
	}
	return nil, fmt.Errorf("action %s: not in p4_device_config", c.name)
}

// unapplied makes a table that keeps what clients write, for one that no packet meets.
func (r *resolver) unapplied(t *configv1.Table) (*engine.Table, error) {
	u := engine.Unapplied{
		Name: t.GetPreamble().GetName(), Size: int(t.GetSize()),
		Counter: r.hasDirectCounter(t), Meter: r.hasDirectMeter(t),
		Timeout: t.GetIdleTimeoutBehavior() == configv1.Table_NOTIFY_CONTROL,
	}
	for _, f := range t.GetMatchFields() {
		kind, ok := engineKinds[f.GetMatchType()]
		if !ok {
			return nil, fmt.Errorf("match field %s: match type %v is not supported", f.GetName(), f.GetMatchType())
		}
		bits := r.types.width(f.GetTypeName(), f.GetBitwidth())
		u.Keys = append(u.Keys, engine.Key{Name: f.GetName(), Kind: kind, Bits: bits})
	}
	for _, ref := range t.GetActionRefs() {
		a, err := r.action(ref.GetId())
		if err != nil {
			return nil, err
		}
		out := engine.Action{Name: a.GetPreamble().GetName()}
		for _, p := range a.GetParams() {
			bits := r.types.width(p.GetTypeName(), p.GetBitwidth())
			out.Params = append(out.Params, engine.Param{Name: p.GetName(), Bits: bits})
		}
		u.Actions = append(u.Actions, out)
		// P4's default of defaults. Whether the source has another one P4Info does not tell.
		if out.Name == "NoAction" {
			u.Default = &engine.Call{Action: out.Name}
		}
	}
	return engine.NewTable(u)
}

// engineKinds are the engine's match kinds: an optional key is all of it or none.
var engineKinds = map[configv1.MatchField_MatchType]engine.MatchKind{
	configv1.MatchField_EXACT:    engine.Exact,
	configv1.MatchField_LPM:      engine.LPM,
	configv1.MatchField_TERNARY:  engine.Ternary,
	configv1.MatchField_OPTIONAL: engine.Ternary,
	configv1.MatchField_RANGE:    engine.Range,
}

func sameKind(kind configv1.MatchField_MatchType, e engine.MatchKind) bool {
	want, ok := engineKinds[kind]
	return ok && (want == e || want == engine.Exact && e == engine.Valid)
}
