package server

import (
	"errors"
	"fmt"
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
	packetIn  *controllerHeader // nil: packet-ins carry no metadata
	packetOut *controllerHeader
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
	bits int
	kind configv1.MatchField_MatchType
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
	bits int
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
	engine *engine.Register
}

// newPipeline compiles a configuration. Its errors say what in it cannot be realised, all of it.
// digestsDue gets a token when a digest may be due earlier than before.
func newPipeline(config *v1.ForwardingPipelineConfig, digestsDue chan<- struct{}) (*pipeline, error) {
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
	}
	var problems []error
	problem := func(format string, args ...any) { problems = append(problems, fmt.Errorf("p4info: "+format, args...)) }
	for _, t := range info.GetTables() {
		resolved, err := p.resolveTable(info, t)
		if err == nil && p.tableBy[resolved.id] != nil {
			err = fmt.Errorf("id %d is used twice", resolved.id)
		}
		if err != nil {
			problem("table %s: %w", t.GetPreamble().GetName(), err)
			continue
		}
		p.tables, p.tableBy[resolved.id] = append(p.tables, resolved), resolved
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
	for _, r := range info.GetRegisters() {
		pre := r.GetPreamble()
		e := program.Register(pre.GetName())
		if e == nil {
			problem("register %s: not in p4_device_config", pre.GetName())
			continue
		}
		resolved := &register{id: pre.GetId(), name: pre.GetName(), engine: e}
		p.registers, p.registry[resolved.id] = append(p.registers, resolved), resolved
	}
	if len(info.GetActionProfiles()) > 0 {
		problem("action profile %s: action profiles are not supported", info.ActionProfiles[0].GetPreamble().GetName())
	}
	if p.digests, err = newDigests(info, digestsDue); err != nil {
		problem("%w", err)
	}
	for _, m := range info.GetControllerPacketMetadata() {
		header, err := newControllerHeader(m)
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

func (p *pipeline) resolveTable(info *configv1.P4Info, t *configv1.Table) (*table, error) {
	e := p.program.Table(t.GetPreamble().GetName())
	if e == nil {
		return nil, errors.New("not in p4_device_config")
	}
	if t.GetPreamble().GetId() == 0 {
		return nil, errors.New("id 0")
	}
	out := &table{
		id:           t.GetPreamble().GetId(),
		name:         t.GetPreamble().GetName(),
		engine:       e,
		calls:        map[uint32]*call{},
		callBy:       map[string]*call{},
		timeout:      t.GetIdleTimeoutBehavior() == configv1.Table_NOTIFY_CONTROL,
		constEntries: t.GetIsConstTable() || e.ConstEntries(),
		constDefault: t.GetConstDefaultActionId() != 0 || e.ConstDefault(),
		notes:        map[*engine.Installed]note{},
	}
	if out.timeout && !e.SupportsTimeout() {
		return nil, errors.New("idle_timeout_behavior NOTIFY_CONTROL, but p4_device_config keeps no timeouts")
	}
	keys := e.Keys()
	if len(keys) != len(t.GetMatchFields()) {
		return nil, fmt.Errorf("%d match fields, but %d keys in p4_device_config", len(t.GetMatchFields()), len(keys))
	}
	for i, f := range t.GetMatchFields() {
		if !sameKind(f.GetMatchType(), keys[i].Kind) || int(f.GetBitwidth()) != keys[i].Bits {
			return nil, fmt.Errorf("match field %s: %v of %d bits does not fit key %d of p4_device_config",
				f.GetName(), f.GetMatchType(), f.GetBitwidth(), i)
		}
		switch f.GetMatchType() {
		case configv1.MatchField_TERNARY, configv1.MatchField_RANGE, configv1.MatchField_OPTIONAL:
			out.prioritised = true
		}
		out.fields = append(out.fields, field{id: f.GetId(), name: f.GetName(), bits: int(f.GetBitwidth()), kind: f.GetMatchType()})
	}
	for _, d := range info.GetDirectCounters() {
		out.counter = out.counter || d.GetDirectTableId() == out.id
	}
	if out.counter && !e.HasCounter() {
		return nil, errors.New("a direct counter, but none in p4_device_config")
	}
	for _, d := range info.GetDirectMeters() {
		out.meter = out.meter || d.GetDirectTableId() == out.id
	}
	if out.meter && !e.HasMeter() {
		return nil, errors.New("a direct meter, but none in p4_device_config")
	}
	for _, ref := range t.GetActionRefs() {
		c, err := resolveCall(info, e, ref)
		if err != nil {
			return nil, err
		}
		out.calls[c.id], out.callBy[c.name] = c, c
	}
	return out, nil
}

func resolveCall(info *configv1.P4Info, t *engine.Table, ref *configv1.ActionRef) (*call, error) {
	for _, a := range info.GetActions() {
		if a.GetPreamble().GetId() != ref.GetId() {
			continue
		}
		c := &call{id: ref.GetId(), name: a.GetPreamble().GetName(), scope: ref.GetScope()}
		for _, p := range a.GetParams() {
			c.params = append(c.params, param{id: p.GetId(), name: p.GetName(), bits: int(p.GetBitwidth())})
		}
		for _, e := range t.Actions() {
			if e.Name == c.name {
				return c, sameParams(c, e)
			}
		}
		return nil, fmt.Errorf("action %s: not in p4_device_config", c.name)
	}
	return nil, fmt.Errorf("action %d: not in p4info", ref.GetId())
}

func sameParams(c *call, e engine.Action) error {
	if len(c.params) != len(e.Params) {
		return fmt.Errorf("action %s: %d parameters, but %d in p4_device_config", c.name, len(c.params), len(e.Params))
	}
	for i, p := range c.params {
		if p.bits != e.Params[i].Bits {
			return fmt.Errorf("action %s: parameter %s has %d bits, but %d in p4_device_config", c.name, p.name, p.bits, e.Params[i].Bits)
		}
	}
	return nil
}

func sameKind(kind configv1.MatchField_MatchType, e engine.MatchKind) bool {
	switch kind {
	case configv1.MatchField_EXACT:
		return e == engine.Exact || e == engine.Valid
	case configv1.MatchField_LPM:
		return e == engine.LPM
	case configv1.MatchField_TERNARY, configv1.MatchField_OPTIONAL:
		return e == engine.Ternary // an optional key is all of it or none
	case configv1.MatchField_RANGE:
		return e == engine.Range
	}
	return false
}
