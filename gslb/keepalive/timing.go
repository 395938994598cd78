package keepalive

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/sluicelb/sluice/gslb/config"
	"github.com/sluicelb/sluice/healthd/check"
	"github.com/sluicelb/sluice/healthd/probe"
)

// spread is the time after Set in which what is new is first asked.
const spread = 2 * time.Second

// schedule says when k is asked and when an answer counts as missing: after tries[0] k is asked again, after
// tries[1] once more, and so on; the last try has what is left of Schedule.Timeout.
//
// Times count from the start of the first probe that is not answered. From there to the verdict it takes
//
//	standard, custom:  Timeout + (Failures-1) x Interval
//	fast:              acked x (Response + Retry x Retries) + wait
//
// where acked is how many packets of an exchange want an acknowledgement and wait is Response for an exchange that
// closes by FIN, else 0. So much it takes whenever a server falls silent, before the exchange or in it; one that says
// no, by a refused connection, a wrong status or a bad value, is down at once. With the defaults of fast:
//
//	                                acked  wait  time
//	ICMP, name server, SNMP, load     1     0     4 s
//	TCP that closes by RST            1     0     4 s, and 12 s with 5 retries
//	TCP that closes by FIN            2    2 s   10 s
//	HEAD that closes by RST           2     0     8 s
//	HEAD that closes by FIN           3    2 s   14 s
//
// HTTPS counts as HEAD does. A load report that names a secondary asks both in each try.
//
// What comes on top is the time from the death to the start of that probe: none, up to the interval between two
// starts. That is Interval in standard and custom, so that a verdict takes at most Interval + Timeout with one
// failure, 60 s with the defaults. In fast it is the very time of the table: probes follow each other without a
// pause if there is no answer, and a death is seen at most twice the table's time after it. A server that came
// back is asked in the same steps, and is up after Successes answers in a row; so is one that is new.
//
// The first probe comes within 2 s, and the second after a random part of the interval.
func schedule(k config.Keepalive) (s probe.Schedule, tries []time.Duration) {
	t := k.Timing
	s = probe.Schedule{Interval: t.Interval, Timeout: t.Timeout, Rise: max(1, t.Successes), Fall: max(1, t.Failures)}
	if t.Fast {
		acked := time.Duration(acked(k))
		s.Timeout = acked*(t.Response+t.Retry*time.Duration(t.Retries)) + wait(k)
		s.Interval, s.Fall = s.Timeout, 1
		for i := range t.Retries {
			if i == 0 {
				tries = append(tries, acked*t.Response)
				continue
			}
			tries = append(tries, acked*t.Retry)
		}
	} else if datagrams(k) {
		// A lost datagram is no death: asked at once, after a tenth and after three tenths of the time.
		tries = []time.Duration{t.Timeout / 10, t.Timeout / 5}
	}
	s.Fast = s.Interval
	s.Spread = min(spread, s.Interval)
	return s, tries
}

// acked is how many packets of one exchange want an acknowledgement: the SYN, the request, the FIN.
func acked(k config.Keepalive) int {
	n := 1
	if k.Kind == config.HTTPHead {
		n++
	}
	if closesByFIN(k) {
		n++
	}
	return n
}

// wait is how long an exchange that closes by FIN waits for the server's.
func wait(k config.Keepalive) time.Duration {
	switch {
	case !closesByFIN(k):
		return 0
	case k.Timing.Fast:
		return k.Timing.Response
	}
	return k.Timing.Timeout / 10
}

func closesByFIN(k config.Keepalive) bool {
	return k.FIN && (k.Kind == config.TCP || k.Kind == config.HTTPHead)
}

// datagrams reports that nobody below k repeats what is lost, as TCP does.
func datagrams(k config.Keepalive) bool { return k.Kind != config.TCP && k.Kind != config.HTTPHead }

// repeated asks again when there is no answer, and only then.
type repeated struct {
	check check.Check
	tries []time.Duration // of all tries but the last, which has what is left
}

// Run asks until there is an answer or ctx ends.
func (r repeated) Run(ctx context.Context) error {
	for _, patience := range r.tries {
		try, cancel := context.WithTimeout(ctx, patience)
		err := r.check.Run(try)
		cancel()
		if !errors.Is(err, context.DeadlineExceeded) {
			return err
		}
	}
	err := r.check.Run(ctx)
	if errors.Is(err, context.DeadlineExceeded) {
		return fmt.Errorf("%w, the last of %d tries", err, len(r.tries)+1)
	}
	return err
}
