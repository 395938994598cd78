package gslb

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"slices"
)

// suspended is what operators took out of service by hand, by name. It outlives reloads, and restarts where
// there is a state file; names that a configuration does not have are kept for when they come back.
type suspended struct {
	answers, rules map[string]bool
}

// stateFile is suspended as it is on disk.
type stateFile struct {
	Version          int      `json:"version"`
	SuspendedAnswers []string `json:"suspended_answers"`
	SuspendedRules   []string `json:"suspended_rules"`
}

const stateVersion = 1

// loadSuspended reads the file; one that does not exist is an empty one.
func loadSuspended(file string) (suspended, error) {
	s := suspended{map[string]bool{}, map[string]bool{}}
	if file == "" {
		return s, nil
	}
	data, err := os.ReadFile(file)
	if errors.Is(err, fs.ErrNotExist) {
		return s, nil
	}
	if err != nil {
		return s, fmt.Errorf("reading what is suspended: %w", err)
	}
	var f stateFile
	if err := json.Unmarshal(data, &f); err != nil {
		return s, fmt.Errorf("reading what is suspended: %s: %w: mend it or remove it", file, err)
	}
	if f.Version != stateVersion {
		return s, fmt.Errorf("reading what is suspended: %s: version must be %d, is %d", file, stateVersion, f.Version)
	}
	for _, name := range f.SuspendedAnswers {
		s.answers[name] = true
	}
	for _, name := range f.SuspendedRules {
		s.rules[name] = true
	}
	return s, nil
}

// save replaces the file in one step, after the new one is on disk.
func (s suspended) save(file string) error {
	if file == "" {
		return nil
	}
	data, err := json.MarshalIndent(stateFile{
		Version:          stateVersion,
		SuspendedAnswers: names(s.answers),
		SuspendedRules:   names(s.rules),
	}, "", "  ")
	if err != nil {
		return err
	}
	if err := replaceFile(file, append(data, '\n')); err != nil {
		return fmt.Errorf("keeping what is suspended: %w", err)
	}
	return nil
}

func replaceFile(file string, data []byte) (err error) {
	f, err := os.CreateTemp(filepath.Dir(file), "."+filepath.Base(file)+"-*")
	if err != nil {
		return err
	}
	defer func() {
		if err != nil {
			os.Remove(f.Name())
		}
	}()
	_, err = f.Write(data)
	if err == nil {
		err = f.Sync()
	}
	if closed := f.Close(); err == nil {
		err = closed
	}
	if err != nil {
		return err
	}
	return os.Rename(f.Name(), file)
}

// with returns a copy in which the named answers and rules are suspended, or not.
func (s suspended) with(answers, rules []string, on bool) suspended {
	out := suspended{map[string]bool{}, map[string]bool{}}
	maps.Copy(out.answers, s.answers)
	maps.Copy(out.rules, s.rules)
	set := func(m map[string]bool, list []string) {
		for _, name := range list {
			if on {
				m[name] = true
			} else {
				delete(m, name)
			}
		}
	}
	set(out.answers, answers)
	set(out.rules, rules)
	return out
}

// names are the keys, sorted, never nil: programs expect [].
func names(m map[string]bool) []string {
	return append([]string{}, slices.Sorted(maps.Keys(m))...)
}
