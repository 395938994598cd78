package port

import (
	"os"
	"path/filepath"
	"testing"
)

// A capture never writes through a link that somebody else has put there, nor over a file, and is its owner's alone.
func TestCreateCapture(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "new", "captures")
	if err := MakeCaptures(dir); err != nil {
		t.Fatal(err)
	}
	if info, err := os.Stat(dir); err != nil || info.Mode().Perm() != 0o700 {
		t.Errorf("the directory: %v, %v", info.Mode(), err)
	}
	victim := filepath.Join(t.TempDir(), "victim")
	if err := os.WriteFile(victim, []byte("precious"), 0o600); err != nil {
		t.Fatal(err)
	}
	for link, to := range map[string]string{"port1.pcap": victim, "port1-2.pcap": filepath.Join(dir, "nowhere")} {
		if err := os.Symlink(to, filepath.Join(dir, link)); err != nil {
			t.Fatal(err)
		}
	}
	if err := os.WriteFile(filepath.Join(dir, "port1-3.pcap"), []byte("an older capture"), 0o644); err != nil {
		t.Fatal(err)
	}
	f, err := CreateCapture(dir, "port1")
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	if want := filepath.Join(dir, "port1-4.pcap"); f.Name() != want {
		t.Errorf("got %s, want %s", f.Name(), want)
	}
	if info, err := f.Stat(); err != nil || info.Mode().Perm() != 0o600 {
		t.Errorf("the file: %v, %v", info.Mode(), err)
	}
	for name, want := range map[string]string{victim: "precious",
		filepath.Join(dir, "port1-3.pcap"): "an older capture"} {
		if got, err := os.ReadFile(name); err != nil || string(got) != want {
			t.Errorf("%s: %q, %v", name, got, err)
		}
	}
	if _, err := os.Stat(filepath.Join(dir, "nowhere")); !os.IsNotExist(err) {
		t.Errorf("a file was made through a link: %v", err)
	}
	if _, err := CreateCapture(filepath.Join(dir, "none"), "port1"); !os.IsNotExist(err) {
		t.Errorf("in a directory that is not there: %v", err)
	}
}
