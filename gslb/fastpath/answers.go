package fastpath

import (
	"github.com/sluicelb/sluice/gslb/config"
	"github.com/sluicelb/sluice/gslb/zone"
)

// answers is what the answers of a configuration say, by index, as it is on the wire: a table that stays in the
// processor's cache, where the configuration does not.
type answers struct {
	config  *config.Config
	a       [][4]byte
	aaaa    [][16]byte
	targets [][]byte // of CNAMEs
}

// follow makes the table that of a configuration. It allocates when that is another one.
func (t *answers) follow(c *config.Config) {
	if t.config == c {
		return
	}
	n := len(c.Answers)
	*t = answers{config: c, a: make([][4]byte, n), aaaa: make([][16]byte, n), targets: make([][]byte, n)}
	for i := range c.Answers {
		a := &c.Answers[i]
		if a.IPv4.IsValid() {
			t.a[i] = a.IPv4.As4()
		}
		if a.IPv6.IsValid() {
			t.aaaa[i] = a.IPv6.As16()
		}
		if a.Kind != config.CNAME {
			continue
		}
		target, err := zone.Name(a.Target)
		if err != nil {
			panic("fastpath: " + err.Error()) // package config lets no such name through
		}
		t.targets[i] = target
	}
}
