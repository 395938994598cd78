package port

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
)

// mostCaptures is how many files of one name a directory may have.
const mostCaptures = 10_000

// MakeCaptures makes a directory for captures, which may be there already. Only its owner may look into a new one.
func MakeCaptures(dir string) error { return os.MkdirAll(dir, 0o700) }

// CreateCapture makes a file for a capture, NAME.pcap, in a directory. It follows no link and touches no file that is
// there: when the name is taken it is NAME-2.pcap, and so on. What hosts send is for the file's owner only.
func CreateCapture(dir, name string) (*os.File, error) {
	path := filepath.Join(dir, name+".pcap")
	for n := 2; ; n++ {
		f, err := os.OpenFile(path, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600)
		if !errors.Is(err, fs.ErrExist) || n > mostCaptures {
			return f, err
		}
		path = filepath.Join(dir, fmt.Sprintf("%s-%d.pcap", name, n))
	}
}
