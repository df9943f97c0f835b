package oauth

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"

	"trunkline/ingest/redacted"
)

const hidden = "hunter2" // a part of every secret of these tests

// vendor answers requests without a network, so that time can be faked.
type vendor struct {
	mu      sync.Mutex
	asked   []string // method, path, credentials and body of the token requests
	answer  func(n int, r *http.Request) (status int, body string)
	takes   time.Duration // of a token request
	accepts string        // the token that the API accepts, empty for any
	calls   int           // of the API
}

func (v *vendor) RoundTrip(r *http.Request) (*http.Response, error) {
	body := ""
	if r.Body != nil {
		text, err := io.ReadAll(r.Body)
		if err != nil {
			return nil, err
		}
		r.Body.Close()
		body = string(text)
	}
	w := httptest.NewRecorder()
	if r.URL.Host == "api" {
		v.mu.Lock()
		v.calls++
		ok := v.accepts == "" || r.Header.Get("Authorization") == "Bearer "+v.accepts
		v.mu.Unlock()
		if !ok {
			w.WriteHeader(http.StatusUnauthorized)
		}
		fmt.Fprint(w, r.Header.Get("Authorization")+" "+body)
		return w.Result(), nil
	}
	v.mu.Lock()
	id, secret, _ := r.BasicAuth()
	v.asked = append(v.asked, strings.TrimSpace(fmt.Sprintf("%s %s %s %s %s", r.Method, r.URL.Path, id, secret, body)))
	n := len(v.asked)
	v.mu.Unlock()
	if v.takes > 0 {
		select {
		case <-time.After(v.takes):
		case <-r.Context().Done():
			return nil, r.Context().Err()
		}
	}
	status, text := 200, fmt.Sprintf(`{"access_token":"%s-%d","token_type":"bearer","expires_in":3600}`, hidden, n)
	if v.answer != nil {
		status, text = v.answer(n, r)
	}
	if status == http.StatusTooManyRequests {
		w.Header().Set("Retry-After", "20")
	}
	w.WriteHeader(status)
	fmt.Fprint(w, text)
	return w.Result(), nil
}

func (v *vendor) requests() int {
	v.mu.Lock()
	defer v.mu.Unlock()
	return len(v.asked)
}

var (
	genesys = Genesys{URL: "https://login", ClientID: "client", ClientSecret: hidden + "-secret"}
	cxone   = CXone{URL: "https://na1", KeyID: "key", KeySecret: hidden + "-secret"}
)

func newSource(t *testing.T, v *vendor, o Options) *Source {
	t.Helper()
	if o.Grant == nil {
		o.Grant = genesys
	}
	o.HTTP = &http.Client{Transport: v}
	s, err := NewSource(o)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

// TestGrants checks what is asked of the vendors, which answers are taken, and
// that no error repeats one.
func TestGrants(t *testing.T) {
	const (
		access  = `POST /authentication/v1/token/access-key   {"accessKeyId":"key","accessKeySecret":"hunter2-secret"}`
		refresh = `POST /public/user/refresh   {"token":"hunter2-refresh"}`
		client  = `POST /oauth/token client hunter2-secret grant_type=client_credentials`
		good    = `{"access_token":"hunter2","refresh_token":"hunter2-refresh","expires_in":3600}`
	)
	tests := []struct {
		name    string
		grant   Grant
		scopes  []string
		answers []string // status and body; a token is asked for with each
		asked   []string
		want    []string // tokens, or the ends of errors
	}{
		{"Genesys", genesys, nil, []string{`200 {"access_token":"hunter2","token_type":"bearer","expires_in":86399}`}, []string{client}, []string{"hunter2"}},
		{"scopes are asked for", genesys, []string{"streaming:read", "users"}, []string{"200 " + good}, []string{client + "&scope=streaming%3Aread+users"}, []string{"hunter2"}},
		{
			"scopes are there", genesys, []string{"streaming:read", "users"}, []string{`200 {"access_token":"hunter2","expires_in":60,"scope":"users streaming:read"}`},
			[]string{client + "&scope=streaming%3Aread+users"}, []string{"hunter2"},
		},
		{
			"scopes are missing", genesys, []string{"streaming:read", "users"}, []string{`200 {"access_token":"hunter2","expires_in":60,"scope":"users:readonly"}`},
			[]string{client + "&scope=streaming%3Aread+users"}, []string{"token lacks the scope streaming:read and users: grant it to the client at the vendor"},
		},
		{"CXone renews by refresh, in other words", cxone, nil, []string{
			"200 " + good, `200 {"token":"hunter2-b","refreshToken":"hunter2-next","tokenExpirationTimeSec":3600,"refreshTokenExpirationTimeSec":7200}`, "200 " + good,
		}, []string{access, refresh, strings.Replace(refresh, "hunter2-refresh", "hunter2-next", 1)}, []string{"hunter2", "hunter2-b", "hunter2"}},
		{"CXone keeps a refresh token that is not replaced", cxone, nil, []string{
			"200 " + good, `200 {"token":"hunter2-b","tokenExpirationTimeSec":"3600"}`, "200 " + good,
		}, []string{access, refresh, refresh}, []string{"hunter2", "hunter2-b", "hunter2"}},
		{"CXone comes back to the key when a refresh is refused", cxone, nil, []string{
			"200 " + good, "401 {}", "200 " + good,
		}, []string{access, refresh, access}, []string{"hunter2", "hunter2"}},
		{"CXone does not when it is only unavailable", cxone, nil, []string{
			"200 " + good, "503 {}", "200 " + good,
		}, []string{access, refresh, refresh}, []string{"hunter2", "answered 503", "hunter2"}},
		{"CXone does not try a refresh token past its end", cxone, nil, []string{
			`200 {"token":"hunter2","refreshToken":"hunter2-refresh","tokenExpirationTimeSec":3600,"refreshTokenExpirationTimeSec":1800}`, "200 " + good,
		}, []string{access, access}, []string{"hunter2", "hunter2"}},
		{"CXone without a refresh token", cxone, nil, []string{`200 {"access_token":"hunter2","expires_in":"3600"}`, "200 " + good}, []string{access, access}, []string{"hunter2", "hunter2"}},

		{"no time of expiry", genesys, nil, []string{`200 {"access_token":"hunter2"}`}, []string{client}, []string{"does not say when the token expires (expires_in)"}},
		{"expired at birth", genesys, nil, []string{`200 {"access_token":"hunter2","expires_in":0}`}, []string{client}, []string{"does not say when the token expires (expires_in)"}},
		{"a time that is none", genesys, nil, []string{`200 {"access_token":"hunter2","expires_in":"hunter2"}`}, []string{client}, []string{"answer is no JSON of a token"}},
		{"no token", genesys, nil, []string{`200 {"expires_in":3600}`}, []string{client}, []string{"no token that a header can carry"}},
		{"a token with a line end", genesys, nil, []string{`200 {"access_token":"hunter2\r\nx","expires_in":3600}`}, []string{client}, []string{"no token that a header can carry"}},
		{"no JSON", genesys, nil, []string{`200 <html>hunter2`}, []string{client}, []string{"answer is no JSON of a token"}},
		{"refused with a code", genesys, nil, []string{`400 {"error":"invalid_client","description":"hunter2"}`}, []string{client}, []string{"answered 400, invalid_client"}},
		{"refused with a text", genesys, nil, []string{`401 {"error":"no such secret: hunter2"}`}, []string{client}, []string{"answered 401"}},
		{"an error with status 200", genesys, nil, []string{`200 {"error":"invalid_grant","access_token":"hunter2","expires_in":9}`}, []string{client}, []string{"answered 200, invalid_grant"}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				v := &vendor{answer: func(n int, _ *http.Request) (int, string) {
					var status int
					_, err := fmt.Sscan(tt.answers[n-1], &status)
					if err != nil {
						t.Fatal(err)
					}
					return status, tt.answers[n-1][4:]
				}}
				s := newSource(t, v, Options{Grant: tt.grant, Scopes: tt.scopes})
				for _, want := range tt.want {
					got, err := s.Token(t.Context())
					if err != nil {
						if got = err.Error(); strings.Contains(got, hidden) {
							t.Errorf("error holds a secret: %s", got)
						}
					}
					if !strings.HasSuffix(got, want) {
						t.Errorf("got %q, want %q", got, want)
					}
					time.Sleep(time.Hour)
				}
				if diff := cmp.Diff(tt.asked, v.asked); diff != "" {
					t.Errorf("requests, -want +got:\n%s", diff)
				}
			})
		})
	}
}

// TestTokenIsKept checks that a thousand calls, one by one and all at once, ask
// for one token.
func TestTokenIsKept(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		v := &vendor{takes: time.Second}
		client := newSource(t, v, Options{}).Client(&http.Client{Transport: v})
		call := func() {
			resp, err := client.Get("http://api/users")
			if err != nil {
				t.Error(err)
				return
			}
			resp.Body.Close()
		}
		var all sync.WaitGroup
		for range 1000 {
			all.Go(call)
		}
		all.Wait()
		for range 1000 {
			call()
		}
		if v.requests() != 1 || v.calls != 2000 {
			t.Errorf("%d tokens for %d calls, want 1 for 2000", v.requests(), v.calls)
		}
	})
}

// TestRenewal checks when a token is renewed: after 80 % of its lifetime and a
// minute before its end, whichever comes first.
func TestRenewal(t *testing.T) {
	for lifetime, want := range map[string]time.Duration{
		"3600": 2880 * time.Second, "172800": 138240 * time.Second, "300": 240 * time.Second, "299": 239 * time.Second, "120": 60 * time.Second,
		"80": 20 * time.Second, "60": 15 * time.Second, "4": time.Second,
	} {
		synctest.Test(t, func(t *testing.T) {
			v := &vendor{answer: func(int, *http.Request) (int, string) {
				return 200, `{"access_token":"a","expires_in":` + lifetime + `}`
			}}
			s := newSource(t, v, Options{})
			start := time.Now()
			for v.requests() < 2 {
				if _, err := s.Token(t.Context()); err != nil {
					t.Fatal(err)
				}
				time.Sleep(time.Second)
			}
			if got := time.Since(start) - time.Second; got != want {
				t.Errorf("lifetime %s: renewed after %v, want %v", lifetime, got, want)
			}
		})
	}
}

// TestRenewalFails checks that the old token is given for as long as it is good,
// while a new one is asked for and when there is none, and that the alarm tells
// how long that will be.
func TestRenewalFails(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		start := time.Now()
		v := &vendor{}
		v.answer = func(n int, _ *http.Request) (int, string) {
			if at := time.Since(start); at > 0 && at < 2*time.Hour {
				return 503, ""
			}
			return 200, fmt.Sprintf(`{"access_token":"t%d","expires_in":3600}`, n)
		}
		var alarms []string
		s := newSource(t, v, Options{Alarm: func(err error, left time.Duration) { alarms = append(alarms, fmt.Sprint(err, ", ", left)) }})
		at := func(at time.Duration, want string) {
			t.Helper()
			time.Sleep(time.Until(start.Add(at)))
			got, err := s.Token(t.Context())
			if err != nil {
				got = err.Error()
			}
			if got != want {
				t.Errorf("after %v: got %q, want %q", at, got, want)
			}
		}
		at(0, "t1")
		at(47*time.Minute, "t1")
		v.takes = 10 * time.Second
		time.Sleep(time.Until(start.Add(50 * time.Minute)))
		renewed := make(chan string)
		go func() {
			token, _ := s.Token(t.Context())
			renewed <- token
		}()
		synctest.Wait()
		at(50*time.Minute, "t1") // another one asks already
		if now := time.Since(start); now != 50*time.Minute || v.requests() != 2 {
			t.Errorf("%d requests, after %v", v.requests(), now)
		}
		if got := <-renewed; got != "t1" {
			t.Errorf("got %q while the renewal fails, want the old token", got)
		}
		v.takes = 0
		at(59*time.Minute, "t1")
		at(time.Hour, "get token: answered 503")
		at(time.Hour, "get token: answered 503") // not asked again at once
		at(2*time.Hour, "t5")
		if want := []string{"get token: answered 503, 9m50s", "get token: answered 503, 1m0s", "get token: answered 503, 0s", "<nil>, 1h0m0s"}; !cmp.Equal(alarms, want) {
			t.Errorf("alarms %q, want %q", alarms, want)
		}
	})
}

// TestFailureIsShared checks that those who wait for a token that cannot be had
// do not ask one after the other, that Retry-After is honoured, and that a caller
// who gives up fails nobody else.
func TestFailureIsShared(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		start := time.Now()
		v := &vendor{takes: time.Second, answer: func(n int, _ *http.Request) (int, string) {
			if n == 2 {
				return 429, ""
			}
			return 200, `{"access_token":"t","expires_in":3600}`
		}}
		alarms := 0
		s := newSource(t, v, Options{Alarm: func(error, time.Duration) { alarms++ }})
		var all sync.WaitGroup
		impatient, cancel := context.WithTimeout(t.Context(), 500*time.Millisecond)
		defer cancel()
		all.Go(func() {
			if _, err := s.Token(impatient); !errors.Is(err, context.DeadlineExceeded) {
				t.Errorf("got error %v, want that of the caller's context", err)
			}
		})
		synctest.Wait()
		for range 100 {
			all.Go(func() {
				if _, err := s.Token(t.Context()); err == nil || err.Error() != "get token: answered 429" {
					t.Errorf("got error %v, want 429", err)
				}
			})
		}
		all.Wait()
		if v.requests() != 2 || alarms != 1 {
			t.Errorf("%d requests and %d alarms, want that of the impatient and one more, and one alarm", v.requests(), alarms)
		}
		for {
			if _, err := s.Token(t.Context()); err == nil {
				break
			}
			time.Sleep(time.Second)
		}
		if got := time.Since(start); v.requests() != 3 || got < 20*time.Second || got > 24*time.Second {
			t.Errorf("%d requests, a token after %v; want Retry-After honoured", v.requests(), got)
		}
	})
}

// TestUnauthorized checks that a refused token is dropped and the call made once
// more, whole, and not more often.
func TestUnauthorized(t *testing.T) {
	tests := []struct {
		name    string
		body    io.Reader
		accepts string
		status  int
		want    string
		calls   int
	}{
		{"without a body", nil, hidden + "-2", 200, "Bearer hunter2-2 ", 2},
		{"with a body", strings.NewReader("payload"), hidden + "-2", 200, "Bearer hunter2-2 payload", 2},
		{"with a body that can be read once", io.MultiReader(strings.NewReader("payload")), hidden + "-2", 401, "Bearer hunter2-1 payload", 1},
		{"with a token that is never accepted", nil, "other", 401, "Bearer hunter2-2 ", 2},
		{"with a good token", nil, hidden + "-1", 200, "Bearer hunter2-1 ", 1},
	}
	for _, tt := range tests {
		v := &vendor{accepts: tt.accepts}
		client := newSource(t, v, Options{}).Client(&http.Client{Transport: v})
		resp, err := client.Post("http://api/", "text/plain", tt.body)
		if err != nil {
			t.Fatal(err)
		}
		got, _ := io.ReadAll(resp.Body)
		if resp.StatusCode != tt.status || string(got) != tt.want || v.calls != tt.calls {
			t.Errorf("%s: %d %q in %d calls, want %d %q in %d", tt.name, resp.StatusCode, got, v.calls, tt.status, tt.want, tt.calls)
		}
	}

	t.Run("a late refusal of an older token", func(t *testing.T) {
		v := &vendor{}
		s := newSource(t, v, Options{})
		for _, older := range []string{"older", ""} {
			if got, err := s.Token(t.Context()); err != nil || got != hidden+"-1" {
				t.Errorf("got %q, error %v, want the first token", got, err)
			}
			s.Drop(older)
		}
	})
	t.Run("many at once ask for one token", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			v := &vendor{takes: time.Second}
			client := newSource(t, v, Options{}).Client(&http.Client{Transport: v})
			for _, v.accepts = range []string{hidden + "-1", hidden + "-2"} { // the first one is revoked
				var all sync.WaitGroup
				for range 100 {
					all.Go(func() {
						if resp, err := client.Get("http://api/"); err != nil || resp.StatusCode != 200 {
							t.Errorf("got %v, error %v", resp, err)
						}
					})
				}
				all.Wait()
			}
			if v.requests() != 2 {
				t.Errorf("%d tokens, want 2", v.requests())
			}
		})
	})
}

// TestNoSecrets checks that nothing of this package prints what it keeps.
func TestNoSecrets(t *testing.T) {
	v := &vendor{}
	s := newSource(t, v, Options{Grant: cxone})
	if _, err := s.Token(t.Context()); err != nil {
		t.Fatal(err)
	}
	v.asked = nil // the test's own
	client := s.Client(&http.Client{Transport: v})
	var out bytes.Buffer
	for _, value := range []any{redacted.Text(hidden), genesys, cxone, Options{Grant: genesys}, s, client, client.Transport} {
		for _, verb := range []string{"%v", "%+v", "%#v", "%s", "%q", "%x", "%d"} {
			fmt.Fprintf(&out, verb+"\n", value)
		}
		slog.New(slog.NewTextHandler(&out, nil)).Info("value", "value", value)
		slog.New(slog.NewJSONHandler(&out, nil)).Info("value", "value", value)
		if text, err := json.Marshal(value); err == nil {
			out.Write(text)
		}
	}
	for _, secret := range []string{hidden, fmt.Sprintf("%x", hidden)} {
		if strings.Contains(out.String(), secret) {
			t.Errorf("printed: %s", out.String())
		}
	}
	if !strings.Contains(out.String(), "[redacted]") {
		t.Error("nothing was redacted")
	}
}

// TestOptions checks that what cannot work is refused.
func TestOptions(t *testing.T) {
	tests := []struct {
		grant Grant
		want  []string
	}{
		{genesys, nil},
		{cxone, nil},
		{nil, []string{"grant: is missing"}},
		{Genesys{}, []string{"url: want", "client id: is empty", "client secret: is empty"}},
		{CXone{URL: "na1.nice-incontact.com", KeyID: "a"}, []string{"url: want", "access key secret: is empty"}},
		{Genesys{URL: "https://user:" + hidden + "@host", ClientID: "a", ClientSecret: "b"}, []string{"no user"}},
		{Genesys{URL: "https://host/", ClientID: "a", ClientSecret: "b"}, []string{"no slash at the end"}},
	}
	for _, tt := range tests {
		_, err := NewSource(Options{Grant: tt.grant})
		if (err == nil) != (tt.want == nil) {
			t.Errorf("%v: got error %v", tt.grant, err)
		}
		for _, want := range tt.want {
			if !strings.Contains(err.Error(), want) || strings.Contains(err.Error(), hidden) {
				t.Errorf("%v: got error %v, want %q", tt.grant, err, want)
			}
		}
	}
}
