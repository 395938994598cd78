package config

import (
	"encoding/binary"
	"encoding/hex"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"regexp"
	"strconv"
	"strings"

	"github.com/miekg/dns"
)

// speller hands out a zone file byte by byte, spelled as the zone parser takes it. Where the parser knows one way to
// write something and the RFCs allow others, those are turned into it. All else stays as it is.
type speller struct {
	*lineReader
	word    []byte // that is being read
	words   int    // of this entry, before it; one that begins with a blank has an empty first one
	plain   bool   // the entry is known not to be spelled otherwise
	left    []byte // to be handed out before what comes next
	include string // the file that the last $INCLUDE names

	generated *string // what the $GENERATE gives for which the last $INCLUDE was handed out
}

// ReadByte returns the next byte. Its error is io.EOF, or what is wrong with the data of a record.
func (s *speller) ReadByte() (byte, error) {
	if len(s.left) > 0 {
		c := s.left[0]
		s.left = s.left[1:]
		return c, nil
	}
	literal := s.quoted || s.escaped
	c, err := s.lineReader.ReadByte()
	if err != nil {
		return c, err
	}
	switch {
	case c == '\n' && s.depth <= 0 && !s.quoted:
		s.begin()
	case s.plain, s.comment && c != ';':
	case c == '$' && s.words == 0 && len(s.word) == 0 && !literal && s.generates():
		if err := s.directive(); err != nil {
			return 0, err
		}
		return s.ReadByte()
	case literal:
		s.word = append(s.word, c)
	case strings.IndexByte(" \t\r\n();", c) < 0:
		s.word = append(s.word, c)
		s.plain = c == '"' && s.words > 0
	case len(s.word) > 0 || s.words == 0:
		word := strings.ToUpper(string(s.word))
		s.word, s.words = s.word[:0], s.words+1
		if err := s.spell(word); err != nil {
			return 0, err
		}
	}
	return c, nil
}

// begin begins a new entry.
func (s *speller) begin() { s.word, s.words, s.plain = s.word[:0], 0, false }

// Read is there for the parser's signature, which asks for ReadByte where there is one.
func (s *speller) Read(b []byte) (int, error) {
	if len(b) == 0 {
		return 0, nil
	}
	c, err := s.ReadByte()
	if err != nil {
		return 0, err
	}
	b[0] = c
	return 1, nil
}

// spell has the rest of the entry handed out in another form, if the word that was read last asks for that.
func (s *speller) spell(word string) error {
	if s.words == 1 {
		s.plain = strings.HasPrefix(word, "$")
		if word == "$INCLUDE" {
			rest, comment := s.rest()
			if len(rest) > 0 {
				s.include = rest[0].plain()
			}
			s.hand(rest.unquoted(), comment)
		}
		return nil
	}
	if _, known := dns.StringToType[word]; !known {
		_, class := dns.StringToClass[word]
		ttl := word[0] >= '0' && word[0] <= '9'
		s.plain = !class && !ttl && !strings.HasPrefix(word, "CLASS")
		return nil
	}
	s.plain = true
	spelling := spellings[word]
	if spelling == nil {
		return nil
	}
	opened := max(s.depth, 0)
	rest, comment := s.rest()
	text := rest.text()
	if len(rest) == 0 || rest[0].text != `\#` { // RFC 3597 section 5
		var err error
		if text, err = spelling(rest); err != nil {
			return fmt.Errorf("bad %s data: %w", word, err)
		}
	}
	s.hand(text+strings.Repeat(" )", opened), comment) // rest has read what closes them
	if word == "IPSECKEY" {
		s.left = append(s.left, "\n\n"...) // the parser takes one behind a key, and one more where there is none
	}
	return nil
}

// directive has an $INCLUDE handed out in place of a $GENERATE whose "$" was read, and keeps what that is to include.
func (s *speller) directive() error {
	rest, comment := s.rest()
	lines, err := generate(rest[1:])
	if err != nil {
		return fmt.Errorf("bad $GENERATE: %w", err)
	}
	s.generated = &lines
	s.hand("$INCLUDE $GENERATE", comment)
	return nil
}

// generates reports whether a "$" that was read begins a $GENERATE.
func (s *speller) generates() bool {
	const name = "GENERATE"
	rest := s.data[min(s.next, len(s.data)):]
	return len(rest) > len(name) && strings.EqualFold(string(rest[:len(name)]), name) &&
		strings.IndexByte(" \t\r\n(;", rest[len(name)]) >= 0
}

// hand has a rest of an entry handed out.
func (s *speller) hand(text, comment string) {
	s.left = append([]byte(text), comment+"\n"...)
	s.begin()
}

// rest reads the entry to its end: its tokens, and its last comment.
func (s *speller) rest() (all tokens, comment string) {
	var now strings.Builder
	quoted := false // the token that is being read
	end := func() {
		if now.Len() > 0 || quoted {
			all = append(all, token{now.String(), quoted})
		}
		now.Reset()
		quoted = false
	}
	for {
		inComment, inQuotes, escaped := s.comment, s.quoted, s.escaped
		c, err := s.lineReader.ReadByte()
		switch {
		case err != nil, c == '\n' && s.depth <= 0 && !s.quoted:
			end()
			return all, comment
		case inComment, s.comment:
			if !inComment {
				end()
				comment = " "
			}
			if c != '\n' && c != '\r' {
				comment += string([]byte{c})
			}
		case c == '"' && !escaped:
			end()
			quoted = !inQuotes
		case !inQuotes && !escaped && strings.IndexByte(" \t\r\n()", c) >= 0:
			end()
		default:
			now.WriteByte(c)
		}
	}
}

// token is a part of an entry of a zone file (RFC 1035 section 5.1), with its escapes.
type token struct {
	text   string
	quoted bool
}

// tokens are parts of an entry.
type tokens []token

// text is what they are written as.
func (t tokens) text() string {
	var all []string
	for _, x := range t {
		if x.quoted {
			x.text = `"` + x.text + `"`
		}
		all = append(all, x.text)
	}
	return strings.Join(all, " ")
}

// unquoted is what they are written as without quotes.
func (t tokens) unquoted() string {
	var all []string
	for _, x := range t {
		if x.quoted {
			x.text = x.escaped()
		}
		all = append(all, x.text)
	}
	return strings.Join(all, " ")
}

// escaped is what stands for a quoted token without its quotes.
func (t token) escaped() string {
	var b strings.Builder
	for i := 0; i < len(t.text); i++ {
		switch c := t.text[i]; {
		case c == '\\' && i+1 < len(t.text):
			i++
			b.WriteString(t.text[i-1 : i+1])
		case strings.IndexByte(" \t;()", c) >= 0:
			b.WriteByte('\\')
			b.WriteByte(c)
		default:
			b.WriteByte(c)
		}
	}
	return b.String()
}

// plain is what the token stands for.
func (t token) plain() string {
	var b strings.Builder
	for i := 0; i < len(t.text); i++ {
		c := t.text[i]
		if c == '\\' && i+1 < len(t.text) {
			i++
			c = t.text[i]
			if i+2 < len(t.text) {
				if n, err := strconv.ParseUint(t.text[i:i+3], 10, 8); err == nil {
					c, i = byte(n), i+2
				}
			}
		}
		b.WriteByte(c)
	}
	return b.String()
}

// spellings turn the data of a record into what the zone parser takes.
var spellings = map[string]func(tokens) (string, error){
	"X25":      withoutQuotes, // RFC 1183 section 3.1
	"GPOS":     withoutQuotes, // RFC 1712 section 3
	"NAPTR":    naptr,
	"WKS":      wks,
	"NSAP":     nsap,
	"DNSKEY":   dnskey,
	"CDNSKEY":  dnskey,
	"KEY":      dnskey,
	"NID":      identifier,
	"L64":      identifier,
	"SVCB":     parameters,
	"HTTPS":    parameters,
	"LOC":      loc,
	"IPSECKEY": func(data tokens) (string, error) { return data.text(), nil },
}

func withoutQuotes(data tokens) (string, error) { return data.unquoted(), nil }

// naptr has quotes around flags, service and expression (RFC 3403 section 4.1), which are character strings and may
// come without.
func naptr(data tokens) (string, error) {
	for i := 2; i < min(5, len(data)); i++ {
		data[i].quoted = true
	}
	return data.text(), nil
}

// wks is the data of well known services (RFC 1035 section 3.4.2): an address, a protocol, and its ports.
func wks(data tokens) (string, error) {
	if len(data) < 2 {
		return "", errors.New("must be an IPv4 address, a protocol and services, as 192.0.2.1 TCP smtp")
	}
	address, err := netip.ParseAddr(data[0].plain())
	if err != nil || !address.Is4() {
		return "", fmt.Errorf("must begin with an IPv4 address, is %q", data[0].plain())
	}
	name := strings.ToLower(data[1].plain())
	protocol, err := strconv.ParseUint(name, 10, 8)
	switch {
	case err == nil:
		name = map[uint64]string{6: "tcp", 17: "udp"}[protocol]
	case name == "tcp":
		protocol = 6
	case name == "udp":
		protocol = 17
	default:
		return "", fmt.Errorf("protocol must be TCP, UDP or 0..255, is %q", data[1].plain())
	}
	var ports []byte
	for _, x := range data[2:] {
		port, err := service(name, x.plain())
		if err != nil {
			return "", err
		}
		if more := port/8 + 1 - len(ports); more > 0 {
			ports = append(ports, make([]byte, more)...)
		}
		ports[port/8] |= 0x80 >> (port % 8)
	}
	return generic(append(append(address.AsSlice(), byte(protocol)), ports...)), nil
}

// service is the port of a service, by its number or its name.
func service(protocol, name string) (int, error) {
	if port, err := strconv.ParseUint(name, 10, 16); err == nil {
		return int(port), nil
	}
	if protocol != "" && name != "" && (name[0] < '0' || name[0] > '9') {
		if port, err := net.LookupPort(protocol, strings.ToLower(name)); err == nil {
			return port, nil
		}
	}
	return 0, fmt.Errorf("service must be 0..65535 or the name of one that this machine knows, is %q", name)
}

// nsap is the data of an NSAP address (RFC 1706 section 5): 0x and hexadecimal digits, with points anywhere.
func nsap(data tokens) (string, error) {
	text := ""
	for _, x := range data {
		text += x.plain()
	}
	digits, ok := strings.CutPrefix(strings.ToLower(text), "0x")
	address, err := hex.DecodeString(strings.ReplaceAll(digits, ".", ""))
	if !ok || err != nil || len(address) == 0 {
		return "", fmt.Errorf("must be 0x and an even number of hexadecimal digits, with points anywhere, is %q", text)
	}
	return generic(address), nil
}

// dnskey has the number of the algorithm, which may come as its mnemonic (RFC 4034 section 2.2).
func dnskey(data tokens) (string, error) {
	if len(data) > 2 {
		if number, ok := dns.StringToAlgorithm[strings.ToUpper(data[2].plain())]; ok {
			data[2] = token{text: strconv.Itoa(int(number))}
		}
	}
	return data.text(), nil
}

// loc has the seconds of a place, which may come without (RFC 1876 section 3).
func loc(data tokens) (string, error) {
	var all tokens
	numbers := 0 // degrees, minutes, seconds
	for _, x := range data {
		numbers++
		if text := x.plain(); len(text) == 1 && strings.ContainsAny(text, "nNsSeEwW") {
			if numbers == 3 {
				all = append(all, token{text: "0"})
			}
			numbers = 0
		}
		all = append(all, x)
	}
	return all.text(), nil
}

var group = regexp.MustCompile(`^[0-9A-Fa-f]{1,4}$`)

// identifier has all digits of a preference's identifier or locator (RFC 6742 sections 2.1 and 2.3): four groups, which
// other servers write without leading zeros.
func identifier(data tokens) (string, error) {
	if len(data) != 2 {
		return data.text(), nil
	}
	groups := strings.Split(data[1].plain(), ":")
	for i, g := range groups {
		if len(groups) != 4 || !group.MatchString(g) {
			return "", fmt.Errorf("must be a preference and four groups of hexadecimal digits, "+
				"as 10 14:4fff:ff20:ee64, has %q", data[1].plain())
		}
		groups[i] = strings.Repeat("0", 4-len(g)) + g
	}
	data[1] = token{text: strings.Join(groups, ":")}
	return data.text(), nil
}

var keyForm = regexp.MustCompile(`^(?i:key)(0|[1-9][0-9]{0,4})(?:=(.*))?$`)

// parameters has the names of keys that come by their numbers, with the bytes of the wire for a value (RFC 9460
// section 2.1): so servers write those that were registered after them.
func parameters(data tokens) (string, error) {
	var all []string
	for i := 0; i < len(data); i++ {
		text := data[i : i+1].text()
		at := keyForm.FindStringSubmatch(text)
		if strings.HasSuffix(text, "=") && i+1 < len(data) && data[i+1].quoted {
			i++
			text += data[i : i+1].text()
			if at != nil {
				at[2] = data[i].text
			}
		}
		if at != nil {
			number, err := strconv.ParseUint(at[1], 10, 16)
			if name := dns.SVCBKey(number).String(); err == nil && !strings.HasPrefix(name, "key") {
				value, err := parameter(uint16(number), token{text: at[2]}.plain())
				if err != nil {
					return "", fmt.Errorf("key%d, which is %s, has a value that is none of its: %w", number, name, err)
				}
				text = name + `="` + value + `"`
			}
		}
		all = append(all, text)
	}
	return strings.Join(all, " "), nil
}

// parameter is the value of a key that package dns knows, as it writes that.
func parameter(key uint16, value string) (string, error) {
	rdata := []byte{0, 1, 0} // its priority, and the root for a target
	rdata = binary.BigEndian.AppendUint16(rdata, key)
	rdata = binary.BigEndian.AppendUint16(rdata, uint16(len(value)))
	rdata = append(rdata, value...)
	rr, _, err := dns.UnpackRRWithHeader(dns.RR_Header{Rrtype: dns.TypeSVCB, Rdlength: uint16(len(rdata))}, rdata, 0)
	if err != nil {
		return "", errors.New(strings.TrimPrefix(err.Error(), "dns: "))
	}
	return rr.(*dns.SVCB).Value[0].String(), nil
}

// generic is data in the form that all types have (RFC 3597 section 5).
func generic(data []byte) string {
	return fmt.Sprintf(`\# %d %x`, len(data), data)
}
