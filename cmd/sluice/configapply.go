package main

import (
	"context"
	"fmt"
	"os"
	"strings"

	"github.com/urfave/cli/v2"

	"github.com/sluicelb/sluice/controller/api"
)

var configApplyCommand = &cli.Command{
	Name:      "apply",
	Usage:     "make a file the running configuration",
	ArgsUsage: "FILE",
	Description: "The controller checks the file. If anything is wrong with it, all problems are printed, the exit\n" +
		"code is 2, and what runs stays. With --json prints {\"revision\": N, \"changed\": true}.",
	Flags: []cli.Flag{controllerFlag(), jsonFlag(),
		&cli.Int64Flag{Name: "if-revision", Usage: "refuse unless revision `N` is running"}},
	Action: action(configApply, "FILE"),
}

func configApply(c *cli.Context, args []string) error {
	if len(args) == 0 {
		return usageError(fmt.Errorf("which FILE? `%s --help` tells the usage", c.Command.HelpName))
	}
	text, err := os.ReadFile(args[0])
	if err != nil {
		return usageError(err)
	}
	return withController(c, func(ctx context.Context, client *api.Client) error {
		ctx, cancel := context.WithTimeout(ctx, callTimeout)
		defer cancel()
		m, err := client.ApplyIntent(ctx, &api.ApplyIntentRequest{Yaml: string(text), File: args[0], IfRevision: c.Int64("if-revision")})
		if problems := api.Problems(err); len(problems) > 0 {
			var lines []string
			for _, p := range problems {
				lines = append(lines, p.Text())
			}
			return usageError(fmt.Errorf("the configuration is refused, what runs stays:\n%s", strings.Join(lines, "\n")))
		}
		if err != nil {
			return err
		}
		if c.Bool("json") {
			return writeJSON(c.App.Writer, jsonMessage{m})
		}
		text := fmt.Sprintf("revision %d is running", m.Revision)
		if !m.Changed {
			text += " already"
		}
		_, err = fmt.Fprintln(c.App.Writer, text)
		return err
	})
}
