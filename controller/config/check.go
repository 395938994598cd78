package config

import (
	"fmt"
	"slices"
	"time"

	"github.com/sluicelb/sluice/controller/config/checkable"
	"github.com/sluicelb/sluice/internal/strict"
)

const (
	defaultInterval, defaultFastInterval, defaultTimeout = 2 * time.Second, 500 * time.Millisecond, time.Second
	defaultRise, defaultFall                             = 2, 3
)

type rawCheck struct {
	Type              string         `yaml:"type,required"`
	Port              *int           `yaml:"port"`
	Path              *string        `yaml:"path"`
	Host              *string        `yaml:"host"`
	ExpectStatus      []string       `yaml:"expect_status"`
	VerifyCertificate *bool          `yaml:"verify_certificate"`
	Interval          *time.Duration `yaml:"interval"`
	FastInterval      *time.Duration `yaml:"fast_interval"`
	Timeout           *time.Duration `yaml:"timeout"`
	Jitter            *time.Duration `yaml:"jitter"`
	Rise              *int           `yaml:"rise"`
	Fall              *int           `yaml:"fall"`
}

func (p *parser) checks(path string, raw []rawCheck, ports []uint16) []Check {
	if len(raw) > checkable.MaxChecks {
		p.Add(path, "must have at most %d checks, has %d", checkable.MaxChecks, len(raw))
		return nil
	}
	var all []Check
	for i, r := range raw {
		all = append(all, p.check(fmt.Sprintf("%s[%d]", path, i), r, ports))
	}
	return all
}

func (p *parser) check(path string, r rawCheck, ports []uint16) Check {
	c := Check{Type: CheckType(r.Type)}
	types := []CheckType{CheckTCP, CheckHTTP, CheckHTTPS, CheckICMP}
	if known := slices.Contains(types, c.Type); known {
		c.Port = p.checkPort(path+".port", c.Type, r.Port, ports)
		p.webOnly(path, c.Type)
	} else if p.Usable(path + ".type") {
		p.Add(path+".type", "must be tcp, http, https or icmp, is %s", strict.Quote(r.Type))
	}
	if web(c.Type) {
		c.Path = checkable.ReadPath(p.Document, path+".path", r.Path)
		c.Host = checkable.ReadHost(p.Document, path+".host", r.Host)
		c.ExpectStatus = checkable.ReadStatuses(p.Document, path+".expect_status", r.ExpectStatus)
	}
	c.VerifyCertificate = r.VerifyCertificate != nil && *r.VerifyCertificate
	p.timing(path, r, &c)
	c.Rise = p.Number(path+".rise", r.Rise, defaultRise, 1, checkable.MaxCount)
	c.Fall = p.Number(path+".fall", r.Fall, defaultFall, 1, checkable.MaxCount)
	return c
}

// timing reads the durations; those that are left out follow from those that are there.
func (p *parser) timing(path string, r rawCheck, c *Check) {
	c.Interval = p.Duration(path+".interval", r.Interval, defaultInterval, checkable.MinInterval, checkable.MaxInterval)
	c.FastInterval = p.within(path, "fast_interval", r.FastInterval, min(defaultFastInterval, c.Interval),
		checkable.MinInterval, c.Interval)
	c.Timeout = p.within(path, "timeout", r.Timeout, min(defaultTimeout, c.Interval), checkable.MinInterval, c.Interval)
	c.Jitter = p.within(path, "jitter", r.Jitter, c.Interval/10, 0, c.Interval)
}

// within reads a duration that may not be greater than the check's interval.
func (p *parser) within(path, key string, x *time.Duration, def, least, interval time.Duration) time.Duration {
	at := path + "." + key
	d := p.Duration(at, x, def, least, checkable.MaxInterval)
	if d > interval && !p.Bad(at) && !p.Bad(path+".interval") {
		p.Add(at, "must be at most interval, %s, is %s", strict.Short(interval), strict.Short(d))
	}
	return d
}

func web(t CheckType) bool { return t == CheckHTTP || t == CheckHTTPS }

// webOnly refuses keys that the type of the check does not have.
func (p *parser) webOnly(path string, t CheckType) {
	for _, key := range []string{"path", "host", "expect_status"} {
		if p.Has(path+"."+key) && !web(t) {
			p.Add(path+"."+key, "must be left out of %s checks: it is for http and https", t)
		}
	}
	if p.Has(path+".verify_certificate") && t != CheckHTTPS {
		p.Add(path+".verify_certificate", "must be left out of %s checks: it is for https", t)
	}
}

// checkPort returns the port to ask; without one it is that of the pool's VIPs.
func (p *parser) checkPort(path string, t CheckType, x *int, ports []uint16) uint16 {
	switch {
	case t == CheckICMP && p.Has(path):
		p.Add(path, "must be left out of icmp checks: ICMP has no ports")
	case t == CheckICMP:
	case x != nil:
		return uint16(p.Number(path, x, 0, 1, 65535))
	case p.Bad(path):
	case len(ports) == 1:
		return ports[0]
	case len(ports) == 0:
		p.Add(path, "is missing, and no VIP uses the pool whose port it could be: must be 1..65535")
	default:
		p.Add(path, "is missing, and the pool's VIPs have several ports (%s): must be 1..65535", list(ports))
	}
	return 0
}
