// Package registry is the schema registry as Trunkline uses it: any with the API
// of Confluent's. Every subject stands under FULL compatibility before its topic
// gets a record, and the text of a schema is sent as it is, byte for byte: a
// reformatted one would be a new version.
package registry

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"net/http"
	"time"

	"github.com/twmb/franz-go/pkg/sr"

	"trunkline/codecs/avro"
	"trunkline/ingest/redacted"
)

// Options say where the registry is and how to get in. Of User and Token one is
// used, or neither.
type Options struct {
	URLs     []string // of one registry; the next is tried where one does not answer
	User     string
	Password redacted.Text
	Token    redacted.Text // a bearer token
	TLS      *tls.Config   // nil: the system's authorities
}

// Client speaks to a registry. It may be used concurrently.
type Client struct{ registry *sr.Client }

// requestTimeout is how long a registry may take for one answer.
const requestTimeout = 5 * time.Second

// New returns a client. It does not connect.
func New(o Options) (*Client, error) {
	opts := []sr.ClientOpt{sr.URLs(o.URLs...), sr.UserAgent("trunkline"), sr.HTTPClient(&http.Client{
		Timeout: requestTimeout,
		// Another host must not be shown the credentials.
		CheckRedirect: func(r *http.Request, via []*http.Request) error {
			if r.URL.Host != via[0].URL.Host || r.URL.Scheme != via[0].URL.Scheme || len(via) > 3 {
				return fmt.Errorf("redirected to %s; name the registry's own address in registry.url", r.URL.Host)
			}
			return nil
		},
	})}
	if o.User != "" {
		opts = append(opts, sr.BasicAuth(o.User, string(o.Password)))
	}
	if o.Token != "" {
		opts = append(opts, sr.BearerToken(string(o.Token)))
	}
	if o.TLS != nil {
		opts = append(opts, sr.DialTLSConfig(o.TLS))
	}
	registry, err := sr.NewClient(opts...)
	if err != nil {
		return nil, fmt.Errorf("configure the registry's client: %w", err)
	}
	return &Client{registry: registry}, nil
}

// Schema is the text of an Avro schema and the subject that it belongs to.
type Schema struct {
	Subject string
	Text    string
}

func (s Schema) body() sr.Schema { return sr.Schema{Schema: s.Text, Type: sr.TypeAvro} }

// Register puts the subject under FULL compatibility, unless it stands under FULL
// or FULL_TRANSITIVE already, registers the text unless it is registered, and
// returns its id. A text that breaks the subject's compatibility is an
// [IncompatibleError].
func (c *Client) Register(ctx context.Context, s Schema) (id int, err error) {
	known, err := c.registry.LookupSchema(ctx, s.Subject, s.body())
	if err != nil && !NotFound(err) {
		return 0, fmt.Errorf("look %s up: %w", s.Subject, withStatus(err))
	}
	if err == nil {
		return known.ID, c.ensureFull(ctx, s.Subject)
	}
	// Some registries keep no level for a subject without a version. Then the first
	// is registered first; there is no other that it could break, and no record.
	late := c.ensureFull(ctx, s.Subject)
	if late != nil && !NotFound(late) {
		return 0, late
	}
	id, err = c.registry.RegisterSchema(ctx, s.Subject, s.body(), -1, -1)
	if answer := new(sr.ResponseError); errors.As(err, &answer) && answer.StatusCode == http.StatusConflict {
		return 0, &IncompatibleError{Subject: s.Subject, Message: answer.Error()}
	}
	if err != nil {
		return 0, fmt.Errorf("register %s: %w", s.Subject, withStatus(err))
	}
	if late != nil {
		return id, c.ensureFull(ctx, s.Subject)
	}
	return id, nil
}

// ensureFull sets the level of a subject and asks whether it took effect.
func (c *Client) ensureFull(ctx context.Context, subject string) error {
	level, err := c.level(ctx, subject)
	if err == nil && Full(level) {
		return nil
	}
	if err != nil && !NotFound(err) {
		return fmt.Errorf("read the compatibility level of %s: %w", subject, withStatus(err))
	}
	set := c.registry.SetCompatibility(ctx, sr.SetCompatibility{Level: sr.CompatFull}, subject)[0]
	if set.Err != nil {
		return fmt.Errorf("set FULL compatibility of %s: %w", subject, withStatus(set.Err))
	}
	switch level, err = c.level(ctx, subject); {
	case err != nil:
		return fmt.Errorf("read the compatibility level of %s: %w", subject, withStatus(err))
	case !Full(level):
		return fmt.Errorf("set FULL compatibility of %s: it is still %s; set it by hand", subject, level)
	}
	return nil
}

// level is that of the subject itself.
func (c *Client) level(ctx context.Context, subject string) (avro.Level, error) {
	result := c.registry.Compatibility(ctx, subject)[0]
	return avro.Level(result.Level.String()), result.Err
}

// Full reports whether the level is FULL or stricter.
func Full(l avro.Level) bool { return l == avro.Full || l == avro.FullTransitive }

// withStatus puts the status before the words of a registry, which may have none.
func withStatus(err error) error {
	if answer := new(sr.ResponseError); errors.As(err, &answer) {
		return fmt.Errorf("%d %s: %w", answer.StatusCode, http.StatusText(answer.StatusCode), err)
	}
	return err
}

// NotFound reports whether the registry does not know what was asked for.
func NotFound(err error) bool {
	answer := new(sr.ResponseError)
	return errors.As(err, &answer) && answer.StatusCode == http.StatusNotFound
}

// IncompatibleError is a schema that must not follow the ones that its subject has.
type IncompatibleError struct {
	Subject string
	Message string // the registry's own words
}

func (e *IncompatibleError) Error() string {
	return fmt.Sprintf("register %s: the registry refuses the schema: %s; `trunkline schema check` names rule and field", e.Subject, e.Message)
}

// Away reports whether err tells that the registry cannot be reached, or cannot
// answer now, so that asking again later may help.
func Away(err error) bool {
	answer := new(sr.ResponseError)
	if !errors.As(err, &answer) {
		return err != nil && !errors.As(err, new(*IncompatibleError))
	}
	return answer.StatusCode >= 500 || answer.StatusCode == http.StatusTooManyRequests
}
