package state

import (
	"bytes"

	"github.com/syndtr/goleveldb/leveldb/iterator"
)

// rows adapts LevelDB's iterator to goka's and hides the key space.
type rows struct{ iterator.Iterator }

func (r *rows) Err() error             { return r.Error() }
func (r *rows) Key() []byte            { return bytes.TrimPrefix(r.Iterator.Key(), []byte{rowSpace}) }
func (r *rows) Value() ([]byte, error) { return r.Iterator.Value(), nil }
func (r *rows) Seek(key []byte) bool   { return r.Iterator.Seek(rowKey(string(key))) }
