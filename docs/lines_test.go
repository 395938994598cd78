package docs

import (
	"go/scanner"
	"go/token"
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"unicode/utf8"
)

// generated is what the first lines of generated code say (https://go.dev/s/generatedcode).
var generated = regexp.MustCompile(`(?m)^// Code generated .* DO NOT EDIT\.$`)

// eachSource calls do for every file of Go code that nobody generated.
func eachSource(t *testing.T, do func(path string, text []byte)) {
	t.Helper()
	err := filepath.WalkDir("..", func(path string, d fs.DirEntry, err error) error {
		switch {
		case err != nil:
			return err
		case d.IsDir() && strings.HasPrefix(d.Name(), ".") && d.Name() != "..":
			return filepath.SkipDir
		case filepath.Ext(path) != ".go":
			return nil
		}
		text, err := os.ReadFile(path)
		if err == nil && !generated.Match(text) {
			do(path, text)
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
}

// TestLinesFit holds lines of code to 120 columns, a tab being four. Generated code is as it is, and a raw string may
// be as long as the text that it stands for.
func TestLinesFit(t *testing.T) {
	const most = 120
	seen := 0
	eachSource(t, func(path string, text []byte) {
		seen++
		raw := rawLines(text)
		for i, line := range strings.Split(string(text), "\n") {
			n := utf8.RuneCountInString(line) + 3*strings.Count(line, "\t")
			if n > most && !raw[i+1] {
				t.Errorf("%s:%d: must have at most %d columns, has %d", path, i+1, most, n)
			}
		}
	})
	if seen == 0 {
		t.Error("no code was found")
	}
}

// rawLines are the lines, from 1, on which a raw string is, whole or in part.
func rawLines(text []byte) map[int]bool {
	lines := make(map[int]bool)
	files := token.NewFileSet()
	file := files.AddFile("", -1, len(text))
	var s scanner.Scanner
	s.Init(file, text, nil, 0)
	for {
		pos, tok, literal := s.Scan()
		switch {
		case tok == token.EOF:
			return lines
		case tok == token.STRING && literal[0] == '`':
			for line, i := file.Line(pos), 0; i <= strings.Count(literal, "\n"); i++ {
				lines[line+i] = true
			}
		}
	}
}
