package spool

import (
	"errors"
	"io"
	"os"
	"path/filepath"
)

// FileSystem is what the spool asks of a disk; tests cut its power.
type FileSystem interface {
	MkdirAll(dir string) error
	// ReadDir returns the names in dir in order.
	ReadDir(dir string) ([]string, error)
	// Open opens a file, or creates it.
	Open(name string) (File, error)
	Remove(name string) error
	Rename(from, to string) error
	// SyncDir makes names created, changed and removed in dir survive a power cut.
	SyncDir(dir string) error
}

// File is an open file.
type File interface {
	io.ReaderAt
	io.WriterAt
	io.Closer
	Size() (int64, error)
	Truncate(size int64) error
	// Sync makes what was written survive a power cut.
	Sync() error
}

// Disk is the file system of the machine.
type Disk struct{}

// MkdirAll implements [FileSystem].
func (Disk) MkdirAll(dir string) error { return os.MkdirAll(dir, 0o700) }

// ReadDir implements [FileSystem].
func (Disk) ReadDir(dir string) ([]string, error) {
	entries, err := os.ReadDir(dir)
	if err != nil {
		return nil, err
	}
	names := make([]string, len(entries))
	for i, e := range entries {
		names[i] = e.Name()
	}
	return names, nil
}

// Open implements [FileSystem].
func (Disk) Open(name string) (File, error) {
	f, err := os.OpenFile(filepath.Clean(name), os.O_RDWR|os.O_CREATE, 0o600)
	if err != nil {
		return nil, err
	}
	return diskFile{f}, nil
}

// Remove implements [FileSystem].
func (Disk) Remove(name string) error { return os.Remove(name) }

// Rename implements [FileSystem].
func (Disk) Rename(from, to string) error { return os.Rename(from, to) }

// SyncDir implements [FileSystem].
func (Disk) SyncDir(dir string) error {
	d, err := os.Open(filepath.Clean(dir))
	if err != nil {
		return err
	}
	return errors.Join(d.Sync(), d.Close())
}

type diskFile struct{ *os.File }

// Size implements [File].
func (f diskFile) Size() (int64, error) {
	info, err := f.Stat()
	if err != nil {
		return 0, err
	}
	return info.Size(), nil
}
