package oauth

import (
	"bytes"
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"regexp"
	"strings"
	"time"

	"trunkline/ingest/outbound"
	"trunkline/ingest/redacted"
)

// Grant is a vendor's way to give tokens: [Genesys] or [CXone].
type Grant interface {
	// fetch returns a new token. It may use what came with the last one.
	fetch(ctx context.Context, f fetcher, last token) (token, error)
	faults() []error
}

// Genesys is the grant of client credentials (RFC 6749, 4.4).
type Genesys struct {
	URL          string // of the region's login host, as https://login.mypurecloud.com
	ClientID     string
	ClientSecret redacted.Text
}

func (g Genesys) fetch(ctx context.Context, f fetcher, _ token) (token, error) {
	form := url.Values{"grant_type": {"client_credentials"}}
	if len(f.scopes) > 0 {
		form.Set("scope", strings.Join(f.scopes, " "))
	}
	r, err := http.NewRequestWithContext(ctx, http.MethodPost, g.URL+"/oauth/token", strings.NewReader(form.Encode()))
	if err != nil {
		return token{}, err
	}
	r.SetBasicAuth(g.ClientID, string(g.ClientSecret))
	r.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	return f.ask(r)
}

func (g Genesys) faults() []error {
	return faults(g.URL, map[string]string{"client id": g.ClientID, "client secret": string(g.ClientSecret)})
}

// CXone is the grant of access keys. Its tokens are renewed by the refresh token
// that came with the last one, and by the key where the vendor refuses that.
type CXone struct {
	URL       string // of the area, as https://na1.nice-incontact.com
	KeyID     string
	KeySecret redacted.Text
}

func (g CXone) fetch(ctx context.Context, f fetcher, last token) (token, error) {
	if last.refresh != nil && (last.refreshEnds.IsZero() || f.now().Before(last.refreshEnds)) {
		t, err := g.post(ctx, f, "/public/user/refresh", struct {
			Token string `json:"token"`
		}{last.refresh.open()})
		if !Refused(err) {
			if t.refresh == nil {
				t.refresh, t.refreshEnds = last.refresh, last.refreshEnds
			}
			return t, err
		}
	}
	return g.post(ctx, f, "/authentication/v1/token/access-key", struct {
		ID     string `json:"accessKeyId"`
		Secret string `json:"accessKeySecret"`
	}{g.KeyID, string(g.KeySecret)})
}

func (g CXone) post(ctx context.Context, f fetcher, path string, body any) (token, error) {
	text, err := json.Marshal(body)
	if err != nil {
		return token{}, err
	}
	r, err := http.NewRequestWithContext(ctx, http.MethodPost, g.URL+path, bytes.NewReader(text))
	if err != nil {
		return token{}, err
	}
	r.Header.Set("Content-Type", "application/json")
	return f.ask(r)
}

func (g CXone) faults() []error {
	return faults(g.URL, map[string]string{"access key id": g.KeyID, "access key secret": string(g.KeySecret)})
}

func faults(base string, texts map[string]string) []error {
	var all []error
	u, err := url.Parse(base)
	if err != nil || u.Host == "" || u.User != nil || u.Scheme != "http" && u.Scheme != "https" || strings.HasSuffix(u.Path, "/") {
		all = append(all, errors.New("url: want http or https and a host, no user, and no slash at the end"))
	}
	for name, text := range texts {
		if text == "" {
			all = append(all, fmt.Errorf("%s: is empty", name))
		}
	}
	return all
}

// token is what a vendor gave.
type token struct {
	access      sealed
	refresh     sealed        // nil where there is none
	refreshEnds time.Time     // zero where it is not known
	lifetime    time.Duration // of access
	scopes      []string      // nil where the vendor did not name them
}

// answer holds the fields of a token answer in both spellings: that of RFC 6749,
// and that of CXone's refresh.
type answer struct {
	AccessToken   string      `json:"access_token"`
	Token         string      `json:"token"`
	RefreshToken  string      `json:"refresh_token"`
	RefreshToken2 string      `json:"refreshToken"`
	ExpiresIn     json.Number `json:"expires_in"` // a number, or text that is one
	ExpiresIn2    json.Number `json:"tokenExpirationTimeSec"`
	RefreshEnds   json.Number `json:"refreshTokenExpirationTimeSec"`
	Scope         *string     `json:"scope"`
	Error         string      `json:"error"`
}

// fetcher asks vendors for tokens.
type fetcher struct {
	http   *http.Client
	scopes []string
	now    func() time.Time
}

// maxAnswer is the size in bytes of a token answer that is read.
const maxAnswer = 64 << 10

// answerError tells of a token request that was refused.
type answerError struct {
	status     int
	code       string // of RFC 6749, 5.2, empty when there is none
	retryAfter time.Duration
}

func (e *answerError) Error() string {
	if e.code == "" {
		return fmt.Sprintf("answered %d", e.status)
	}
	return fmt.Sprintf("answered %d, %s", e.status, e.code)
}

// Refused tells whether a vendor gives no token for the credential as it is, so
// that it is of no use to ask again.
func Refused(err error) bool {
	var no *answerError
	var lacks *scopeError
	return errors.As(err, &lacks) || errors.As(err, &no) && no.status/100 == 4 && no.status != http.StatusTooManyRequests
}

// scopeError tells of a token without scopes that it should have.
type scopeError struct{ scopes []string }

func (e *scopeError) Error() string {
	return fmt.Sprintf("token lacks the scope %s: grant it to the client at the vendor", strings.Join(e.scopes, " and "))
}

// errorCode is what a vendor may put into our logs: never a text that could
// repeat the request (I10).
var errorCode = regexp.MustCompile(`^[a-z_.]{1,40}$`)

// sendable is a token that a header can carry (RFC 6750, 2.1).
var sendable = regexp.MustCompile(`^[\x21-\x7e]+$`)

// ask sends a token request and reads the answer.
func (f fetcher) ask(r *http.Request) (token, error) {
	r.Header.Set("Accept", "application/json")
	resp, err := f.http.Do(r)
	if err != nil {
		return token{}, err
	}
	defer resp.Body.Close()
	text, err := io.ReadAll(io.LimitReader(resp.Body, maxAnswer))
	if err != nil {
		return token{}, fmt.Errorf("read answer: %w", err)
	}
	var a answer
	err = json.Unmarshal(text, &a)
	if resp.StatusCode != http.StatusOK || a.Error != "" {
		no := &answerError{status: resp.StatusCode}
		if errorCode.MatchString(a.Error) {
			no.code = a.Error
		}
		no.retryAfter, _ = outbound.RetryAfter(resp.Header, f.now())
		return token{}, no
	}
	if err != nil {
		return token{}, errors.New("answer is no JSON of a token") // the error could quote it
	}
	return a.token(f.now())
}

// token checks the answer.
func (a answer) token(now time.Time) (token, error) {
	access := cmp.Or(a.AccessToken, a.Token)
	t := token{access: seal(access), refresh: seal(cmp.Or(a.RefreshToken, a.RefreshToken2))}
	if !sendable.MatchString(access) {
		return token{}, errors.New("answer has no token that a header can carry")
	}
	var ok bool
	if t.lifetime, ok = seconds(cmp.Or(a.ExpiresIn, a.ExpiresIn2)); !ok {
		return token{}, errors.New("answer does not say when the token expires (expires_in)")
	}
	if life, known := seconds(a.RefreshEnds); known {
		t.refreshEnds = now.Add(life)
	}
	if a.Scope != nil {
		t.scopes = append([]string{}, strings.Fields(*a.Scope)...)
	}
	return t, nil
}

// seconds reads a time that is more than nothing and less than ten years.
func seconds(n json.Number) (time.Duration, bool) {
	s, err := n.Float64()
	if err != nil || s <= 0 || s > 10*365*24*3600 {
		return 0, false
	}
	return time.Duration(s * float64(time.Second)), true
}
