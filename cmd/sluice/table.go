package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"time"

	"github.com/urfave/cli/v2"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"github.com/sluicelb/sluice/internal/rpc"
	"github.com/sluicelb/sluice/p4/p4rt"
	"github.com/sluicelb/sluice/p4/softswitch"
)

// reachTimeout is how long a target may take to answer at all.
const reachTimeout = 3 * time.Second

// targetFlags name the P4Runtime target that a command talks to.
func targetFlags() []cli.Flag {
	return append([]cli.Flag{
		&cli.StringFlag{Name: "target", EnvVars: []string{"SLUICE_TARGET"}, Value: rpc.Find(softswitch.RoleName),
			Usage: "`ADDRESS` of the switch's P4Runtime server: unix:/path, https://host:port or host:port"},
		&cli.Uint64Flag{Name: "device-id", Value: 1, Usage: "`ID` of the device at the target"},
		insecureFlag("whoever is on the way reads what the switch holds, and may answer in its place"),
	}, tlsFlags()...)
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

// openTarget connects to the target that the flags name and learns its names.
func openTarget(c *cli.Context) (*p4rt.Inspector, error) {
	address, device := c.String("target"), c.Uint64("device-id")
	sec, err := dialSecurity(c, address, nil)
	if err != nil {
		return nil, err
	}
	sec.Plaintext, sec.Danger = c.Bool(insecure), "--"+insecure+" allows it"
	if err := sec.CheckDial(address); err != nil {
		return nil, usageError(fmt.Errorf("--target: %w", err))
	}
	ctx, cancel := context.WithTimeout(c.Context, reachTimeout)
	defer cancel()
	client, err := p4rt.Dial(ctx, address, device, p4rt.WithSecurity(sec))
	if err != nil {
		return nil, notReached(address, err)
	}
	info, err := namesOf(ctx, client, address, device)
	if err != nil {
		client.Close()
		return nil, err
	}
	return &p4rt.Inspector{Client: client, Info: info}, nil
}

// namesOf learns what the program at a target has.
func namesOf(ctx context.Context, client *p4rt.Client, address string, device uint64) (*p4rt.Info, error) {
	pipeline, err := client.Pipeline(ctx)
	switch {
	case status.Code(err) == codes.NotFound:
		return nil, usageError(fmt.Errorf("the switch at %s has no device %d; --device-id names another", address,
			device))
	case status.Code(err) == codes.Unimplemented:
		return nil, unreachableError(fmt.Errorf("what answers at %s is not a P4Runtime server; --target names another "+
			"address", address))
	case status.Code(err) == codes.Unavailable || status.Code(err) == codes.DeadlineExceeded:
		return nil, notReached(address, err)
	case err != nil:
		return nil, err
	case pipeline == nil:
		return nil, fmt.Errorf("device %d at %s runs no P4 program yet: a controller pushes one when it connects. "+
			"If the switch has another id, --device-id names it (bmv2's own default is 0)", device, address)
	}
	return p4rt.NewInfo(pipeline.GetP4Info())
}

// notReached says what to do about a target that does not answer.
func notReached(address string, err error) error {
	if err := untrusted(err); err != nil {
		return unreachableError(fmt.Errorf("the switch: %w", err))
	}
	why := err.Error()
	if s, ok := errors.AsType[interface {
		error
		GRPCStatus() *status.Status
	}](err); ok {
		why = s.GRPCStatus().Message()
	}
	has := func(text string) bool { return strings.Contains(why, text) }
	switch {
	case has("server preface"), has("unexpected HTTP status code"), has("broken pipe"),
		has("connection reset by peer"), has("EOF"):
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

func tableList(c *cli.Context, _ []string) error {
	t, err := openTarget(c)
	if err != nil {
		return err
	}
	defer t.Close()
	var tables []p4rt.Summary
	for _, table := range t.Info.Tables() {
		s, err := t.Summarize(c.Context, table)
		if err != nil {
			return err
		}
		tables = append(tables, s)
	}
	groups, rest, err := t.Groups(c.Context)
	if err != nil {
		return err
	}
	if c.Bool("json") {
		return writeJSON(c.App.Writer, append(listJSON(tables, t.Info.Counters(), groups), rawsJSON("", "", rest)...))
	}
	return listText(c.App.Writer, tables, t.Info.Counters(), groups, rest)
}

func listText(
	w io.Writer, tables []p4rt.Summary, counters []*p4rt.CounterArray, groups []p4rt.MulticastGroup, rest p4rt.Raws,
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
		text.row(t.Name, strconv.Itoa(t.Entries), strconv.FormatInt(t.Size, 10), strings.Join(keys, " "),
			strings.Join(units(t.Counter), "+"), timeout, t.Miss)
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
	if rest.Count() > 0 {
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
func rawsText(rest p4rt.Raws) *textTable {
	text := newTextTable("NOT UNDERSTOOD", "AS THE TARGET TELLS IT")
	for _, r := range rest.All() {
		text.row(r.Why.Error(), r.Text)
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
	tables, counters := t.Info.Tables(), t.Info.Counters()
	var groups []p4rt.MulticastGroup
	var rest p4rt.Raws
	if len(args) == 1 {
		tables, counters, err = named(t.Info, args[0])
	} else {
		groups, rest, err = t.Groups(c.Context)
	}
	if err != nil {
		return err
	}
	objects := []any{}
	for i, table := range tables {
		h, err := t.Hold(c.Context, table)
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
		cells, err := t.Count(c.Context, counter)
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
func writeRaws(w io.Writer, rest p4rt.Raws) error {
	if rest.Count() == 0 {
		return nil
	}
	fmt.Fprintln(w)
	return rawsText(rest).write(w)
}

// named finds the table or the counter that the user means.
func named(info *p4rt.Info, name string) ([]*p4rt.Table, []*p4rt.CounterArray, error) {
	table, err := info.Table(name)
	if err == nil {
		return []*p4rt.Table{table}, nil, nil
	}
	counter, counterErr := info.Counter(name)
	if counterErr == nil {
		return nil, []*p4rt.CounterArray{counter}, nil
	}
	var there, names []string
	for _, table := range info.Tables() {
		there, names = append(there, table.Name), append(names, table.Name,
			table.Name[strings.LastIndexByte(table.Name, '.')+1:])
	}
	for _, counter := range info.Counters() {
		there, names = append(there, counter.Name+" (counter)"), append(names, counter.Name)
	}
	return nil, nil, usageError(fmt.Errorf("no table or counter %q at the target; %sthere is: %s", name,
		meant("", name, names), strings.Join(there, ", ")))
}

func entriesText(w io.Writer, h p4rt.Holding) error {
	line := fmt.Sprintf("table %s: %d of %d entries", h.Name, h.Count, h.Size)
	if h.Miss != "" {
		line += "; a miss does " + h.Miss
	}
	fmt.Fprintln(w, line)
	if len(h.Entries) == 0 {
		return writeRaws(w, h.Raws)
	}
	prioritised := slices.ContainsFunc(h.Entries, func(e p4rt.Entry) bool { return e.Priority != 0 })
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
	for _, e := range h.Entries {
		var row []string
		for _, k := range h.Keys {
			row = append(row, matchText(e, k.Name))
		}
		if prioritised {
			row = append(row, strconv.Itoa(int(e.Priority)))
		}
		row = append(row, h.Does(e))
		if h.IdleTimeout {
			row = append(row, durationText(e.IdleTimeout), sinceText(e.SinceHit))
		}
		row = append(row, counterText(h.Counter, e.Counter)...)
		text.row(row...)
	}
	if err := text.write(w); err != nil {
		return err
	}
	return writeRaws(w, h.Raws)
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
func cellsText(w io.Writer, c p4rt.Counting) error {
	header := []string{"CELL"}
	for _, unit := range units(c.Unit) {
		header = append(header, strings.ToUpper(unit))
	}
	text := newTextTable(header...)
	counted := 0
	for _, cell := range c.Cells {
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
	return writeRaws(w, c.Raws)
}
