package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"maps"
	"os"
	"os/exec"
	"slices"
	"strings"
	"time"
)

// labDir has a directory for each host, and tells how to get there.
const labDir = "/run/lab"

const (
	patience    = 60 * time.Second // for an answer to be as the page has it
	again       = 200 * time.Millisecond
	interrupted = 130 // exit status of who was interrupted
)

// walk does what a page says, step by step, and ends at the first thing that is not as the page has it.
func walk(ctx context.Context, out io.Writer, file string) error {
	page, err := os.ReadFile(file)
	if err != nil {
		return err
	}
	steps, err := parse(string(page))
	if err != nil {
		return fmt.Errorf("%s: %w", file, err)
	}
	hosts, err := readHosts()
	if err != nil {
		return err
	}
	began := time.Now()
	var summary strings.Builder
	for _, s := range steps {
		fmt.Fprintf(out, "\n== %s\n", s.title)
		start := time.Now()
		for _, p := range s.parts {
			if p.command == nil {
				fmt.Fprintln(out, p.text)
				continue
			}
			err := p.command.do(ctx, out, hosts)
			if ctx.Err() != nil {
				return exitCode(interrupted)
			}
			if err != nil {
				fmt.Fprintf(out, "\n%sFAILED  %s\n", &summary, s.title)
				return fmt.Errorf("%s:%d: %w", file, p.command.line, err)
			}
		}
		fmt.Fprintf(&summary, "%5.1f s  %s\n", time.Since(start).Seconds(), s.title)
	}
	fmt.Fprintf(out, "\nAll %d steps are as the page has them:\n%s%5.1f s\n",
		len(steps), &summary, time.Since(began).Seconds())
	return nil
}

// readHosts returns the process of each host, in whose namespaces it is.
func readHosts() (map[string]string, error) {
	data, err := os.ReadFile(labDir + "/nodes")
	if err != nil {
		return nil, err
	}
	hosts := make(map[string]string)
	for line := range strings.Lines(string(data)) {
		name, pid, _ := strings.Cut(strings.TrimSpace(line), " ")
		hosts[name] = pid
	}
	return hosts, nil
}

func (c *command) do(ctx context.Context, out io.Writer, hosts map[string]string) error {
	pid, ok := hosts[c.host]
	if !ok {
		return fmt.Errorf("there is no host %q, but %s", c.host, strings.Join(slices.Sorted(maps.Keys(hosts)), ", "))
	}
	fmt.Fprintf(out, "    %s%s %s\n", prompt, c.host, c.args)
	ctx, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	for answer := []byte(nil); ; {
		cmd := exec.CommandContext(ctx, "mnexec", "-a", pid, "bash", "-c", ". /run/sluice/env; "+c.args)
		cmd.WaitDelay = time.Second
		output, err := cmd.CombinedOutput()
		if ctx.Err() == nil || answer == nil {
			answer = output // one that was cut short tells less than the one before
		}
		switch {
		case len(c.want) == 0 && err == nil, len(c.want) > 0 && matches(c.want, string(output)):
			fmt.Fprint(out, indent(string(output)))
			return nil
		case len(c.want) == 0:
			return fmt.Errorf("%s %s: %w\n%s", c.host, c.args, err, output)
		}
		select {
		case <-ctx.Done():
			return fmt.Errorf("%s %s: for %v the answer was not\n%sbut at last\n%s", c.host, c.args, patience,
				indent(strings.Join(c.want, "\n")+"\n"), indent(string(answer)))
		case <-time.After(again):
		}
	}
}

func indent(text string) string {
	var b strings.Builder
	for line := range strings.Lines(text) {
		b.WriteString("    " + line)
	}
	return b.String()
}

// try prints the commands of a page's first step.
func try(out io.Writer, file string) error {
	page, err := os.ReadFile(file)
	if err != nil {
		return err
	}
	steps, err := parse(string(page))
	if err != nil {
		return fmt.Errorf("%s: %w", file, err)
	}
	if len(steps) == 0 {
		return errors.New(file + " has no commands")
	}
	fmt.Fprintln(out, "\nThe lab is up. docs/lab.md walks through it; to begin with, try")
	for _, p := range steps[0].parts {
		if p.command != nil {
			fmt.Fprintf(out, "  %s %s\n", p.command.host, p.command.args)
		}
	}
	fmt.Fprintln(out, "and `exit` to end it all.")
	return nil
}
