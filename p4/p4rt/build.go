package p4rt

import (
	"fmt"

	configv1 "github.com/p4lang/p4runtime/go/p4/config/v1"
)

// builder fills an Info and collects what is wrong with its source.
type builder struct {
	*Info
	types    *configv1.P4TypeInfo
	problems []error
}

func (b *builder) add(err error) {
	if err != nil {
		b.problems = append(b.problems, err)
	}
}

func (b *builder) action(a *configv1.Action) {
	action := &Action{ID: a.GetPreamble().GetId(), Name: nameOf(a.GetPreamble())}
	for _, p := range a.GetParams() {
		action.Params = append(action.Params, Param{
			ID:    p.GetId(),
			Name:  p.GetName(),
			typed: b.typed(p.GetBitwidth(), p.GetTypeName(), p.GetAnnotations()).named(p.GetName()),
		})
	}
	b.add(b.actions.add(a.GetPreamble(), action))
}

func (b *builder) table(t *configv1.Table, counter Unit) {
	table := &Table{
		ID:          t.GetPreamble().GetId(),
		Name:        nameOf(t.GetPreamble()),
		Size:        t.GetSize(),
		Const:       t.GetIsConstTable(),
		Counter:     counter,
		IdleTimeout: t.GetIdleTimeoutBehavior() == configv1.Table_NOTIFY_CONTROL,
		Profile:     t.GetImplementationId(),
	}
	problem := func(err error) {
		if err != nil {
			b.add(fmt.Errorf("table %q: %w", table.Name, err))
		}
	}
	for _, m := range t.GetMatchFields() {
		key := Key{
			ID:    m.GetId(),
			Name:  m.GetName(),
			typed: b.typed(m.GetBitwidth(), m.GetTypeName(), m.GetAnnotations()).named(m.GetName()),
		}
		switch m.GetMatchType() {
		case configv1.MatchField_EXACT:
			key.Kind = Exact
		case configv1.MatchField_LPM:
			key.Kind = LPM
			key.typed = key.address()
		case configv1.MatchField_TERNARY:
			key.Kind = Ternary
		case configv1.MatchField_RANGE:
			key.Kind = Range
		case configv1.MatchField_OPTIONAL:
			key.Kind = Optional
		default:
			problem(fmt.Errorf("match field %q: match type %v is not supported; exact, lpm, ternary, range and "+
				"optional are",
				key.Name, m.GetMatchType()))
		}
		if key.text && key.Kind != Exact && key.Kind != Optional {
			problem(fmt.Errorf("match field %q: a string cannot be matched %v", key.Name, key.Kind))
		}
		table.Keys = append(table.Keys, key)
	}
	for _, ref := range t.GetActionRefs() {
		action, err := b.actions.withID(ref.GetId())
		switch {
		case err != nil:
			problem(err)
		case ref.GetScope() == configv1.ActionRef_DEFAULT_ONLY:
			table.DefaultOnly = append(table.DefaultOnly, action)
		default:
			table.Actions = append(table.Actions, action)
		}
	}
	if id := t.GetConstDefaultActionId(); id != 0 {
		action, err := b.actions.withID(id)
		problem(err)
		table.ConstDefault = action
	}
	b.add(b.tables.add(t.GetPreamble(), table))
}

func (b *builder) header(m *configv1.ControllerPacketMetadata) {
	header := &Header{Name: m.GetPreamble().GetName()}
	for _, f := range m.GetMetadata() {
		header.Fields = append(header.Fields, Param{
			ID:    f.GetId(),
			Name:  f.GetName(),
			typed: b.typed(f.GetBitwidth(), f.GetTypeName(), f.GetAnnotations()).named(f.GetName()),
		})
	}
	// Section "ControllerPacketMetadata" reserves these two names.
	switch header.Name {
	case "packet_in":
		b.packetIn = header
	case "packet_out":
		b.packetOut = header
	}
}

func unitOf(spec *configv1.CounterSpec) Unit {
	switch spec.GetUnit() {
	case configv1.CounterSpec_BYTES:
		return Bytes
	case configv1.CounterSpec_PACKETS:
		return Packets
	}
	return Packets | Bytes
}

// typed resolves the type of a match field, parameter or metadata: translated types go over the wire
// in the controller's representation (section "User-defined types").
func (b *builder) typed(bits int32, name *configv1.P4NamedType, annotations []string) typed {
	t := typed{bits: bits, format: formatOf(annotations)}
	if translated := b.types.GetNewTypes()[name.GetName()].GetTranslatedType(); translated != nil {
		t.bits = translated.GetSdnBitwidth()
		t.text = translated.GetSdnString() != nil
	}
	if t.text {
		t.bits, t.format = 0, Text
	}
	return t
}
