package main

import (
	"context"
	"flag"
	"fmt"
	"io"
	"maps"
	"regexp"
	"slices"
	"strings"
	"time"

	"github.com/urfave/cli/v2"

	"github.com/sluicelb/sluice/controller/api"
	"github.com/sluicelb/sluice/gslb/control"
	"github.com/sluicelb/sluice/p4/p4rt"
)

// completeFlag behind a line has the command tell what its last word may be, which may be empty or half of one.
const completeFlag = "--generate-bash-completion"

// completePatience is how long a shell waits for names that a daemon has to tell.
const completePatience = 500 * time.Millisecond

// Each shell asks the command itself what may stand for the word that is written, or of --flag=VALUE for the value.
// Where nothing of it fits, files do. No shell evaluates what it is told: names come from daemons. Bash takes ":" and
// "=" for ends of words, which they are not in a line that the command gets.
var completions = map[string]string{
	"bash": `_sluice() {
	local IFS=$' \t\n' line="${COMP_LINE:0:COMP_POINT}" words word next
	read -ra words <<<"$line"
	[[ $line == *[[:space:]] ]] && words+=("")
	word="${words[-1]}"
	[[ $word == -*=* ]] && word="${word#*=}"
	COMPREPLY=()
	while IFS= read -r next; do
		[[ $next == "$word"* ]] && COMPREPLY+=("$next")
	done < <("${words[@]}" ` + completeFlag + ` 2>/dev/null)
}
complete -o default -F _sluice sluice
`,
	"zsh": `#compdef sluice
_sluice() {
	local -a next
	next=("${(@f)$("${(@)words[1,CURRENT-1]}" "$PREFIX" ` + completeFlag + ` 2>/dev/null)}")
	compset -P 1 '-*='
	[[ -n $next ]] && compadd -- "${(@)next}" || _files
}
compdef _sluice sluice
`,
}

var completionCommand = &cli.Command{
	Name:      "completion",
	Usage:     "print what makes the shell complete commands, flags and names",
	ArgsUsage: "bash|zsh",
	Description: "For bash: source <(sluice completion bash)\n" +
		"For zsh:  source <(sluice completion zsh)",
	Action: action(func(c *cli.Context, args []string) error {
		if len(args) == 0 {
			return usageError(fmt.Errorf("which SHELL? bash or zsh; `%s --help` tells the usage", c.Command.HelpName))
		}
		script, ok := completions[args[0]]
		if !ok {
			return usageError(fmt.Errorf("no completion for %q: must be bash or zsh", args[0]))
		}
		_, err := io.WriteString(c.App.Writer, script)
		return err
	}, "SHELL"),
}

// line is a command line that is being written.
type line struct {
	app      *cli.App
	path     []string // the commands, from the outermost
	commands []*cli.Command
	flags    []cli.Flag
	args     []string          // in front of the last word
	given    map[string]string // values of flags, of those that take one
	value    string            // the flag whose value the last word is; empty: it is none
	literal  bool              // the last word is behind "--"
}

// parseLine reads all words but the last.
func parseLine(app *cli.App, words []string) *line {
	l := &line{app: app, commands: app.Commands, flags: app.Flags, given: make(map[string]string)}
	for i := 0; i < len(words)-1; i++ {
		word := words[i]
		if l.literal || len(word) < 2 || word[0] != '-' {
			l.word(word)
			continue
		}
		if word == "--" {
			l.literal = true
			continue
		}
		name, value, hasValue := strings.Cut(strings.TrimLeft(word, "-"), "=")
		f := flagNamed(l.flags, name)
		if f == nil {
			continue
		}
		if _, isBool := f.(*cli.BoolFlag); isBool {
			continue
		}
		if !hasValue {
			if i++; i == len(words)-1 {
				l.value = f.Names()[0]
				break
			}
			value = words[i]
		}
		l.given[f.Names()[0]] = value
	}
	return l
}

// word takes a word that is no flag.
func (l *line) word(word string) {
	at := slices.IndexFunc(l.commands, func(c *cli.Command) bool { return c.Name == word })
	if at < 0 || len(l.args) > 0 {
		l.args = append(l.args, word)
		return
	}
	c := l.commands[at]
	l.path, l.commands, l.flags = append(l.path, word), c.Subcommands, c.Flags
}

// context is what a command would see of the line, if its flags are good.
func (l *line) context(ctx context.Context) (*cli.Context, error) {
	set := flag.NewFlagSet("", flag.ContinueOnError)
	set.SetOutput(io.Discard)
	for _, f := range l.flags {
		if err := f.Apply(set); err != nil {
			return nil, err
		}
	}
	for name, value := range l.given {
		if set.Lookup(name) == nil { // it is an outer command's
			continue
		}
		if err := set.Set(name, value); err != nil {
			return nil, err
		}
	}
	c := cli.NewContext(l.app, set, nil)
	c.Context = ctx
	return c, nil
}

// complete prints what the last of the words may be, a line each.
func complete(ctx context.Context, app *cli.App, words []string) {
	if len(words) == 0 {
		words = []string{""}
	}
	l := parseLine(app, words)
	last := words[len(words)-1]
	if name, _, ok := strings.Cut(strings.TrimLeft(last, "-"), "="); ok && !l.literal && last[0] == '-' {
		if f := flagNamed(l.flags, name); f != nil {
			l.value = f.Names()[0]
		}
	}
	var all []string
	switch {
	case l.value != "":
		all = names(ctx, l, valuesOf[l.value])
	case !l.literal && strings.HasPrefix(last, "-"):
		for _, f := range l.flags {
			all = append(all, dashed(f.Names()[0]))
		}
		if len(l.path) > 0 { // the app has it among its own
			all = append(all, dashed(cli.HelpFlag.Names()[0]))
		}
	case len(l.path) > 0 && l.path[0] == "help":
		all = commandNames(commandsAt(app, l.args))
	case len(l.args) == 0 && len(l.commands) > 0:
		all = commandNames(l.commands)
	case len(l.args) == 0:
		all = names(ctx, l, argumentsOf[strings.Join(l.path, " ")])
	}
	for _, name := range all {
		fmt.Fprintln(app.Writer, name)
	}
}

func commandNames(list []*cli.Command) (all []string) {
	for _, c := range list {
		all = append(all, c.Name)
	}
	return all
}

// commandsAt are the commands below the one at path.
func commandsAt(app *cli.App, path []string) []*cli.Command {
	list := app.Commands
	for _, name := range path {
		at := slices.IndexFunc(list, func(c *cli.Command) bool { return c.Name == name })
		if at < 0 {
			return nil
		}
		list = list[at].Subcommands
	}
	return list
}

// source tells names; an error is nobody's business while a line is being written.
type source func(c *cli.Context) ([]string, error)

// argumentsOf are the sources of the first argument of commands, valuesOf those of the values of flags.
var (
	argumentsOf = map[string]source{
		"completion":      fixed(slices.Sorted(maps.Keys(completions))...),
		"backend drain":   backendNames,
		"backend undrain": backendNames,
		"table dump":      tableNames,
	}
	valuesOf = map[string]source{
		"pool":      poolNames,
		"log-level": fixed("debug", "info", "warn", "error"),
		"answer": gslbSource(func(m *control.GetStatusResponse, add func(string)) {
			each(m.Answers, (*control.AnswerStatus).GetName, add)
		}),
		"data-center": gslbSource(func(m *control.GetStatusResponse, add func(string)) {
			each(m.DataCenters, (*control.DataCenterStatus).GetName, add)
		}),
		"region": gslbSource(func(m *control.GetStatusResponse, add func(string)) {
			each(m.DataCenters, (*control.DataCenterStatus).GetRegion, add)
		}),
		"owner": gslbSource(func(m *control.GetStatusResponse, add func(string)) {
			each(m.Answers, (*control.AnswerStatus).GetOwner, add)
		}),
		"rule": gslbSource(func(m *control.GetStatusResponse, add func(string)) {
			each(m.Rules, (*control.RuleStatus).GetName, add)
		}),
	}
)

// plainName is a name that every shell takes as it is, without quotes.
var plainName = regexp.MustCompile(`^[A-Za-z0-9_./@%+][A-Za-z0-9_./@%+-]*$`)

// names asks a source, which may be nil, and returns what can be written on the line, sorted, each once.
func names(ctx context.Context, l *line, from source) []string {
	if from == nil {
		return nil
	}
	ctx, cancel := context.WithTimeout(ctx, completePatience)
	defer cancel()
	c, err := l.context(ctx)
	if err != nil {
		return nil
	}
	all, err := from(c)
	if err != nil {
		return nil
	}
	slices.Sort(all)
	return slices.DeleteFunc(slices.Compact(all), func(name string) bool { return !plainName.MatchString(name) })
}

func fixed(all ...string) source {
	return func(*cli.Context) ([]string, error) { return slices.Clone(all), nil }
}

func each[T any](list []T, name func(T) string, add func(string)) {
	for _, x := range list {
		add(name(x))
	}
}

// backendNames are those of the running controller, of --pool if that is given.
func backendNames(c *cli.Context) ([]string, error) {
	return backendsTell(c, c.String("pool"), (*api.BackendStatus).GetName)
}

func poolNames(c *cli.Context) ([]string, error) {
	return backendsTell(c, "", (*api.BackendStatus).GetPool)
}

func backendsTell(c *cli.Context, pool string, name func(*api.BackendStatus) string) (all []string, err error) {
	err = withController(c, func(ctx context.Context, client *api.Client) error {
		m, err := client.ListBackends(ctx, &api.ListBackendsRequest{Pool: pool})
		each(m.GetBackends(), name, func(s string) { all = append(all, s) })
		return err
	})
	return all, err
}

func gslbSource(tell func(m *control.GetStatusResponse, add func(string))) source {
	return func(c *cli.Context) (all []string, err error) {
		err = withGSLB(c, func(ctx context.Context, client *control.Client) error {
			m, err := client.GetStatus(ctx, &control.GetStatusRequest{})
			if err == nil {
				tell(m, func(s string) { all = append(all, s) })
			}
			return err
		})
		return all, err
	}
}

// tableNames are those of the target's tables and counters.
func tableNames(c *cli.Context) (all []string, err error) {
	t, err := openTarget(c)
	if err != nil {
		return nil, err
	}
	defer t.Close()
	each(t.Info.Tables(), func(t *p4rt.Table) string { return t.Name }, func(s string) { all = append(all, s) })
	each(t.Info.Counters(), func(c *p4rt.CounterArray) string { return c.Name },
		func(s string) { all = append(all, s) })
	return all, nil
}
