//go:build linux

package main

import (
	"cmp"
	"context"
	"fmt"
	"io"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"runtime/debug"
	"slices"
	"strings"
	"time"
)

// Set-ups that the findings look for.
const (
	stockSetup = "as it comes"
	oneRule    = "4,000 VIPs and 1 rule"
	manyRules  = "4,000 VIPs and rules"
)

// entrant is one server in one set-up.
type entrant struct {
	name    string
	version string
	setup   string // what is special about it
	threads int
	full    bool                   // loss and latency are measured, too
	probes  bool                   // it has keepalives: they begin within settling, all of them
	want    func(i int) netip.Addr // address of the i-th name
	// command writes configuration into dir, an empty directory, and returns what serves it at an address.
	command func(dir string, at netip.AddrPort) (*exec.Cmd, error)
	skipped string // why it is not measured
	samples []sample
}

func (e *entrant) title() string {
	t := e.name
	if e.version != "" {
		t += " " + e.version
	}
	if e.setup != "" {
		t += ", " + e.setup
	}
	if e.threads > 1 {
		t += fmt.Sprintf(", %d threads", e.threads)
	}
	return t
}

// sources is where servers come from, and what they serve.
type sources struct {
	coredns  string // program, if the user says which
	build    bool   // CoreDNS may be built
	dir      string
	workload *workload
	vips     uint16 // port of the VIPs
	progress io.Writer
}

// coreDNS is what is built where there is none.
const coreDNS = "github.com/coredns/coredns@v1.14.1"

// entrants are all servers whose names contain one of the words, if there are any, in the order of the findings.
func (s sources) entrants(ctx context.Context, only []string) ([]*entrant, error) {
	var all []*entrant
	add := func(e *entrant) {
		if len(only) > 0 && !slices.ContainsFunc(only, func(w string) bool { return strings.Contains(e.name, w) }) {
			return
		}
		if e.want == nil {
			e.want = address
		}
		all = append(all, e)
	}
	packaged := func(name, program, pkg string, full bool, threads int,
		command func(program, dir string, at netip.AddrPort, threads int) (*exec.Cmd, error),
	) {
		e := &entrant{name: name, threads: threads, full: full}
		path, err := lookPath(program)
		if err != nil {
			e.skipped = fmt.Sprintf("%s is not installed (Debian package %s)", program, pkg)
		}
		e.version = version(path, "-V", "-v", "-?")
		e.command = func(dir string, at netip.AddrPort) (*exec.Cmd, error) { return command(path, dir, at, threads) }
		add(e)
	}
	packaged("gdnsd", "gdnsd", "gdnsd", true, 1, s.gdnsd)
	packaged("Knot", "knotd", "knot", true, 1, s.knot)
	packaged("NSD", "nsd", "nsd", true, 1, s.nsd)

	core := &entrant{name: "CoreDNS", threads: 1, full: true}
	path, err := s.findCoreDNS(ctx, only)
	if err != nil {
		core.skipped = err.Error()
	}
	core.version = version(path, "-version")
	core.command = func(dir string, at netip.AddrPort) (*exec.Cmd, error) { return s.coreDNS(path, dir, at) }
	add(core)

	self, err := os.Executable()
	if err != nil {
		return nil, err
	}
	add(&entrant{name: "miekg/dns", version: miekgVersion(), setup: stockSetup, threads: 1, full: true,
		command: func(_ string, at netip.AddrPort) (*exec.Cmd, error) {
			cmd := exec.Command(self, stockCommand, at.String(), s.workload.zone)
			cmd.Env = append(os.Environ(), "GOMAXPROCS=1")
			return cmd, nil
		}})

	sluice := filepath.Join(s.dir, "sluice")
	if out, err := exec.CommandContext(ctx, "go", "build", "-o", sluice,
		"github.com/sluicelb/sluice/cmd/sluice").CombinedOutput(); err != nil {
		return nil, fmt.Errorf("building sluice: %w\n%s", err, out)
	}
	gslb := func(setup string, vips, rules, threads int, full bool) {
		e := &entrant{name: "sluice gslb", setup: setup, threads: threads, full: full, probes: true}
		if rules == 1 {
			e.want = func(int) netip.Addr { return address(0) }
		}
		e.command = func(dir string, at netip.AddrPort) (*exec.Cmd, error) {
			return s.sluice(sluice, dir, at, vips, rules, threads)
		}
		add(e)
	}
	gslb("", existing, existing, 1, true)
	gslb(oneRule, 4000, 1, 1, false)
	gslb(manyRules, 4000, 4000, 1, false)

	packaged("gdnsd", "gdnsd", "gdnsd", false, 2, s.gdnsd)
	packaged("Knot", "knotd", "knot", false, 2, s.knot)
	gslb("", existing, existing, 2, false)
	return all, ctx.Err()
}

// lookPath finds programs where daemons are, too.
func lookPath(program string) (string, error) {
	path, err := exec.LookPath(program)
	if err == nil {
		return path, nil
	}
	return exec.LookPath(filepath.Join("/usr/sbin", program))
}

var versionNumber = regexp.MustCompile(`[0-9]+\.[0-9]+\.[0-9]+`)

// version asks a program for its version, by the first of the options that makes it say one.
func version(program string, options ...string) string {
	if program == "" {
		return ""
	}
	for _, o := range options {
		ctx, stop := context.WithTimeout(context.Background(), 5*time.Second)
		out, _ := exec.CommandContext(ctx, program, o).CombinedOutput() // some say it and fail
		stop()
		if v := versionNumber.Find(out); v != nil {
			return string(v)
		}
	}
	return ""
}

// miekgVersion is that of the library in this program.
func miekgVersion() string {
	info, ok := debug.ReadBuildInfo()
	if !ok {
		return ""
	}
	for _, m := range info.Deps {
		if m.Path == "github.com/miekg/dns" {
			return strings.TrimPrefix(m.Version, "v")
		}
	}
	return ""
}

// findCoreDNS takes the user's, or that on PATH, or that of an earlier run, or builds it.
func (s sources) findCoreDNS(ctx context.Context, only []string) (string, error) {
	if s.coredns != "" {
		return exec.LookPath(s.coredns)
	}
	if path, err := exec.LookPath("coredns"); err == nil {
		return path, nil
	}
	cache, err := os.UserCacheDir()
	if err != nil {
		return "", err
	}
	_, v, _ := strings.Cut(coreDNS, "@")
	dir := filepath.Join(cache, "sluice", "coredns-"+v)
	path := filepath.Join(dir, "coredns")
	if _, err := os.Stat(path); err == nil {
		return path, nil
	}
	if !s.build || len(only) > 0 &&
		!slices.ContainsFunc(only, func(w string) bool { return strings.Contains("CoreDNS", w) }) {
		return "",
			fmt.Errorf("coredns is neither on PATH nor built yet (-coredns FILE, or a whole run, which builds %s)",
				coreDNS)
	}
	fmt.Fprintf(s.progress, "building %s into %s, this once: some minutes more\n", coreDNS, dir)
	cmd := exec.CommandContext(ctx, "go", "install", coreDNS)
	cmd.Env = append(os.Environ(), "GOBIN="+dir, "CGO_ENABLED=0")
	if out, err := cmd.CombinedOutput(); err != nil {
		return "", fmt.Errorf("building %s: %w\n%s", coreDNS, err, cmp.Or(lastLine(string(out)), "no output"))
	}
	return path, nil
}

func lastLine(text string) string {
	lines := strings.Split(strings.TrimSpace(text), "\n")
	return lines[len(lines)-1]
}
