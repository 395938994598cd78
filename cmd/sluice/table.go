package main

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"time"

	v1 "github.com/p4lang/p4runtime/go/p4/v1"
	"github.com/urfave/cli/v2"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/encoding/prototext"
	"google.golang.org/protobuf/proto"

	"github.com/sluicelb/sluice/internal/rpc"
	"github.com/sluicelb/sluice/internal/rpc/endpoint"
	"github.com/sluicelb/sluice/internal/text"
	"github.com/sluicelb/sluice/p4/p4rt"
	"github.com/sluicelb/sluice/p4/softswitch"
)

// reachTimeout is how long a target may take to answer at all.
const reachTimeout = 3 * time.Second

// targetFlags name the P4Runtime target that a command talks to.
func targetFlags() []cli.Flag {
	return []cli.Flag{
		&cli.StringFlag{Name: "target", EnvVars: []string{"SLUICE_TARGET"}, Value: rpc.Find(softswitch.RoleName), Usage: "`ADDRESS` of the switch's P4Runtime server: unix:/path or host:port"},
		&cli.Uint64Flag{Name: "device-id", Value: 1, Usage: "`ID` of the device at the target"},
	}
}

var tableCommand = &cli.Command{
	Name:  "table",
	Usage: "show what a switch holds, as the switch tells it",
	Description: "Reads any P4Runtime target and names what it reads by the P4Info that the target returns.\n" +
		"It only reads: it never becomes primary, and a controller is not disturbed.",
	Action: group,
	Subcommands: []*cli.Command{
		{
			Name:  "list",
			Usage: "list tables, counters and multicast groups",
			Description: "With --json prints one array. Each object has a \"kind\":\n" +
				"  table            name, keys, entries, size, counts, idle_timeout, miss\n" +
				"  counter          name, size, counts\n" +
				"  multicast_group  group, replicas\n" +
				"  raw              error, text: a group that cannot be read, as it came",
			Flags:  append(targetFlags(), jsonFlag()),
			Action: action(tableList),
		},
		{
			Name:      "dump",
			Usage:     "print every entry of one table or counter, or of all",
			ArgsUsage: "[NAME]",
			Description: "With --json prints one array. Each object has a \"kind\":\n" +
				"  entry            table, match, priority, action, params, member, group, holds, one_shot,\n" +
				"                   idle_timeout_ns, since_hit_ns, packets, bytes\n" +
				"  counter          counter, index, packets, bytes\n" +
				"  multicast_group  group, replicas\n" +
				"  raw              table or counter, error, text: what the P4Info does not explain, as it came\n" +
				"Values up to 53 bits wide are numbers, all others and addresses are strings; a ternary\n" +
				"match is \"value&mask\", a prefix \"value/length\", a range \"low..high\"; match fields that\n" +
				"match everything are left out, as is what does not apply. What a member or a group holds\n" +
				"is there unless the target does not tell. Where a P4 program gives no @format, 48 bits are\n" +
				"a MAC, and 32 or 128 bits an IP address if the name says so.",
			Flags:  append(targetFlags(), jsonFlag()),
			Action: action(tableDump, "NAME"),
		},
	},
}

// target is a reachable device whose tables have names.
type target struct {
	*p4rt.Client
	info *p4rt.Info
}

// openTarget connects to the target that the flags name and learns its names.
func openTarget(c *cli.Context) (*target, error) {
	address, device := c.String("target"), c.Uint64("device-id")
	e, err := endpoint.Parse(address)
	switch {
	case err != nil:
		return nil, usageError(fmt.Errorf("--target: address %q: %w", address, err))
	case strings.HasPrefix(e.Address, ":"):
		return nil, usageError(fmt.Errorf("--target: address %q: must have a host before the port", address))
	}
	ctx, cancel := context.WithTimeout(c.Context, reachTimeout)
	defer cancel()
	client, err := p4rt.Dial(ctx, e.String(), device)
	if err != nil {
		return nil, notReached(address, err)
	}
	t := &target{Client: client}
	if err := t.learn(ctx, address, device); err != nil {
		client.Close()
		return nil, err
	}
	return t, nil
}

func (t *target) learn(ctx context.Context, address string, device uint64) error {
	pipeline, err := t.Pipeline(ctx)
	switch {
	case status.Code(err) == codes.NotFound:
		return usageError(fmt.Errorf("the switch at %s has no device %d; --device-id names another", address, device))
	case status.Code(err) == codes.Unimplemented:
		return unreachableError(fmt.Errorf("what answers at %s is not a P4Runtime server; --target names another address", address))
	case status.Code(err) == codes.Unavailable || status.Code(err) == codes.DeadlineExceeded:
		return notReached(address, err)
	case err != nil:
		return err
	case pipeline == nil:
		return fmt.Errorf("device %d at %s runs no P4 program yet: a controller pushes one when it connects. "+
			"If the switch has another id, --device-id names it (bmv2's own default is 0)", device, address)
	}
	t.info, err = p4rt.NewInfo(pipeline.GetP4Info())
	return err
}

// notReached says what to do about a target that does not answer.
func notReached(address string, err error) error {
	why := err.Error()
	if s, ok := errors.AsType[interface {
		error
		GRPCStatus() *status.Status
	}](err); ok {
		why = s.GRPCStatus().Message()
	}
	has := func(text string) bool { return strings.Contains(why, text) }
	switch {
	case has("server preface"), has("unexpected HTTP status code"), has("broken pipe"), has("connection reset by peer"), has("EOF"):
		why = "it answers, but not as a P4Runtime server does"
	case errors.Is(err, syscall.ECONNREFUSED) || has("connection refused"):
		why = "nothing listens there (connection refused)"
	case has("permission denied"), has("is not trusted"):
		if _, rest, ok := strings.Cut(why, "rror while dialing: "); ok {
			why = strings.TrimSuffix(rest, `"`)
		}
	case has("no such file or directory"):
		why = "there is no such socket"
	case has("no such host"), has("produced zero addresses"):
		why = "its name is not known"
	case status.Code(err) == codes.DeadlineExceeded:
		why = fmt.Sprintf("no answer within %v", reachTimeout)
	case has("no route to host"), has("network is unreachable"):
		why = "there is no route to it"
	}
	return unreachableError(fmt.Errorf(
		"cannot reach a switch at %s: %s. Is it running? --target names another address", address, why))
}

// summary is what `table list` says of a table.
type summary struct {
	*p4rt.Table
	entries int
	miss    string // what a miss does; "" when the target does not tell
}

// holding is a table with what it holds.
type holding struct {
	*p4rt.Table
	entries []p4rt.Entry
	raws    raws         // entries, members and groups
	count   int          // of entries, the raw ones too
	profile p4rt.Profile // empty when the target does not tell
	miss    string
}

// counting is an indirect counter with its cells.
type counting struct {
	*p4rt.CounterArray
	cells []p4rt.Cell
	raws  raws
}

// raw is what a target holds and its P4Info does not explain: it is shown as it came.
type raw struct {
	why  error
	text string
}

// raws are what of a table, a counter or the groups is raw: the first of them, and how many more there were.
type raws struct {
	list []raw
	more int
}

// A target may tell nothing that the P4Info explains: so many are shown, so far.
const (
	mostRaws    = 1000
	mostRawText = 1024 // bytes
)

func (r *raws) add(e *v1.Entity, why error) {
	if len(r.list) == mostRaws {
		r.more++
		return
	}
	r.list = append(r.list, raw{why, text.CutTo(messageText(e), mostRawText)})
}

func (r *raws) count() int { return len(r.list) + r.more }

// all returns what was kept, in an order that does not change, and at the end how many more there were.
func (r *raws) all() []raw {
	slices.SortFunc(r.list, func(a, b raw) int { return cmp.Compare(a.text, b.text) })
	if r.more == 0 {
		return r.list
	}
	return append(slices.Clip(r.list), raw{why: fmt.Errorf("and %d more", r.more)})
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

func (t *target) summarize(ctx context.Context, table *p4rt.Table) (summary, error) {
	s := summary{Table: table}
	for e, err := range t.Read(ctx, p4rt.TableEntity(&v1.TableEntry{TableId: table.ID})) {
		if err != nil {
			return s, fmt.Errorf("table %s: %w", table.Name, err)
		}
		if !e.GetTableEntry().GetIsDefaultAction() {
			s.entries++
		}
	}
	var err error
	s.miss, err = t.miss(ctx, table)
	return s, err
}

// mostRows is how many rows of a table or cells of a counter are printed, whatever size the target tells: as many as
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

func (t *target) hold(ctx context.Context, table *p4rt.Table) (holding, error) {
	h := holding{Table: table}
	for e, err := range t.Read(ctx, table.Query()) {
		if err != nil {
			return h, fmt.Errorf("table %s: %w", table.Name, err)
		}
		if err := tooMany("table", table.Name, h.count, table.Size); err != nil {
			return h, err
		}
		switch entry, err := t.info.DecodeEntry(e.GetTableEntry()); {
		case err != nil:
			h.raws.add(e, err)
			h.count++
		case !entry.Default:
			h.entries = append(h.entries, entry)
			h.count++
		}
	}
	slices.SortFunc(h.entries, compareEntries)
	if err := t.profile(ctx, &h); err != nil {
		return h, err
	}
	var err error
	h.miss, err = t.miss(ctx, table)
	return h, err
}

// profile reads what the members and groups of h are, where entries name some.
func (t *target) profile(ctx context.Context, h *holding) error {
	if !slices.ContainsFunc(h.entries, func(e p4rt.Entry) bool { return e.Member != 0 || e.Group != 0 }) {
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
			if err := tooMany("action profile of table", h.Name, len(entities)+h.raws.count(), 0); err != nil {
				return err
			}
			if _, err := h.DecodeProfile([]*v1.Entity{e}); err != nil {
				h.raws.add(e, err)
				continue
			}
			entities = append(entities, e)
		}
	}
	var err error
	h.profile, err = h.DecodeProfile(entities)
	return err
}

// does says what an entry does, and what is in the group or the member that it names.
func (h holding) does(e p4rt.Entry) string {
	if e.Member == 0 && e.Group == 0 {
		return e.Does()
	}
	switch held, ok := h.profile.Holds(e); {
	case !ok:
		return e.Does() + " (the target does not tell what it holds)"
	case len(held) == 0:
		return e.Does() + " (empty)"
	case e.Member != 0:
		return e.Does() + ": " + p4rt.Entry{Action: held[0].Action, Params: held[0].Params}.Does()
	default:
		return e.Does() + ": " + p4rt.Set(held)
	}
}

// miss says what a packet that no entry matches meets.
func (t *target) miss(ctx context.Context, table *p4rt.Table) (string, error) {
	if table.ConstDefault != nil && len(table.ConstDefault.Params) == 0 {
		return p4rt.Entry{Action: table.ConstDefault.Name}.Does(), nil
	}
	for e, err := range t.Read(ctx, table.QueryDefault()) {
		if unsupported(err) {
			return "", nil
		}
		if err != nil {
			return "", fmt.Errorf("default entry of table %s: %w", table.Name, err)
		}
		entry, err := t.info.DecodeEntry(e.GetTableEntry())
		if err != nil {
			return text.CutTo(messageText(e.GetTableEntry().GetAction()), mostRawText), nil
		}
		return entry.Does(), nil
	}
	return "", nil
}

func (t *target) count(ctx context.Context, counter *p4rt.CounterArray) (counting, error) {
	c := counting{CounterArray: counter}
	for e, err := range t.Read(ctx, counter.Query()) {
		if unsupported(err) {
			return counting{CounterArray: counter}, nil
		}
		if err != nil {
			return c, fmt.Errorf("counter %s: %w", counter.Name, err)
		}
		if err := tooMany("counter", counter.Name, len(c.cells)+c.raws.count(), counter.Size); err != nil {
			return c, err
		}
		cell, err := t.info.DecodeCell(e.GetCounterEntry())
		if err != nil {
			c.raws.add(e, err)
			continue
		}
		c.cells = append(c.cells, cell)
	}
	slices.SortFunc(c.cells, func(a, b p4rt.Cell) int { return cmp.Compare(a.Index, b.Index) })
	return c, nil
}

func (t *target) groups(ctx context.Context) (groups []p4rt.MulticastGroup, rest raws, err error) {
	replicas := 0
	for e, err := range t.Read(ctx, p4rt.QueryMulticastGroups()) {
		if unsupported(err) {
			return nil, rest, nil
		}
		if err != nil {
			return nil, rest, fmt.Errorf("multicast groups: %w", err)
		}
		if err := tooMany("list of", "multicast groups", replicas+rest.count(), 0); err != nil {
			return nil, rest, err
		}
		g, err := p4rt.DecodeMulticastGroup(e.GetPacketReplicationEngineEntry().GetMulticastGroupEntry())
		if err != nil {
			rest.add(e, err)
			continue
		}
		slices.SortFunc(g.Replicas, func(a, b p4rt.Replica) int {
			return cmp.Or(cmp.Compare(a.Port, b.Port), cmp.Compare(a.Instance, b.Instance))
		})
		groups = append(groups, g)
		replicas += len(g.Replicas) + 1
	}
	slices.SortFunc(groups, func(a, b p4rt.MulticastGroup) int { return cmp.Compare(a.ID, b.ID) })
	return groups, rest, nil
}

// compareEntries orders entries of one table: the highest priority first, then by match.
func compareEntries(a, b p4rt.Entry) int {
	if c := cmp.Compare(b.Priority, a.Priority); c != 0 {
		return c
	}
	return slices.CompareFunc(a.Match, b.Match, func(x, y p4rt.Field) int {
		return cmp.Or(
			cmp.Compare(x.Name, y.Name),
			x.Value.Compare(y.Value),
			cmp.Compare(x.PrefixLen, y.PrefixLen),
			x.Mask.Compare(y.Mask),
			x.High.Compare(y.High),
		)
	})
}

func tableList(c *cli.Context, _ []string) error {
	t, err := openTarget(c)
	if err != nil {
		return err
	}
	defer t.Close()
	var tables []summary
	for _, table := range t.info.Tables() {
		s, err := t.summarize(c.Context, table)
		if err != nil {
			return err
		}
		tables = append(tables, s)
	}
	groups, rest, err := t.groups(c.Context)
	if err != nil {
		return err
	}
	if c.Bool("json") {
		return writeJSON(c.App.Writer, append(listJSON(tables, t.info.Counters(), groups), rawsJSON("", "", rest)...))
	}
	return listText(c.App.Writer, tables, t.info.Counters(), groups, rest)
}

func listText(
	w io.Writer, tables []summary, counters []*p4rt.CounterArray, groups []p4rt.MulticastGroup, rest raws,
) error {
	text := newTextTable("TABLE", "ENTRIES", "SIZE", "MATCH", "COUNTS", "IDLE TIMEOUT", "A MISS DOES")
	for _, t := range tables {
		var keys []string
		for _, k := range t.Keys {
			keys = append(keys, k.Name+":"+k.Kind.String())
		}
		timeout := ""
		if t.IdleTimeout {
			timeout = "yes"
		}
		text.row(t.Name, strconv.Itoa(t.entries), strconv.FormatInt(t.Size, 10), strings.Join(keys, " "),
			strings.Join(units(t.Counter), "+"), timeout, t.miss)
	}
	sections := []*textTable{text}
	if len(counters) > 0 {
		text := newTextTable("COUNTER", "CELLS", "COUNTS")
		for _, counter := range counters {
			text.row(counter.Name, strconv.FormatInt(counter.Size, 10), strings.Join(units(counter.Unit), "+"))
		}
		sections = append(sections, text)
	}
	if len(groups) > 0 {
		sections = append(sections, groupsText(groups))
	}
	if rest.count() > 0 {
		sections = append(sections, rawsText(rest))
	}
	return writeSections(w, sections)
}

func writeSections(w io.Writer, sections []*textTable) error {
	for i, text := range sections {
		if i > 0 {
			fmt.Fprintln(w)
		}
		if err := text.write(w); err != nil {
			return err
		}
	}
	return nil
}

// rawsText prints what was not understood.
func rawsText(rest raws) *textTable {
	text := newTextTable("NOT UNDERSTOOD", "AS THE TARGET TELLS IT")
	for _, r := range rest.all() {
		text.row(r.why.Error(), r.text)
	}
	return text
}

func groupsText(groups []p4rt.MulticastGroup) *textTable {
	text := newTextTable("MULTICAST GROUP", "PORTS")
	for _, g := range groups {
		var ports []string
		for _, r := range g.Replicas {
			port := strconv.FormatUint(uint64(r.Port), 10)
			if r.Instance != 0 {
				port += fmt.Sprintf("(instance %d)", r.Instance)
			}
			ports = append(ports, port)
		}
		text.row(strconv.FormatUint(uint64(g.ID), 10), strings.Join(ports, " "))
	}
	return text
}

func units(u p4rt.Unit) []string {
	list := []string{}
	if u&p4rt.Packets != 0 {
		list = append(list, "packets")
	}
	if u&p4rt.Bytes != 0 {
		list = append(list, "bytes")
	}
	return list
}

func tableDump(c *cli.Context, args []string) error {
	t, err := openTarget(c)
	if err != nil {
		return err
	}
	defer t.Close()
	tables, counters := t.info.Tables(), t.info.Counters()
	var groups []p4rt.MulticastGroup
	var rest raws
	if len(args) == 1 {
		tables, counters, err = t.named(args[0])
	} else {
		groups, rest, err = t.groups(c.Context)
	}
	if err != nil {
		return err
	}
	objects := []any{}
	for i, table := range tables {
		h, err := t.hold(c.Context, table)
		if err != nil {
			return err
		}
		if c.Bool("json") {
			objects = append(objects, entriesJSON(h)...)
			continue
		}
		if i > 0 {
			fmt.Fprintln(c.App.Writer)
		}
		if err := entriesText(c.App.Writer, h); err != nil {
			return err
		}
	}
	for i, counter := range counters {
		cells, err := t.count(c.Context, counter)
		if err != nil {
			return err
		}
		if c.Bool("json") {
			objects = append(objects, cellsJSON(cells)...)
			continue
		}
		if len(tables)+i > 0 {
			fmt.Fprintln(c.App.Writer)
		}
		if err := cellsText(c.App.Writer, cells); err != nil {
			return err
		}
	}
	if c.Bool("json") {
		return writeJSON(c.App.Writer, append(append(objects, groupsJSON(groups)...), rawsJSON("", "", rest)...))
	}
	if len(groups) > 0 {
		fmt.Fprintln(c.App.Writer)
		if err := groupsText(groups).write(c.App.Writer); err != nil {
			return err
		}
	}
	return writeRaws(c.App.Writer, rest)
}

// writeRaws prints what was not understood under what was.
func writeRaws(w io.Writer, rest raws) error {
	if rest.count() == 0 {
		return nil
	}
	fmt.Fprintln(w)
	return rawsText(rest).write(w)
}

// named finds the table or the counter that the user means.
func (t *target) named(name string) ([]*p4rt.Table, []*p4rt.CounterArray, error) {
	table, err := t.info.Table(name)
	if err == nil {
		return []*p4rt.Table{table}, nil, nil
	}
	counter, counterErr := t.info.Counter(name)
	if counterErr == nil {
		return nil, []*p4rt.CounterArray{counter}, nil
	}
	var there []string
	for _, table := range t.info.Tables() {
		there = append(there, table.Name)
	}
	for _, counter := range t.info.Counters() {
		there = append(there, counter.Name+" (counter)")
	}
	return nil, nil, usageError(fmt.Errorf("no table or counter %q at the target; there is: %s", name, strings.Join(there, ", ")))
}

func entriesText(w io.Writer, h holding) error {
	line := fmt.Sprintf("table %s: %d of %d entries", h.Name, h.count, h.Size)
	if h.miss != "" {
		line += "; a miss does " + h.miss
	}
	fmt.Fprintln(w, line)
	if len(h.entries) == 0 {
		return writeRaws(w, h.raws)
	}
	prioritised := slices.ContainsFunc(h.entries, func(e p4rt.Entry) bool { return e.Priority != 0 })
	var header []string
	for _, k := range h.Keys {
		header = append(header, k.Name)
	}
	if prioritised {
		header = append(header, "PRIORITY")
	}
	header = append(header, "ACTION")
	if h.IdleTimeout {
		header = append(header, "IDLE TIMEOUT", "SINCE HIT")
	}
	for _, unit := range units(h.Counter) {
		header = append(header, strings.ToUpper(unit))
	}
	text := newTextTable(header...)
	for _, e := range h.entries {
		var row []string
		for _, k := range h.Keys {
			row = append(row, matchText(e, k.Name))
		}
		if prioritised {
			row = append(row, strconv.Itoa(int(e.Priority)))
		}
		row = append(row, h.does(e))
		if h.IdleTimeout {
			row = append(row, durationText(e.IdleTimeout), sinceText(e.SinceHit))
		}
		row = append(row, counterText(h.Counter, e.Counter)...)
		text.row(row...)
	}
	if err := text.write(w); err != nil {
		return err
	}
	return writeRaws(w, h.raws)
}

func matchText(e p4rt.Entry, name string) string {
	for _, f := range e.Match {
		if f.Name == name {
			return f.String()
		}
	}
	return "*"
}

func durationText(d time.Duration) string {
	if d == 0 {
		return ""
	}
	return d.String()
}

func sinceText(d *time.Duration) string {
	if d == nil {
		return ""
	}
	return d.Round(time.Millisecond).String()
}

func counterText(unit p4rt.Unit, c *p4rt.Counter) []string {
	var cells []string
	for _, n := range counts(unit, c) {
		cells = append(cells, strconv.FormatInt(n, 10))
	}
	for len(cells) < len(units(unit)) {
		cells = append(cells, "")
	}
	return cells
}

// counts returns the numbers that go with units(unit), none when there is no counter.
func counts(unit p4rt.Unit, c *p4rt.Counter) []int64 {
	var list []int64
	if c != nil && unit&p4rt.Packets != 0 {
		list = append(list, c.Packets)
	}
	if c != nil && unit&p4rt.Bytes != 0 {
		list = append(list, c.Bytes)
	}
	return list
}

// cellsText prints the cells that have counted something.
func cellsText(w io.Writer, c counting) error {
	header := []string{"CELL"}
	for _, unit := range units(c.Unit) {
		header = append(header, strings.ToUpper(unit))
	}
	text := newTextTable(header...)
	counted := 0
	for _, cell := range c.cells {
		if cell.Counter != (p4rt.Counter{}) {
			counted++
			text.row(append([]string{strconv.FormatInt(cell.Index, 10)}, counterText(c.Unit, &cell.Counter)...)...)
		}
	}
	fmt.Fprintf(w, "counter %s: %d of %d cells have counted\n", c.Name, counted, c.Size)
	if counted > 0 {
		if err := text.write(w); err != nil {
			return err
		}
	}
	return writeRaws(w, c.raws)
}
