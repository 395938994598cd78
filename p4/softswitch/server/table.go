package server

import (
	"errors"
	"time"

	configv1 "github.com/p4lang/p4runtime/go/p4/config/v1"
	v1 "github.com/p4lang/p4runtime/go/p4/v1"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"github.com/sluicelb/sluice/p4/softswitch/engine"
)

func (p *pipeline) table(id uint32) (*table, error) {
	if t := p.tableBy[id]; t != nil {
		return t, nil
	}
	return nil, invalid("table_id %d is not in the P4Info", id)
}

// updateTable writes a table entry (section "TableEntry"). state is locked.
func (p *pipeline) updateTable(kind v1.Update_Type, e *v1.TableEntry, now time.Duration) error {
	t, err := p.table(e.GetTableId())
	if err != nil {
		return err
	}
	if e.GetIsDefaultAction() {
		return t.updateDefault(kind, e)
	}
	key, err := t.key(e.GetMatch(), e.GetPriority(), kind == v1.Update_INSERT)
	if err != nil {
		return err
	}
	if kind == v1.Update_DELETE {
		// Only the key counts; the rest may be nonsense.
		if t.constEntries {
			return t.constError()
		}
		if len(t.notes) > 0 {
			if old, ok := t.engine.Lookup(key.match, key.priority); ok {
				defer delete(t.notes, old)
			}
		}
		return engineError(t, t.engine.Delete(key.match, key.priority))
	}
	if err := t.checkBody(e); err != nil {
		return err
	}
	if kind == v1.Update_MODIFY {
		return t.modify(key, e, now)
	}
	return t.insert(key, e, now)
}

func (t *table) insert(k key, e *v1.TableEntry, now time.Duration) error {
	switch {
	case t.constEntries:
		return t.constError()
	case len(t.fields) == 0:
		return invalid("table %s has no key: it takes no entries, only a default", t.name)
	case e.GetAction() == nil:
		return invalid("table %s: INSERT needs an action", t.name)
	}
	c, err := t.action(e.GetAction(), false)
	if err != nil {
		return err
	}
	entry := engine.Entry{Match: k.match, Priority: k.priority, Call: c,
		IdleTimeout: time.Duration(e.GetIdleTimeoutNs()), Since: now}
	if err := t.engine.Insert(entry); err != nil {
		return engineError(t, err)
	}
	t.expect(entry.IdleTimeout)
	return t.annotate(k, nil, e)
}

func (t *table) modify(k key, e *v1.TableEntry, now time.Duration) error {
	old, ok := t.engine.Lookup(k.match, k.priority)
	if !ok {
		return engineError(t, engine.ErrNotFound)
	}
	if e.GetAction() == nil {
		// Section "Action Specification": only direct resources change.
		setCounter(old, e.GetCounterData())
		return t.setMeter(old, e.GetMeterConfig())
	}
	if t.constEntries {
		return t.constError()
	}
	c, err := t.action(e.GetAction(), false)
	if err != nil {
		return err
	}
	entry := engine.Entry{Match: k.match, Priority: k.priority, Call: c,
		IdleTimeout: time.Duration(e.GetIdleTimeoutNs()), Since: now}
	if err := t.engine.Modify(entry); err != nil {
		return engineError(t, err)
	}
	t.expect(entry.IdleTimeout)
	return t.annotate(k, old, e)
}

// annotate writes what belongs to an entry and is not in the engine's: the counter, the meter, and the
// client's own data, which moves from the old to the new version of the entry.
func (t *table) annotate(k key, old *engine.Installed, e *v1.TableEntry) error {
	n := noteOf(e)
	if len(t.notes) > 0 && old != nil {
		delete(t.notes, old)
	}
	if n == (note{}) && e.GetCounterData() == nil && !t.meter {
		return nil
	}
	now, ok := t.engine.Lookup(k.match, k.priority)
	if !ok {
		return nil
	}
	setCounter(now, e.GetCounterData())
	if n != (note{}) {
		t.notes[now] = n
	}
	return t.setMeter(now, e.GetMeterConfig())
}

func noteOf(e *v1.TableEntry) note {
	return note{cookie: cookie(e), metadata: string(e.GetMetadata())}
}

// updateDefault is section "Default Entry".
func (t *table) updateDefault(kind v1.Update_Type, e *v1.TableEntry) error {
	switch {
	case kind != v1.Update_MODIFY:
		return invalid("table %s: the default entry takes MODIFY only, not %v", t.name, kind)
	case len(e.GetMatch()) > 0 || e.GetPriority() != 0:
		return invalid("table %s: the default entry has no match and no priority", t.name)
	case e.GetIdleTimeoutNs() != 0:
		return invalid("table %s: the default entry has no idle timeout", t.name)
	}
	if err := t.checkBody(e); err != nil {
		return err
	}
	switch {
	case t.constDefault:
		return status.Errorf(codes.PermissionDenied, "table %s: the default entry is const", t.name)
	case e.GetAction() == nil:
		t.engine.ResetDefault()
		t.noteDefault = note{}
	default:
		c, err := t.action(e.GetAction(), true)
		if err != nil {
			return err
		}
		if err := t.engine.SetDefault(c); err != nil {
			return engineError(t, err)
		}
		t.noteDefault = noteOf(e)
	}
	setCounter(t.engine.Miss(), e.GetCounterData())
	return t.setMeter(t.engine.Miss(), e.GetMeterConfig())
}

// checkBody checks what of an entry is neither key nor action, for INSERT and MODIFY.
func (t *table) checkBody(e *v1.TableEntry) error {
	switch {
	case e.GetIsConst():
		return invalid("table %s: is_const cannot be written", t.name)
	case e.GetTimeSinceLastHit() != nil:
		return invalid("table %s: time_since_last_hit cannot be written", t.name)
	case e.GetIdleTimeoutNs() < 0:
		return invalid("table %s: idle_timeout_ns is %d, want 0 (none) or more", t.name, e.GetIdleTimeoutNs())
	case e.GetIdleTimeoutNs() > 0 && !t.timeout:
		return invalid("table %s has no idle timeouts", t.name)
	case (e.GetMeterConfig() != nil || e.GetMeterCounterData() != nil) && !t.meter:
		return invalid("table %s has no direct meter", t.name)
	case e.GetMeterCounterData() != nil:
		return unimplemented("counters of colors")
	case e.GetCounterData() != nil && !t.counter:
		return invalid("table %s has no direct counter", t.name)
	}
	if e.GetMeterConfig() != nil {
		if _, err := rates("table "+t.name+": meter_config", e.GetMeterConfig()); err != nil {
			return err
		}
	}
	return checkCounterData(e.GetCounterData())
}

func (t *table) constError() error {
	return status.Errorf(codes.PermissionDenied, "table %s: its entries are const", t.name)
}

// key is what identifies an entry within its table.
type key struct {
	match    []engine.Match
	priority int
}

// key converts the key of an entry (sections "TableEntry" and "Match Format"). Strings that no entry can have,
// because they are new, make it NOT_FOUND, but for an entry that is new itself.
func (t *table) key(match []*v1.FieldMatch, priority int32, isNew bool) (key, error) {
	k := key{priority: int(priority)}
	if t.prioritised && priority <= 0 {
		return k, invalid("table %s: priority is %d, want 1 or more: it has ternary, range or optional fields", t.name,
			priority)
	}
	if !t.prioritised && priority != 0 {
		return k, invalid("table %s: priority is %d, want 0: it has exact and LPM fields only", t.name, priority)
	}
	var err error
	if k.match, err = t.match(match, isNew); errors.Is(err, errNoSuchName) {
		err = engineError(t, engine.ErrNotFound)
	}
	return k, err
}

func (t *table) match(match []*v1.FieldMatch, invent bool) ([]engine.Match, error) {
	out := make([]engine.Match, len(t.fields))
	seen := make([]bool, len(t.fields))
	for _, m := range match {
		i := t.fieldIndex(m.GetFieldId())
		if i < 0 {
			return nil, invalid("table %s: field_id %d is not in the P4Info", t.name, m.GetFieldId())
		}
		if seen[i] {
			return nil, invalid("table %s: field %s is there twice", t.name, t.fields[i].name)
		}
		seen[i] = true
		var err error
		if out[i], err = t.fields[i].decode(t.name, m, invent); err != nil {
			return nil, err
		}
	}
	for i := range out {
		if !seen[i] {
			if t.fields[i].kind == configv1.MatchField_EXACT {
				return nil, invalid("table %s: field %s is missing", t.name, t.fields[i].name)
			}
			out[i] = t.fields[i].wildcard()
		}
	}
	return out, nil
}

func (t *table) fieldIndex(id uint32) int {
	for i := range t.fields {
		if t.fields[i].id == id {
			return i
		}
	}
	return -1
}

// action converts an action (section "Action Specification").
func (t *table) action(a *v1.TableAction, isDefault bool) (engine.Call, error) {
	direct, ok := a.GetType().(*v1.TableAction_Action)
	if t.profiled && !isDefault {
		return engine.Call{}, unimplemented("action profiles, of which table " + t.name + " takes its actions")
	}
	if !ok {
		return engine.Call{}, invalid("table %s takes an action, not a member, group or action set", t.name)
	}
	c := t.calls[direct.Action.GetActionId()]
	switch {
	case c == nil:
		return engine.Call{}, invalid("table %s has no action with id %d", t.name, direct.Action.GetActionId())
	case isDefault && c.scope == configv1.ActionRef_TABLE_ONLY:
		return engine.Call{}, status.Errorf(codes.PermissionDenied, "table %s: action %s cannot be the default", t.name,
			c.name)
	case !isDefault && c.scope == configv1.ActionRef_DEFAULT_ONLY:
		return engine.Call{}, status.Errorf(codes.PermissionDenied, "table %s: action %s can only be the default",
			t.name, c.name)
	}
	out := engine.Call{Action: c.name}
	if len(c.params) > 0 {
		out.Params = make([][]byte, len(c.params))
	}
	for _, v := range direct.Action.GetParams() {
		i := c.paramIndex(v.GetParamId())
		if i < 0 {
			return out, invalid("table %s: action %s has no parameter with id %d", t.name, c.name, v.GetParamId())
		}
		if out.Params[i] != nil {
			return out, invalid("table %s: action %s: parameter %s is there twice", t.name, c.name, c.params[i].name)
		}
		var err error
		what := func() string { return "table " + t.name + ": action " + c.name + ": parameter " + c.params[i].name }
		if out.Params[i], err = c.params[i].fromBytes(v.GetValue(), true, what); err != nil {
			return out, err
		}
	}
	for i, v := range out.Params {
		if v == nil {
			return out, invalid("table %s: action %s: parameter %s is missing", t.name, c.name, c.params[i].name)
		}
	}
	return out, nil
}

func (c *call) paramIndex(id uint32) int {
	for i := range c.params {
		if c.params[i].id == id {
			return i
		}
	}
	return -1
}
