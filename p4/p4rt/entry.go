package p4rt

import (
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"

	v1 "github.com/p4lang/p4runtime/go/p4/v1"
)

// Entry is a table entry by its names.
type Entry struct {
	Table    string
	Match    []Field // in the order of the table's keys; a key that does not matter is absent
	Priority int32   // non-zero exactly when a key is ternary, range or optional; more wins

	// What the entry does: an action with its parameters; in a table with an action profile a member,
	// a group, or a one-shot set instead. None of them in notifications, and in keys to delete.
	Action  string
	Params  []Field
	Member  uint32
	Group   uint32
	OneShot []WeightedAction

	IdleTimeout time.Duration // 0: the entry never idles
	SinceHit    *time.Duration
	Counter     *Counter // nil when not asked for. In a write: sets the counter
	Default     bool     // the entry that a miss takes: no match fields
}

// Field is a match field or a parameter, by name.
type Field struct {
	Name      string
	Kind      MatchKind
	Value     Value // range: the lowest
	Mask      Value // ternary
	High      Value // range: the highest
	PrefixLen int   // LPM
}

// WeightedAction is one action of a one-shot action set.
type WeightedAction struct {
	Action    string
	Params    []Field
	Weight    int32
	WatchPort Value // none when the zero Value
}

// Counter is what a counter has counted; what its Unit leaves out is 0.
type Counter struct {
	Packets, Bytes int64
}

// String prints the field as value, value/prefix, value&mask or low..high.
func (f Field) String() string {
	switch f.Kind {
	case LPM:
		return f.Value.String() + "/" + strconv.Itoa(f.PrefixLen)
	case Ternary:
		return f.Value.String() + "&" + f.Mask.String()
	case Range:
		return f.Value.String() + ".." + f.High.String()
	}
	return f.Value.String()
}

// String prints the entry on one line: vip{address=10.0.0.100 port=80} -> to_pool(pool_id=1).
func (e Entry) String() string {
	var b strings.Builder
	b.WriteString(e.Table)
	b.WriteByte('{')
	if e.Default {
		b.WriteString("default")
	}
	writeFields(&b, e.Match, " ")
	if e.Priority != 0 {
		fmt.Fprintf(&b, " priority=%d", e.Priority)
	}
	b.WriteByte('}')
	if does := e.Does(); does != "" {
		b.WriteString(" -> " + does)
	}
	return b.String()
}

// Does prints what the entry does: to_pool(pool_id=1, generation=0).
func (e Entry) Does() string {
	switch {
	case e.Action != "":
		return call(e.Action, e.Params)
	case e.Member != 0:
		return fmt.Sprintf("member %d", e.Member)
	case e.Group != 0:
		return fmt.Sprintf("group %d", e.Group)
	}
	return Set(e.OneShot)
}

// Set prints weighted actions: 2*forward(port=1), 1*forward(port=2).
func Set(actions []WeightedAction) string {
	var set []string
	for _, a := range actions {
		s := fmt.Sprintf("%d*%s", a.Weight, call(a.Action, a.Params))
		if !a.WatchPort.IsZero() {
			s += " watch " + a.WatchPort.String()
		}
		set = append(set, s)
	}
	return strings.Join(set, ", ")
}

func call(action string, params []Field) string {
	var b strings.Builder
	b.WriteString(action)
	b.WriteByte('(')
	writeFields(&b, params, ", ")
	b.WriteByte(')')
	return b.String()
}

func writeFields(b *strings.Builder, fields []Field, sep string) {
	for i, f := range fields {
		if i > 0 {
			b.WriteString(sep)
		}
		b.WriteString(f.Name)
		b.WriteByte('=')
		b.WriteString(f.String())
	}
}

// Field returns the value of the named match field, the zero Value when the entry does not have it.
func (e Entry) Field(name string) Value { return valueOf(e.Match, name) }

// Param returns the value of the named parameter, the zero Value when the entry does not have it.
func (e Entry) Param(name string) Value { return valueOf(e.Params, name) }

func valueOf(fields []Field, name string) Value {
	for i := range fields {
		if fields[i].Name == name {
			return fields[i].Value
		}
	}
	return Value{}
}

// DecodeEntry names what a table entry holds. The result keeps nothing of e.
func (i *Info) DecodeEntry(e *v1.TableEntry) (Entry, error) {
	t, err := i.tables.withID(e.GetTableId())
	if err != nil {
		return Entry{}, fmt.Errorf("decoding a table entry: %w", err)
	}
	entry, err := i.decodeEntry(t, e)
	if err != nil {
		return Entry{}, fmt.Errorf("decoding an entry of table %s: %w", t.Name, err)
	}
	return entry, nil
}

func (i *Info) decodeEntry(t *Table, e *v1.TableEntry) (Entry, error) {
	entry := Entry{
		Table:       t.Name,
		Priority:    e.GetPriority(),
		IdleTimeout: time.Duration(e.GetIdleTimeoutNs()),
		Default:     e.GetIsDefaultAction(),
	}
	if n := len(e.GetMatch()); n > 0 {
		entry.Match = make([]Field, 0, n)
	}
	found := 0
	for k := range t.Keys {
		key := &t.Keys[k]
		m := matchFor(e.GetMatch(), key.ID, k)
		if m == nil {
			if key.Kind == Exact && !entry.Default {
				return Entry{}, fmt.Errorf("match field %s: missing", key.Name)
			}
			continue
		}
		found++
		f, err := key.decodeMatch(m)
		if err != nil {
			return Entry{}, fmt.Errorf("match field %s: %w", key.Name, err)
		}
		entry.Match = append(entry.Match, f)
	}
	if found != len(e.GetMatch()) {
		return Entry{}, fmt.Errorf("%d match fields, of which %d are in the P4Info", len(e.GetMatch()), found)
	}
	if c := e.GetCounterData(); c != nil {
		entry.Counter = &Counter{Packets: c.GetPacketCount(), Bytes: c.GetByteCount()}
	}
	if h := e.GetTimeSinceLastHit(); h != nil {
		since := time.Duration(h.GetElapsedNs())
		entry.SinceHit = &since
	}
	return entry, i.decodeAction(t, e.GetAction(), &entry)
}

// matchFor finds the match with the key's id; targets answer in the order of the keys, mostly.
func matchFor(list []*v1.FieldMatch, id uint32, at int) *v1.FieldMatch {
	if at < len(list) && list[at].GetFieldId() == id {
		return list[at]
	}
	for _, m := range list {
		if m.GetFieldId() == id {
			return m
		}
	}
	return nil
}

func (i *Info) decodeAction(t *Table, a *v1.TableAction, entry *Entry) (err error) {
	switch x := a.GetType().(type) {
	case nil:
	case *v1.TableAction_Action:
		entry.Action, entry.Params, err = decodeCall(t, x.Action)
	case *v1.TableAction_ActionProfileMemberId:
		entry.Member = x.ActionProfileMemberId
	case *v1.TableAction_ActionProfileGroupId:
		entry.Group = x.ActionProfileGroupId
	case *v1.TableAction_ActionProfileActionSet:
		for _, one := range x.ActionProfileActionSet.GetActionProfileActions() {
			w := WeightedAction{Weight: one.GetWeight()}
			if p := one.GetWatchPort(); len(p) > 0 {
				w.WatchPort = BytesValue(p)
			}
			if w.Action, w.Params, err = decodeCall(t, one.GetAction()); err != nil {
				return err
			}
			entry.OneShot = append(entry.OneShot, w)
		}
	default:
		err = fmt.Errorf("an action of type %T is not supported", x)
	}
	return err
}

func decodeCall(t *Table, a *v1.Action) (string, []Field, error) {
	action := t.withID(a.GetActionId())
	if action == nil {
		return "", nil, fmt.Errorf("action id %d is not one of the table's", a.GetActionId())
	}
	if len(a.GetParams()) != len(action.Params) {
		return "", nil, fmt.Errorf("action %s: %d parameters, must be %d", action.Name, len(a.GetParams()),
			len(action.Params))
	}
	if len(action.Params) == 0 {
		return action.Name, nil, nil
	}
	params := make([]Field, len(action.Params))
	for k := range action.Params {
		p := &action.Params[k]
		b, ok := paramFor(a.GetParams(), p.ID, k)
		if !ok {
			return "", nil, fmt.Errorf("action %s: parameter %s: missing", action.Name, p.Name)
		}
		v, err := p.decode(b)
		if err != nil {
			return "", nil, fmt.Errorf("action %s: parameter %s: %w", action.Name, p.Name, err)
		}
		params[k] = Field{Name: p.Name, Value: v}
	}
	return action.Name, params, nil
}

func paramFor(list []*v1.Action_Param, id uint32, at int) ([]byte, bool) {
	if list[at].GetParamId() == id {
		return list[at].GetValue(), true
	}
	for _, p := range list {
		if p.GetParamId() == id {
			return p.GetValue(), true
		}
	}
	return nil, false
}

func (k *Key) decodeMatch(m *v1.FieldMatch) (Field, error) {
	f := Field{Name: k.Name, Kind: k.Kind}
	var err error
	mismatch := false
	switch k.Kind {
	case Exact:
		x, ok := m.GetFieldMatchType().(*v1.FieldMatch_Exact_)
		if mismatch = !ok; ok {
			f.Value, err = k.decode(x.Exact.GetValue())
		}
	case Optional:
		x, ok := m.GetFieldMatchType().(*v1.FieldMatch_Optional_)
		if mismatch = !ok; ok {
			f.Value, err = k.decode(x.Optional.GetValue())
		}
	case LPM:
		x, ok := m.GetFieldMatchType().(*v1.FieldMatch_Lpm)
		if mismatch = !ok; ok {
			f.PrefixLen = int(x.Lpm.GetPrefixLen())
			if f.PrefixLen < 0 || f.PrefixLen > k.Bits() {
				return Field{}, fmt.Errorf("prefix length is %d, must be 0..%d", f.PrefixLen, k.Bits())
			}
			f.Value, err = k.decode(x.Lpm.GetValue())
		}
	case Ternary:
		x, ok := m.GetFieldMatchType().(*v1.FieldMatch_Ternary_)
		if mismatch = !ok; ok {
			f.Value, f.Mask, err = k.decodeTwo(x.Ternary.GetValue(), x.Ternary.GetMask())
			if f.Mask.format == Decimal {
				f.Mask.format = Hex // a mask of bits says nothing in decimal
			}
		}
	case Range:
		x, ok := m.GetFieldMatchType().(*v1.FieldMatch_Range_)
		if mismatch = !ok; ok {
			f.Value, f.High, err = k.decodeTwo(x.Range.GetLow(), x.Range.GetHigh())
		}
	}
	if mismatch {
		return Field{}, fmt.Errorf("matched as %T, must be %v", m.GetFieldMatchType(), k.Kind)
	}
	return f, err
}

func (k *Key) decodeTwo(a, b []byte) (Value, Value, error) {
	v, err := k.decode(a)
	if err != nil {
		return Value{}, Value{}, err
	}
	w, err := k.decode(b)
	return v, w, err
}

// EncodeEntry makes the message for an entry: names resolved, values checked against their width and
// in their shortest form, match fields that match everything left out, masked-out bits zero (sections
// "Bytestrings" and "Match Format"). The message keeps nothing of e.
func (i *Info) EncodeEntry(e Entry) (*v1.TableEntry, error) {
	t, err := i.tables.named(e.Table)
	if err != nil {
		return nil, err
	}
	m, err := t.encodeEntry(&e)
	if err != nil {
		return nil, fmt.Errorf("table %s: %w", t.Name, err)
	}
	return m, nil
}

func (t *Table) encodeEntry(e *Entry) (*v1.TableEntry, error) {
	m := &v1.TableEntry{TableId: t.ID, Priority: e.Priority, IsDefaultAction: e.Default}
	if err := t.encodeKey(e, m); err != nil {
		return nil, err
	}
	var err error
	if m.Action, err = t.encodeAction(e); err != nil {
		return nil, err
	}
	if e.IdleTimeout != 0 {
		switch {
		case !t.IdleTimeout:
			return nil, fmt.Errorf("idle timeout is %v, but the table does not support one", e.IdleTimeout)
		case e.Default:
			return nil, fmt.Errorf("idle timeout is %v, but the default entry cannot have one", e.IdleTimeout)
		case e.IdleTimeout < 0:
			return nil, fmt.Errorf("idle timeout is %v, must not be negative", e.IdleTimeout)
		}
		m.IdleTimeoutNs = e.IdleTimeout.Nanoseconds()
	}
	if e.Counter != nil {
		if t.Counter == 0 {
			return nil, fmt.Errorf("a counter is given, but the table has none")
		}
		m.CounterData = &v1.CounterData{PacketCount: e.Counter.Packets, ByteCount: e.Counter.Bytes}
	}
	return m, nil
}

func (t *Table) encodeKey(e *Entry, m *v1.TableEntry) error {
	if e.Default {
		if len(e.Match) > 0 || e.Priority != 0 {
			return fmt.Errorf("the default entry has neither match fields nor a priority")
		}
		return nil
	}
	switch wants := t.hasPriority(); {
	case wants && e.Priority <= 0:
		return fmt.Errorf("priority is %d, must be above 0: a key is ternary, range or optional", e.Priority)
	case !wants && e.Priority != 0:
		return fmt.Errorf("priority is %d, must be 0: no key is ternary, range or optional", e.Priority)
	}
	m.Match = make([]*v1.FieldMatch, 0, len(t.Keys))
	found := 0
	for k := range t.Keys {
		key := &t.Keys[k]
		at := fieldNamed(e.Match, key.Name, k)
		if at < 0 {
			if key.Kind == Exact {
				return fmt.Errorf("match field %s: missing, and exact fields always matter", key.Name)
			}
			continue
		}
		found++
		fm, err := key.encodeMatch(&e.Match[at])
		if err != nil {
			return fmt.Errorf("match field %s: %w", key.Name, err)
		}
		if fm != nil {
			m.Match = append(m.Match, fm)
		}
	}
	if found == len(e.Match) {
		return nil
	}
	return extra("match field", e.Match, func(name string) error { _, err := t.Key(name); return err })
}

// extra says which of the fields is unknown, or given twice.
func extra(kind string, fields []Field, find func(string) error) error {
	for i, f := range fields {
		if err := find(f.Name); err != nil {
			return err
		}
		if at := fieldNamed(fields, f.Name, 0); at != i {
			return fmt.Errorf("%s %s: given twice", kind, f.Name)
		}
	}
	return nil
}

// fieldNamed finds a field; callers mostly give them in order.
func fieldNamed(fields []Field, name string, at int) int {
	if at < len(fields) && fields[at].Name == name {
		return at
	}
	for i := range fields {
		if fields[i].Name == name {
			return i
		}
	}
	return -1
}

// encodeMatch returns nil for a match that matches everything.
func (k *Key) encodeMatch(f *Field) (*v1.FieldMatch, error) {
	if f.Kind != k.Kind {
		return nil, fmt.Errorf("given as %v, must be %v", f.Kind, k.Kind)
	}
	value, err := k.encode(f.Value)
	if err != nil {
		return nil, err
	}
	m := &v1.FieldMatch{FieldId: k.ID}
	switch k.Kind {
	case Exact:
		m.FieldMatchType = &v1.FieldMatch_Exact_{Exact: &v1.FieldMatch_Exact{Value: value}}
	case Optional:
		m.FieldMatchType = &v1.FieldMatch_Optional_{Optional: &v1.FieldMatch_Optional{Value: value}}
	case LPM:
		if f.PrefixLen < 0 || f.PrefixLen > k.Bits() {
			return nil, fmt.Errorf("prefix length is %d, must be 0..%d", f.PrefixLen, k.Bits())
		}
		if f.PrefixLen == 0 {
			return nil, nil
		}
		m.FieldMatchType = &v1.FieldMatch_Lpm{Lpm: &v1.FieldMatch_LPM{
			Value:     k.and(f.Value, k.ones(int32(f.PrefixLen))).Bytes(),
			PrefixLen: int32(f.PrefixLen),
		}}
	case Ternary:
		mask, err := k.encode(f.Mask)
		if err != nil {
			return nil, fmt.Errorf("mask: %w", err)
		}
		if f.Mask.bitLen() == 0 {
			return nil, nil
		}
		m.FieldMatchType = &v1.FieldMatch_Ternary_{Ternary: &v1.FieldMatch_Ternary{
			Value: k.and(f.Value, f.Mask).Bytes(),
			Mask:  mask,
		}}
	case Range:
		high, err := k.encode(f.High)
		if err != nil {
			return nil, fmt.Errorf("highest: %w", err)
		}
		if f.Value.big().Cmp(f.High.big()) > 0 {
			return nil, fmt.Errorf("range %v is empty: the lowest value is above the highest", f)
		}
		if f.Value.bitLen() == 0 && f.High.Equal(k.ones(k.bits)) {
			return nil, nil
		}
		m.FieldMatchType = &v1.FieldMatch_Range_{Range: &v1.FieldMatch_Range{Low: value, High: high}}
	}
	return m, nil
}

func (t *Table) encodeAction(e *Entry) (*v1.TableAction, error) {
	given := 0
	for _, is := range []bool{e.Action != "", e.Member != 0, e.Group != 0, len(e.OneShot) > 0} {
		if is {
			given++
		}
	}
	switch {
	case given > 1:
		return nil, fmt.Errorf("an entry has one of action, member, group and one-shot set, %d are given", given)
	case e.Action == "" && len(e.Params) > 0:
		return nil, fmt.Errorf("%d parameters are given without an action", len(e.Params))
	case given == 0:
		return nil, nil
	case e.Action != "":
		a, err := t.encodeCall(e.Action, e.Params, e.Default)
		return &v1.TableAction{Type: &v1.TableAction_Action{Action: a}}, err
	case t.Profile == 0:
		return nil, fmt.Errorf("a member, group or one-shot set is given, but the table has no action profile")
	case e.Member != 0:
		return &v1.TableAction{Type: &v1.TableAction_ActionProfileMemberId{ActionProfileMemberId: e.Member}}, nil
	case e.Group != 0:
		return &v1.TableAction{Type: &v1.TableAction_ActionProfileGroupId{ActionProfileGroupId: e.Group}}, nil
	}
	set := &v1.ActionProfileActionSet{}
	for _, one := range e.OneShot {
		a, err := t.encodeCall(one.Action, one.Params, false)
		if err != nil {
			return nil, err
		}
		w := &v1.ActionProfileAction{Action: a, Weight: one.Weight}
		if !one.WatchPort.IsZero() {
			w.WatchKind = &v1.ActionProfileAction_WatchPort{WatchPort: one.WatchPort.Bytes()}
		}
		set.ActionProfileActions = append(set.ActionProfileActions, w)
	}
	return &v1.TableAction{Type: &v1.TableAction_ActionProfileActionSet{ActionProfileActionSet: set}}, nil
}

func (t *Table) encodeCall(name string, params []Field, isDefault bool) (*v1.Action, error) {
	action := actionNamed(t.DefaultOnly, name)
	if action == nil || !isDefault {
		var err error
		if action, err = t.Action(name); err != nil {
			return nil, err
		}
	}
	a := &v1.Action{ActionId: action.ID}
	if len(action.Params) > 0 {
		a.Params = make([]*v1.Action_Param, len(action.Params))
	}
	for k := range action.Params {
		p := &action.Params[k]
		at := fieldNamed(params, p.Name, k)
		if at < 0 {
			return nil, fmt.Errorf("action %s: parameter %s: missing", name, p.Name)
		}
		b, err := p.encode(params[at].Value)
		if err != nil {
			return nil, fmt.Errorf("action %s: parameter %s: %w", name, p.Name, err)
		}
		a.Params[k] = &v1.Action_Param{ParamId: p.ID, Value: b}
	}
	if len(params) == len(action.Params) {
		return a, nil
	}
	err := extra("parameter", params, func(name string) error {
		if slices.ContainsFunc(action.Params, func(p Param) bool { return p.Name == name }) {
			return nil
		}
		return unknown("parameter", name, action.Params, func(p Param) string { return p.Name })
	})
	return nil, fmt.Errorf("action %s: %w", name, err)
}
