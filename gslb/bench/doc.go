// Package main measures how fast `sluice gslb` answers, beside the DNS servers people know: gdnsd, Knot, NSD, CoreDNS
// and a plain miekg/dns server. `make bench-dns` runs it. It needs Linux and dnsperf; a server that is not installed is
// left out, and named.
//
// All servers answer the same queries (type workload) with the same answers, which is checked before anything is
// measured. They have them from a zone file; Sluice from rules and health, each address a VIP that its own TCP
// keepalive finds alive, and what the keepalives cost is on its account. Each is set up for speed: one thread, large
// socket buffers, minimal responses, no limits of rates, no logs, and no priority over the others. They take turns,
// each started anew for each run, so that what else the machine does hits all alike; medians are printed.
//
//   - CPU per query: user and system time of the server's processes, over the queries that dnsperf saw answered, while
//     it asked as fast as it could with 100 outstanding. This is the figure to compare: it hardly depends on how fast
//     dnsperf is, or on what else runs.
//   - qps: what dnsperf got in that time. Where it shares two processors with the server, it is dnsperf that ends first
//     with most servers.
//   - loss: queries without an answer with 400 outstanding at once. dnsperf's own sockets have room for all of them.
//   - p50, p99: at a fixed rate that all can keep up with, from the send call to the moment that the kernel had the
//     answer (SO_TIMESTAMPNS). Queries do not wait for answers, so a pause of the server counts for all that fell into
//     it. It is the figure that a busy machine spoils first.
//
// Then the same with 4,000 rules beside one, and with two threads. Everything is on the loopback: there is no network
// card and no interrupt, and a part of each packet's way through the kernel is on the account of who sent it.
package main
