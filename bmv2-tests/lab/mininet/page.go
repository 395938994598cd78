package main

import (
	"fmt"
	"regexp"
	"strings"
)

// prompt begins a command in a page, as it does in the lab.
const prompt = "mininet> "

// step is a section of a page: what it says and what it does, in order.
type step struct {
	title string
	parts []part
}

// part is a line of text, or a command.
type part struct {
	text    string
	command *command
}

// command is a line for a host, and what it prints. Without output it is done once and must succeed. With output it is
// a question, which is asked until that is the answer: what a network does takes its time.
type command struct {
	line int // of the page
	host string
	args string // for the shell
	want []string
}

// parse reads the sections of a page that have commands. A code block is either a dialogue, which begins with the
// prompt, or is for the reader alone.
func parse(page string) ([]step, error) {
	var steps []step
	var here step
	var block []string
	fenced, from := false, 0
	end := func() {
		for _, p := range here.parts {
			if p.command != nil {
				steps = append(steps, here)
				break
			}
		}
	}
	for i, line := range strings.Split(page, "\n") {
		switch {
		case strings.HasPrefix(line, "```") && fenced:
			fenced = false
			parts, err := dialogue(block, from)
			if err != nil {
				return nil, err
			}
			here.parts = append(here.parts, parts...)
		case strings.HasPrefix(line, "```"):
			fenced, block, from = true, nil, i+2
		case fenced:
			block = append(block, line)
		case strings.HasPrefix(line, "#"):
			end()
			here = step{title: strings.TrimLeft(line, "# ")}
		default:
			here.parts = append(here.parts, part{text: line})
		}
	}
	if fenced {
		return nil, fmt.Errorf("line %d: the code block has no end", from-1)
	}
	end()
	return steps, nil
}

// dialogue reads a code block, whose first line is that of the page with the number from.
func dialogue(block []string, from int) ([]part, error) {
	if len(block) == 0 || !strings.HasPrefix(block[0], prompt) {
		return nil, nil
	}
	var parts []part
	for i, line := range block {
		typed, isCommand := strings.CutPrefix(line, prompt)
		if !isCommand {
			last := parts[len(parts)-1].command
			last.want = append(last.want, line)
			continue
		}
		host, args, _ := strings.Cut(typed, " ")
		if host == "" || args == "" {
			return nil, fmt.Errorf("line %d: a command is a host and what it does, is %q", from+i, typed)
		}
		parts = append(parts, part{command: &command{line: from + i, host: host, args: args}})
	}
	return parts, nil
}

// matches says whether output is as wanted: line by line, where "..." stands for anything in a line, and alone for any
// number of lines. How many blanks there are does not matter, as columns are as wide as what is in them.
func matches(want []string, output string) bool {
	var pattern strings.Builder
	pattern.WriteString(`\A`)
	for _, line := range want {
		fields := strings.Fields(line)
		if len(fields) == 1 && fields[0] == "..." {
			pattern.WriteString(`(?:.*\n)*?`)
			continue
		}
		pattern.WriteString(`[ \t]*`)
		for i, field := range fields {
			if i > 0 {
				pattern.WriteString(`[ \t]+`)
			}
			pieces := strings.Split(field, "...")
			for j, piece := range pieces {
				pieces[j] = regexp.QuoteMeta(piece)
			}
			pattern.WriteString(strings.Join(pieces, `.*`))
		}
		pattern.WriteString(`[ \t]*\n`)
	}
	pattern.WriteString(`\z`)
	if output != "" && !strings.HasSuffix(output, "\n") {
		output += "\n"
	}
	return regexp.MustCompile(pattern.String()).MatchString(strings.ReplaceAll(output, "\r", ""))
}
