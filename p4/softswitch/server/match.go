package server

import (
	"bytes"

	configv1 "github.com/p4lang/p4runtime/go/p4/config/v1"
	v1 "github.com/p4lang/p4runtime/go/p4/v1"

	"github.com/sluicelb/sluice/p4/softswitch/engine"
)

// decode converts a client's value of the field (section "Match Format"). A translated field is matched as a whole or
// not at all, as section "Translation of Match Fields" allows. invent is that of valueType.fromBytes.
func (f *field) decode(table string, m *v1.FieldMatch, invent bool) (engine.Match, error) {
	number := func(value []byte, part string) ([]byte, error) {
		return f.fromBytes(value, invent, func() string { return "table " + table + ": field " + f.name + part })
	}
	fail := func(text string, args ...any) (engine.Match, error) {
		return engine.Match{}, invalid("table "+table+": field "+f.name+": "+text, args...)
	}
	var out engine.Match
	var err error
	switch f.kind {
	case configv1.MatchField_EXACT:
		x, ok := m.GetFieldMatchType().(*v1.FieldMatch_Exact_)
		if !ok {
			return fail("want an exact match")
		}
		out.Value, err = number(x.Exact.GetValue(), "")
		return out, err

	case configv1.MatchField_OPTIONAL:
		x, ok := m.GetFieldMatchType().(*v1.FieldMatch_Optional_)
		if !ok {
			return fail("want an optional match")
		}
		out.Mask = ones(f.bits)
		out.Value, err = number(x.Optional.GetValue(), "")
		return out, err

	case configv1.MatchField_LPM:
		x, ok := m.GetFieldMatchType().(*v1.FieldMatch_Lpm)
		if !ok {
			return fail("want an LPM match")
		}
		n := int(x.Lpm.GetPrefixLen())
		if n <= 0 || n > f.sdn {
			return fail("prefix_len is %d, want 1 to %d: a field that does not matter is left out", n, f.sdn)
		}
		if f.translated() && n != f.sdn {
			return fail("prefix_len is %d, want %d: the field is translated, and matched as a whole", n, f.sdn)
		}
		if out.Value, err = number(x.Lpm.GetValue(), ""); err != nil {
			return out, err
		}
		if out.PrefixLen = n; f.translated() {
			out.PrefixLen = f.bits
		}
		if outside(out.Value, prefixMask(out.PrefixLen, f.bits)) {
			return fail("bits behind the prefix must be 0")
		}
		return out, nil

	case configv1.MatchField_TERNARY:
		x, ok := m.GetFieldMatchType().(*v1.FieldMatch_Ternary_)
		if !ok {
			return fail("want a ternary match")
		}
		if out.Value, err = number(x.Ternary.GetValue(), ""); err != nil {
			return out, err
		}
		if f.translated() {
			if m := shortest(x.Ternary.GetMask()); !bytes.Equal(m, shortest(ones(f.sdn))) {
				return fail("mask is %s, want all %d bits: the field is translated, and matched as a whole", shown(m),
					f.sdn)
			}
			out.Mask = ones(f.bits)
			return out, nil
		}
		if out.Mask, err = number(x.Ternary.GetMask(), ": mask"); err != nil {
			return out, err
		}
		if isZero(out.Mask) {
			return fail("the mask is 0: a field that does not matter is left out")
		}
		if outside(out.Value, out.Mask) {
			return fail("bits outside the mask must be 0")
		}
		return out, nil

	case configv1.MatchField_RANGE:
		x, ok := m.GetFieldMatchType().(*v1.FieldMatch_Range_)
		if !ok {
			return fail("want a range match")
		}
		if out.Value, err = number(x.Range.GetLow(), ": low"); err != nil {
			return out, err
		}
		if out.Mask, err = number(x.Range.GetHigh(), ": high"); err != nil {
			return out, err
		}
		if bytes.Compare(out.Value, out.Mask) > 0 {
			return fail("low is above high")
		}
		if f.translated() && !bytes.Equal(out.Value, out.Mask) {
			return fail("low and high differ: the field is translated, and matched as a whole")
		}
		if isZero(out.Value) && isOnes(out.Mask, f.bits) {
			return fail("the range is everything: a field that does not matter is left out")
		}
		return out, nil
	}
	return fail("match type %v is not supported", f.kind)
}

// wildcard is the value of a field that was left out.
func (f *field) wildcard() engine.Match {
	zero := make([]byte, byteLen(f.bits))
	switch f.kind {
	case configv1.MatchField_LPM:
		return engine.Match{Value: zero}
	case configv1.MatchField_RANGE:
		return engine.Match{Value: zero, Mask: ones(f.bits)}
	default:
		return engine.Match{Value: zero, Mask: make([]byte, byteLen(f.bits))}
	}
}

// encode is the inverse of decode; nil for a field that does not matter.
func (f *field) encode(m engine.Match) *v1.FieldMatch {
	out := &v1.FieldMatch{FieldId: f.id}
	switch f.kind {
	case configv1.MatchField_EXACT:
		out.FieldMatchType = &v1.FieldMatch_Exact_{Exact: &v1.FieldMatch_Exact{Value: f.toBytes(m.Value)}}
	case configv1.MatchField_LPM:
		n := m.PrefixLen
		if n == 0 {
			return nil
		}
		if f.translated() {
			n = f.sdn
		}
		out.FieldMatchType = &v1.FieldMatch_Lpm{Lpm: &v1.FieldMatch_LPM{Value: f.toBytes(m.Value), PrefixLen: int32(n)}}
	case configv1.MatchField_TERNARY:
		if isZero(m.Mask) {
			return nil
		}
		mask := shortest(m.Mask)
		if f.translated() {
			mask = shortest(ones(f.sdn))
		}
		out.FieldMatchType = &v1.FieldMatch_Ternary_{Ternary: &v1.FieldMatch_Ternary{Value: f.toBytes(m.Value),
			Mask: mask}}
	case configv1.MatchField_OPTIONAL:
		if isZero(m.Mask) {
			return nil
		}
		out.FieldMatchType = &v1.FieldMatch_Optional_{Optional: &v1.FieldMatch_Optional{Value: f.toBytes(m.Value)}}
	case configv1.MatchField_RANGE:
		if isZero(m.Value) && isOnes(m.Mask, f.bits) {
			return nil
		}
		x := &v1.FieldMatch_Range{Low: f.toBytes(m.Value), High: f.toBytes(m.Mask)}
		out.FieldMatchType = &v1.FieldMatch_Range_{Range: x}
	}
	return out
}
