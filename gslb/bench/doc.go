// Package main measures how fast `sluice gslb` answers, beside the DNS servers people know: gdnsd, Knot, NSD, CoreDNS and a
// plain miekg/dns server. `make bench-dns` runs it. It needs Linux and dnsperf; a server that is not installed is left
// out, and named.
//
// All servers answer the same queries (type workload) with the same answers, which is checked before anything is measured.
// They have them from a zone file; Sluice from rules and health, each address a VIP that its own TCP keepalive finds
// alive. Each is set up as its makers advise for speed: one thread, large socket buffers, minimal responses, no limits of
// rates, no logs. They take turns, each started anew for each run and alone on the machine, so that what else that
// does hits all alike; medians are printed. On two processors or more, the server has one and who asks has the others.
//
//   - CPU per query: user and system time of the server's processes, over the queries that dnsperf saw answered, while it asked
//     as fast as it could with 100 outstanding. This is the figure to compare: it does not depend on how fast dnsperf is.
//   - qps: what dnsperf got in that time. A server that is faster than dnsperf has time to spare.
//   - loss: queries without an answer with 400 outstanding at once. dnsperf's own socket has room for all of them.
//   - p99: at a fixed rate that all can keep up with, from the send call to the moment that the kernel had the answer
//     (SO_TIMESTAMPNS). Queries do not wait for answers, so a pause of the server counts for all that fell into it.
//
// Everything is on the loopback: there is no network card and no interrupt, and part of a packet's way through the kernel is
// on the account of who sent it.
package main
