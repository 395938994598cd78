package main

import (
	"context"
	"fmt"
	"strings"

	"github.com/urfave/cli/v2"

	"github.com/sluicelb/sluice/controller/api"
	"github.com/sluicelb/sluice/controller/config"
)

var configApplyCommand = &cli.Command{
	Name:      "apply",
	Usage:     "make a file the running configuration",
	ArgsUsage: "FILE",
	Description: "FILE is YAML, at most 8 MiB; - reads standard input. It is checked here and by the controller. If\n" +
		"anything is wrong with it, the first hundred problems are printed, the exit code is 2, and what\n" +
		"runs stays. With --json prints {\"revision\": N, \"changed\": true}.",
	Flags: append(controllerFlags(), jsonFlag(),
		&cli.Int64Flag{Name: "if-revision", Usage: "refuse unless revision `N` is running"}),
	Action: action(configApply, "FILE"),
}

func refused(problems string) error {
	return usageError(fmt.Errorf("the configuration is refused, what runs stays:\n%s", firstLines(problems)))
}

func configApply(c *cli.Context, args []string) error {
	if len(args) == 0 {
		return usageError(fmt.Errorf("which FILE? `%s --help` tells the usage", c.Command.HelpName))
	}
	file, text, err := readConfig(c.Context, args[0], c.App.Reader)
	if err != nil {
		return usageError(err)
	}
	request := &api.ApplyIntentRequest{Yaml: string(text), File: file, IfRevision: c.Int64("if-revision")}
	if _, err := config.Parse(file, text); err != nil {
		return refused(err.Error())
	}
	return withController(c, func(ctx context.Context, client *api.Client) error {
		ctx, cancel := context.WithTimeout(ctx, callTimeout)
		defer cancel()
		m, err := client.ApplyIntent(ctx, request)
		if problems := api.Problems(err); len(problems) > 0 {
			var lines []string
			for _, p := range problems {
				lines = append(lines, p.Text())
			}
			return refused(strings.Join(lines, "\n"))
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
