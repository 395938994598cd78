package config

import (
	"bytes"
	"encoding/hex"
	"net/netip"
	"regexp"
	"slices"
	"strings"
	"time"

	"github.com/sluicelb/sluice/internal/rpc/endpoint"
	"github.com/sluicelb/sluice/internal/strict"
)

type rawServer struct {
	Listen            []string       `yaml:"listen"`
	Control           rawControl     `yaml:"control"`
	Metrics           *string        `yaml:"metrics"`
	State             *string        `yaml:"state"`
	NSID              *string        `yaml:"nsid"`
	Version           *string        `yaml:"version"`
	ID                *string        `yaml:"id"`
	UDPSize           *int           `yaml:"udp_size"`
	CookieSecrets     []string       `yaml:"cookie_secrets"`
	CookieSecretsFile *string        `yaml:"cookie_secrets_file"`
	RateLimit         rawRateLimit   `yaml:"rate_limit"`
	TCP               rawTCP         `yaml:"tcp"`
	Mitigation        rawMitigation  `yaml:"mitigation"`
	Reload            rawReload      `yaml:"reload"`
	NoMatch           *NoMatch       `yaml:"no_match"`
	Forward           []string       `yaml:"forward"`
	ForwardTimeout    *time.Duration `yaml:"forward_timeout"`
	ForwardMax        *int           `yaml:"forward_max"`
}

type rawControl struct {
	Socket    *string  `yaml:"socket"`
	Listen    *string  `yaml:"listen"`
	Operators []string `yaml:"operators"`
	Viewers   []string `yaml:"viewers"`
}

type rawRateLimit struct {
	Responses *int           `yaml:"responses"`
	Errors    *int           `yaml:"errors"`
	Window    *time.Duration `yaml:"window"`
	Slip      *int           `yaml:"slip"`
	Exempt    []string       `yaml:"exempt"`
}

type rawTCP struct {
	Connections *int           `yaml:"connections"`
	PerClient   *int           `yaml:"per_client"`
	Idle        *time.Duration `yaml:"idle"`
	Query       *time.Duration `yaml:"query"`
	Pipeline    *int           `yaml:"pipeline"`
}

type rawReload struct {
	Watch   *bool          `yaml:"watch"`
	Settle  *time.Duration `yaml:"settle"`
	MaxLoss *int           `yaml:"max_loss"`
}

type rawMitigation struct {
	Responses       *bool `yaml:"responses"`
	PrivilegedPorts *bool `yaml:"privileged_ports"`
}

func (p *parser) server(r rawServer) Server {
	s := Server{
		Listen:        p.listen("server.listen", r.Listen),
		Control:       p.control("server.control", r.Control),
		Metrics:       p.metrics("server.metrics", r.Metrics),
		State:         p.filePath("server.state", r.State),
		NSID:          p.line("server.nsid", r.NSID, 128),
		Version:       p.line("server.version", r.Version, 255), // one string of TXT data
		ID:            p.line("server.id", r.ID, 255),
		UDPSize:       uint16(p.Number("server.udp_size", r.UDPSize, defaultUDPSize, minUDPSize, maxUDPSize)),
		CookieSecrets: p.cookieSecrets(r),
		RateLimit:     p.rateLimit("server.rate_limit", r.RateLimit),
		TCP:           p.tcp("server.tcp", r.TCP),
		Mitigation:    Mitigation{orTrue(r.Mitigation.Responses), orTrue(r.Mitigation.PrivilegedPorts)},
		Reload: Reload{
			Watch:   orTrue(r.Reload.Watch),
			Settle:  p.Duration("server.reload.settle", r.Reload.Settle, defaultSettle, minSettle, maxSettle),
			MaxLoss: p.Number("server.reload.max_loss", r.Reload.MaxLoss, defaultMaxLoss, 0, 100),
		},
		NoMatch: NoMatchRefused,
		ForwardTimeout: p.Duration("server.forward_timeout", r.ForwardTimeout, time.Second, 50*time.Millisecond,
			30*time.Second),
		ForwardMax: p.Number("server.forward_max", r.ForwardMax, 1000, 1, 100000),
	}
	if p.Has("server.forward") && !p.Bad("server.forward") {
		s.Forward = p.endpoints("server.forward", r.Forward)
	}
	if r.NoMatch != nil {
		s.NoMatch = *r.NoMatch
	}
	switch {
	case s.NoMatch == NoMatchNXDomain:
		p.Add("server.no_match", "must be refused or forward, is nxdomain: what does not exist outside of this "+
			"server's zones is for others to say")
	case s.NoMatch == NoMatchForward && !p.Has("server.forward"):
		p.Add("server.no_match", "must be refused while there is no server.forward, is forward")
	}
	return s
}

// listen reads the addresses to serve. Port 0 is one that the kernel picks.
func (p *parser) listen(path string, list []string) []netip.AddrPort {
	p.atLeastOne(path, len(list), "address")
	p.atMost(path, len(list), maxListen)
	var all []netip.AddrPort
	seen := make(map[netip.AddrPort]string)
	for i, text := range list {
		at := item(path, i)
		if p.Bad(at) {
			continue
		}
		addr, ok := addrPort(text, dnsPort)
		if !ok || addr.Addr().IsMulticast() || addr.Addr().Is4In6() {
			p.Add(at, "must be an address of this machine, and a port if it is not 53, such as 192.0.2.53 or "+
				"[::]:5300, is %s", strict.Quote(text))
			continue
		}
		if addr.Port() == 0 || p.unlisted(at, addr, seen) {
			all = append(all, addr)
		}
	}
	return all
}

// account is the name or number of a user, or of a group after "%".
var account = regexp.MustCompile(`^%?[A-Za-z0-9_][A-Za-z0-9_.-]{0,31}$`)

func (p *parser) control(path string, r rawControl) Control {
	c := Control{Socket: p.filePath(path+".socket", r.Socket)}
	if len(c.Socket) > endpoint.MaxPath {
		p.Add(path+".socket", "must be at most %d bytes, is %d: the kernel takes no longer path of a socket",
			endpoint.MaxPath, len(c.Socket))
	} else if strings.Contains(c.Socket, "?") {
		p.Add(path+".socket", "must have no ?, is %s", strict.Quote(c.Socket))
	}
	if r.Listen != nil {
		e, err := endpoint.Parse(*r.Listen)
		if err != nil || !e.TLS {
			p.Add(path+".listen", "must be https://host:port, such as https://:9683, is %s", strict.Quote(*r.Listen))
		}
		c.Listen = *r.Listen
	}
	c.Operators = p.accounts(path+".operators", r.Operators)
	c.Viewers = p.accounts(path+".viewers", r.Viewers)
	return c
}

func (p *parser) accounts(path string, list []string) []string {
	seen := make(map[string]string)
	for i, who := range list {
		at := item(path, i)
		if p.Bad(at) {
			continue
		}
		if !account.MatchString(who) {
			p.Add(at, "must be the name of a user, or of a group after %%, such as alice or %%netops, is %s",
				strict.Quote(who))
		} else if first, ok := seen[who]; ok {
			p.Add(at, "must be unique, %s is %s too", who, p.is(first))
		}
		seen[who] = at
	}
	return list
}

func (p *parser) metrics(path string, text *string) string {
	if text == nil {
		return ""
	}
	e, err := endpoint.Parse(*text)
	if err != nil || e.Unix() || !e.TLS && !e.Local() {
		p.Add(path, "must be a loopback address and a port, such as 127.0.0.1:9682, or https://host:port, is %s: "+
			"without TLS the metrics "+
			"are not offered to a network", strict.Quote(*text))
	}
	return *text
}

// filePath reads the path of a file that need not be there yet.
func (p *parser) filePath(path string, name *string) string {
	if name == nil || !p.pathForm(path, *name) {
		return ""
	}
	return p.path(*name)
}

// line reads printable text of one line.
func (p *parser) line(path string, text *string, most int) string {
	if text == nil {
		return ""
	}
	printable := !strings.ContainsFunc(*text, func(r rune) bool { return r < ' ' || r > '~' })
	if *text == "" || len(*text) > most || !printable {
		p.Add(path, "must be 1..%d printable ASCII characters, is %s", most, strict.Quote(*text))
		return ""
	}
	return *text
}

// published are secrets that stood in documents: in our example, and in RFC 9018, Appendix A.
var published = []string{
	"00112233445566778899aabbccddeeff",
	"e5e973e5a6b2a43f48e7dc849e37bfcf", "445536bcd2513298075a5d379663c962", "dd3bdf9344b678b185a6f5cb60fca715",
}

// cookieSecrets reads the secrets of the file's list, and after them those of the file that has one on each line.
func (p *parser) cookieSecrets(r rawServer) [][16]byte {
	const list, file = "server.cookie_secrets", "server.cookie_secrets_file"
	p.atLeastOne(list, len(r.CookieSecrets), "secret")
	var all [][16]byte
	seen := make(map[[16]byte]place)
	add := func(at place, text string) {
		var secret [16]byte
		if n, err := hex.Decode(secret[:], []byte(text[:min(len(text), 32)])); err != nil || n != 16 ||
			len(text) != 32 {
			// a secret is not shown
			p.fault(at, "must be 32 hexadecimal digits, which are 16 bytes, has %d characters", len(text))
			return
		}
		if slices.Contains(published, strings.ToLower(text)) {
			p.fault(at, "must be a secret of your own, as `openssl rand -hex 16` makes one: this one was published, "+
				"and who knows it forges cookies")
			return
		}
		if first, ok := seen[secret]; ok {
			p.fault(at, "must be unique, is that of %s too", p.where(first))
			return
		}
		seen[secret] = at
		all = append(all, secret)
	}
	for i, text := range r.CookieSecrets {
		if at := item(list, i); !p.Bad(at) {
			add(place{path: at}, text)
		}
	}
	if r.CookieSecretsFile != nil {
		data, name, ok := p.contents(file, *r.CookieSecretsFile, secret)
		number, secrets := 0, 0
		for line := range bytes.Lines(data) {
			number++
			if line = bytes.TrimSpace(line); len(line) > 0 && line[0] != '#' {
				secrets++
				add(place{file: name, line: number}, string(line))
			}
		}
		if ok && secrets == 0 {
			p.Add(file, "must be a file with a secret on each line, has none")
		}
	}
	p.atMost(list, len(all), maxSecrets)
	return all
}

func (p *parser) rateLimit(path string, r rawRateLimit) RateLimit {
	responses := p.Number(path+".responses", r.Responses, 0, 0, 1000000)
	l := RateLimit{
		Responses: responses,
		Errors:    p.Number(path+".errors", r.Errors, responses, 0, 1000000),
		Window:    p.Duration(path+".window", r.Window, 15*time.Second, time.Second, time.Hour),
		Slip:      p.Number(path+".slip", r.Slip, 2, 0, 10),
	}
	l.Exempt = p.prefixes(path+".exempt", r.Exempt)
	return l
}

func (p *parser) tcp(path string, r rawTCP) TCPLimits {
	connections := p.Number(path+".connections", r.Connections, 1000, 1, 1000000)
	return TCPLimits{
		Connections: connections,
		PerClient:   p.Number(path+".per_client", r.PerClient, min(100, connections), 1, connections),
		Idle:        p.Duration(path+".idle", r.Idle, 10*time.Second, 100*time.Millisecond, time.Hour),
		Query:       p.Duration(path+".query", r.Query, 5*time.Second, 100*time.Millisecond, 5*time.Minute),
		Pipeline:    p.Number(path+".pipeline", r.Pipeline, 64, 1, 10000),
	}
}
