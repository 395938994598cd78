package main

import (
	"fmt"

	"github.com/urfave/cli/v2"

	gslbconfig "github.com/sluicelb/sluice/gslb/config"
	"github.com/sluicelb/sluice/internal/strict"
)

var gslbCheckCommand = &cli.Command{
	Name:      "check",
	Usage:     "say everything that is wrong with a configuration file",
	ArgsUsage: "FILE",
	Description: "FILE may be - for standard input; " +
		"paths in it are then relative to the working directory. Nothing but\n" +
		"FILE and the zone files that it names is looked at. Problems are printed to standard error, one on a line,\n" +
		"the first hundred, and the exit code is 2. Warnings are printed, too: what is odd and taken all the same.\n" +
		"With --json prints one object: file, ok, rules, answers, zones, records (how many), and problems and\n" +
		"warnings, lists of all with file, line, path and message.",
	Flags:  []cli.Flag{jsonFlag()},
	Action: action(gslbCheck, "FILE"),
}

// gslbChecked is what `sluice gslb check --json` prints.
type gslbChecked struct {
	File     string           `json:"file"`
	OK       bool             `json:"ok"`
	Rules    int              `json:"rules"`
	Answers  int              `json:"answers"`
	Zones    int              `json:"zones"`
	Records  int              `json:"records"`
	Problems []checkedProblem `json:"problems"`
	Warnings []checkedProblem `json:"warnings"`
}

func gslbCheck(c *cli.Context, args []string) error {
	if len(args) == 0 {
		return usageError(fmt.Errorf("which FILE? `%s --help` tells the usage", c.Command.HelpName))
	}
	file := args[0]
	var cfg *gslbconfig.Config
	var err error
	if file == "-" {
		file = "stdin"
		cfg, err = reading(c.Context, file, func() (*gslbconfig.Config, error) {
			return gslbconfig.Read(file, c.App.Reader)
		})
		if c.Context.Err() != nil {
			return usageError(err)
		}
	} else {
		cfg, _, err = gslbconfig.Load(file)
	}
	result := gslbChecked{
		File: file, OK: err == nil, Problems: checkedProblems(strict.Problems(err)), Warnings: []checkedProblem{},
	}
	if err == nil {
		result.Warnings = checkedProblems(cfg.Warnings)
		if len(cfg.Warnings) > 0 {
			if _, err := fmt.Fprintln(c.App.ErrWriter, firstLines(cfg.Warnings.String())); err != nil {
				return err
			}
		}
		result.Rules, result.Answers, result.Zones = len(cfg.Rules), len(cfg.Answers), len(cfg.Zones)
		for _, z := range cfg.Zones {
			result.Records += len(z.Records)
		}
	}
	return tellChecked(c, file, err, result, count(result.Rules, "rule", "rules"),
		count(result.Answers, "answer", "answers"), count(result.Zones, "zone", "zones"),
		count(result.Records, "record", "records"))
}
