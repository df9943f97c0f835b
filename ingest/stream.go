package ingest

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"time"

	"trunkline/event"
	"trunkline/ingest/outbound"
	"trunkline/ingest/sse"
	"trunkline/vendors"
)

// PositionLog is where a stream appends: records and the position reached with them
// become visible together or not at all (I2).
type PositionLog interface {
	// Position is what was committed last, nil if nothing ever was.
	Position() []byte
	// Append returns nil once both are committed. After an error the stream ends.
	Append(ctx context.Context, records []Record, position []byte) error
}

// Stream is one event stream of a tenant at a vendor. What the stream cannot give is
// polled.
type Stream struct {
	Vendor, Tenant string
	Mapper         vendors.Mapper
	// Client says how the stream is read; its Position, Handle and Poll are ours.
	Client sse.Options
	// PollURL answers {"events":[{"id","event","data"}],"nextCursor","hasMore"} to
	// ?after={id}&limit=200, or ?since={RFC 3339} for one that is too old; empty:
	// nothing is polled.
	PollURL string
	HTTP    *http.Client // polls; carries the token. Default: [outbound.NewClient]

	Now   func() time.Time // default: time.Now
	NewID func() string    // of batches; default: UUIDv7
}

// streamPosition is how far a stream was read.
type streamPosition struct {
	ID        string `json:"id"`
	TsMs      int64  `json:"ts_ms"` // when the last event came
	UpdatedAt string `json:"updated_at"`
}

// Run reads the stream into the log until ctx ends or an append fails.
func (s Stream) Run(ctx context.Context, log PositionLog) error {
	if s.HTTP == nil {
		s.HTTP = outbound.NewClient()
	}
	if s.Now == nil {
		s.Now = time.Now
	}
	if s.NewID == nil {
		s.NewID = NewID
	}
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	r := &streamRun{Stream: s, log: log, fail: cancel}
	if p := log.Position(); p != nil {
		if err := json.Unmarshal(p, &r.at); err != nil {
			return fmt.Errorf("read the position of the stream: %w", err)
		}
	}
	o := s.Client
	o.Position, o.Handle = r.at.ID, r.handle
	if s.PollURL != "" {
		o.Poll = r.poll
	}
	client, err := sse.NewClient(o)
	if err != nil {
		return err
	}
	client.Run(ctx)
	if cause := context.Cause(ctx); !errors.Is(cause, context.Canceled) {
		return cause
	}
	return nil
}

// streamRun is one life of a stream.
type streamRun struct {
	Stream
	log  PositionLog
	at   streamPosition
	fail func(error) // ends the life
}

// handle appends what the stream told.
func (r *streamRun) handle(ctx context.Context, events []sse.Event, position string) error {
	bodies := make([]polledEvent, len(events))
	for i, e := range events {
		bodies[i] = polledEvent{ID: e.ID, Data: e.Data}
	}
	return r.append(ctx, event.SSE, bodies, position)
}

// append makes events and position durable in one transaction.
func (r *streamRun) append(ctx context.Context, by event.Transport, events []polledEvent, position string) error {
	now, batch := r.Now(), r.NewID()
	at := streamPosition{ID: position, TsMs: r.at.TsMs, UpdatedAt: now.UTC().Format(time.RFC3339Nano)}
	records := make([]Record, len(events))
	for i, e := range events {
		records[i] = ReadRecord(event.Raw{
			Vendor: r.Vendor, Tenant: r.Tenant, Transport: by, IngestID: fmt.Sprintf("%s/%d", batch, i),
			ReceivedMs: now.UnixMilli(), SourceID: e.ID, Body: e.Data,
		}, r.Mapper)
	}
	if len(events) > 0 && position != r.at.ID {
		at.TsMs = now.UnixMilli()
	}
	value, err := json.Marshal(at)
	if err != nil {
		return fmt.Errorf("encode the position: %w", err)
	}
	if err := r.log.Append(ctx, records, value); err != nil {
		r.fail(err)
		return err
	}
	r.at = at
	return nil
}

// polledEvent is one event of a page, or of the stream.
type polledEvent struct {
	ID   string          `json:"id"`
	Data json.RawMessage `json:"data"`
}

const (
	pollLimit   = 200              // events of a page
	pollOverlap = 5 * time.Minute  // before the last event, where its id is too old
	pollTimeout = 30 * time.Second // of one page
	maxPage     = 16 << 20         // bytes
)

// errCursor is the vendor's word for an id that is too old.
var errCursor = errors.New("the vendor does not know the id any more")

// poll fetches what follows the event with the id after, page by page.
func (r *streamRun) poll(ctx context.Context, after string) (string, error) {
	query := url.Values{"after": {after}}
	since := url.Values{"since": {time.UnixMilli(r.at.TsMs).Add(-pollOverlap).UTC().Format(time.RFC3339)}}
	if after == "" {
		query = since
	}
	for first := true; ; first = false {
		page, err := r.page(ctx, query)
		if first && after != "" && errors.Is(err, errCursor) {
			page, err = r.page(ctx, since)
		}
		if err != nil {
			return "", err
		}
		reached := page.NextCursor
		if reached == "" && len(page.Events) > 0 {
			reached = page.Events[len(page.Events)-1].ID
		}
		if reached == "" {
			return r.at.ID, nil // there is nothing new
		}
		if err := r.append(ctx, event.Poll, page.Events, reached); err != nil {
			return "", err
		}
		if !page.HasMore {
			return reached, nil
		}
		query = url.Values{"after": {reached}}
	}
}

// page is one answer to a poll.
type page struct {
	Events     []polledEvent `json:"events"`
	NextCursor string        `json:"nextCursor"`
	HasMore    bool          `json:"hasMore"`
}

func (r *streamRun) page(ctx context.Context, query url.Values) (page, error) {
	ctx, cancel := context.WithTimeout(ctx, pollTimeout)
	defer cancel()
	u, err := url.Parse(r.PollURL)
	if err != nil {
		return page{}, errors.New("the URL is malformed")
	}
	all := u.Query()
	all.Set("limit", fmt.Sprint(pollLimit))
	for name := range query {
		all.Set(name, query.Get(name))
	}
	u.RawQuery = all.Encode()
	resp, err := outbound.JSON(ctx, r.HTTP, http.MethodGet, u.String(), nil)
	if err != nil {
		return page{}, err
	}
	defer resp.Body.Close()
	switch resp.StatusCode {
	case http.StatusOK:
	case http.StatusNoContent:
		return page{}, nil
	case http.StatusBadRequest, http.StatusGone:
		return page{}, errCursor
	default:
		return page{}, fmt.Errorf("answered %d", resp.StatusCode)
	}
	var p page
	if err := json.NewDecoder(http.MaxBytesReader(nil, resp.Body, maxPage)).Decode(&p); err != nil {
		return page{}, errors.New("the answer is no page of events")
	}
	return p, nil
}
