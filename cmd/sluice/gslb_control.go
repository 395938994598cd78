package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"slices"
	"strings"

	"github.com/urfave/cli/v2"

	"github.com/sluicelb/sluice/gslb/control"
	"github.com/sluicelb/sluice/internal/rpc"
)

var gslbExplainCommand = &cli.Command{
	Name:      "explain",
	Usage:     "say which zone, rule, clause and state would give the answer to a query",
	ArgsUsage: "NAME [TYPE]",
	Description: "Asks for nothing on the network and moves no cursor. TYPE is A unless given.\n" +
		"With --json prints one object.",
	Flags:  append(socketFlags(), fromFlag(), subnetFlag(), jsonFlag()),
	Action: action(gslbExplain, "NAME", "TYPE"),
}

var gslbQueryCommand = &cli.Command{
	Name:      "query",
	Usage:     "answer as a client would be answered, or list what leads to some answers",
	ArgsUsage: "[NAME [TYPE]]",
	Description: "With NAME, prints the response that a DNS client at --from would get now; no cursor moves.\n" +
		"Without, lists rules and their names with the answers that they lead to, of those that\n" +
		"--answer, --data-center, --region and --owner choose.\n" +
		"With --json prints one object, or one array of sluice.gslb.v1.RuleStatus.",
	Flags:  slices.Concat(socketFlags(), []cli.Flag{fromFlag(), subnetFlag(), jsonFlag()}, selectorFlags("list")),
	Action: action(gslbQuery, "NAME", "TYPE"),
}

var gslbSuspendCommand = &cli.Command{
	Name:  "suspend",
	Usage: "take answers, or a rule, out of service until they are activated",
	Description: "Takes the answers that fit all of --answer, --data-center, --region and --owner, or one --rule.\n" +
		"It outlives reloads, and restarts where the configuration names a state file. Role: operator.\n" +
		"With --json prints one sluice.gslb.v1.SetSuspendedResponse.",
	Flags:  slices.Concat(socketFlags(), []cli.Flag{jsonFlag(), ruleFlag("suspend")}, selectorFlags("suspend")),
	Action: action(func(c *cli.Context, _ []string) error { return setSuspended(c, true) }),
}

var gslbActivateCommand = &cli.Command{
	Name:  "activate",
	Usage: "take suspended answers, or a rule, back into service",
	Description: "Takes the answers that fit all of --answer, --data-center, --region and --owner, or one --rule.\n" +
		"What the configuration suspends stays so. Role: operator.\n" +
		"With --json prints one sluice.gslb.v1.SetSuspendedResponse.",
	Flags:  slices.Concat(socketFlags(), []cli.Flag{jsonFlag(), ruleFlag("activate")}, selectorFlags("activate")),
	Action: action(func(c *cli.Context, _ []string) error { return setSuspended(c, false) }),
}

var gslbReloadCommand = &cli.Command{
	Name:  "reload",
	Usage: "read the configuration again, also where it drops much",
	Description: "Returns once it runs. A faulty one changes nothing: everything that is wrong is printed to " +
		"standard\n" +
		"error, and the exit code is 2. Role: operator. With --json prints one sluice.gslb.v1.ReloadResponse.",
	Flags:  append(socketFlags(), jsonFlag()),
	Action: action(gslbReload),
}

func gslbReload(c *cli.Context, _ []string) error {
	return withGSLB(c, func(ctx context.Context, client *control.Client) error {
		m, err := client.Reload(ctx, &control.ReloadRequest{})
		if err != nil {
			return err
		}
		if c.Bool("json") {
			return writeJSON(c.App.Writer, jsonMessage{m})
		}
		_, err = fmt.Fprintf(c.App.Writer, "%s is loaded: %s, %s, %s\n", m.ConfigFile,
			count(int(m.Rules), "rule", "rules"),
			count(int(m.Answers), "answer", "answers"), count(int(m.Zones), "zone", "zones"))
		return err
	})
}

func socketFlags() []cli.Flag { return append([]cli.Flag{socketFlag()}, tlsFlags()...) }

func socketFlag() cli.Flag {
	return &cli.StringFlag{Name: "socket", EnvVars: []string{"SLUICE_GSLB_SOCKET"},
		Value: socketDefault(rpc.Find(control.RoleName)),
		Usage: "`PATH` of the control socket, or https://host:port of another host"}
}

// socketDefault is the path in the address of a local socket.
func socketDefault(address string) string { return strings.TrimPrefix(address, "unix:") }

func fromFlag() cli.Flag {
	return &cli.StringFlag{Name: "from", Value: "127.0.0.1", Usage: "`ADDRESS` of the client"}
}

func subnetFlag() cli.Flag {
	return &cli.StringFlag{Name: "subnet", Usage: "client subnet `PREFIX` that the query carries (RFC 7871)"}
}

func ruleFlag(verb string) cli.Flag {
	return choice("rule", verb+" this `RULE`")
}

func selectorFlags(verb string) []cli.Flag {
	return []cli.Flag{
		choice("answer", verb+" this `ANSWER`"),
		choice("data-center", verb+" the answers of this `DATA CENTER`"),
		choice("region", verb+" the answers of this `REGION`'s data centers"),
		choice("owner", verb+" the answers of this `OWNER`"),
	}
}

// choiceFlag takes one name. Of two the last would count, and the first would seem to have been dealt with; none, as an
// empty variable of a script is, would choose more than was meant.
type choiceFlag struct{ *cli.StringFlag }

func choice(name, usage string) cli.Flag {
	return choiceFlag{&cli.StringFlag{Name: name, Usage: usage}}
}

// Apply adds the flag to those that are parsed.
func (f choiceFlag) Apply(set *flag.FlagSet) error {
	for _, name := range f.Names() {
		set.Var(new(chosen), name, f.Usage)
	}
	return nil
}

// chosen is the value of a choiceFlag.
type chosen string

func (c *chosen) String() string { return string(*c) }

// Set takes one name.
func (c *chosen) Set(name string) error {
	if name == "" || *c != "" {
		return errors.New("must be one name, given once")
	}
	*c = chosen(name)
	return nil
}

// selector is what the flags choose; nil when they choose nothing in particular.
func selector(c *cli.Context) *control.Selector {
	s := &control.Selector{
		Answer: c.String("answer"), DataCenter: c.String("data-center"), Region: c.String("region"),
		Owner: c.String("owner"),
		Rule:  c.String("rule"),
	}
	if s.Answer+s.DataCenter+s.Region+s.Owner+s.Rule == "" {
		return nil
	}
	return s
}

// withGSLB runs f with a client, and turns what the client says into errors for people.
func withGSLB(c *cli.Context, f func(ctx context.Context, client *control.Client) error) error {
	path := socketDefault(nearest(c, "socket"))
	address := path
	switch secure := strings.HasPrefix(path, "https://"); {
	case !secure && strings.Contains(path, "://"):
		return usageError(fmt.Errorf("--socket: must be the path of a socket or https://host:port, is %q", path))
	case !secure:
		address = "unix:" + path
	}
	sec, err := dialSecurity(c, address, nil)
	if err != nil {
		return err
	}
	if err := sec.CheckDial(address); err != nil {
		return usageError(fmt.Errorf("--socket: %w", err))
	}
	client, err := control.Dial(address, sec)
	if err != nil {
		return usageError(fmt.Errorf("--socket: %w", err))
	}
	defer client.Close()
	ctx, cancel := context.WithTimeout(c.Context, callTimeout)
	defer cancel()
	return gslbDaemon.failure(path, f(ctx, client))
}

func gslbExplain(c *cli.Context, args []string) error {
	if len(args) == 0 {
		return usageError(fmt.Errorf("which NAME? `%s --help` tells the usage", c.Command.HelpName))
	}
	return withGSLB(c, func(ctx context.Context, client *control.Client) error {
		m, err := client.Explain(ctx, &control.ExplainRequest{Name: args[0], Type: second(args), From: c.String("from"),
			ClientSubnet: c.String("subnet")})
		if err != nil {
			return err
		}
		if c.Bool("json") {
			_, err = fmt.Fprintln(c.App.Writer, m.Json)
			return err
		}
		_, err = fmt.Fprintln(c.App.Writer, strings.Join(m.Lines, "\n"))
		return err
	})
}

func second(args []string) string {
	if len(args) < 2 {
		return ""
	}
	return args[1]
}

func gslbQuery(c *cli.Context, args []string) error {
	selected := selector(c)
	if len(args) == 0 {
		return gslbNames(c, selected)
	}
	if selected != nil {
		return usageError(errors.New(
			"--answer, --data-center, --region and --owner list what leads to answers: give them " +
				"or a NAME, not both"))
	}
	return withGSLB(c, func(ctx context.Context, client *control.Client) error {
		m, err := client.Query(ctx, &control.QueryRequest{Name: args[0], Type: second(args), From: c.String("from"),
			ClientSubnet: c.String("subnet")})
		if err != nil {
			return err
		}
		if c.Bool("json") {
			return writeJSON(c.App.Writer, jsonMessage{m})
		}
		_, err = fmt.Fprintln(c.App.Writer, strings.TrimSpace(m.Text))
		return err
	})
}

// gslbNames lists the rules that lead to answers, with their names.
func gslbNames(c *cli.Context, selected *control.Selector) error {
	return withGSLB(c, func(ctx context.Context, client *control.Client) error {
		m, err := client.GetStatus(ctx, &control.GetStatusRequest{Selector: selected})
		if err != nil {
			return err
		}
		if c.Bool("json") {
			list := []any{}
			for _, r := range m.Rules {
				list = append(list, jsonMessage{r})
			}
			return writeJSON(c.App.Writer, list)
		}
		return gslbNameTable(m).write(c.App.Writer)
	})
}

func setSuspended(c *cli.Context, on bool) error {
	selected := selector(c)
	if selected == nil {
		return usageError(fmt.Errorf("which answers? --answer, --data-center, --region, --owner or --rule choose; `%s "+
			"--help` tells the usage", c.Command.HelpName))
	}
	return withGSLB(c, func(ctx context.Context, client *control.Client) error {
		m, err := client.SetSuspended(ctx, &control.SetSuspendedRequest{Selector: selected, Suspended: on})
		if err != nil {
			return err
		}
		if c.Bool("json") {
			return writeJSON(c.App.Writer, jsonMessage{m})
		}
		verb := "activated"
		if on {
			verb = "suspended"
		}
		for _, name := range m.Changed {
			fmt.Fprintf(c.App.Writer, "%s is %s\n", name, verb)
		}
		for _, name := range m.Configured {
			fmt.Fprintf(c.App.Writer, "%s stays suspended: the configuration says so\n", name)
		}
		switch {
		case len(m.Changed)+len(m.Configured) > 0:
		case selected.Rule != "":
			fmt.Fprintf(c.App.Writer, "nothing to do: the rule is already %s\n", verb)
		default:
			fmt.Fprintf(c.App.Writer, "nothing to do: %s already %s\n",
				count(int(m.Selected), "answer is", "answers are"), verb)
		}
		return nil
	})
}
