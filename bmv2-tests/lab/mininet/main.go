// Command lab builds a network of Linux hosts with mininet, in which every role of Sluice runs as it would in two data
// centers, and gives its prompt or takes a tour through it. `make lab` and `make lab-tour` call it.
//
//	make lab ── lab ──┬─ new namespaces: nothing of the lab is seen outside, and all of it ends with lab
//	                  └─ lab.py: hosts, cables, roles ──┬─ mininet's prompt
//	                                                    └─ lab tour: what docs/lab.md says, done and compared
package main

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"os/signal"
	"strings"
)

const usage = `usage: lab prompt|tour PAGE      build the lab, and give the prompt, or do what PAGE says
Inside of the lab:
       lab hold NAME=VIP:PORT... hold connections to VIPs
       lab held [again]          say what became of them; again: for the last time, and open others
       lab try                   print what to try`

func main() {
	if err := run(os.Args[1:]); err != nil {
		if code, ok := err.(exitCode); ok {
			os.Exit(int(code))
		}
		fmt.Fprintln(os.Stderr, "lab:", err)
		os.Exit(1)
	}
}

// exitCode ends lab with what the program behind it ended with, which has said why.
type exitCode int

func (c exitCode) Error() string { return fmt.Sprint("exit ", int(c)) }

func run(args []string) error {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt)
	defer stop()
	switch {
	case len(args) == 2 && (args[0] == "prompt" || args[0] == "tour"):
		if err := missing(os.Geteuid(), os.Getenv("SWITCH"), has); err != nil {
			return err
		}
		return enclose(args[0], args[1])
	case len(args) == 3 && args[0] == "inside":
		return inside(args[1], args[2])
	case len(args) == 2 && args[0] == "walk":
		return walk(ctx, os.Stdout, args[1])
	case len(args) == 1 && args[0] == "try":
		return try(os.Stdout, os.Getenv("LAB_PAGE"))
	case len(args) > 1 && args[0] == "hold":
		return hold(ctx, args[1:])
	case len(args) == 1 && args[0] == "held":
		return held(os.Stdout, "look")
	case len(args) == 2 && args[0] == "held" && args[1] == "again":
		return held(os.Stdout, "again")
	}
	fmt.Fprintln(os.Stderr, usage)
	return exitCode(2)
}

// python is Debian's, which has Debian's mininet.
const python = "/usr/bin/python3"

// missing says, in a line, what the lab lacks on this machine with a kind of switch, and where to get it; or nil.
func missing(uid int, sw string, has func(tool string) bool) error {
	if uid != 0 {
		return fmt.Errorf("needs root, for network namespaces: sudo make lab")
	}
	type need struct{ tool, from string }
	tools := []need{
		{"mininet", "apt-get install --no-install-recommends mininet"},
		{"nginx", "apt-get install nginx"},
		{"unbound", "apt-get install unbound"},
		{"curl", "apt-get install curl"},
		{"dig", "apt-get install bind9-dnsutils"},
		{"ip", "apt-get install iproute2"},
		{"ethtool", "apt-get install ethtool"},
		{"sysctl", "apt-get install procps"},
		{"arping", "apt-get install iputils-arping"},
	}
	switch sw {
	case "", "softswitch":
	case "bmv2":
		tools = append(tools, need{"simple_switch_grpc", "build it from github.com/p4lang/behavioral-model"})
	default:
		return fmt.Errorf("SWITCH must be softswitch or bmv2, is %q", sw)
	}
	for _, t := range tools {
		if !has(t.tool) {
			return fmt.Errorf("needs %s: %s", t.tool, t.from)
		}
	}
	return nil
}

// has looks for a program, or for mininet's two halves.
func has(tool string) bool {
	if tool == "mininet" {
		return has("mnexec") && exec.Command(python, "-c", "import mininet.net").Run() == nil
	}
	_, err := exec.LookPath(tool)
	return err == nil
}

// searchPath is PATH with lab's own binary and scripts in front, and with where Debian has servers behind.
func searchPath(binaries, scripts, path string) string {
	return strings.Join([]string{binaries, scripts, path, "/usr/local/sbin", "/usr/sbin", "/sbin"}, ":")
}
