package app

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"sync"
	"time"

	"trunkline/ingest/outbound"
	"trunkline/registry"
)

// schemaGate lets the stages of a process begin once each schema that they write by
// has its id: from the registry, or from the last start while the registry is away.
// One that was never registered waits for the registry; in the raw log nothing is
// lost meanwhile.
type schemaGate struct {
	register func(context.Context) (schemaIDs, error)
	schemas  []registry.Schema
	known    schemaStore
	logger   *slog.Logger

	mu    sync.Mutex
	waits error
}

// How long the gate waits between two calls.
const (
	firstPause   = time.Second
	longestPause = 30 * time.Second
)

// pass returns the ids, or nothing when ctx ends. What the registry refuses is a
// [SetUpError].
func (g *schemaGate) pass(ctx context.Context) (schemaIDs, error) {
	for pause := firstPause; ; pause = min(2*pause, longestPause) {
		ids, err := g.register(ctx)
		if err == nil {
			if err := g.known.keep(g.schemas, ids); err != nil {
				g.logger.Warn("schema ids cannot be kept; a start without the registry would wait for it", "error", err)
			}
			return ids, nil
		}
		if ctx.Err() != nil {
			return nil, nil //nolint:nilerr // the process ends
		}
		ids, missing := g.known.ids(g.schemas)
		switch {
		case errors.As(err, new(*registry.IncompatibleError)):
			return nil, &SetUpError{err}
		case missing == "":
			g.logger.Warn("registry cannot be asked; stages go on with the schemas of the last start", "error", err)
			return ids, nil
		case !registry.Away(err):
			return nil, &SetUpError{err}
		}
		g.wait(fmt.Errorf("wait for the registry, which alone knows the id of %s: %w", missing, err))
		if !outbound.Sleep(ctx, pause) {
			return nil, nil
		}
	}
}

// wait tells the log once, and whoever asks for readiness, what is waited for.
func (g *schemaGate) wait(err error) {
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.waits == nil {
		g.logger.Warn("stages wait for the registry", "error", err)
	}
	g.waits = err
}

// ready says why the gate is closed.
func (g *schemaGate) ready() error {
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.waits != nil {
		return g.waits
	}
	return errors.New("starting")
}
