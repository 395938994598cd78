package config

import (
	"errors"
	"fmt"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"

	"github.com/sluicelb/sluice/internal/rpc/endpoint"
	"github.com/sluicelb/sluice/internal/strict"
)

type rawSwitch struct {
	Name     string   `yaml:"name,required"`
	Address  string   `yaml:"address,required"`
	DeviceID *uint64  `yaml:"device_id,required"`
	Ports    []string `yaml:"ports,required"`
	GNMI     rawGNMI  `yaml:"gnmi"`
}

type rawGNMI struct {
	Address      string `yaml:"address"`
	Username     string `yaml:"username"`
	PasswordFile string `yaml:"password_file"`
}

func (p *parser) switches(raw []rawSwitch) []Switch {
	if p.Usable("switches") && len(raw) == 0 {
		p.Add("switches", "must name at least one switch")
	}
	if p.atMost("switches", len(raw), maxSwitches) {
		return nil
	}
	type device struct {
		address string
		id      uint64
	}
	names, devices := make(map[string]string), make(map[device]string)
	all := make([]Switch, len(raw))
	for i, r := range raw {
		path := fmt.Sprintf("switches[%d]", i)
		p.name(path+".name", r.Name, names)
		s := Switch{Name: r.Name, Address: p.endpoint(path+".address", r.Address)}
		if r.DeviceID != nil {
			s.DeviceID = *r.DeviceID
		}
		if p.Usable(path+".address") && p.Usable(path+".device_id") {
			// With TLS or without, it is the same device.
			unique(p, path+".address", device{strings.TrimPrefix(s.Address, "https://"), s.DeviceID}, devices,
				"must differ from that of every other switch, %s with device_id %d is %s too", s.Address,
				s.DeviceID)
		}
		s.Ports, s.Named = p.switchPorts(path+".ports", r.Ports)
		s.GNMI = p.gnmi(path+".gnmi", r.GNMI, s.Address)
		all[i] = s
	}
	return all
}

var usernameForm = regexp.MustCompile(`^[!-~]{1,64}$`)

// gnmi reads where a switch, whose P4Runtime has an address, has its gNMI, and as whom it is asked there.
func (p *parser) gnmi(path string, r rawGNMI, address string) GNMI {
	g := GNMI{Address: address, Username: r.Username, PasswordFile: r.PasswordFile}
	where := path + ".address"
	if p.Has(where) {
		g.Address = p.endpoint(where, r.Address)
	} else {
		where = strings.TrimSuffix(path, ".gnmi") + ".address"
	}
	user, file := path+".username", path+".password_file"
	switch {
	case p.Usable(user) && !usernameForm.MatchString(r.Username):
		p.Add(user, "must be 1..64 printable ASCII characters without spaces, is %s", strict.Quote(r.Username))
	case p.Usable(file) && !filepath.IsAbs(r.PasswordFile):
		p.Add(file, "must be an absolute path, is %s", strict.Quote(r.PasswordFile))
	case p.Has(user) && !p.Has(file):
		p.Add(file, "is missing: username needs it")
	case p.Has(file) && !p.Has(user):
		p.Add(user, "is missing: password_file needs it")
	case p.Has(user) && p.Usable(where):
		if e, err := endpoint.Parse(g.Address); err == nil && !e.TLS && !e.Local() {
			p.Add(user, "must be left out, as %s is in plain text: a password is sent by https:// or within this "+
				"machine", g.Address)
		}
	}
	return g
}

// endpoint checks the address of a P4Runtime or gNMI server and returns its one spelling.
func (p *parser) endpoint(path, text string) string {
	if !p.Usable(path) {
		return text
	}
	e, err := endpoint.Parse(text)
	switch {
	case strings.HasPrefix(text, "unix:"):
		if err == nil && !e.Absolute() {
			err = errors.New("must be an absolute path")
		}
		if err != nil {
			p.Add(path, "must be a unix socket such as unix:/run/sluice/switch.sock, is %s: %v", strict.Quote(text),
				err)
		}
		return e.String()
	case err != nil || e.String() != text || e.Port() == 0 || e.Host() == "":
		p.Add(path,
			"must be https://host:port, host:port such as 127.0.0.1:9559, the port 1..65535, or unix:/path, is %s",
			strict.Quote(text))
	}
	return text
}

// isPort says whether text is a port in plain decimal digits.
func isPort(text string) bool {
	n, err := strconv.ParseUint(text, 10, 16)
	return err == nil && n > 0 && text == strconv.FormatUint(n, 10)
}

// switchPorts reads the flood domain.
func (p *parser) switchPorts(path string, raw []string) (ports []uint16, names []string) {
	if p.Usable(path) && len(raw) == 0 {
		p.Add(path, "must name at least one port")
	}
	if p.atMost(path, len(raw), maxPort) {
		return nil, nil
	}
	for i, text := range raw {
		at := fmt.Sprintf("%s[%d]", path, i)
		if !p.Usable(at) {
			continue
		}
		switch n, name := p.port(at, text); {
		case n == 0 && name == "":
		case slices.Contains(ports, n), slices.Contains(names, name):
			p.Add(at, "must be unique, %s is in the list before", text)
		case n != 0:
			ports = append(ports, n)
		default:
			names = append(names, name)
		}
	}
	slices.Sort(ports)
	return ports, names
}

var (
	wholeForm    = regexp.MustCompile(`^[-+]?[0-9]+$`)
	portNameForm = regexp.MustCompile(`^[A-Za-z0-9][A-Za-z0-9._:/-]{0,62}$`)
)

// port reads a port of a switch: its number, or the name that the switch has for it. The other one is empty; both are
// where it is none.
func (p *parser) port(path, text string) (number uint16, name string) {
	n, err := strconv.ParseUint(text, 10, 16)
	switch {
	case err == nil && n >= 1 && n <= maxPort && strconv.FormatUint(n, 10) == text:
		return uint16(n), ""
	case wholeForm.MatchString(text):
		p.Add(path, "must be 1..%d, is %s", maxPort, text)
	case !portNameForm.MatchString(text):
		p.Add(path, `must be 1..%d, or the name that the switch has for it: 1..63 letters, digits, ".", "_", ":", `+
			`"/" or "-", is %s`,
			maxPort, strict.Quote(text))
	default:
		return 0, text
	}
	return 0, ""
}
