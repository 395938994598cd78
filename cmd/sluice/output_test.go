package main

import (
	"regexp"
	"strings"
	"testing"
)

// Help is the same, however it is asked for.
func TestHelp(t *testing.T) {
	for _, tt := range []struct {
		name string
		asks [][]string
		want []string
	}{
		{"everything", [][]string{{}, {"help"}, {"--help"}}, []string{"sluice - load balancing done by the switch",
			"\n   help        list the commands, or tell the usage of one\n"}},
		{"a group", [][]string{{"backend"}, {"help", "backend"}, {"backend", "help"}, {"backend", "--help"}},
			[]string{"sluice backend - ", "\n   drain    send"}},
		{"a command", [][]string{{"help", "backend", "drain"}, {"backend", "help", "drain"},
			{"backend", "drain", "--help"},
			{"backend", "drain", "web1", "--help"}},
			[]string{"sluice backend drain - ", "BACKEND", "--wait"}},
		{"a command of its own", [][]string{{"help", "status"}, {"status", "--help"}},
			[]string{"sluice status - ", "--controller ADDRESS"}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			var first string
			for _, args := range tt.asks {
				code, stdout, stderr := sluice(t, args...)
				if code != 0 || stderr != "" {
					t.Errorf("%v: exit code %d, stderr %s", args, code, stderr)
				}
				for _, want := range tt.want {
					if !strings.Contains(stdout, want) {
						t.Errorf("%v: no %q in\n%s", args, want, stdout)
					}
				}
				if first == "" {
					first = stdout
				}
				if stdout != first {
					t.Errorf("%v prints\n%sbut %v\n%s", args, stdout, tt.asks[0], first)
				}
			}
		})
	}
}

func TestUsageErrors(t *testing.T) {
	for _, tt := range []struct {
		args []string
		want string
	}{
		{[]string{"foo"}, "no command \"foo\"; `sluice --help` lists them"},
		{[]string{"help", "foo"}, "no command \"foo\"; `sluice --help` lists them"},
		{[]string{"help", "backend", "foo"}, "no command \"foo\"; `sluice backend --help` lists them"},
		{[]string{"backend", "help", "foo"}, "no command \"foo\"; `sluice backend --help` lists them"},
		{[]string{"help", "status", "foo"}, "no command \"foo\"; `sluice status --help` lists them"},
		{[]string{"statsu"}, "no command \"statsu\"; did you mean status? `sluice --help` lists them"},
		{[]string{"version"}, "no command \"version\"; did you mean --version? `sluice --help` lists them"},
		{[]string{"backend", "drian", "web1"},
			"no command \"drian\"; did you mean drain? `sluice backend --help` lists them"},
		{[]string{"gslb", "explian"}, "no command \"explian\"; did you mean explain? `sluice gslb --help` lists them"},
		{[]string{"help", "helthd"}, "no command \"helthd\"; did you mean healthd? `sluice --help` lists them"},
		{[]string{"status", "--jsno"}, "no flag --jsno; did you mean --json? `sluice status --help` lists them"},
		{[]string{"backend", "drain", "web1", "--wiat"},
			"no flag --wiat; did you mean --wait? `sluice backend drain --help` lists them"},
		{[]string{"--versoin"}, "no flag --versoin; did you mean --version? `sluice --help` lists them"},
		{[]string{"completion"}, "which SHELL? bash or zsh; `sluice completion --help` tells the usage"},
		{[]string{"completion", "fish"}, `no completion for "fish": must be bash or zsh`},
		{[]string{"backend", "foo"}, "no command \"foo\"; `sluice backend --help` lists them"},
		{[]string{"--help", "foo"}, "No help topic for 'foo'"},
		{[]string{"--foo"}, "no flag --foo; `sluice --help` lists them"},
		{[]string{"status", "-x"}, "no flag -x; `sluice status --help` lists them"},
		{[]string{"healthd", "--report-interval", "5"},
			`--report-interval: must be a duration with its unit, such as 500ms or 2s, is "5"`},
		{[]string{"healthd", "--name", "a\nb"},
			`--name: must be 1..63 letters, digits, ".", "_" or "-", the first one a letter or a digit, is "a\nb"`},
		{[]string{"healthd", "--name", ""},
			`--name: must be 1..63 letters, digits, ".", "_" or "-", the first one a letter or a digit, is ""`},
		{[]string{"healthd", "--max-probes", "a\nb"},
			`--max-probes: must be a whole number, at most 9223372036854775807, is "a\nb"`},
		{[]string{"switch", "--cpu-port", "-1"},
			`--cpu-port: must be a whole number, 0..18446744073709551615, is "-1"`},
		{[]string{"config", "apply", "--if-revision", "x"},
			`--if-revision: must be a whole number, at most 9223372036854775807, is "x"`},
	} {
		code, stdout, stderr := sluice(t, tt.args...)
		if want := "sluice: " + tt.want + "\n"; code != exitUsage || stdout != "" || stderr != want {
			t.Errorf("%v: exit code %d, stdout %q, stderr\n%swant\n%s", tt.args, code, stdout, stderr, want)
		}
	}
}

// What status prints above its numbers is explained where a person asks.
func TestColumnsAreExplained(t *testing.T) {
	_, help, _ := sluice(t, "help", "status")
	for _, column := range []string{
		"ROWS", "STATIONS", "WRITTEN", "REFUSED", "NOT FORWARDED", "SLOTS", "MOVING", "UNOWNED", "EPOCHS", "GENERATION",
		"IN", "OUT", "PINNED", "LOAD", "SURPLUS", "MS",
	} {
		if !regexp.MustCompile(`\b` + column + `\b`).MatchString(help) {
			t.Errorf("%s is not explained:\n%s", column, help)
		}
	}
}

func TestVersion(t *testing.T) {
	code, stdout, stderr := sluice(t, "--version")
	if want := regexp.MustCompile(`^sluice \S+, go1\.\S+\n$`); code != 0 || stderr != "" || !want.MatchString(stdout) {
		t.Errorf("exit code %d, stdout %q, stderr %q, want %v", code, stdout, stderr, want)
	}
}
