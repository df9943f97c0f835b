package stream

import (
	"errors"
	"path/filepath"
	"sync"

	"github.com/lovoo/goka/storage"

	"trunkline/state"
)

// tables holds the open stores of a session's partitions.
type tables struct {
	mu     sync.Mutex
	stores map[topicPartition]*state.Store
}

// of returns the group table's store of a partition, nil when it has none.
func (t *tables) of(partition int32) *state.Store {
	t.mu.Lock()
	defer t.mu.Unlock()
	for tp, s := range t.stores {
		if tp.partition == partition {
			return s
		}
	}
	return nil
}

// open opens a store and keeps it until closeAll.
func (t *tables) open(tp topicPartition, dir string, opts state.Options) (storage.Storage, error) {
	s, err := state.OpenStore(dir, opts)
	if err != nil {
		return nil, err
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.stores == nil {
		t.stores = map[topicPartition]*state.Store{}
	}
	t.stores[tp] = s
	return keptOpen{s}, nil
}

// each calls f for every store and joins the errors.
func (t *tables) each(f func(topicPartition, *state.Store) error) error {
	t.mu.Lock()
	defer t.mu.Unlock()
	var errs []error
	for tp, s := range t.stores {
		errs = append(errs, f(tp, s))
	}
	return errors.Join(errs...)
}

// overlayBytes is the size of everything that waits for a commit.
func (t *tables) overlayBytes() int {
	t.mu.Lock()
	defer t.mu.Unlock()
	n := 0
	for _, s := range t.stores {
		n += s.OverlayBytes()
	}
	return n
}

func (t *tables) closeAll() error {
	err := t.each(func(_ topicPartition, s *state.Store) error { return s.Close() })
	t.mu.Lock()
	defer t.mu.Unlock()
	clear(t.stores)
	return err
}

// keptOpen ignores goka's Close: goka closes tables in its Cleanup, *before*
// the session's last commit. The engine closes them after it.
type keptOpen struct{ *state.Store }

// Close does nothing.
func (keptOpen) Close() error { return nil }

// tableDir is the folder of one table partition. The topic id is part of it, so
// rows are never taken for those of a topic that was deleted and made again.
func tableDir(dataDir, role, topic, id string, partition string) string {
	return filepath.Join(dataDir, role, topic+"@"+id, partition)
}
