package reconcile

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"regexp"
	"time"

	"trunkline/ingest/outbound"
)

const (
	maxPage     = 16 << 20        // bytes of an answer
	maxPages    = 2000            // of one list in one run
	callTimeout = 2 * time.Minute // its turn in the budget included
	tries       = 4               // of one call
	firstPause  = time.Second     // before the second try, doubling
	maxPause    = time.Minute     // that a vendor may ask for within a run
)

// caller calls a vendor's API.
type caller struct {
	http   *http.Client
	base   *url.URL
	now    func() time.Time
	random func() float64
	denied string // what a 403 lacks, and the cure
}

func newCaller(o Options) (caller, error) {
	base, err := outbound.ParseURL(o.URL)
	if err != nil {
		return caller{}, err
	}
	return caller{http: o.HTTP, base: base, now: o.Now, random: o.Random}, nil
}

// answer is what a vendor said: 200 with a body, or 204.
type answer struct {
	status int
	header http.Header
	body   []byte
}

// get asks for a path below the URL of the configuration.
func (c caller) get(ctx context.Context, path string, query url.Values) (answer, error) {
	u := c.base.JoinPath(path)
	u.RawQuery = query.Encode()
	return c.call(ctx, http.MethodGet, u, nil)
}

// post sends a question to a path below the URL of the configuration.
func (c caller) post(ctx context.Context, path string, question any) (answer, error) {
	body, err := json.Marshal(question)
	if err != nil {
		return answer{}, fmt.Errorf("encode the question: %w", err)
	}
	return c.call(ctx, http.MethodPost, c.base.JoinPath(path), body)
}

// call makes a call, more than once where the vendor is busy or away for a moment: a
// long interval would never end if every such moment began it anew.
func (c caller) call(ctx context.Context, method string, u *url.URL, body []byte) (a answer, err error) {
	pause := firstPause
	for try := 1; ; try++ {
		a, err = c.once(ctx, method, u, body)
		var passing *passingError
		if try == tries || ctx.Err() != nil || !errors.As(err, &passing) || passing.pause > maxPause {
			return a, err
		}
		if !outbound.Sleep(ctx, max(passing.pause, outbound.Spread(pause/2, pause, c.random))) {
			return answer{}, ctx.Err()
		}
		pause *= 2
	}
}

// passingError is a failure that may be over soon.
type passingError struct {
	err   error
	pause time.Duration // that the vendor asks for
}

func (e *passingError) Error() string { return e.err.Error() }
func (e *passingError) Unwrap() error { return e.err }

func (c caller) once(ctx context.Context, method string, u *url.URL, body []byte) (answer, error) {
	ctx, cancel := context.WithTimeout(ctx, callTimeout)
	defer cancel()
	resp, err := outbound.JSON(ctx, c.http, method, u.String(), body)
	switch {
	case errors.Is(err, outbound.ErrRefused):
		return answer{}, err
	case err != nil:
		return answer{}, &passingError{err: fmt.Errorf("call the vendor: %w", err)}
	}
	defer resp.Body.Close()
	a := answer{status: resp.StatusCode, header: resp.Header}
	switch a.status {
	case http.StatusNoContent:
		return a, nil
	case http.StatusOK, http.StatusAccepted:
		var tooLarge *http.MaxBytesError
		a.body, err = io.ReadAll(http.MaxBytesReader(nil, resp.Body, maxPage))
		switch {
		case errors.As(err, &tooLarge):
			return answer{}, fmt.Errorf("an answer is larger than %d bytes", maxPage)
		case err != nil:
			return answer{}, &passingError{err: errors.New("the answer broke off")}
		case !json.Valid(a.body):
			return answer{}, &passingError{err: errors.New("the answer is no JSON")}
		}
		return a, nil
	}
	// Read, so that its connection serves again.
	_, _ = io.Copy(io.Discard, io.LimitReader(resp.Body, 64<<10))
	return answer{}, c.refusal(a)
}

// refusal is the error of any other answer. A body or a description of the vendor's
// may quote data (I10): only a code of it is told.
func (c caller) refusal(a answer) error {
	err := fmt.Errorf("the vendor answered %d", a.status)
	if m := statusCode.FindStringSubmatch(a.header.Get("icStatusDescription")); m != nil {
		err = fmt.Errorf("%w, code %s", err, m[1])
	}
	switch {
	case a.status == http.StatusUnauthorized:
		return fmt.Errorf("%w: it refuses the token; check the credential of api", err)
	case a.status == http.StatusForbidden:
		return fmt.Errorf("%w: %s", err, c.denied)
	case a.status == http.StatusTooManyRequests, a.status == http.StatusRequestTimeout, a.status >= 500:
		pause, _ := outbound.RetryAfter(a.header, c.now())
		return &passingError{err: err, pause: pause}
	}
	return err
}

// statusCode is a description that is or begins with a name, not with prose.
var statusCode = regexp.MustCompile(`^([A-Za-z0-9_]{1,40})(?::|$)`)

// decode reads the JSON of an answer; the error quotes none of it (I10).
func (a answer) decode(v any) error {
	if err := json.Unmarshal(a.body, v); err != nil {
		return errors.New("the answer has not the shape of the vendor's documentation")
	}
	return nil
}
