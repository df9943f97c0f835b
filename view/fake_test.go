package view

import (
	"context"
	"errors"
	"io"
	"log/slog"
	"maps"
	"net/http"
	"net/http/httptest"
	"slices"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/lovoo/goka"

	"trunkline/event"
	"trunkline/state"
	"trunkline/stream"
)

var (
	_ Table      = (*stream.View)(nil)
	_ goka.Codec = Codec{}
)

// fakeTable is a table of encoded rows, as a view's disk holds them.
type fakeTable struct {
	mu       sync.Mutex
	rows     map[string][]byte
	notReady error
	readErr  error
	scanErr  error
	scans    atomic.Int32
	onScan   func() // called while a scan is open
	onRow    func() // called before a row is read
}

func (f *fakeTable) put(k event.Key, row state.Entity) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.rows == nil {
		f.rows = map[string][]byte{}
	}
	f.rows[k.String()] = row.Encode("", state.Rules{})
}

func (f *fakeTable) Ready() error { return f.notReady }

func (f *fakeTable) Row(key string) (any, error) {
	if f.onRow != nil {
		f.onRow()
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	b, ok := f.rows[key]
	if !ok || f.readErr != nil {
		return nil, f.readErr
	}
	return Codec{}.Decode(b)
}

func (f *fakeTable) Rows(string, string) (goka.Iterator, error) {
	f.scans.Add(1)
	if f.onScan != nil {
		f.onScan()
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	return &fakeRows{keys: slices.Sorted(maps.Keys(f.rows)), rows: maps.Clone(f.rows), err: f.scanErr}, nil
}

type fakeRows struct {
	keys []string
	rows map[string][]byte
	key  string
	err  error
}

func (r *fakeRows) Next() bool {
	if len(r.keys) == 0 || r.err != nil {
		return false
	}
	r.key, r.keys = r.keys[0], r.keys[1:]
	return true
}
func (r *fakeRows) Err() error          { return r.err }
func (r *fakeRows) Key() string         { return r.key }
func (r *fakeRows) Value() (any, error) { return Codec{}.Decode(r.rows[r.key]) }
func (r *fakeRows) Release()            {}
func (r *fakeRows) Seek(string) bool    { return false }

var errBehind = errors.New("table entity-table: the view is catching up")

// liveRow is a row after one full event at the given time.
func liveRow(image string, tsMs int64) state.Entity {
	return state.Entity{
		Live: true, Image: []byte(image), Version: event.Version{N: 7, Known: true},
		Applied:   event.Order{TsMs: tsMs, Version: event.Version{N: 7, Known: true}, Op: event.Update, EventID: "e-1"},
		EventType: "config.user.updated",
		Raw:       event.Position{Topic: "raw.genesys", Partition: 3, Offset: 41, AppendMs: tsMs + 20},
		Changes:   2,
	}
}

// serve starts the API and returns its address.
func serve(t *testing.T, o Options) string {
	t.Helper()
	if o.Watermark == nil {
		o.Watermark = &Watermark{}
	}
	if o.Logger == nil {
		o.Logger = slog.New(slog.DiscardHandler)
	}
	a, err := New(o)
	if err != nil {
		t.Fatal(err)
	}
	s := httptest.NewServer(a.Handler())
	t.Cleanup(s.Close)
	return s.URL
}

// answer is a response with its body read.
type answer struct {
	Status int
	Header http.Header
	Body   string
}

func ask(t *testing.T, method, url string, headers ...string) answer {
	t.Helper()
	req, err := http.NewRequestWithContext(context.Background(), method, url, nil)
	if err != nil {
		t.Fatal(err)
	}
	for i := 0; i < len(headers); i += 2 {
		req.Header.Add(headers[i], headers[i+1])
	}
	client := http.Client{CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }}
	resp, err := client.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = resp.Body.Close() }()
	body, err := io.ReadAll(resp.Body)
	if err != nil {
		t.Fatal(err)
	}
	resp.Header.Del("Date")
	return answer{resp.StatusCode, resp.Header, string(body)}
}
