package config

import (
	"errors"
	"io"
	"io/fs"
	"path/filepath"
	"strconv"
	"strings"

	"github.com/miekg/dns"
)

func init() {
	// Obsolete types that package dns has no name for: their data are written as RFC 3597 section 5 has it.
	for name, t := range map[string]uint16{"WKS": 11, "NSAP": 22, "A6": 38, "SINK": 40} {
		dns.StringToType[name], dns.TypeToString[t] = t, name
	}
}

// zoneReader reads a zone file (RFC 1035 section 5) and those that it includes.
type zoneReader struct {
	*parser
	z       *zone
	dir     string // that included files lie in, or below
	reading []*zoneSource
}

// zoneSource is a file that is being read. It is what package dns takes for an open file.
type zoneSource struct {
	*speller
	in   *zoneReader
	file string
	ttl  uint32 // of records that come without
	said bool   // by $TTL, so that no record changes it (RFC 2308 section 4)
}

// ReadByte returns the next byte, and ends the file with its last.
func (s *zoneSource) ReadByte() (byte, error) {
	c, err := s.speller.ReadByte()
	if err == io.EOF {
		if n := len(s.in.reading); n > 1 && s.in.reading[n-1] == s {
			s.in.reading = s.in.reading[:n-1]
		}
	}
	if s.newTTL != "" {
		if ttl, ok := zoneTTL(s.newTTL); ok {
			s.ttl, s.said = ttl, true
		}
		s.newTTL = ""
	}
	return c, err
}

func (s *zoneSource) Stat() (fs.FileInfo, error) { return nil, fs.ErrInvalid }
func (s *zoneSource) Close() error               { return nil }

// zoneFile reads a zone file. It may include others that are beside it, or below.
func (p *parser) zoneFile(z *zone, file string, data []byte) bool {
	if z.Name == "" {
		return false
	}
	r := &zoneReader{parser: p, z: z, dir: filepath.Dir(file)}
	first := r.enter(file, data, z.ttl, false)
	zp := dns.NewZoneParser(first, z.Name, "")
	zp.SetDefaultTTL(z.ttl)
	zp.SetIncludeAllowed(true)
	zp.SetIncludeFS(r)
	good := true
	for rr, ok := zp.Next(); ok; rr, ok = zp.Next() {
		if len(z.seen) > maxRecords {
			return false
		}
		now := r.now()
		at := place{file: now.file, line: now.line}
		h := rr.Header()
		switch generated, without := generates(now.current()); {
		case generated && without:
			h.Ttl = now.ttl // the zone parser knows neither $TTL nor another default there
		case !generated && !now.said:
			now.ttl = h.Ttl
		}
		switch {
		case h.Name == "":
			p.fault(at, "must begin with a name: there is no record before it whose name it could have")
			good = false
		case h.Class != dns.ClassINET:
			p.fault(at, "must be of class IN, is of %s", dns.Class(h.Class))
			good = false
		case refusedType(h.Rrtype) != "":
			p.fault(at, "must not be of type %s: %s", dns.Type(h.Rrtype), refusedType(h.Rrtype))
			good = false
		default:
			good = p.add(z, rr, at) && good
		}
	}
	if err := zp.Err(); err != nil {
		p.fault(place{file: r.now().file, line: max(r.now().line, 1)}, "is not a zone file: %s", parserProblem(err))
		return false
	}
	return good
}

// now is the file that is being read.
func (r *zoneReader) now() *zoneSource { return r.reading[len(r.reading)-1] }

func (r *zoneReader) enter(file string, data []byte, ttl uint32, said bool) *zoneSource {
	s := &zoneSource{speller: &speller{lineReader: &lineReader{data: data}}, in: r, file: file, ttl: ttl, said: said}
	r.reading = append(r.reading, s)
	return s
}

var (
	errOutside = errors.New("it must lie in the directory of the zone file, or below")
	errLink    = errors.New("a link on the way leads out of the directory of the zone file, or is absolute")
)

// Open opens the file that the one that is being read includes. The parser's word for it is not asked: that is made
// of the name, and does not tell whether it was absolute.
func (r *zoneReader) Open(string) (fs.File, error) {
	now := r.now()
	dir, file := r.dir, now.include
	if filepath.IsAbs(file) {
		var err error
		if dir, err = filepath.Abs(dir); err != nil {
			return nil, err
		}
	} else {
		file = filepath.Join(filepath.Dir(now.file), file)
	}
	name, err := filepath.Rel(dir, file)
	if err != nil || !filepath.IsLocal(name) {
		return nil, errOutside
	}
	file = filepath.Join(r.dir, name)
	data, err := r.also(file, public, r.dir)
	if err != nil {
		return nil, err
	}
	return r.enter(file, data, now.ttl, now.said), nil
}

// generates reports whether a line is a $GENERATE, and whether its records are without a TTL.
func generates(line string) (is, withoutTTL bool) {
	fields := strings.Fields(line)
	if len(fields) < 5 || !strings.EqualFold(fields[0], "$GENERATE") { // range, name, type, data
		return false, false
	}
	after := fields[3]
	if _, class := dns.StringToClass[strings.ToUpper(after)]; class {
		after = fields[4]
	}
	return true, after[0] < '0' || after[0] > '9'
}

// zoneTTL reads a TTL as zone files have it: seconds, or numbers with units, as 1h30m.
func zoneTTL(text string) (uint32, bool) {
	units := map[byte]uint64{'s': 1, 'm': 60, 'h': 3600, 'd': 86400, 'w': 604800}
	total := uint64(0)
	for text != "" {
		n := strings.IndexFunc(text, func(c rune) bool { return c < '0' || c > '9' })
		if n < 0 {
			n = len(text)
		}
		value, err := strconv.ParseUint(text[:n], 10, 32)
		if err != nil {
			return 0, false
		}
		if text = text[n:]; text != "" {
			unit, ok := units[text[0]|0x20]
			if !ok {
				return 0, false
			}
			value, text = value*unit, text[1:]
		}
		total += value
	}
	return uint32(total), total < 1<<32
}
