package app

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/gofrs/flock"
)

// ErrHeld is returned when another process uses the data dir.
var ErrHeld = errors.New("the data dir is in use")

// LockDataDir creates the data dir and takes it for this process until release
// is called or the process dies. holder is what others are told.
func LockDataDir(dir, holder string) (release func() error, err error) {
	if err := os.MkdirAll(dir, 0o750); err != nil {
		return nil, fmt.Errorf("create data dir: %w", err)
	}
	path := filepath.Join(dir, lockFile)
	lock := flock.New(path)
	taken, err := lock.TryLock()
	if err != nil {
		return nil, fmt.Errorf("lock data dir %s: %w", dir, err)
	}
	if !taken {
		by, _ := os.ReadFile(path) //nolint:gosec // our own lock file
		return nil, fmt.Errorf("%w: %s is held by %s; stop it or choose another --data-dir", ErrHeld, dir, strings.TrimSpace(string(by)))
	}
	if err := os.WriteFile(path, fmt.Appendf(nil, "%s, pid %d\n", holder, os.Getpid()), 0o600); err != nil {
		return nil, errors.Join(fmt.Errorf("lock data dir %s: %w", dir, err), lock.Unlock())
	}
	return lock.Unlock, nil
}

// EmptyDataDir removes everything from a data dir that this process has locked.
func EmptyDataDir(dir string) error {
	entries, err := os.ReadDir(dir)
	if err != nil {
		return fmt.Errorf("empty data dir: %w", err)
	}
	for _, e := range entries {
		if e.Name() != lockFile && !slices.Contains(dataDirEntries, e.Name()) {
			return fmt.Errorf("empty data dir: %s holds %q, which is not Trunkline's; remove it by hand or choose another --data-dir", dir, e.Name())
		}
	}
	for _, e := range entries {
		if e.Name() == lockFile {
			continue
		}
		if err := os.RemoveAll(filepath.Join(dir, e.Name())); err != nil {
			return fmt.Errorf("empty data dir: %w", err)
		}
	}
	return nil
}

const lockFile = "LOCK"

// dataDirEntries are the names that Trunkline gives in a data dir.
var dataDirEntries = []string{"kafka", schemaIDsFile, schemaIDsFile + ".new", "spool", "tables", "views", "trunkline.yaml"}
