//go:build linux

package main

import (
	"fmt"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
)

// write writes a configuration file, with PORT, DIR, ZONE and THREADS for what they are.
func (s sources) write(file, text, dir string, at netip.AddrPort, threads int) error {
	text = strings.NewReplacer(
		"PORT", fmt.Sprint(at.Port()), "DIR", dir, "ZONE", s.workload.zone, "THREADS", fmt.Sprint(threads),
	).Replace(text)
	return os.WriteFile(file, []byte(text), 0o644)
}

func (s sources) gdnsd(program, dir string, at netip.AddrPort, threads int) (*exec.Cmd, error) {
	// Zones are all regular files of this directory, by their names.
	zones := filepath.Join(dir, "zones")
	if err := os.Mkdir(zones, 0o755); err != nil {
		return nil, err
	}
	if err := os.Link(s.workload.zone, filepath.Join(zones, filepath.Base(s.workload.zone))); err != nil {
		return nil, err
	}
	return exec.Command(program, "-c", dir, "start"), s.write(filepath.Join(dir, "config"), `options => {
  listen => 127.0.0.1:PORT
  udp_threads => THREADS
  tcp_threads => 1
  udp_rcvbuf => 1048576 ; the most that it takes
  udp_sndbuf => 1048576
  run_dir => DIR/run
  state_dir => DIR/state
}
`, dir, at, threads)
}

func (s sources) knot(program, dir string, at netip.AddrPort, threads int) (*exec.Cmd, error) {
	file := filepath.Join(dir, "knot.conf")
	return exec.Command(program, "-c", file), s.write(file, `server:
  rundir: DIR
  listen: 127.0.0.1@PORT
  udp-workers: THREADS
  tcp-workers: 1
  background-workers: 1
  dbus-event: none
log:
  - target: stderr
    any: warning
control:
  listen: DIR/knot.sock
database:
  storage: DIR
zone:
  - domain: example.com
    file: ZONE
    zonefile-sync: -1
    journal-content: none
`, dir, at, threads)
}

func (s sources) nsd(program, dir string, at netip.AddrPort, threads int) (*exec.Cmd, error) {
	file := filepath.Join(dir, "nsd.conf")
	return exec.Command(program, "-d", "-c", file), s.write(file, `server:
  ip-address: 127.0.0.1@PORT
  server-count: THREADS
  reuseport: yes
  receive-buffer-size: 4194304
  send-buffer-size: 4194304
  minimal-responses: yes
  rrl-ratelimit: 0
  rrl-whitelist-ratelimit: 0
  username: ""
  chroot: ""
  database: ""
  zonesdir: "DIR"
  zonelistfile: "DIR/zone.list"
  xfrdfile: ""
  xfrdir: "DIR"
  pidfile: ""
  logfile: "DIR/log"
remote-control:
  control-enable: no
zone:
  name: example.com
  zonefile: ZONE
`, dir, at, threads)
}

func (s sources) coreDNS(program, dir string, at netip.AddrPort) (*exec.Cmd, error) {
	file := filepath.Join(dir, "Corefile")
	cmd := exec.Command(program, "-quiet", "-conf", file)
	cmd.Env = append(os.Environ(), "GOMAXPROCS=1")
	return cmd, s.write(file, `example.com:PORT {
  bind 127.0.0.1
  minimal
  file ZONE
}
`, dir, at, 1)
}

// sluice serves the addresses by rules: one for each VIP, or a single one that gives the first VIP for the names of all
// queries. An address is given only once a keepalive has found it alive.
func (s sources) sluice(program, dir string, at netip.AddrPort, vips, rules, threads int) (*exec.Cmd, error) {
	file := filepath.Join(dir, "gslb.yaml")
	if err := os.WriteFile(file, []byte(s.rules(vips, rules)), 0o644); err != nil {
		return nil, err
	}
	return exec.Command(program, "gslb", "--config", file, "--listen", at.String(), "--socket",
		filepath.Join(dir, "socket"),
		"--cores", fmt.Sprint(threads), "--log-level", "warn"), nil
}

func (s sources) rules(vips, rules int) string {
	names := func(rule int) string { // that it balances
		if rules > 1 {
			return name(rule)
		}
		var all []string
		for i := range existing {
			all = append(all, name(i))
		}
		return strings.Join(all, ", ")
	}
	text := new(strings.Builder)
	section := func(title string, n int, format string, values func(i int) []any) {
		fmt.Fprintf(text, "%s:\n", title)
		for i := range n {
			fmt.Fprintf(text, "  - {"+format+"}\n", values(i)...)
		}
	}
	section("answers", vips, "name: a%d, kind: vip, ipv4: %v, keepalives: [{kind: tcp, port: %d}]",
		func(i int) []any { return []any{i, address(i), s.vips} })
	section("groups", rules, "name: g%d, members: [{answer: a%d}]", func(i int) []any { return []any{i, i} })
	section("domain_lists", rules, "name: d%d, domains: [%s]", func(i int) []any { return []any{i, names(i)} })
	section("rules", rules, "name: r%d, domains: d%d, ttl: %d, clauses: [{group: g%d}], unknown: down, all_down: "+
		"no_data", func(i int) []any { return []any{i, i, ttl, i} })
	fmt.Fprintf(text, "zones:\n  - name: %s\n    records:\n", origin)
	for _, r := range apex {
		fmt.Fprintf(text, "      - {name: %q, type: %s, data: %s}\n", r.name, r.kind, r.data)
	}
	return text.String()
}
