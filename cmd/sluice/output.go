package main

import (
	"encoding/json"
	"fmt"
	"io"
	"math"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"unicode/utf8"

	"github.com/urfave/cli/v2"

	"github.com/sluicelb/sluice/internal/text"
)

// Rules for output. Results go to stdout: aligned text for people, or with --json one JSON document
// for programs. Both are sorted, so that the same state prints the same bytes. Errors go to stderr.

// escaped is where all output goes, results and errors alike: what others wrote must not command the terminal.
type escaped struct{ w io.Writer }

func (e escaped) Write(p []byte) (int, error) {
	if _, err := io.WriteString(e.w, text.Escape(string(p))); err != nil {
		return 0, err
	}
	return len(p), nil
}

// own is w without escaping, for what a command writes of its own accord, colours included, and of nobody else.
func own(w io.Writer) io.Writer {
	if e, ok := w.(escaped); ok {
		return e.w
	}
	return w
}

func jsonFlag() cli.Flag {
	return &cli.BoolFlag{Name: "json", Usage: "print JSON, for programs"}
}

// writeJSON prints v, indented. Lists must not be nil: programs expect [].
func writeJSON(w io.Writer, v any) error {
	enc := json.NewEncoder(w)
	enc.SetEscapeHTML(false)
	enc.SetIndent("", "  ")
	return enc.Encode(v)
}

// textTable aligns rows under a header. Columns that hold only numbers align to the right.
type textTable struct {
	rows [][]string
}

func newTextTable(header ...string) *textTable {
	return &textTable{rows: [][]string{header}}
}

// row adds a row; it must have as many cells as the header. An empty cell prints as "-".
func (t *textTable) row(cells ...string) {
	if len(cells) != len(t.rows[0]) {
		panic(fmt.Sprintf("row of %d cells under a header of %d", len(cells), len(t.rows[0])))
	}
	cells = slices.Clone(cells)
	for i := range cells {
		if cells[i] = text.Line(cells[i]); cells[i] == "" {
			cells[i] = "-"
		}
	}
	t.rows = append(t.rows, cells)
}

func (t *textTable) write(w io.Writer) error {
	widths := make([]int, len(t.rows[0]))
	numbers := make([]bool, len(t.rows[0]))
	for i := range widths {
		for _, row := range t.rows {
			widths[i] = max(widths[i], utf8.RuneCountInString(row[i]))
		}
		numbers[i] = allNumbers(t.rows[1:], i)
	}
	var b strings.Builder
	for _, row := range t.rows {
		var line strings.Builder
		for i, cell := range row {
			if i > 0 {
				line.WriteString("  ")
			}
			pad := strings.Repeat(" ", widths[i]-utf8.RuneCountInString(cell))
			if numbers[i] {
				line.WriteString(pad + cell)
			} else {
				line.WriteString(cell + pad)
			}
		}
		b.WriteString(strings.TrimRight(line.String(), " "))
		b.WriteByte('\n')
	}
	_, err := io.WriteString(w, b.String())
	return err
}

// allNumbers reports whether the column holds numbers, and nothing else but placeholders.
func allNumbers(rows [][]string, column int) bool {
	some := false
	for _, row := range rows {
		switch cell := row[column]; {
		case cell == "-" || cell == "*":
		case strings.Trim(cell, "0123456789") == "":
			some = true
		default:
			return false
		}
	}
	return some
}

// action is what a command does: run gets the command's arguments, at most as many as names has.
// Unlike the cli package it takes flags behind arguments too: `sluice table dump vip --json`.
func action(run func(c *cli.Context, args []string) error, names ...string) cli.ActionFunc {
	return func(c *cli.Context) error {
		args, err := arguments(c)
		switch {
		case err != nil:
			return err
		case c.Bool("help"):
			return cli.ShowSubcommandHelp(c)
		case len(args) > len(names):
			return usageError(fmt.Errorf("unexpected argument %q; `%s --help` tells the usage", args[len(names)],
				c.Command.HelpName))
		}
		return run(c, args)
	}
}

// group is what a command does that only has subcommands.
func group(c *cli.Context) error {
	switch name := c.Args().First(); name {
	case "":
		return cli.ShowSubcommandHelp(c)
	case "help":
		return showHelp(c, append(strings.Fields(c.Command.HelpName)[1:], c.Args().Tail()...))
	default:
		return noCommand(c.Command.HelpName, name, c.Command.Subcommands)
	}
}

// noCommand is for a name that is none of the commands in a group. It may mean something else that stands there.
func noCommand(in, name string, list []*cli.Command, others ...string) error {
	names := others
	for _, c := range list {
		names = append(names, c.Name)
	}
	return usageError(fmt.Errorf("no command %q; %s`%s --help` lists them", name, meant("", name, names), in))
}

// meant asks for what is written nearly so.
func meant(prefix, name string, known []string) string {
	if best := text.Nearest(name, known); best != "" {
		return "did you mean " + prefix + best + "? "
	}
	return ""
}

// helpCommand replaces that of the cli package, which knows one level of commands.
var helpCommand = &cli.Command{
	Name:      "help",
	Usage:     "list the commands, or tell the usage of one",
	ArgsUsage: "[COMMAND...]",
	Action:    func(c *cli.Context) error { return showHelp(c, c.Args().Slice()) },
}

// showHelp prints the help of the command at path, such as backend, drain.
func showHelp(c *cli.Context, path []string) error {
	in, list := c.App.Name, c.App.Commands
	for _, name := range path {
		at := slices.IndexFunc(list, func(c *cli.Command) bool { return c.Name == name })
		if at < 0 {
			return noCommand(in, name, list)
		}
		in, list = in+" "+name, list[at].Subcommands
	}
	return c.App.RunContext(c.Context, append(strings.Fields(in), "--help"))
}

// commands gives every command, at any depth, the same treatment of usage errors, which the cli
// package passes on to none. It copies them, because that package writes to the commands it runs.
func commands(list ...*cli.Command) []*cli.Command {
	var copies []*cli.Command
	for _, c := range list {
		c := *c
		c.OnUsageError = flagError
		c.HideHelpCommand = true
		c.Subcommands = commands(c.Subcommands...)
		copies = append(copies, &c)
	}
	return copies
}

var (
	unknownFlag = regexp.MustCompile(`^flag provided but not defined: -(.*)$`)
	flagAlone   = regexp.MustCompile(`^flag needs an argument: -(.*)$`)
	flagValue   = regexp.MustCompile(`^invalid (?:boolean )?value ("(?s:.*)") for (?:flag )?-([^:]+): `)
)

// flagError is what the flag package says, in the words of this command.
func flagError(c *cli.Context, err error, _ bool) error {
	text := err.Error()
	if m := unknownFlag.FindStringSubmatch(text); m != nil {
		return noFlag(c, m[1])
	}
	if m := flagAlone.FindStringSubmatch(text); m != nil {
		return noValue(m[1])
	}
	if m := flagValue.FindStringSubmatch(text); m != nil {
		return badValue(c, m[2], m[1])
	}
	return usageError(err)
}

func noFlag(c *cli.Context, name string) error {
	flags := c.App.Flags
	if c.Command.Name != "" {
		flags = c.Command.Flags
	}
	var names []string
	for _, f := range flags {
		names = append(names, f.Names()[0])
	}
	return usageError(fmt.Errorf("no flag %s; %s`%s --help` lists them", dashed(name), meant("--", name, names),
		c.Command.HelpName))
}

func noValue(name string) error {
	return usageError(fmt.Errorf("%s needs a value", dashed(name)))
}

func badValue(c *cli.Context, name, quoted string) error {
	allowed := "another value"
	switch flagNamed(c.Command.Flags, name).(type) {
	case *cli.BoolFlag:
		allowed = "true or false"
	case choiceFlag:
		allowed = "one name, given once"
	case *cli.DurationFlag:
		allowed = "a duration with its unit, such as 500ms or 2s"
	case *cli.IntFlag, *cli.Int64Flag:
		allowed = fmt.Sprintf("a whole number, at most %d", math.MaxInt64)
	case *cli.UintFlag, *cli.Uint64Flag:
		allowed = fmt.Sprintf("a whole number, 0..%d", uint64(math.MaxUint64))
	}
	return usageError(fmt.Errorf("%s: must be %s, is %s", dashed(name), allowed, quoted))
}

// dashed is a flag as people write it.
func dashed(name string) string {
	if utf8.RuneCountInString(name) == 1 {
		return "-" + name
	}
	return "--" + name
}

// arguments parses what is behind the first argument, and returns what are no flags.
func arguments(c *cli.Context) ([]string, error) {
	var args []string
	rest := c.Args().Slice()
	for len(rest) > 0 {
		arg := rest[0]
		rest = rest[1:]
		if arg == "--" {
			return append(args, rest...), nil
		}
		if len(arg) < 2 || arg[0] != '-' {
			args = append(args, arg)
			continue
		}
		name, value, hasValue := strings.Cut(strings.TrimLeft(arg, "-"), "=")
		flag := flagNamed(c.Command.Flags, name)
		if flag == nil {
			return nil, noFlag(c, name)
		}
		if _, isBool := flag.(*cli.BoolFlag); !hasValue && isBool {
			value = "true"
		} else if !hasValue {
			if len(rest) == 0 {
				return nil, noValue(name)
			}
			value, rest = rest[0], rest[1:]
		}
		if err := c.Set(flag.Names()[0], value); err != nil {
			return nil, badValue(c, name, strconv.Quote(value))
		}
	}
	return args, nil
}

func flagNamed(flags []cli.Flag, name string) cli.Flag {
	for _, f := range flags {
		if slices.Contains(f.Names(), name) {
			return f
		}
	}
	return nil
}
