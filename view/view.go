// Package view answers queries from the tables that goka views keep: JSON over
// HTTP. It reads committed rows only and says with every row how far in event
// time its table has come.
package view

import (
	"errors"
	"fmt"
	"log/slog"
	"net/http"

	"github.com/lovoo/goka"

	"trunkline/topology"
)

// Table is a local copy of a group table, such as [trunkline/stream.View]. It is
// safe for concurrent use.
type Table interface {
	// Ready returns nil once the copy has caught up, else the reason.
	Ready() error
	// Row returns the decoded row of a key, nil when there is none.
	Row(key string) (any, error)
	// Rows walks the rows with start ≤ key < limit; empty bounds are open.
	Rows(start, limit string) (goka.Iterator, error)
}

// Options says what an [API] serves and to whom.
type Options struct {
	// Entities is the entity table. Its rows are read with [Codec].
	Entities Table
	// Watermark tells how far Entities has come: the one whose OnUpdate is
	// called with its rows.
	Watermark *Watermark
	// Tokens are the bearer tokens and the tenants each may read. Without any,
	// everyone may read everything: for development only.
	Tokens map[string][]string
	// Logger receives what went wrong inside; default [slog.Default].
	Logger *slog.Logger
}

// Validate joins all faults of the options, each naming its field. No message
// holds a token (I10).
func (o Options) Validate() error {
	var errs []error
	if o.Entities == nil {
		errs = append(errs, errors.New("entities: want the view of the entity table, got none"))
	}
	if o.Watermark == nil {
		errs = append(errs, errors.New("watermark: want the tracker of the entity table, got none"))
	}
	return errors.Join(append(errs, validateTokens(o.Tokens)...)...)
}

// API is the view API. It is safe for concurrent use.
type API struct {
	entities *table
	tables   []*table
	routes   []route
	access   access
	logger   *slog.Logger
}

// New returns the API of the options; its error names every option at fault.
func New(o Options) (*API, error) {
	if err := o.Validate(); err != nil {
		return nil, fmt.Errorf("configure the view API: %w", err)
	}
	a := &API{
		entities: &table{name: string(topology.EntityTable), rows: o.Entities, watermark: o.Watermark},
		access:   newAccess(o.Tokens),
		logger:   o.Logger,
	}
	if a.logger == nil {
		a.logger = slog.Default()
	}
	a.tables = []*table{a.entities}
	a.routes = a.routeTable()
	return a, nil
}

// Handler returns the handler of all routes; /openapi.json describes them.
func (a *API) Handler() http.Handler { return http.HandlerFunc(a.serve) }

// table is a [Table] with its name and its progress.
type table struct {
	name      string
	rows      Table
	watermark *Watermark
}

// ready returns nil when both the rows and their watermark can be told.
func (t *table) ready() error {
	if err := t.rows.Ready(); err != nil {
		return err
	}
	if err := t.watermark.initialise(t.rows); err != nil {
		return fmt.Errorf("table %s: %w", t.name, err)
	}
	return nil
}
