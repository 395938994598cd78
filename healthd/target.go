package healthd

import (
	"crypto/tls"
	"fmt"
	"net"
	"net/netip"
	"strconv"
	"time"

	"google.golang.org/protobuf/types/known/durationpb"

	"github.com/sluicelb/sluice/controller/api"
	"github.com/sluicelb/sluice/healthd/check"
	"github.com/sluicelb/sluice/healthd/probe"
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
}

// expand makes the controller's message, which names checks per pool, into the checks of each backend.
// A backend without any check is in backends alone.
func expand(m *api.Checks, n check.Network) (backends []backendKey, targets []target) {
	for _, pool := range m.GetPools() {
		for _, b := range pool.GetBackends() {
			key := backendKey{pool.GetPool(), b.GetName()}
			backends = append(backends, key)
			seen := map[question]int{}
			for _, c := range pool.GetChecks() {
				q := question{
					backend: key,
					address: b.GetAddress(),
					kind:    c.GetType(),
					port:    c.GetPort(),
					path:    c.GetPath(),
					host:    c.GetHost(),
					expect:  fmt.Sprint(c.GetExpectStatus()),
					verify:  c.GetVerifyCertificate(),
				}
				seen[q]++
				q.nth = seen[q]
				asked, err := newCheck(c, b.GetAddress(), n)
				if err != nil {
					asked = check.Impossible{Name: fmt.Sprintf("%s check of %s", c.GetType(), key), Err: err}
				}
				targets = append(targets, target{q, newSchedule(c), asked})
			}
		}
	}
	return backends, targets
}

func newCheck(c *api.Check, address string, n check.Network) (check.Check, error) {
	addr, err := netip.ParseAddr(address)
	if err != nil {
		return nil, fmt.Errorf("address of the backend: %w", err)
	}
	if c.GetPort() > 65535 {
		return nil, fmt.Errorf("port: must be 1..65535, is %d", c.GetPort())
	}
	to := netip.AddrPortFrom(addr, uint16(c.GetPort()))
	switch c.GetType() {
	case "tcp":
		return check.TCP{Network: n, Address: to}, nil
	case "icmp":
		return check.ICMP{Network: n, Address: addr}, nil
	case "http", "https":
		statuses := make([]int, len(c.GetExpectStatus()))
		for i, code := range c.GetExpectStatus() {
			statuses[i] = int(code)
		}
		o := check.HTTPOptions{Address: to, Path: c.GetPath(), Host: c.GetHost(), Expect: check.StatusRanges(statuses)}
		if c.GetType() == "https" {
			o.TLS = &tls.Config{InsecureSkipVerify: !c.GetVerifyCertificate()}
		}
		return check.NewHTTP(n, o)
	}
	return nil, fmt.Errorf("type: must be tcp, http, https or icmp, is %q", c.GetType())
}

// newSchedule fills in what the message leaves out.
func newSchedule(c *api.Check) probe.Schedule {
	s := probe.Schedule{
		Interval: positive(c.GetInterval(), 2*time.Second),
		Rise:     max(1, int(c.GetRise())),
		Fall:     max(1, int(c.GetFall())),
	}
	s.Fast = min(s.Interval, positive(c.GetFastInterval(), s.Interval))
	s.Spread = s.Fast
	s.Timeout = positive(c.GetTimeout(), s.Interval)
	s.Jitter = s.Interval / 10
	if c.Jitter != nil { // 0 is a wish
		s.Jitter = min(s.Interval, max(0, c.Jitter.AsDuration()))
	}
	return s
}

func positive(d *durationpb.Duration, otherwise time.Duration) time.Duration {
	if d.AsDuration() > 0 {
		return d.AsDuration()
	}
	return otherwise
}
