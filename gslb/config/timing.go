package config

import (
	"time"

	"github.com/sluicelb/sluice/internal/strict"
)

type rawTiming struct {
	Preset    *string        `yaml:"preset"`
	Interval  *time.Duration `yaml:"interval"`
	Timeout   *time.Duration `yaml:"timeout"`
	Failures  *int           `yaml:"failures"`
	Response  *time.Duration `yaml:"response"`
	Retry     *time.Duration `yaml:"retry"`
	Retries   *int           `yaml:"retries"`
	Successes *int           `yaml:"successes"`
}

// standardTiming is that of a keepalive that nothing is said about.
var standardTiming = Timing{Interval: minInterval, Timeout: minTimeout, Successes: 1, Failures: 1}

// timingOf reads a timing, of which def is what it is when it is left out.
func (p *parser) timingOf(path string, r *rawTiming, def Timing) Timing {
	if r == nil {
		return def
	}
	t := Timing{Successes: p.Number(path+".successes", r.Successes, 1, 1, maxSuccesses)}
	preset := "standard"
	if r.Preset != nil {
		preset = *r.Preset
	}
	switch preset {
	case "fast":
		t.Fast = true
		t.Response = p.Duration(path+".response", r.Response, defaultResponse, minCustom, maxResponse)
		t.Retry = p.Duration(path+".retry", r.Retry, defaultBackoff, minCustom, maxResponse)
		t.Retries = p.Number(path+".retries", r.Retries, defaultRetries, 0, maxRetries)
		p.leftOut(path, "of the preset fast: they are for standard and custom", "interval", "timeout", "failures")
		return t
	case "standard":
		t.Interval = p.Duration(path+".interval", r.Interval, minInterval, minInterval, maxInterval)
		t.Timeout = p.Duration(path+".timeout", r.Timeout, minTimeout, minTimeout, maxTimeout)
	case "custom":
		if r.Interval == nil && !p.Bad(path+".interval") {
			p.Add(path+".interval", "is missing: the preset custom needs it, %s..%s", strict.Short(minCustom),
				strict.Short(maxCustom))
		}
		t.Interval = p.Duration(path+".interval", r.Interval, minInterval, minCustom, maxCustom)
		t.Timeout = p.Duration(path+".timeout", r.Timeout, t.Interval, minCustom, maxCustom)
	default:
		p.Add(path+".preset", "must be standard, fast or custom, is %s", strict.Quote(preset))
		return def
	}
	t.Failures = p.Number(path+".failures", r.Failures, 1, 1, maxSuccesses)
	p.leftOut(path, "of the preset "+preset+": they are for fast", "response", "retry", "retries")
	return t
}

// leftOut refuses keys that mean nothing where they are.
func (p *parser) leftOut(path, of string, keys ...string) {
	for _, key := range keys {
		if at := path + "." + key; p.Has(at) {
			p.Add(at, "must be left out %s", of)
		}
	}
}
