package config

import (
	"errors"
	"io"
	"io/fs"
	"path/filepath"

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
	at   int // the line of the $GENERATE in file that this stands for; 0: it is the file
}

// place is where it is read.
func (s *zoneSource) place() place {
	if s.at > 0 {
		return place{file: s.file, line: s.at}
	}
	return place{file: s.file, line: max(s.line, 1)}
}

// ReadByte returns the next byte, and ends the file with its last.
func (s *zoneSource) ReadByte() (byte, error) {
	c, err := s.speller.ReadByte()
	if err == io.EOF {
		if n := len(s.in.reading); n > 1 && s.in.reading[n-1] == s {
			s.in.reading = s.in.reading[:n-1]
		}
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
	zp := dns.NewZoneParser(r.enter(file, data, 0), z.Name, "")
	zp.SetDefaultTTL(z.ttl)
	zp.SetIncludeAllowed(true)
	zp.SetIncludeFS(r)
	good := true
	for rr, ok := zp.Next(); ok; rr, ok = zp.Next() {
		if len(z.seen) > maxRecords {
			return false
		}
		at := r.now().place()
		h := rr.Header()
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
		p.fault(r.now().place(), "is not a zone file: %s", parserProblem(err))
		return false
	}
	return good
}

// now is the file that is being read.
func (r *zoneReader) now() *zoneSource { return r.reading[len(r.reading)-1] }

func (r *zoneReader) enter(file string, data []byte, at int) *zoneSource {
	s := &zoneSource{speller: &speller{lineReader: &lineReader{data: data}}, in: r, file: file, at: at}
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
	if lines := now.generated; lines != nil {
		now.generated = nil
		return r.enter(now.file, []byte(*lines), now.place().line), nil
	}
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
	return r.enter(file, data, 0), nil
}
