package main

import (
	"encoding/json"
	"fmt"
	"io"
	"slices"
	"strings"
	"unicode/utf8"

	"github.com/urfave/cli/v2"
)

// Rules for output. Results go to stdout: aligned text for people, or with --json one JSON document
// for programs. Both are sorted, so that the same state prints the same bytes. Errors go to stderr.

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
		if cells[i] == "" {
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
			return usageError(err)
		case c.Bool("help"):
			return cli.ShowSubcommandHelp(c)
		case len(args) > len(names):
			return usageError(fmt.Errorf("unexpected argument %q; `%s --help` tells the usage", args[len(names)], c.Command.HelpName))
		}
		return run(c, args)
	}
}

// group is what a command does that only has subcommands.
func group(c *cli.Context) error {
	if name := c.Args().First(); name != "" {
		return usageError(fmt.Errorf("no command %q; `%s --help` lists them", name, c.Command.HelpName))
	}
	return cli.ShowSubcommandHelp(c)
}

// commands gives every command, at any depth, the same treatment of usage errors, which the cli
// package passes on to none. It copies them, because that package writes to the commands it runs.
func commands(list ...*cli.Command) []*cli.Command {
	var copies []*cli.Command
	for _, c := range list {
		c := *c
		c.OnUsageError = func(_ *cli.Context, err error, _ bool) error { return usageError(err) }
		c.HideHelpCommand = true
		c.Subcommands = commands(c.Subcommands...)
		copies = append(copies, &c)
	}
	return copies
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
			return nil, fmt.Errorf("flag provided but not defined: --%s", name)
		}
		if _, isBool := flag.(*cli.BoolFlag); !hasValue && isBool {
			value = "true"
		} else if !hasValue {
			if len(rest) == 0 {
				return nil, fmt.Errorf("flag needs an argument: --%s", name)
			}
			value, rest = rest[0], rest[1:]
		}
		if err := c.Set(flag.Names()[0], value); err != nil {
			return nil, fmt.Errorf("invalid value %q for flag --%s: %w", value, name, err)
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
