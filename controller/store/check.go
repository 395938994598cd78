package store

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"runtime/debug"
	"time"

	"go.etcd.io/bbolt"
	"go.etcd.io/etcd/server/v3/storage/schema"
	"go.etcd.io/etcd/server/v3/storage/wal"
	"go.etcd.io/etcd/server/v3/storage/wal/walpb"
	"go.uber.org/zap"
	"go.uber.org/zap/zapcore"
)

// remedy is what can be done about a data directory that is damaged.
const remedy = "restore the directory from a backup, or move it away and start with --config, which goes on from the " +
	"slots of the first switch"

// checkFiles looks at the files in the way that etcd is going to. etcd reads them in goroutines of its own, whose
// panics nobody could catch; and it takes a log that was cut short for one that ends there, and then waits
// for ever, or forgets changes without a word.
func checkFiles(data string) error {
	file := filepath.Join(data, "member", "snap", "db")
	if _, err := os.Stat(file); errors.Is(err, os.ErrNotExist) {
		return nil
	}
	var applied uint64
	err := guarded(func() (err error) {
		applied, err = checkDatabase(file)
		return err
	})
	if err != nil {
		return fmt.Errorf("%s is corrupt or unreadable: %w; %s", file, err, remedy)
	}
	dir := filepath.Join(data, "member", "wal")
	if err := guarded(func() error { return checkLog(dir, applied) }); err != nil {
		return fmt.Errorf("the log in %s is corrupt or unreadable: %w; %s", dir, err, remedy)
	}
	return nil
}

// guarded turns a panic, and a read where no file is mapped, into an error.
func guarded(f func() error) (err error) {
	defer debug.SetPanicOnFault(debug.SetPanicOnFault(true))
	defer func() {
		if r := recover(); r != nil {
			err = fmt.Errorf("%v", r)
		}
	}()
	return f()
}

// checkDatabase reads every page that is in use, and returns the last change that the database has.
func checkDatabase(file string) (applied uint64, err error) {
	// The lock may be held yet by who has just ended and is writing to a slow disk.
	db, err := bbolt.Open(file, 0o600, &bbolt.Options{ReadOnly: true, Timeout: 10 * time.Second})
	if err != nil {
		return 0, err
	}
	defer db.Close()
	err = db.View(func(tx *bbolt.Tx) error {
		if b := tx.Bucket(schema.Meta.Name()); b != nil {
			if v := b.Get(schema.MetaConsistentIndexKeyName); len(v) == 8 {
				applied = binary.BigEndian.Uint64(v)
			}
		}
		return tx.ForEach(func(name []byte, b *bbolt.Bucket) error {
			var last []byte
			return b.ForEach(func(k, v []byte) error {
				if bytes.Compare(last, k) >= 0 && last != nil {
					return fmt.Errorf("bucket %s: the keys are out of order", name)
				}
				last = bytes.Clone(k)
				// From the root down the same key must be found; and its value must lie where the file has a page.
				if v != nil && !bytes.Equal(b.Get(k), v) {
					return fmt.Errorf("bucket %s: a key is in the wrong place", name)
				}
				return nil
			})
		})
	})
	return applied, err
}

// checkLog reads the log, which must reach to the last change that the database has.
func checkLog(dir string, applied uint64) error {
	log := zap.New(zapcore.NewNopCore(), zap.WithFatalHook(zapcore.WriteThenPanic))
	snapshots, err := wal.ValidSnapshotEntries(log, dir)
	if err != nil {
		return err
	}
	var start walpb.Snapshot
	if n := len(snapshots); n > 0 {
		start = snapshots[n-1]
	}
	w, err := wal.OpenForRead(log, dir, start)
	if err != nil {
		return err
	}
	defer w.Close()
	_, _, entries, err := w.ReadAll()
	if err != nil && !errors.Is(err, wal.ErrSnapshotNotFound) {
		return err
	}
	last := start.Index
	if n := len(entries); n > 0 {
		last = entries[n-1].Index
	}
	if last < applied {
		return fmt.Errorf("it is cut short: it ends at change %d, the database has change %d", last, applied)
	}
	return nil
}
