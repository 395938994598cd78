package config

import (
	"errors"
	"fmt"
	"io"
	"path/filepath"
	"slices"

	"github.com/sluicelb/sluice/internal/strict"
)

// raw is the file as it is written.
type raw struct {
	Server      rawServer       `yaml:"server"`
	Timing      *rawTiming      `yaml:"timing"`
	Regions     []rawRegion     `yaml:"regions"`
	DataCenters []rawDataCenter `yaml:"data_centers"`
	Owners      []rawOwner      `yaml:"owners"`
	SourceLists []rawSourceList `yaml:"source_lists"`
	DomainLists []rawDomainList `yaml:"domain_lists"`
	Keepalives  []rawKeepalive  `yaml:"keepalives"`
	Answers     []rawAnswer     `yaml:"answers"`
	Groups      []rawGroup      `yaml:"groups"`
	Rules       []rawRule       `yaml:"rules"`
	Zones       []rawZone       `yaml:"zones"`
}

// Load reads the configuration in file. It also returns the files that were read or should have been, file first,
// whether or not they are good: a change of any of them is a reason to load again.
func Load(file string) (*Config, []File, error) {
	files := []File{Look(file)}
	data, err := readFile(file, public, "")
	if err != nil {
		return nil, files, strict.Unreadable(file, err)
	}
	c, _, err := parse(file, data, func(path string, access access, root string) ([]byte, error) {
		if !slices.ContainsFunc(files, func(f File) bool { return f.Path == path }) {
			files = append(files, Look(path)) // before it is read: what is written meanwhile is a change
		}
		return readFile(path, access, root)
	})
	return c, files, err
}

// Read reads the configuration that r holds; a name for it stands in problems. Paths in it are relative to the
// working directory.
func Read(name string, r io.Reader) (*Config, error) {
	data, err := io.ReadAll(io.LimitReader(r, maxFileSize+1))
	if err != nil {
		return nil, strict.Unreadable(name, err)
	}
	if len(data) > maxFileSize {
		return nil, &strict.Problem{File: name, Message: fmt.Sprintf("may have %d bytes, has more", maxFileSize)}
	}
	return Parse(name, data)
}

// Parse reads a configuration. Paths in it are relative to the directory of file. The error joins one
// *strict.Problem for everything that is wrong, in data and in the files that it names.
func Parse(file string, data []byte) (*Config, error) {
	c, _, err := parse(file, data, readFile)
	return c, err
}

func parse(file string, data []byte, read reader) (*Config, []string, error) {
	var r raw
	p := &parser{
		Document: strict.Decode(file, data, &r),
		dir:      filepath.Dir(file),
		read:     read,
		files:    []string{file},
		zoneAt:   make(map[string]*zone),
		probes:   make(map[string]int),
	}
	c := new(Config)
	c.Server = p.server(r.Server)
	p.timing = p.timingOf("timing", r.Timing, standardTiming)
	c.Regions = p.regions(r.Regions)
	c.Owners = p.ownersOf(r.Owners)
	c.DataCenters = p.dataCentersOf(r.DataCenters)
	c.SourceLists = p.sourceListsOf(r.SourceLists)
	c.DomainLists = p.domainListsOf(r.DomainLists)
	p.domainLists = c.DomainLists
	p.shared(r.Keepalives)
	c.Answers = p.answersOf(r.Answers, c.DataCenters)
	c.Keepalives = p.keepalives
	c.Groups = p.groupsOf(r.Groups, c)
	c.Rules = p.rulesOf(r.Rules, c)
	c.Zones = p.zonesOf(r.Zones, c.Server)
	p.balancedNames(c)
	p.loops(c)
	problems := append([]error{p.Err()}, p.elsewhere...)
	if p.further > 0 {
		problems = append(problems, strict.More(file, p.further))
	}
	if err := errors.Join(problems...); err != nil {
		return nil, p.files, err
	}
	if c.Warnings = p.warnings; p.unwarned > 0 {
		c.Warnings = append(c.Warnings, strict.More(file, p.unwarned))
	}
	return c, p.files, nil
}

// parser turns raw values into valid ones. Its methods report what is wrong and return what they can, so that
// one problem does not hide the next.
type parser struct {
	*strict.Document
	dir       string // that the file's paths are relative to
	read      reader
	files     []string
	elsewhere []error  // problems in other files, the first strict.MaxProblems
	further   int      // more of them
	warnings  Warnings // the first strict.MaxProblems
	unwarned  int      // more of them

	regionNames, ownerNames, dataCenterNames, sourceNames, domainNames, keepaliveNames, answerNames, groupNames index

	timing     Timing // what a keepalive without its own has
	keepalives []Keepalive
	probes     map[string]int // index in keepalives, by value
	zones      []*zone        // as written
	zoneAt     map[string]*zone
	wire       []byte // scratch

	domainLists []DomainList
	listed      map[string]bool // their names, once somebody asked; "" if some are patterns
}

// place is where a value is: in the file itself, then path says where, or in another.
type place struct {
	file string // empty: the configuration
	line int
	path string
}

// fault reports a problem at a place.
func (p *parser) fault(at place, format string, args ...any) {
	if at.file == "" {
		p.Add(at.path, format, args...)
		return
	}
	p.note(problem(at, format, args...))
}

// warn notes what is odd at a place, and taken all the same.
func (p *parser) warn(at place, format string, args ...any) {
	if len(p.warnings) == strict.MaxProblems {
		p.unwarned++
		return
	}
	if at.file == "" {
		at.file, at.line = p.files[0], p.Line(at.path)
	}
	p.warnings = append(p.warnings, problem(at, format, args...))
}

// note keeps a problem in another file.
func (p *parser) note(err error) {
	if len(p.elsewhere) == strict.MaxProblems {
		p.further++
		return
	}
	p.elsewhere = append(p.elsewhere, err)
}

// where names a place in a message that is about another.
func (p *parser) where(at place) string {
	if at.file == "" {
		return named(at.path, p.Line(at.path))
	}
	return named(filepath.Base(at.file), at.line)
}

// path makes a path of the file relative to the process instead of to the file.
func (p *parser) path(path string) string {
	if filepath.IsAbs(path) {
		return filepath.Clean(path)
	}
	return filepath.Join(p.dir, path)
}

// also reads a file that belongs to the configuration, see reader.
func (p *parser) also(file string, access access, root string) ([]byte, error) {
	if !slices.Contains(p.files, file) {
		p.files = append(p.files, file)
	}
	return p.read(file, access, root)
}

// contents reads the file that the value at path names.
func (p *parser) contents(path, name string, access access) ([]byte, string, bool) {
	if !p.Usable(path) || !p.pathForm(path, name) {
		return nil, "", false
	}
	file := p.path(name)
	data, err := p.also(file, access, "")
	if err != nil {
		p.Add(path, "must be a file that can be read: %v", err)
		return nil, file, false
	}
	return data, file, true
}
