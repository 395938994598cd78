package healthd

import (
	"cmp"
	"crypto/tls"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"strconv"
	"time"

	"google.golang.org/protobuf/types/known/durationpb"

	"github.com/sluicelb/sluice/controller/api"
	"github.com/sluicelb/sluice/controller/config/checkable"
	"github.com/sluicelb/sluice/healthd/check"
	"github.com/sluicelb/sluice/healthd/probe"
	"github.com/sluicelb/sluice/internal/strict"
)

// backendKey names a backend.
type backendKey struct{ pool, name string }

func (k backendKey) String() string { return k.pool + "/" + k.name }

// question is what is asked of whom. A check whose question stays the same keeps its state when its
// timing, or anything else of the intent, changes.
type question struct {
	backend backendKey
	address string
	kind    string
	port    uint32
	path    string
	host    string
	expect  string
	verify  bool
	nth     int // of equal questions of this backend
}

// String is for logs: "web/web1 tcp 10.0.0.11:80".
func (q question) String() string {
	to := q.address
	if q.port != 0 {
		to = net.JoinHostPort(q.address, strconv.FormatUint(uint64(q.port), 10))
	}
	return fmt.Sprintf("%s %s %s", q.backend, q.kind, to)
}

// target is one check of one backend, as the controller wants it.
type target struct {
	question
	schedule probe.Schedule
	check    check.Check
	urgent   bool
}

// What healthd takes from a controller at most. An intent has fewer, and no longer names.
const (
	maxPools    = 1 << 16
	maxBackends = 1 << 16
	maxName     = 63
)

// expand makes the controller's message, which names checks per pool, into the checks of each backend.
// A backend without any check is in backends alone. What cannot be asked is a target that says so.
func expand(m *api.Checks, n check.Network) (backends []backendKey, targets []target, err error) {
	if len(m.GetPools()) > maxPools {
		return nil, nil, fmt.Errorf("checks of more than %d pools", maxPools)
	}
	known := map[backendKey]bool{}
	for _, pool := range m.GetPools() {
		checks := pool.GetChecks()
		tooMany := len(checks) > checkable.MaxChecks
		if len(backends)+len(pool.GetBackends()) > maxBackends {
			return nil, nil, fmt.Errorf("checks of more than %d backends", maxBackends)
		}
		if !tooMany && len(targets)+len(pool.GetBackends())*len(checks) > checkable.MaxTargets {
			return nil, nil, fmt.Errorf("more than %d checks of backends", checkable.MaxTargets)
		}
		questions := questionsOf(checks[:min(len(checks), checkable.MaxChecks)])
		for _, b := range pool.GetBackends() {
			key := backendKey{pool.GetPool(), b.GetName()}
			if len(key.pool) > maxName || len(key.name) > maxName {
				return nil, nil, fmt.Errorf("a name of more than %d bytes: %s of pool %s", maxName,
					strict.Quote(key.name),
					strict.Quote(key.pool))
			}
			if known[key] {
				continue
			}
			known[key] = true
			backends = append(backends, key)
			if tooMany {
				asked := check.Impossible{Name: fmt.Sprint("checks of ", key),
					Err: fmt.Errorf("must be at most %d, are %d", checkable.MaxChecks, len(checks))}
				q := question{backend: key, kind: "too many"}
				targets = append(targets, target{question: q, schedule: unhurried, check: asked})
				continue
			}
			for i, q := range questions {
				q.backend, q.address = key, b.GetAddress()
				t := newTarget(q, checks[i], n)
				t.urgent = b.GetUrgent()
				targets = append(targets, t)
			}
		}
	}
	return backends, targets, nil
}

// questionsOf is what the checks of a pool ask of any backend.
func questionsOf(checks []*api.Check) []question {
	seen := map[question]int{}
	all := make([]question, len(checks))
	for i, c := range checks {
		q := question{
			kind:   c.GetType(),
			port:   c.GetPort(),
			path:   c.GetPath(),
			host:   c.GetHost(),
			expect: fmt.Sprint(c.GetExpectStatus()),
			verify: c.GetVerifyCertificate(),
		}
		seen[q]++
		q.nth = seen[q]
		all[i] = q
	}
	return all
}

// unhurried is the schedule of what cannot be asked.
var unhurried = probe.Schedule{Interval: defaultInterval, Fast: defaultInterval, Timeout: defaultInterval,
	Spread: defaultInterval, Rise: 1, Fall: 1}

func newTarget(q question, c *api.Check, n check.Network) target {
	asked, err := newCheck(c, q.address, n)
	when, badTiming := newSchedule(c)
	if err := cmp.Or(err, badTiming); err != nil {
		when = unhurried
		asked = check.Impossible{Name: fmt.Sprintf("%.16s check of %s", c.GetType(), q.backend), Err: err}
	}
	return target{question: q, schedule: when, check: asked}
}

func newCheck(c *api.Check, address string, n check.Network) (check.Check, error) {
	addr, err := netip.ParseAddr(address)
	if err != nil || addr.IsUnspecified() || addr.IsMulticast() || addr == broadcast {
		return nil, fmt.Errorf("address of the backend: must be the address of a host, is %s", strict.Quote(address))
	}
	if c.GetType() == "icmp" {
		return check.ICMP{Network: n, Address: addr}, nil
	}
	if port := c.GetPort(); port < 1 || port > 65535 {
		return nil, fmt.Errorf("port: must be 1..65535, is %d", port)
	}
	to := netip.AddrPortFrom(addr, uint16(c.GetPort()))
	switch c.GetType() {
	case "tcp":
		return check.TCP{Network: n, Address: to}, nil
	case "http", "https":
		statuses, err := statusesOf(c)
		if err != nil {
			return nil, err
		}
		o := check.HTTPOptions{Address: to, Path: c.GetPath(), Host: c.GetHost(), Expect: check.StatusRanges(statuses)}
		if c.GetType() == "https" {
			o.TLS = &tls.Config{InsecureSkipVerify: !c.GetVerifyCertificate()}
		}
		return check.NewHTTP(n, o)
	}
	return nil, fmt.Errorf("type: must be tcp, http, https or icmp, is %s", strict.Quote(c.GetType()))
}

var broadcast = netip.AddrFrom4([4]byte{255, 255, 255, 255})

func statusesOf(c *api.Check) ([]uint16, error) {
	if n := len(c.GetExpectStatus()); n > checkable.MaxStatuses {
		return nil, fmt.Errorf("expect_status: must have at most %d statuses, has %d", checkable.MaxStatuses, n)
	}
	all := make([]uint16, len(c.GetExpectStatus()))
	for i, code := range c.GetExpectStatus() {
		if code < checkable.MinStatus || code > checkable.MaxStatus {
			return nil, fmt.Errorf("expect_status[%d]: must be %d..%d, is %d", i, checkable.MinStatus,
				checkable.MaxStatus, code)
		}
		all[i] = uint16(code)
	}
	return all, nil
}

const defaultInterval = 2 * time.Second

// newSchedule fills in what the message leaves out.
func newSchedule(c *api.Check) (probe.Schedule, error) {
	var problems []error
	duration := func(name string, d *durationpb.Duration, otherwise time.Duration) time.Duration {
		x := d.AsDuration()
		if x == 0 {
			return otherwise
		}
		if x < checkable.MinInterval || x > checkable.MaxInterval {
			problems = append(problems, fmt.Errorf("%s: must be %v..%v, is %v", name, checkable.MinInterval,
				checkable.MaxInterval, x))
		}
		return x
	}
	count := func(name string, n uint32) int {
		if n > checkable.MaxCount {
			problems = append(problems, fmt.Errorf("%s: must be 1..%d, is %d", name, checkable.MaxCount, n))
		}
		return max(1, int(n))
	}
	s := probe.Schedule{
		Interval: duration("interval", c.GetInterval(), defaultInterval),
		Rise:     count("rise", c.GetRise()),
		Fall:     count("fall", c.GetFall()),
	}
	s.Fast = min(s.Interval, duration("fast_interval", c.GetFastInterval(), s.Interval))
	s.Spread = s.Fast
	s.Timeout = duration("timeout", c.GetTimeout(), s.Interval)
	s.Jitter = s.Interval / 10
	if c.Jitter != nil { // 0 is a wish
		s.Jitter = min(s.Interval, max(0, c.Jitter.AsDuration()))
	}
	return s, errors.Join(problems...)
}
