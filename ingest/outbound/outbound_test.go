package outbound

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"
)

// TestRedirects checks that a client follows redirects on its host and no other.
func TestRedirects(t *testing.T) {
	reached := func(w http.ResponseWriter, r *http.Request) { fmt.Fprint(w, r.URL.Path) }
	elsewhere := httptest.NewServer(http.HandlerFunc(reached))
	defer elsewhere.Close()
	mux := http.NewServeMux()
	home := httptest.NewServer(mux)
	defer home.Close()
	mux.HandleFunc("/there", reached)
	mux.Handle("/near", http.RedirectHandler("/there", http.StatusTemporaryRedirect))
	mux.Handle("/far", http.RedirectHandler(elsewhere.URL+"/there", http.StatusTemporaryRedirect))
	mux.Handle("/plain", http.RedirectHandler("ftp"+strings.TrimPrefix(home.URL, "http")+"/there", http.StatusTemporaryRedirect))
	mux.Handle("/loop", http.RedirectHandler("/loop", http.StatusTemporaryRedirect))

	client := NewClient()
	for path, allowed := range map[string]bool{"/there": true, "/near": true, "/far": false, "/plain": false, "/loop": false} {
		resp, err := client.Get(home.URL + path)
		if allowed && (err != nil || resp.StatusCode != http.StatusOK) {
			t.Errorf("%s: got %v, error %v", path, resp, err)
		}
		if !allowed && !errors.Is(err, ErrRefused) {
			t.Errorf("%s: got error %v, want %v", path, err, ErrRefused)
		}
	}
}

// TestAddresses checks which addresses a client connects to.
func TestAddresses(t *testing.T) {
	for address, allowed := range map[string]bool{
		"127.0.0.1:80": true, "[::1]:80": true, "10.0.0.1:443": true, "93.184.216.34:443": true, "[2606:2800:220:1::1]:443": true,
		"169.254.169.254:80": false, "169.254.170.2:80": false, "[::ffff:169.254.169.254]:80": false, "[::ffff:100.100.100.200]:80": false, "[fe80::1%eth0]:80": false,
		"[fd00:ec2::254]:80": false, "[fd20:ce::254]:80": false, "100.100.100.200:80": false, "168.63.129.16:80": false, "224.0.0.1:80": false, "0.0.0.0:80": false, "[::]:80": false, "name:80": false,
	} {
		if err := refuseAddress("tcp", address, nil); (err == nil) != allowed || err != nil && !errors.Is(err, ErrRefused) {
			t.Errorf("%s: got error %v, want allowed %v", address, err, allowed)
		}
	}
	ctx, cancel := context.WithTimeout(t.Context(), time.Second)
	defer cancel()
	r, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://169.254.169.254/latest/meta-data", http.NoBody)
	if err != nil {
		t.Fatal(err)
	}
	transport, ok := NewClient().Transport.(*http.Transport)
	if !ok {
		t.Fatal("the transport is another one")
	}
	transport.Proxy = nil // whose address would be checked
	if _, err := transport.RoundTrip(r); !errors.Is(err, ErrRefused) {
		t.Errorf("got error %v, want %v", err, ErrRefused)
	}
}

func TestRetryAfter(t *testing.T) {
	now := time.Date(2026, 11, 28, 6, 0, 0, 0, time.UTC)
	tests := []struct {
		text string
		want time.Duration
		ok   bool
	}{
		{"0", 0, true},
		{" 30 ", 30 * time.Second, true},
		{"7200", time.Hour, true},
		{"Sat, 28 Nov 2026 06:00:30 GMT", 30 * time.Second, true},
		{"Sat, 28 Nov 2026 05:00:00 GMT", 0, true},
		{"Sun, 28 Nov 2027 06:00:00 GMT", time.Hour, true},
		{"", 0, false},
		{"-1", 0, false},
		{"1.5", 0, false},
		{"soon", 0, false},
		{"99999999999999999999", 0, false},
	}
	for _, tt := range tests {
		if got, ok := RetryAfter(http.Header{"Retry-After": {tt.text}}, now); got != tt.want || ok != tt.ok {
			t.Errorf("%q: got %v, %v; want %v, %v", tt.text, got, ok, tt.want, tt.ok)
		}
	}
}

type roundTripper func(*http.Request) (*http.Response, error)

func (f roundTripper) RoundTrip(r *http.Request) (*http.Response, error) { return f(r) }

// TestBudget checks that a thousand impatient callers never make more calls
// within a minute than the vendor's limit of 300, nor many less, and that an
// answer 429 silences all of them for as long as it asks.
func TestBudget(t *testing.T) {
	for _, retryAfter := range []string{"90", ""} {
		synctest.Test(t, func(t *testing.T) {
			var mu sync.Mutex
			var calls []time.Time
			var pause time.Time
			transport := roundTripper(func(r *http.Request) (*http.Response, error) {
				mu.Lock()
				defer mu.Unlock()
				calls = append(calls, time.Now())
				if len(calls) != 500 {
					return &http.Response{StatusCode: 200, Request: r, Body: http.NoBody}, nil
				}
				pause = time.Now()
				return &http.Response{StatusCode: 429, Header: http.Header{"Retry-After": {retryAfter}}, Request: r, Body: http.NoBody}, nil
			})
			client := &http.Client{Transport: NewBudget(transport, DefaultPerMinute, time.Now)}
			refused := 0
			var all sync.WaitGroup
			for range 1000 {
				all.Go(func() {
					resp, err := client.Get("http://api/")
					if err != nil {
						t.Error(err)
						return
					}
					if resp.StatusCode == 429 {
						mu.Lock()
						refused++
						mu.Unlock()
					}
				})
			}
			start := time.Now()
			all.Wait()
			took := time.Since(start)

			silence := time.Minute
			if retryAfter != "" {
				silence = 90 * time.Second
			}
			if got := calls[500].Sub(pause); got != silence {
				t.Errorf("Retry-After %q: the next call is %v later, want %v", retryAfter, got, silence)
			}
			for i := range calls[300:] {
				if within := calls[i+300].Sub(calls[i]); within < time.Minute {
					t.Fatalf("301 calls within %v", within)
				}
			}
			if refused != 1 || took > 8*time.Minute {
				t.Errorf("%d calls were refused, want 1; 1000 calls took %v", refused, took)
			}
		})
	}
}

// TestBudgetGivesUp checks that a caller waits no longer than its context, and
// that its body is closed then.
func TestBudgetGivesUp(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		budget := NewBudget(roundTripper(func(r *http.Request) (*http.Response, error) {
			return &http.Response{StatusCode: 429, Request: r, Body: http.NoBody}, nil
		}), DefaultPerMinute, time.Now)
		client := &http.Client{Transport: budget}
		if _, err := client.Get("http://api/"); err != nil {
			t.Fatal(err)
		}
		ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
		defer cancel()
		body := &closing{Reader: strings.NewReader("x")}
		r, err := http.NewRequestWithContext(ctx, http.MethodPost, "http://api/", body)
		if err != nil {
			t.Fatal(err)
		}
		start := time.Now()
		if _, err := client.Do(r); !errors.Is(err, context.DeadlineExceeded) || time.Since(start) != 10*time.Second || !body.closed {
			t.Errorf("error %v after %v, body closed: %v", err, time.Since(start), body.closed)
		}
	})
}

type closing struct {
	io.Reader
	closed bool
}

func (c *closing) Close() error { c.closed = true; return nil }

// TestDelays checks that delays double up to their bound and never beyond, that
// they are spread over the whole of what is allowed, and that who waits gives up
// with its context.
func TestDelays(t *testing.T) {
	const first, most = 2 * time.Second, time.Minute
	want := []time.Duration{first, 2 * first, 4 * first, 8 * first, 16 * first, most, most}
	for failures, want := range want {
		if got := Doubled(first, most, failures); got != want {
			t.Errorf("after %d failures: got %v, want %v", failures, got, want)
		}
	}
	if got := Doubled(first, most, 1000); got != most {
		t.Errorf("after 1000 failures: got %v, want %v", got, most)
	}
	for random, want := range map[float64]time.Duration{0: first, 0.5: (first + most) / 2, 1: most} {
		if got := Spread(first, most, func() float64 { return random }); got != want {
			t.Errorf("random %v: got %v, want %v", random, got, want)
		}
	}
	synctest.Test(t, func(t *testing.T) {
		ctx, cancel := context.WithTimeout(t.Context(), most)
		defer cancel()
		start := time.Now()
		if !Sleep(ctx, first) || time.Since(start) != first {
			t.Errorf("slept %v, want %v", time.Since(start), first)
		}
		if Sleep(ctx, most) || time.Since(start) != most {
			t.Errorf("slept until %v after the begin, want to give up after %v", time.Since(start), most)
		}
	})
}
