// Package main measures how fast `sluice gslb` answers, beside the DNS servers people know: gdnsd, Knot, NSD, CoreDNS and a
// plain miekg/dns server. `make bench-dns` runs it.
//
// Every server answers the same names from one thread on the loopback, driven by dnsperf, all of them in one run and taking
// turns, so that what else the machine does hits all alike. Sluice answers from rules and health: its A records are VIPs under
// TCP keepalives. The figure to compare is the CPU time per query of the server's process.
package main

func main() {}
