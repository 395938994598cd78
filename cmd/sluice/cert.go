package main

import (
	"errors"
	"fmt"
	"io/fs"
	"slices"
	"strings"
	"time"

	"github.com/urfave/cli/v2"

	"github.com/sluicelb/sluice/internal/rpc"
	"github.com/sluicelb/sluice/internal/rpc/cert"
)

var certCommand = &cli.Command{
	Name:  "cert",
	Usage: "make the authority and the certificates of a lab, and show what a certificate says",
	Description: "Sluice's processes speak TLS to each other between hosts, and know each other by certificates.\n" +
		"Any authority may issue them; these commands are one for a lab, or for who has none. Nothing is\n" +
		"ever overwritten.",
	Action: group,
	Subcommands: []*cli.Command{
		{
			Name:      "ca",
			Usage:     "make an authority: DIR/ca.crt, which every process gets, and DIR/ca.key, which stays here",
			ArgsUsage: "DIR",
			Flags: []cli.Flag{
				&cli.StringFlag{Name: "name", Value: "sluice", Usage: "`NAME` of the authority"},
				daysFlag(cert.AuthorityDays),
			},
			Action: action(certCA, "DIR"),
		},
		{
			Name:      "issue",
			Usage:     "issue a certificate with the authority in DIR: DIR/NAME.crt and DIR/NAME.key",
			ArgsUsage: "DIR",
			Description: "A process that calls others needs a role, one that listens the names and addresses of its\n" +
				"host; a controller and gslb do both. The roles:\n" +
				"  operator    do everything at the controller and gslb\n" +
				"  viewer      look, also at a switch\n" +
				"  healthd     get the checks and report verdicts\n" +
				"  gslb        hear the state of VIPs\n" +
				"  controller  own a switch",
			Flags: []cli.Flag{
				&cli.StringFlag{Name: "name", Usage: "`NAME` of the process, by which others will call it"},
				&cli.StringSliceFlag{Name: "role", Usage: "what it may call as, `ROLE`; may be repeated"},
				&cli.StringSliceFlag{Name: "host", Usage: "a name or address, `HOST`, where others call it; may be " +
					"repeated"},
				daysFlag(cert.CertificateDays),
			},
			Action: action(certIssue, "DIR"),
		},
		{
			Name:        "show",
			Usage:       "show what the certificates in a file say",
			ArgsUsage:   "FILE",
			Description: "Exits with 1 when one of them is not valid today. With --json prints one array.",
			Flags:       []cli.Flag{jsonFlag()},
			Action:      action(certShow, "FILE"),
		},
	},
}

func daysFlag(days int) cli.Flag {
	return &cli.IntFlag{Name: "days", Value: days, Usage: "valid for `N` days"}
}

func certDays(c *cli.Context) (int, error) {
	days := c.Int("days")
	if days < 1 || days > 36500 {
		return 0, usageError(fmt.Errorf("--days: must be 1..36500, is %d", days))
	}
	return days, nil
}

func certCA(c *cli.Context, args []string) error {
	if len(args) == 0 {
		return usageError(errors.New("which DIR? It gets the authority's files"))
	}
	days, err := certDays(c)
	if err != nil {
		return err
	}
	dir := args[0]
	pair, err := cert.NewAuthority(dir, c.String("name"), days, time.Now())
	if err != nil {
		return certError(err)
	}
	_, err = fmt.Fprintf(c.App.Writer, "%s and %s are made, valid until %s.\n"+
		"Every process gets the first (--tls-ca). Who has the second can be anybody: keep it on this host.\n"+
		"Next: sluice cert issue %s --name ctl1 --role controller --host HOST\n"+
		"      sluice cert issue %[4]s --name healthd1 --role healthd\n"+
		"      and so on: `sluice cert issue --help` tells the roles\n",
		pair.Cert, pair.Key, pair.Leaf.NotAfter.UTC().Format(time.DateOnly), dir)
	return err
}

func certIssue(c *cli.Context, args []string) error {
	if len(args) == 0 {
		return usageError(errors.New("which DIR? It has the authority's files: `sluice cert ca DIR` makes them"))
	}
	days, err := certDays(c)
	if err != nil {
		return err
	}
	if c.String("name") == "" {
		return usageError(errors.New("--name is needed: by it others call the process, and the files have it"))
	}
	roles := c.StringSlice("role")
	for _, r := range roles {
		if !slices.Contains(rpc.Known(), rpc.Role(r)) {
			return usageError(fmt.Errorf("--role: must be one of %v, is %q", rpc.Known(), r))
		}
	}
	hosts := c.StringSlice("host")
	request := cert.Request{Name: c.String("name"), Roles: roles, Hosts: hosts, Days: days}
	pair, err := cert.Issue(args[0], request, time.Now())
	if err != nil {
		return certError(err)
	}
	what := "It calls as " + strings.Join(roles, ", ")
	switch {
	case len(roles) == 0:
		what = "It serves at " + strings.Join(hosts, ", ") + ", and calls nobody"
	case len(hosts) > 0:
		what += ", and serves at " + strings.Join(hosts, ", ")
	}
	_, err = fmt.Fprintf(c.App.Writer, "%s and %s are made, valid until %s. %s.\n"+
		"Next: copy them and %s to its host, and start it with --tls-cert, --tls-key and --tls-ca\n",
		pair.Cert, pair.Key, pair.Leaf.NotAfter.UTC().Format(time.DateOnly), what, cert.Authority(args[0]).Cert)
	return err
}

// certError tells what the command line asks for in vain from what went wrong.
func certError(err error) error {
	if bad, ok := errors.AsType[*cert.RequestError](err); ok {
		return usageError(fmt.Errorf("--%s: %w", bad.Field, bad))
	}
	if errors.Is(err, fs.ErrNotExist) {
		return usageError(err)
	}
	return err
}

func certShow(c *cli.Context, args []string) error {
	if len(args) == 0 {
		return usageError(errors.New("which FILE?"))
	}
	text, err := cert.Read(args[0])
	if err != nil {
		return certError(err)
	}
	all, err := cert.Parse(text)
	if err != nil {
		return usageError(fmt.Errorf("%s: %w", args[0], err))
	}
	now := time.Now()
	var shown []cert.Shown
	valid := true
	for _, one := range all {
		s := cert.Show(one, now)
		valid = valid && s.State == cert.Valid
		shown = append(shown, s)
	}
	if c.Bool("json") {
		err = writeJSON(c.App.Writer, shown)
	} else {
		for i, s := range shown {
			if i > 0 {
				fmt.Fprintln(c.App.Writer)
			}
			fmt.Fprint(c.App.Writer, s.Text(now))
		}
	}
	if err == nil && !valid {
		err = &exitError{code: exitFailure}
	}
	return err
}
