package config

import (
	"fmt"
	"github.com/sluicelb/sluice/internal/strict"
	"net/netip"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
)

// index finds the objects of one kind by their names.
type index struct {
	what  string // a region
	names []string
	at    map[string]int
	bad   bool // some have no usable name
}

var nameForm = regexp.MustCompile(fmt.Sprintf(`^[A-Za-z0-9][A-Za-z0-9._-]{0,%d}$`, maxName-1))

// name checks the name of an object, which must be the only one of its kind, and enters it.
func (p *parser) name(x *index, list string, i int, name string) {
	path := item(list, i) + ".name"
	if !p.Usable(path) {
		x.bad = true
		return
	}
	if !nameForm.MatchString(name) {
		p.Add(path, `must be 1..%d letters, digits, ".", "_" or "-", the first one a letter or a digit, is %s`, maxName,
			strict.Quote(name))
		x.bad = true
		return
	}
	if first, ok := x.at[name]; ok {
		p.Add(path, "must be unique, %q is the name of %s too", name, p.is(item(list, first)))
		return
	}
	if x.at == nil {
		x.at = make(map[string]int)
	}
	x.at[name] = i
	x.names = append(x.names, name)
}

// reference finds the object that the value at path names; None if there is no value, or no such object.
func (p *parser) reference(x *index, path string, name *string) int {
	if name == nil || !p.Usable(path) {
		return None
	}
	if i, ok := x.at[*name]; ok {
		return i
	}
	if !x.bad || nameForm.MatchString(*name) { // else it may well be the bad one
		p.Add(path, "must be the name of %s (%s), is %s", x.what, few(x.names), strict.Quote(*name))
	}
	return None
}

// atMost bounds the length of a list.
func (p *parser) atMost(path string, n, most int) {
	if n > most {
		p.Add(path, "must be at most %d, are %d", most, n)
	}
}

// atLeastOne refuses a list that is there and empty.
func (p *parser) atLeastOne(path string, n int, what string) {
	if n == 0 && p.Usable(path) {
		p.Add(path, "must have at least one %s", what)
	}
}

// host reads the address of one machine.
func (p *parser) host(path, text string) netip.Addr {
	addr, err := netip.ParseAddr(text)
	if err != nil {
		p.Add(path, "must be an IP address such as 192.0.2.1 or 2001:db8::1, is %s", strict.Quote(text))
		return netip.Addr{}
	}
	if !isHost(addr) {
		p.Add(path, "must be the address of a host, is %s", strict.Quote(text))
		return netip.Addr{}
	}
	return addr
}

// isHost reports whether one machine somewhere can have the address.
func isHost(a netip.Addr) bool {
	return a.IsValid() && !a.IsUnspecified() && !a.IsMulticast() && !a.IsLinkLocalUnicast() && a.Zone() == "" &&
		!a.Is4In6() &&
		!(a.Is4() && (a.As4()[0] == 0 || a.As4()[0] >= 240))
}

// endpoint reads an address and a port; without a port it is def.
func (p *parser) endpoint(path, text string, def uint16) netip.AddrPort {
	at, ok := addrPort(text, def)
	switch {
	case !ok:
		p.Add(path, "must be an IP address, and a port 1..65535 if it is not %d, such as 192.0.2.1:%d or "+
			"[2001:db8::1]:%d, is %s", def, def, def, strict.Quote(text))
		return netip.AddrPort{}
	case !isHost(at.Addr()) || at.Port() == 0:
		p.Add(path, "must be the address of a host and a port 1..65535, is %s", strict.Quote(text))
		return netip.AddrPort{}
	}
	return at
}

// endpoints reads the name servers in the list at path.
func (p *parser) endpoints(path string, list []string) []netip.AddrPort {
	p.atLeastOne(path, len(list), "address")
	p.atMost(path, len(list), maxServers)
	var all []netip.AddrPort
	seen := make(map[netip.AddrPort]string)
	for i, text := range list {
		at := item(path, i)
		if p.Bad(at) {
			continue
		}
		if server := p.endpoint(at, text, dnsPort); server.IsValid() && p.unlisted(at, server, seen) {
			all = append(all, server)
		}
	}
	return all
}

// unlisted refuses what a list has twice.
func (p *parser) unlisted(path string, at netip.AddrPort, seen map[netip.AddrPort]string) bool {
	if first, ok := seen[at]; ok {
		p.Add(path, "must be unique, %s is %s too", at, p.is(first))
		return false
	}
	seen[at] = path
	return true
}

func addrPort(text string, def uint16) (netip.AddrPort, bool) {
	if addr, err := netip.ParseAddr(text); err == nil {
		return netip.AddrPortFrom(addr, def), true
	}
	at, err := netip.ParseAddrPort(text)
	return at, err == nil && strings.HasSuffix(text, ":"+strconv.Itoa(int(at.Port())))
}

// pathForm checks a path of the file system.
func (p *parser) pathForm(path, name string) bool {
	if name == "" || strings.ContainsRune(name, 0) || strings.HasSuffix(name, "/") || filepath.Clean(name) == "." {
		p.Add(path, "must be the path of a file, is %s", strict.Quote(name))
		return false
	}
	return true
}

// item is the path of list's element i.
func item(list string, i int) string { return list + "[" + strconv.Itoa(i) + "]" }

// is names the value at path in a message that is about another.
func (p *parser) is(path string) string { return named(path, p.Line(path)) }

func named(what string, line int) string { return what + " (line " + strconv.Itoa(line) + ")" }

// few joins the first words.
func few(words []string) string {
	const most = 12
	switch {
	case len(words) == 0:
		return "there is none"
	case len(words) > most:
		return strings.Join(words[:most], ", ") + ", ..."
	}
	return strings.Join(words, ", ")
}

func orTrue(x *bool) bool  { return x == nil || *x }
func orFalse(x *bool) bool { return x != nil && *x }
