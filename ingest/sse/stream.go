package sse

import (
	"context"
	"errors"
	"fmt"
	"io"
	"maps"
	"net/http"
	"time"

	"trunkline/ingest/outbound"
)

// stream connects and handles what comes until the connection ends.
func (c *Client) stream(ctx context.Context) End {
	if c.o.Limiter != nil {
		if err := c.o.Limiter.Wait(ctx, c.host); err != nil {
			return End{Outcome: Disconnected, Err: err}
		}
	}
	connection, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	watchdog := time.AfterFunc(c.o.Timing.Watchdog, func() { cancel(errSilent) })
	defer watchdog.Stop()

	body, no := c.connect(connection)
	if no != nil {
		return *no
	}
	defer body.Close()
	r := &reader{
		body: body, decoder: NewDecoder(c.position, c.o.MaxEvent), watchdog: watchdog, patience: c.o.Timing.Watchdog,
		maxBatch: c.o.MaxBatch, batches: make(chan batch, 1),
	}
	go r.run(connection)
	end := c.consume(ctx, r)
	if end.Outcome == "" {
		end = broken(connection, r.err, end.Proven)
	}
	cancel(nil)
	for more := true; more; { // until the reader has ended
		_, more = <-r.batches
	}
	if retry, ok := r.decoder.Retry(); ok {
		c.base = min(max(retry, c.o.Timing.ReconnectMin), c.o.Timing.BackoffMax)
	}
	return end
}

// connect asks for the stream behind the position, and returns it or why there
// is none.
func (c *Client) connect(ctx context.Context) (io.ReadCloser, *End) {
	r, err := http.NewRequestWithContext(ctx, http.MethodGet, c.o.URL, http.NoBody)
	if err != nil {
		return nil, &End{Outcome: Refused, Err: err}
	}
	maps.Copy(r.Header, c.o.Header)
	r.Header.Set("Accept", "text/event-stream")
	r.Header.Set("Accept-Encoding", "identity") // a packed stream comes late
	r.Header.Set("Cache-Control", "no-store")
	if c.position != "" {
		r.Header.Set("Last-Event-ID", c.position)
	}
	token := ""
	if c.o.Tokens != nil {
		if token, err = c.o.Tokens.Token(ctx); err != nil {
			return nil, &End{Outcome: Unavailable, Err: fmt.Errorf("open stream: %w", err)}
		}
		r.Header.Set("Authorization", "Bearer "+token)
	}
	resp, err := c.o.HTTP.Do(r)
	if errors.Is(err, outbound.ErrRefused) {
		return nil, &End{Outcome: Refused, Err: outbound.WithoutURL(err)}
	}
	if err != nil {
		end := broken(ctx, outbound.WithoutURL(err), false)
		return nil, &end
	}
	no := judge(resp, c.position != "", c.o.Now())
	if no == nil {
		return resp.Body, nil
	}
	resp.Body.Close()
	if no.Outcome == Unauthorized && c.o.Tokens != nil {
		c.o.Tokens.Drop(token)
	}
	return nil, no
}

// broken tells of a connection that ended with err.
func broken(connection context.Context, err error, proven bool) End {
	if errors.Is(context.Cause(connection), errSilent) {
		return End{Outcome: Silent, Err: errSilent, Proven: proven}
	}
	return End{Outcome: Disconnected, Err: fmt.Errorf("read stream: %w", err), Proven: proven}
}

// consume handles what the reader reads. The outcome is empty when the reader
// has ended.
func (c *Client) consume(ctx context.Context, r *reader) (end End) {
	wake := time.NewTimer(c.o.Timing.Stable)
	defer wake.Stop()
	prove := func() {
		if !end.Proven {
			end.Proven = true
			c.proven()
		}
		wake.Reset(c.o.Timing.PollEvery)
	}
	for {
		select {
		case b, more := <-r.batches:
			if !more {
				return end
			}
			first := len(b.events) > 0 && !end.Proven
			overlaps := first && c.owed && c.poll(ctx)
			position := b.position
			if c.owed && !overlaps {
				position = c.committed // a restart must not skip what is owed
			}
			if err := c.o.Handle(ctx, b.events, position); err != nil {
				end.Outcome, end.Err = Unhandled, fmt.Errorf("handle events: %w", err)
				return end
			}
			c.committed, c.position = position, b.position
			c.owed = c.owed && !overlaps
			if first {
				prove()
			}
		case <-wake.C:
			// Without a position the next connection would begin anywhere.
			c.owed = c.owed && !(c.poll(ctx) && c.position != "")
			prove()
		}
	}
}
