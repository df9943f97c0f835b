package registration

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"regexp"
	"slices"
	"strings"
	"time"

	"trunkline/ingest/oauth"
	"trunkline/ingest/outbound"
)

// ErrUnavailable is wrapped by the error of a call that the vendor did not
// answer, or answered 429 or 5xx to the end. Later it may do.
var ErrUnavailable = errors.New("vendor cannot be reached")

// Client makes registrations with one credential.
type Client struct {
	http *http.Client
	base string
	now  func() time.Time
}

const (
	// tries of one registration, pause after the first, doubling.
	tries = 5
	pause = time.Second
	// patience is the longest pause that a vendor may ask for; more is told to
	// who waits.
	patience = 2 * time.Minute
	// callTimeout bounds a call, with the minute for which an answer 429 may hold
	// back the next one (see [outbound.Budget]).
	callTimeout = 2 * time.Minute
	// maxAnswer is the size in bytes of an answer, maxPages the length of a list.
	maxAnswer = 4 << 20
	maxPages  = 100
)

// NewClient returns a client for the API at base, a URL of scheme and host that
// may have a path. caller puts the credential on the calls, and renews it.
func NewClient(caller *http.Client, base string) *Client {
	return &Client{http: caller, base: strings.TrimSuffix(base, "/"), now: time.Now}
}

// Plan tells what [Client.Execute] would do. It only reads.
func (c *Client) Plan(ctx context.Context, w Wanted) (Plan, error) {
	var p Plan
	err := c.retry(ctx, func() (err error) {
		p, err = c.plan(ctx, w)
		return err
	})
	return p, err
}

// Execute makes the registration as it should be, and returns what was done to
// it. Done again it does nothing.
func (c *Client) Execute(ctx context.Context, w Wanted) (Plan, error) {
	var done Plan
	err := c.retry(ctx, func() error {
		// Each try looks first: the last one may have got through, and who came
		// between may have created or deleted what we meant to.
		p, err := c.plan(ctx, w)
		if err != nil {
			return err
		}
		if p.Action == None {
			if done.Action == "" {
				done = p
			}
			done.ID = p.ID
			return nil
		}
		done = p
		done.ID, err = c.send(ctx, w, p.ID)
		var no *answerError
		if errors.As(err, &no) && no.overtaken() {
			done = Plan{} // nothing was done, whatever the next try finds
		}
		return err
	})
	if err != nil {
		return Plan{}, err
	}
	return done, nil
}

// retry calls try until it is done or nothing speaks for another one.
func (c *Client) retry(ctx context.Context, try func() error) error {
	for n, wait := 1, pause; ; n, wait = n+1, 2*wait {
		err := try()
		var no *answerError
		if !errors.As(err, &no) || !no.temporary() || n == tries || no.retryAfter > patience {
			return err
		}
		if !outbound.Sleep(ctx, max(wait, no.retryAfter)) {
			return ctx.Err()
		}
	}
}

func (c *Client) plan(ctx context.Context, w Wanted) (Plan, error) {
	held, err := c.list(ctx, w.at())
	if err != nil {
		return Plan{}, fmt.Errorf("list registrations: %w", err)
	}
	return plan(w, held)
}

var errNoList = errors.New("answer is no list of registrations")

// identity is an id that can be part of a path.
var identity = regexp.MustCompile(`^[A-Za-z0-9][A-Za-z0-9_.~:-]{0,127}$`)

// list reads all pages.
func (c *Client) list(ctx context.Context, v vendorAPI) ([]record, error) {
	at, err := url.Parse(c.base + v.path + v.query)
	if err != nil {
		return nil, err
	}
	var all []record
	for range maxPages {
		text, err := c.call(ctx, http.MethodGet, at, v.reads, nil)
		if err != nil {
			return nil, err
		}
		p := page{}
		if len(text) > 0 { // 204
			if p, err = v.page(text, at.RawQuery); err != nil {
				return nil, err
			}
		}
		seen := len(all)
		for _, r := range p.records {
			if !identity.MatchString(r.id) {
				return nil, fmt.Errorf("%w: one has no id, or one of another kind", errNoList)
			}
			// What was created meanwhile moves others to the next page.
			if !slices.ContainsFunc(all, func(o record) bool { return o.id == r.id }) {
				all = append(all, r)
			}
		}
		if p.next == "" || len(all) == seen {
			return all, nil
		}
		next, err := at.Parse(p.next)
		if err != nil || next.Scheme != at.Scheme || next.Host != at.Host || next.User != nil {
			return nil, fmt.Errorf("%w: its next page is on another host", errNoList) // who would be shown the token
		}
		at = next
	}
	return nil, fmt.Errorf("%w: it has more than %d pages", errNoList, maxPages)
}

// send creates the registration, or updates that of id, and returns its id.
func (c *Client) send(ctx context.Context, w Wanted, id string) (string, error) {
	body, err := w.body()
	if err != nil {
		return "", err
	}
	at, err := url.Parse(c.base + w.at().path)
	if err != nil {
		return "", err
	}
	if id != "" {
		if _, err := c.call(ctx, http.MethodPut, at.JoinPath(id), w.at().writes, body); err != nil {
			return "", fmt.Errorf("update registration: %w", err)
		}
		return id, nil
	}
	text, err := c.call(ctx, http.MethodPost, at, w.at().writes, body)
	if err != nil {
		return "", fmt.Errorf("create registration: %w", err)
	}
	var made struct {
		ID string `json:"id"`
	}
	if json.Unmarshal(text, &made) != nil || !identity.MatchString(made.ID) {
		return "", errors.New("create registration: the vendor took it, but answered no id; look again with a dry run")
	}
	return made.ID, nil
}

// call makes one call that takes the scope, and returns the body of an answer
// 2xx.
func (c *Client) call(ctx context.Context, method string, at *url.URL, scope string, body []byte) ([]byte, error) {
	bounded, cancel := context.WithTimeout(ctx, callTimeout)
	defer cancel()
	resp, err := outbound.JSON(bounded, c.http, method, at.String(), body)
	if err != nil {
		return nil, lost(ctx, at, err)
	}
	defer resp.Body.Close()
	text, err := io.ReadAll(io.LimitReader(resp.Body, maxAnswer))
	if err != nil {
		return nil, lost(ctx, at, err)
	}
	if resp.StatusCode/100 == 2 {
		return text, nil
	}
	no := &answerError{method: method, status: resp.StatusCode, scope: scope, code: errorCode(text, body)}
	no.retryAfter, _ = outbound.RetryAfter(resp.Header, c.now())
	return nil, no
}

// lost is the error of a call that was not answered.
func lost(ctx context.Context, at *url.URL, err error) error {
	if ctx.Err() != nil {
		return ctx.Err()
	}
	if errors.Is(err, outbound.ErrRefused) || oauth.Refused(err) {
		return err
	}
	return fmt.Errorf("%w: %s: %w", ErrUnavailable, at.Host, err)
}

// answerError tells of a call that was answered otherwise than 2xx.
type answerError struct {
	method     string
	status     int
	code       string // the vendor's, empty when there is none
	scope      string // that the call takes
	retryAfter time.Duration
}

func (e *answerError) Error() string {
	text := fmt.Sprintf("answered %d", e.status)
	if e.code != "" {
		text += ", " + e.code
	}
	switch {
	case e.status == http.StatusUnauthorized:
		return text + ", also to a new token: is the credential of api one of this vendor and region?"
	case e.status == http.StatusForbidden:
		return text + ": the credential lacks the scope " + e.scope + "; grant it at the vendor, and add it to api.oauth.scopes if some stand there"
	case e.status == http.StatusNotFound:
		return text + ": is api.url, or registration.api_url, the API's?"
	case e.status == http.StatusConflict:
		return text + ": the vendor holds a registration of this name or URL that it does not list; use another registration.name"
	case e.retryAfter > patience:
		return text + fmt.Sprintf(": try again in %s", e.retryAfter)
	}
	return text
}

// Is implements the interface of [errors.Is].
func (e *answerError) Is(target error) bool { return target == ErrUnavailable && e.unavailable() }

func (e *answerError) unavailable() bool {
	return e.status == http.StatusTooManyRequests || e.status >= 500
}

// overtaken: somebody created or deleted the registration after we had looked.
func (e *answerError) overtaken() bool {
	return e.method != http.MethodGet && e.status == http.StatusConflict || e.method == http.MethodPut && e.status == http.StatusNotFound
}

func (e *answerError) temporary() bool { return e.unavailable() || e.overtaken() }

// code is what of an answer may be told: never a text that could repeat the
// request (I10).
var code = regexp.MustCompile(`^[a-z_.]{1,40}$`)

func errorCode(answer, request []byte) string {
	var said struct {
		Code  string `json:"code"`
		Error string `json:"error"`
	}
	_ = json.Unmarshal(answer, &said) // what of it is text; most answers have none
	for _, s := range []string{said.Code, said.Error} {
		if code.MatchString(s) && !bytes.Contains(request, []byte(s)) {
			return s
		}
	}
	return ""
}
