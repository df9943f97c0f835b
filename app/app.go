// Package app wires Trunkline: configuration, set-up of topics and schemas, and
// the roles a process can play.
package app

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"slices"
	"strings"
	"sync"
	"time"

	"golang.org/x/sync/errgroup"

	"trunkline/ingest/spool"
	"trunkline/stream"
)

// Options tell one process from the others of its deployment.
type Options struct {
	Role     Role
	Instance string // unique in the deployment, stable over restarts
	DataDir  string
	Leave    bool // the process does not come back after its end; see [stream.Config]

	// Addresses to listen on, port 0 takes a free one. Only those that the role
	// needs are used.
	EdgeAddr    string
	AdminAddr   string // of the edge, where an admin token is configured
	ViewAddr    string
	MetricsAddr string

	Logger *slog.Logger
}

// Role is what a process does.
type Role string

// The roles of a process.
const (
	RoleIngest  Role = "ingest"
	RoleProcess Role = "process"
	RoleView    Role = "view"
	RoleAll     Role = "all"
)

// Roles lists the roles in the order of the flow.
var Roles = []Role{RoleIngest, RoleProcess, RoleView, RoleAll}

// component is a part of a process. start begins to serve and returns what runs
// until its context ends.
type component struct {
	name  string
	start func(*App) (run func(context.Context) error, err error)
}

// components says what each role starts, in order; they stop in reverse.
var components = map[Role][]component{
	RoleIngest:  {settingUp, edge, sources},
	RoleProcess: {stages},
	RoleView:    {views},
	RoleAll:     {views, stages, edge, sources},
}

// App is one process in its role.
type App struct {
	cfg     Config
	opts    Options
	metrics *metrics
	outages *outages

	listeners map[string]net.Listener // by flag

	mu     sync.Mutex
	checks map[string]func() error // readiness, by component
	spool  *spool.Spool            // of the edge; nil: it has not started
}

// New checks everything, takes the ports and waits for Run. It fails with
// [AddrError] when an address cannot be had.
func New(cfg Config, opts Options) (*App, error) {
	cfg = cfg.withDefaults()
	if err := errors.Join(cfg.Validate(), opts.Validate()); err != nil {
		return nil, err
	}
	if opts.Logger == nil {
		opts.Logger = slog.New(slog.DiscardHandler)
	}
	a := &App{
		cfg: cfg, opts: opts, metrics: newMetrics(), outages: newOutages(),
		listeners: map[string]net.Listener{}, checks: map[string]func() error{},
	}
	wanted := map[string]string{"metrics": opts.MetricsAddr}
	if opts.plays(edge) {
		wanted["edge"] = opts.EdgeAddr
		if cfg.Edge.AdminToken != "" {
			wanted["admin"] = opts.AdminAddr
		}
	}
	if opts.plays(views) {
		wanted["view"] = opts.ViewAddr
	}
	for flag, addr := range wanted {
		l, err := Listen(flag, addr)
		if err != nil {
			return nil, errors.Join(err, a.closeListeners())
		}
		a.listeners[flag] = l
	}
	return a, nil
}

// Validate joins what is wrong with the options.
func (o Options) Validate() error {
	var errs []error
	if !slices.Contains(Roles, o.Role) {
		errs = append(errs, fmt.Errorf("role: %q is unknown; use one of %v", o.Role, Roles))
	}
	if o.Instance == "" || strings.ContainsAny(o.Instance, " /") {
		errs = append(errs, fmt.Errorf("instance: %q is no name; give every process its own, without spaces or slashes", o.Instance))
	}
	if o.DataDir == "" {
		errs = append(errs, errors.New("data-dir: is empty"))
	}
	return errors.Join(errs...)
}

func (o Options) plays(c component) bool {
	return slices.ContainsFunc(components[o.Role], func(d component) bool { return d.name == c.name })
}

// AddrError is an address that could not be listened on.
type AddrError struct {
	Flag string
	Addr string
	Err  error
}

func (e *AddrError) Error() string {
	return fmt.Sprintf("listen on %s: %v; choose another with --%s (port 0 takes a free one)", e.Addr, e.Err, e.Flag)
}

func (e *AddrError) Unwrap() error { return e.Err }

// Listen takes a TCP address for a flag.
func Listen(flag, addr string) (net.Listener, error) {
	l, err := new(net.ListenConfig).Listen(context.Background(), "tcp", addr)
	if err != nil {
		return nil, &AddrError{Flag: flag, Addr: addr, Err: err}
	}
	return l, nil
}

// Addr is the real address behind a flag ("edge", "admin", "view", "metrics"), empty when
// the role does not use it.
func (a *App) Addr(flag string) string {
	if l := a.listeners[flag]; l != nil {
		return l.Addr().String()
	}
	return ""
}

// Run sets up topics and plays the role until ctx ends; an edge sets up beside its
// work, and stages wait for their schemas. Then it stops in reverse order: what was
// accepted is finished and committed (I8).
func (a *App) Run(ctx context.Context) (err error) {
	defer func() { err = errors.Join(err, a.closeListeners()) }()
	if !a.opts.plays(settingUp) {
		if err = setUpTopics(ctx, a.cfg); err != nil {
			return err
		}
	}
	// The parts end one after the other, so each has a context of its own.
	var parts []*part
	failed := make(chan error, 8)
	start := func(c component) error {
		run, err := c.start(a)
		if err != nil {
			return fmt.Errorf("start %s: %w", c.name, err)
		}
		parts = append(parts, startPart(ctx, c.name, run, failed))
		return nil
	}
	for _, c := range append([]component{observe}, components[a.opts.Role]...) {
		if err = start(c); err != nil {
			break
		}
	}
	if err == nil {
		select {
		case <-ctx.Done():
		case err = <-failed:
		}
	}
	for _, p := range slices.Backward(parts) {
		err = errors.Join(err, p.stop())
	}
	return err
}

// part is a running component.
type part struct {
	name   string
	cancel context.CancelFunc
	done   errgroup.Group
}

func startPart(ctx context.Context, name string, run func(context.Context) error, failed chan<- error) *part {
	ctx, cancel := context.WithCancel(context.WithoutCancel(ctx))
	p := &part{name: name, cancel: cancel}
	p.done.Go(func() error {
		err := run(ctx)
		if ctx.Err() == nil { // nobody asked it to end
			if err == nil {
				err = errors.New("it ended by itself")
			}
			select {
			case failed <- fmt.Errorf("run %s: %w", name, err):
			default:
			}
			return nil
		}
		return err
	})
	return p
}

func (p *part) stop() error {
	p.cancel()
	if err := p.done.Wait(); err != nil {
		return fmt.Errorf("stop %s: %w", p.name, err)
	}
	return nil
}

func (a *App) closeListeners() error {
	var errs []error
	for _, l := range a.listeners {
		if err := l.Close(); err != nil && !errors.Is(err, net.ErrClosed) {
			errs = append(errs, err)
		}
	}
	return errors.Join(errs...)
}

// check registers what must hold before the process is ready.
func (a *App) check(name string, ready func() error) {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.checks[name] = ready
}

// Ready returns nil when every component can do its work, or all reasons why
// not.
func (a *App) Ready() error {
	a.mu.Lock()
	defer a.mu.Unlock()
	if len(a.checks) < len(components[a.opts.Role]) {
		return errors.New("starting")
	}
	var errs []error
	for _, ready := range a.checks {
		errs = append(errs, ready())
	}
	return errors.Join(errs...)
}

// streamConfig is how this process talks to Kafka.
func streamConfig(c Config, o Options) stream.Config {
	instance := o.Instance
	if instance == "" {
		instance = "setup"
	}
	return stream.Config{
		Brokers: c.Kafka.Brokers, Instance: instance, DataDir: o.DataDir, Leave: o.Leave,
		CommitInterval: c.Kafka.CommitInterval, SessionTimeout: c.Kafka.SessionTimeout,
		Logger: o.Logger,
	}
}

// drainTime is how long a server waits for requests under way.
const drainTime = 5 * time.Second
