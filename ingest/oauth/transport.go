package oauth

import (
	"io"
	"net/http"
)

// Client returns a client like base whose calls carry the token. A call that is
// answered 401 is made once more with a new token, if its body can be sent
// twice. base decides which redirects are followed, and so who is shown the
// token; those of [outbound.NewClient] stay on their host.
func (s *Source) Client(base *http.Client) *http.Client {
	c := *base
	c.Transport = &transport{source: s, base: base.Transport}
	if base.Transport == nil {
		c.Transport = &transport{source: s, base: http.DefaultTransport}
	}
	return &c
}

type transport struct {
	source *Source
	base   http.RoundTripper
}

// RoundTrip implements [http.RoundTripper].
func (t *transport) RoundTrip(r *http.Request) (*http.Response, error) {
	token, resp, err := t.try(r)
	if err != nil || resp.StatusCode != http.StatusUnauthorized {
		return resp, err
	}
	t.source.Drop(token)
	again := r.Clone(r.Context())
	if r.Body != nil && r.Body != http.NoBody {
		if r.GetBody == nil {
			return resp, nil
		}
		if again.Body, err = r.GetBody(); err != nil {
			return resp, nil // the answer is what there is to tell
		}
	}
	// Read, so that its connection serves again.
	_, _ = io.Copy(io.Discard, io.LimitReader(resp.Body, maxAnswer))
	resp.Body.Close()
	_, resp, err = t.try(again)
	return resp, err
}

// try sends r with the token, which it returns.
func (t *transport) try(r *http.Request) (string, *http.Response, error) {
	token, err := t.source.Token(r.Context())
	if err != nil {
		if r.Body != nil {
			r.Body.Close()
		}
		return "", nil, err
	}
	r = r.Clone(r.Context())
	r.Header.Set("Authorization", "Bearer "+token)
	resp, err := t.base.RoundTrip(r)
	return token, resp, err
}
