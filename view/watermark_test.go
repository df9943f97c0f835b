package view

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"net/http"
	"strings"
	"sync"
	"testing"

	"trunkline/event"
	"trunkline/state"
)

func key(i int) event.Key {
	return event.Key{Vendor: "genesys", Tenant: "acme", Type: "user", ID: fmt.Sprint(i)}
}

// However the rows are split between the local disk and the updates, and
// whatever the order, the watermark ends at the highest applied event time.
func TestWatermarkIsTheHighestAppliedTime(t *testing.T) {
	for seed := range uint64(200) {
		rnd := rand.New(rand.NewPCG(seed, 1))
		var (
			f    fakeTable
			w    Watermark
			want int64
			wg   sync.WaitGroup
		)
		for i := range rnd.IntN(30) {
			row := liveRow(`{}`, at+rnd.Int64N(1000))
			row.HighestMs = row.Applied.TsMs + 5000 // held events do not count
			if rnd.IntN(3) == 0 {
				row.Live, row.Image, row.DeletedMs = false, nil, at
			}
			want = max(want, row.Applied.TsMs)
			if rnd.IntN(2) == 0 {
				f.put(key(i), row)
				continue
			}
			wg.Go(func() { w.OnUpdate(key(i).String(), row.Encode("", state.Rules{})); w.OnUpdate(key(i).String(), nil) })
		}
		f.put(event.Key{ID: "held only"}, state.Entity{HighestMs: at * 2})
		w.OnUpdate("unreadable", []byte("?"))
		wg.Go(func() {
			if err := w.initialise(&f); err != nil {
				t.Error(err)
			}
		})
		wg.Wait()
		if got := w.Ms(); got != want {
			t.Fatalf("seed %d: got %d, want %d", seed, got, want)
		}
		older := liveRow(`{}`, want-1)
		if w.OnUpdate("", older.Encode("", state.Rules{})); w.Ms() != want {
			t.Fatalf("seed %d: went back to %d", seed, w.Ms())
		}
	}
}

// The rows are scanned once, not before the view is ready, and nobody is told
// that the API is ready, nor shown a row, before the scan ended.
func TestWatermarkScansOnce(t *testing.T) {
	f := fakeTable{notReady: errBehind}
	f.put(key(1), liveRow(`{}`, at))
	f.put(key(2), liveRow(`{}`, at+5000))
	f.rows["unreadable"] = []byte("?")
	started, finish := make(chan struct{}), make(chan struct{})
	f.onScan = func() { close(started); <-finish }
	w := &Watermark{}
	base := serve(t, Options{Entities: &f, Watermark: w})
	get := func(path string) answer { t.Helper(); return ask(t, http.MethodGet, base+path) }

	if got := get("/readyz"); got.Status != 503 || f.scans.Load() != 0 {
		t.Fatalf("before the view is ready: %+v, %d scans", got, f.scans.Load())
	}
	f.notReady = nil
	var wg sync.WaitGroup
	wg.Go(func() {
		if got := get("/readyz"); got.Status != 200 {
			t.Errorf("the scanning probe: %+v", got)
		}
	})
	<-started
	if got := get("/readyz"); got.Status != 503 || !strings.Contains(got.Body, "watermark") {
		t.Errorf("during the scan: %+v", got)
	}
	if got := get("/v1/genesys/acme/resources/user/1"); got.Status != 503 || !strings.Contains(got.Body, "catching_up") {
		t.Errorf("row during the scan: %+v", got)
	}
	if got := get("/v1/tables"); !strings.Contains(got.Body, `"catching_up"`) {
		t.Errorf("tables during the scan: %+v", got)
	}
	close(finish)
	wg.Wait()
	for range 8 {
		wg.Go(func() {
			got := get("/v1/genesys/acme/resources/user/1")
			if got.Status != 200 || got.Header.Get(headerWatermark) != "2025-11-24T16:00:05.123Z" {
				t.Errorf("after the scan: %+v", got)
			}
		})
	}
	wg.Wait()
	if n := f.scans.Load(); n != 1 {
		t.Errorf("got %d scans, want 1", n)
	}
}

func TestWatermarkScanIsRetried(t *testing.T) {
	f := fakeTable{scanErr: errors.New("disk")}
	base := serve(t, Options{Entities: &f})
	if got := ask(t, http.MethodGet, base+"/readyz"); got.Status != 503 || !strings.Contains(got.Body, "table entity-table: read the watermark from the rows: disk") {
		t.Errorf("got %+v", got)
	}
	f.scanErr = nil
	if got := ask(t, http.MethodGet, base+"/readyz"); got.Status != 200 {
		t.Errorf("got %+v", got)
	}
}

func TestStale(t *testing.T) {
	f := fakeTable{notReady: errBehind}
	f.put(key(1), liveRow(`{}`, at))
	base := serve(t, Options{Entities: &f})
	for _, c := range []struct {
		path      string
		status    int
		watermark string
	}{
		{"/v1/genesys/acme/resources/user/1", 503, ""},
		{"/v1/genesys/acme/resources/user/1?stale=no", 503, ""},
		{"/v1/genesys/acme/resources/user/2", 503, ""},
		{"/v1/genesys/acme/interactions/1", 503, ""},
		{"/v1/genesys/acme/resources/user/2?stale=ok", 404, "1970-01-01T00:00:00.000Z"},
		{"/v1/genesys/acme/resources/user/1?stale=ok", 200, "2025-11-24T16:00:00.123Z"},
	} {
		got := ask(t, http.MethodGet, base+c.path)
		if got.Status != c.status || got.Header.Get(headerWatermark) != c.watermark {
			t.Errorf("%s: got %+v", c.path, got)
		}
		if retry := got.Header.Get("Retry-After"); (retry == "1") != (c.status == 503) {
			t.Errorf("%s: Retry-After %q", c.path, retry)
		}
	}
}
