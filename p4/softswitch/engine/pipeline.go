package engine

import (
	"encoding/json"
	"math/rand/v2"
	"slices"
)

// node is a step of a control: a table, an action, or a condition. What most of them do needs no function of their own.
type node struct {
	kind    nodeKind
	a, b    spot
	value   uint64
	holds   func(*Runner) bool
	table   *Table
	action  *action
	yes, no *node        // what comes next; after an action: yes; after a miss in a table without default entry: no
	next    []afterTable // after each action of the table
	name    string
}

// afterTable is what comes after an action of a table, when it hit, and when it missed.
type afterTable struct{ hit, miss *node }

type nodeKind int

const (
	sameWord  nodeKind = iota // a, a whole word, is value
	sameValue                 // a is value
	sameSpot                  // a is b
	condition                 // holds
	applyTable
	doAction
	setWord // a to value
)

// walk runs a control from its first node.
func (r *Runner) walk(n *node) {
	r.exit = false
	words := r.words
	for n != nil {
		var yes bool
		switch n.kind {
		case sameWord: // most
			if words[n.a.word] == n.value {
				n = n.yes
			} else {
				n = n.no
			}
			continue
		case applyTable:
			if n = n.apply(r); r.exit {
				return
			}
			continue
		case doAction:
			if n.action.do(r); r.exit {
				return
			}
			n = n.yes
			continue
		case setWord:
			words[n.a.word] = n.value
			n = n.yes
			continue
		case sameValue:
			yes = n.a.get(r) == n.value
		case sameSpot:
			yes = n.a.get(r) == n.b.get(r)
		default:
			yes = n.holds(r)
		}
		if yes {
			n = n.yes
		} else {
			n = n.no
		}
	}
}

// simplify makes an action that only sets a word to a value what a node does by itself.
func (n *node) simplify() {
	if len(n.action.steps) == 1 && n.action.steps[0].kind == setValue {
		s := &n.action.steps[0]
		n.kind, n.a, n.value = setWord, spot{word: s.to}, s.value
	}
}

// pipeline is what compilePipeline knows of one control while it compiles it.
type pipeline struct {
	nodes map[string]*node
	next  map[*node][]*node
}

func (p *pipeline) node(where at, name *string) (*node, error) {
	if name == nil {
		return nil, nil
	}
	n := p.nodes[*name]
	if n == nil {
		return nil, where.errorf("no table or conditional %q", *name)
	}
	return n, nil
}

func (c *compiler) compilePipelines() error {
	found := make(map[string]bool)
	for i, j := range c.doc.Pipelines {
		where := at("").named("pipelines", i, j.Name)
		var start **node
		switch j.Name {
		case "ingress":
			start = &c.program.ingress.general
		case "egress":
			start = &c.program.egress
		default:
			return where.errorf("simple_switch runs pipelines called ingress and egress only")
		}
		found[j.Name] = true
		n, err := c.compilePipeline(where, j)
		if err != nil {
			return err
		}
		*start = n
	}
	for _, name := range []string{"ingress", "egress"} {
		if !found[name] {
			return at("pipelines").errorf("there is none called %q", name)
		}
	}
	return nil
}

func (c *compiler) compilePipeline(where at, j pipelineJSON) (*node, error) {
	p := &pipeline{nodes: make(map[string]*node), next: make(map[*node][]*node)}
	var names []string
	for _, t := range j.Tables {
		names = append(names, t.Name)
	}
	for _, t := range j.Conditionals {
		names = append(names, t.Name)
	}
	for _, t := range j.ActionCalls {
		names = append(names, t.Name)
	}
	for _, name := range names {
		if p.nodes[name] != nil {
			return nil, where.errorf("two tables or conditionals are called %q", name)
		}
		p.nodes[name] = &node{name: name}
	}
	c.nodes += len(names)
	for i, t := range j.Tables {
		if err := c.compileTable(where.named(".tables", i, t.Name), p, t); err != nil {
			return nil, err
		}
	}
	for i, t := range j.Conditionals {
		if err := c.compileConditional(where.named(".conditionals", i, t.Name), p, t); err != nil {
			return nil, err
		}
	}
	for i, t := range j.ActionCalls {
		where := where.named(".action_calls", i, t.Name)
		a := c.actions[t.ActionID]
		if a == nil {
			return nil, where.errorf("no action with id %d", t.ActionID)
		}
		if len(a.params) > 0 {
			return nil, where.errorf("action %s has parameters", a.name)
		}
		next, err := p.node(where.member("next_node"), t.NextNode)
		if err != nil {
			return nil, err
		}
		p.always(p.nodes[t.Name], a, next)
	}
	start, err := p.node(where.member("init_table"), j.InitTable)
	if err != nil {
		return nil, err
	}
	if n := p.cycle(); n != nil {
		return nil, where.errorf("control flow comes back to %s", n.name)
	}
	return start, nil
}

// cycle returns a node from which the control comes back to it, nil when there is none.
func (p *pipeline) cycle() *node {
	const open, done = 1, 2
	state := make(map[*node]int)
	var visit func(*node) *node
	visit = func(n *node) *node {
		switch {
		case n == nil || state[n] == done:
			return nil
		case state[n] == open:
			return n
		}
		state[n] = open
		for _, m := range p.next[n] {
			if found := visit(m); found != nil {
				return found
			}
		}
		state[n] = done
		return nil
	}
	for _, n := range p.nodes {
		if found := visit(n); found != nil {
			return found
		}
	}
	return nil
}

// always makes n run an action and go on.
func (p *pipeline) always(n *node, a *action, next *node) {
	p.next[n] = append(p.next[n], next)
	n.kind, n.action, n.yes = doAction, a, next
}

func (c *compiler) compileConditional(where at, p *pipeline, j conditionalJSON) error {
	cond, err := c.boolean(where.member("expression"), j.Expression)
	if err != nil {
		return err
	}
	yes, err := p.node(where.member("true_next"), j.TrueNext)
	if err != nil {
		return err
	}
	no, err := p.node(where.member("false_next"), j.FalseNext)
	if err != nil {
		return err
	}
	n := p.nodes[j.Name]
	p.next[n] = append(p.next[n], yes, no)
	cond.branch(n, yes, no)
	return nil
}

// branch makes n go on with yes when b holds, else with no. Of and, or the second part becomes a node of its own.
func (b *boolean) branch(n, yes, no *node) {
	n.yes, n.no = yes, no
	switch b.op {
	case "not":
		b.parts[0].branch(n, no, yes)
	case "and", "or":
		second := new(node)
		b.parts[1].branch(second, yes, no)
		if b.op == "and" {
			b.parts[0].branch(n, second, no)
		} else {
			b.parts[0].branch(n, yes, second)
		}
	case "value":
		n.kind, n.a, n.value = sameValue, b.spots[0], b.value
		if n.a.whole() {
			n.kind = sameWord
		}
	case "spot":
		n.kind, n.a, n.b = sameSpot, b.spots[0], b.spots[1]
	default:
		n.kind, n.holds = condition, b.holds
	}
}

var matchKinds = map[string]MatchKind{
	"exact": Exact, "lpm": LPM, "ternary": Ternary, "range": Range, "valid": Valid,
}

func (c *compiler) compileTable(where at, p *pipeline, j tableJSON) error {
	t := &Table{name: j.Name, size: j.MaxSize, counter: j.WithCounters, timeout: j.SupportTimeout, seed: rand.Uint64()}
	t.places.Store(rand.Uint32())
	if j.Type != "simple" {
		return where.errorf("table type %q is not supported: its actions are in an action profile", j.Type)
	}
	if j.DirectMeters != nil {
		if t.meter = c.directMeters[*j.DirectMeters]; t.meter == nil {
			return where.member("direct_meters").errorf("no direct meter %q", *j.DirectMeters)
		}
	}
	kind, ok := matchKinds[j.Match]
	if !ok || kind == Valid {
		return where.errorf("unknown match_type %q", j.Match)
	}
	t.kind = kind
	if err := c.tableKey(where, t, j); err != nil {
		return err
	}
	if t.counter || t.meter != nil {
		t.missStats = t.newStats()
	}
	n := p.nodes[j.Name]
	if err := c.tableActions(where, p, t, j); err != nil {
		return err
	}
	if err := c.defaultEntry(where, t, j); err != nil {
		return err
	}
	if len(j.Entries) > 0 {
		if err := c.constEntries(where, t, j); err != nil {
			return err
		}
	}
	if c.program.tableBy[t.name] != nil {
		return where.errorf("a second table of that name")
	}
	c.program.tableBy[t.name] = t
	c.program.tables = append(c.program.tables, t)
	if len(t.keys) == 0 && t.constDefault && t.initial != nil && len(t.initial.call.params) == 0 && t.missStats == nil {
		p.always(n, t.initial.call.action, n.next[t.initial.call.index].miss) // a statement that p4c put in a table
		return nil
	}
	n.kind, n.table = applyTable, t
	t.prepareLookup(c)
	return nil
}

func (c *compiler) tableKey(where at, t *Table, j tableJSON) error {
	var layout keyLayout
	for i, k := range j.Key {
		where := where.named(".key", i, k.Name)
		kind, ok := matchKinds[k.MatchType]
		if !ok {
			return where.errorf("unknown match_type %q", k.MatchType)
		}
		var f *field
		var err error
		if kind == Valid {
			var h *header
			if h, err = c.header(where.member("target"), k.Target); err == nil {
				f = &h.valid
			}
		} else {
			f, err = c.field(where.member("target"), k.Target)
		}
		if err != nil {
			return err
		}
		if f.variable() {
			return where.errorf("variable field %s cannot be matched", f.name)
		}
		name := k.Name
		if name == "" {
			name = f.name
		}
		part := keyPart{Key: Key{Name: name, Kind: kind, Bits: f.bits}, field: f, mask: ones(min(64, f.bits))}
		if k.Mask != nil {
			if !f.small() {
				return where.errorf("static mask on a field wider than 64 bits")
			}
			mask, err := parseHexBytes(where.member("mask"), *k.Mask, (f.bits+7)/8)
			if err != nil {
				return err
			}
			part.mask &= toUint64(mask)
		}
		allowed := kind == Exact || kind == Valid || kind == t.kind || t.kind == Range ||
			t.kind == Ternary && kind == LPM
		if !allowed || kind == LPM && slices.ContainsFunc(t.keys, func(k keyPart) bool { return k.Kind == LPM }) {
			return where.errorf("%s key in a table of match_type %s", kind, t.kind)
		}
		t.addKey(&layout, part)
	}
	t.finishKey(layout)
	c.keyWords = max(c.keyWords, 2*t.words)
	return nil
}

func (c *compiler) tableActions(where at, p *pipeline, t *Table, j tableJSON) error {
	hit, hasHit := j.NextTables["__HIT__"]
	miss, hasMiss := j.NextTables["__MISS__"]
	n := p.nodes[t.name]
	next := func(key string, name *string) (*node, error) {
		to, err := p.node(where.member("next_tables").member(key), name)
		p.next[n] = append(p.next[n], to)
		return to, err
	}
	var err error
	base := j.BaseDefaultNext
	if hasMiss {
		base = miss
	}
	if n.no, err = next("__MISS__", base); err != nil {
		return err
	}
	for i, id := range j.ActionIDs {
		a := c.actions[id]
		if a == nil {
			return where.member("action_ids").index(i).errorf("no action with id %d", id)
		}
		var after afterTable
		own, hasOwn := j.NextTables[a.name]
		if !hasOwn {
			own = j.BaseDefaultNext
		}
		if after.hit, err = next(a.name, own); err != nil {
			return err
		}
		after.miss = after.hit
		if hasHit {
			if after.hit, err = next("__HIT__", hit); err != nil {
				return err
			}
		}
		if hasMiss {
			after.miss = n.no
		}
		t.actions = append(t.actions, &tableAction{a, i})
		n.next = append(n.next, after)
	}
	return nil
}

// callOf makes a Call of an action id and hexstrings, as they stand in the JSON.
func (c *compiler) callOf(where at, t *Table, id int, data []string) (Call, error) {
	i := slices.IndexFunc(t.actions, func(a *tableAction) bool { return a.id == id })
	if i < 0 {
		return Call{}, where.errorf("table has no action with id %d", id)
	}
	a := t.actions[i]
	call := Call{Action: a.name}
	if len(data) != len(a.params) {
		return call, where.errorf("action %s takes %d parameters, has %d", a.name, len(a.params), len(data))
	}
	for k, s := range data {
		b, err := parseHexBytes(where.member("action_data").index(k), s, (a.params[k].bits+7)/8)
		if err != nil {
			return call, err
		}
		call.Params = append(call.Params, b)
	}
	return call, nil
}

func (c *compiler) defaultEntry(where at, t *Table, j tableJSON) error {
	d := j.DefaultEntry
	if d == nil {
		return nil
	}
	where = where.member("default_entry")
	call, err := c.callOf(where, t, d.ActionID, d.ActionData)
	if err != nil {
		return err
	}
	if t.initial, err = t.bind(make([]uint64, t.argAt), call); err != nil {
		return where.errorf("%w", err)
	}
	t.initial.stats = t.missStats
	t.missed.Store(t.initial)
	t.constDefault = d.ActionConst || d.ActionEntryConst
	return nil
}

// constEntries installs the entries of the program. In the JSON the lowest priority wins.
func (c *compiler) constEntries(where at, t *Table, j tableJSON) error {
	t.size = len(j.Entries)
	last := 0
	for _, e := range j.Entries {
		last = max(last, e.Priority)
	}
	for i, e := range j.Entries {
		where := where.member("entries").index(i)
		var out Entry
		var err error
		if out.Call, err = c.callOf(where.member("action_entry"), t, e.ActionEntry.ActionID,
			e.ActionEntry.ActionData); err != nil {
			return err
		}
		if t.kind == Ternary || t.kind == Range {
			out.Priority = last + 1 - e.Priority
		}
		if len(e.MatchKey) != len(t.keys) {
			return where.member("match_key").errorf("must have %d elements, has %d", len(t.keys), len(e.MatchKey))
		}
		for k := range e.MatchKey {
			m, err := constMatch(where.member("match_key").index(k), &t.keys[k], e.MatchKey[k])
			if err != nil {
				return err
			}
			out.Match = append(out.Match, m)
		}
		if err := t.Insert(out); err != nil {
			return where.errorf("%w", err)
		}
	}
	t.constEntries = true
	return nil
}

type matchKeyJSON = struct {
	MatchType    string          `json:"match_type"`
	Key          json.RawMessage `json:"key"`
	Mask         string          `json:"mask"`
	PrefixLength int             `json:"prefix_length"`
	Start        string          `json:"start"`
	End          string          `json:"end"`
}

func constMatch(where at, k *keyPart, j matchKeyJSON) (Match, error) {
	var m Match
	if kind, ok := matchKinds[j.MatchType]; !ok || kind != k.Kind {
		return m, where.errorf("match_type must be %s, is %q", k.Kind, j.MatchType)
	}
	n := k.bytes()
	var key string
	var err error
	switch k.Kind {
	case Valid:
		var valid bool
		if err := decode(where.member("key"), j.Key, &valid); err != nil {
			return m, err
		}
		m.Value = []byte{0}
		if valid {
			m.Value[0] = 1
		}
		return m, nil
	case Range:
		if m.Value, err = parseHexBytes(where.member("start"), j.Start, n); err != nil {
			return m, err
		}
		m.Mask, err = parseHexBytes(where.member("end"), j.End, n)
		return m, err
	}
	if err := decode(where.member("key"), j.Key, &key); err != nil {
		return m, err
	}
	if m.Value, err = parseHexBytes(where.member("key"), key, n); err != nil {
		return m, err
	}
	switch k.Kind {
	case Ternary:
		if m.Mask, err = parseHexBytes(where.member("mask"), j.Mask, n); err != nil {
			return m, err
		}
		for i := range m.Value {
			m.Value[i] &= m.Mask[i]
		}
	case LPM:
		if m.PrefixLen = j.PrefixLength; m.PrefixLen < 0 || m.PrefixLen > k.Bits {
			return m, where.errorf("prefix_length must be 0..%d, is %d", k.Bits, m.PrefixLen)
		}
		for i := m.PrefixLen; i < k.Bits; i++ {
			bit := n*8 - k.Bits + i
			m.Value[bit/8] &^= 0x80 >> (bit % 8)
		}
	}
	return m, nil
}
