package gslb

import (
	"os"
	"path/filepath"
	"testing"

	"github.com/google/go-cmp/cmp"
)

func TestSuspendedIsKept(t *testing.T) {
	file := filepath.Join(t.TempDir(), "state.json")
	s, err := loadSuspended(file)
	if err != nil {
		t.Fatal(err)
	}
	first := s.with([]string{"fra", "ams", "gone"}, []string{"shop"}, true)
	if len(s.answers) != 0 {
		t.Errorf("with changed what it was called on: %v", s.answers)
	}
	if err := first.save(file); err != nil {
		t.Fatal(err)
	}
	second, err := loadSuspended(file)
	if err != nil {
		t.Fatal(err)
	}
	second = second.with([]string{"fra"}, nil, false)
	if err := second.save(file); err != nil {
		t.Fatal(err)
	}
	got, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	want := `{
  "version": 1,
  "suspended_answers": [
    "ams",
    "gone"
  ],
  "suspended_rules": [
    "shop"
  ]
}
`
	if diff := cmp.Diff(want, string(got)); diff != "" {
		t.Errorf("(-want +got)\n%s", diff)
	}
	if left, err := filepath.Glob(filepath.Join(filepath.Dir(file), ".*")); err != nil || len(left) != 0 {
		t.Errorf("left behind: %v %v", left, err)
	}
}

func TestSuspendedRefusesWhatItCannotRead(t *testing.T) {
	file := filepath.Join(t.TempDir(), "state.json")
	for _, tt := range []struct{ name, text, want string }{
		{"half a file", `{"version": 1, "susp`, "reading what is suspended: " + file + ": unexpected end of JSON " +
			"input: mend it or remove it"},
		{"another version", `{"version": 7}`, "reading what is suspended: " + file + ": version must be 1, is 7"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			if err := os.WriteFile(file, []byte(tt.text), 0o600); err != nil {
				t.Fatal(err)
			}
			if _, err := loadSuspended(file); err == nil || err.Error() != tt.want {
				t.Errorf("error %v, want %s", err, tt.want)
			}
		})
	}
	if err := (suspended{}).save(filepath.Join(file, "below", "a", "file")); err == nil {
		t.Error("a state file in no directory is kept")
	}
}
