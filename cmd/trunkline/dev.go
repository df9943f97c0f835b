package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"trunkline/app"
	"trunkline/embedded"
)

// devOptions are the flags of `trunkline dev`.
type devOptions struct {
	app.Options
	kafkaListen    string
	registryListen string
	genesysListen  string
	cxoneListen    string
	kafka          string // real brokers instead of the embedded one
	registry       string
	only           string
	fresh          bool
	simulate       bool
	events         int
	seed           int64
	rate           float64
	exit           bool
	json           bool
	verbose        bool
}

// What --only runs.
const (
	onlyBroker   = "broker"
	onlyRegistry = "registry"
)

func devCommand() *cobra.Command {
	var o devOptions
	c := &cobra.Command{
		Use:   "dev",
		Short: "Run everything in one process, with simulated vendors",
		Long: "Run broker, schema registry, edge, stages, view API and the simulated clouds of both vendors in one process.\n" +
			"What it holds survives Ctrl-C and SIGKILL in --data-dir; --fresh starts over.\n" +
			"With --events N --exit it is a self-test: N events come by the real edge, the pipeline drains,\n" +
			"and the exit code says whether the ledger balances.",
		Example: "  trunkline dev\n  trunkline dev --events 20000 --exit --fresh\n  trunkline dev --only broker\n" +
			"  trunkline dev --only registry --kafka broker1:9092",
		Args: exactly(0),
		RunE: func(c *cobra.Command, _ []string) error {
			if err := o.check(); err != nil {
				return usageError{err}
			}
			o.Logger = logger(c.ErrOrStderr(), o.verbose)
			return dev(c.Context(), o, c.OutOrStdout())
		},
	}
	f := c.Flags()
	f.StringVar(&o.DataDir, "data-dir", ".trunkline", "folder of all state")
	f.BoolVar(&o.fresh, "fresh", false, "empty the data dir first")
	addressFlags(c, &o.Options)
	f.StringVar(&o.kafkaListen, "kafka-listen", "127.0.0.1:9092", "address of the embedded broker; port 0 takes a free one")
	f.StringVar(&o.registryListen, "registry-listen", "127.0.0.1:8085", "address of the embedded registry; port 0 takes a free one")
	f.StringVar(&o.genesysListen, "genesys-listen", "127.0.0.1:8086", "address of the simulated cloud of Genesys; port 0 takes a free one")
	f.StringVar(&o.cxoneListen, "cxone-listen", "127.0.0.1:8087", "address of the simulated cloud of CXone; port 0 takes a free one")
	f.StringVar(&o.kafka, "kafka", "", "brokers of a real cluster (host:port,…) instead of the embedded one")
	f.StringVar(&o.registry, "registry", "", "URL of a real schema registry instead of the embedded one")
	f.StringVar(&o.only, "only", "", "run just this: broker (and registry), or registry (with --kafka)")
	f.BoolVar(&o.simulate, "simulate", true, "play both vendors: run their clouds, and let things happen there")
	f.IntVar(&o.events, "events", 0, "how many events to simulate; 0 goes on for ever")
	f.Int64Var(&o.seed, "seed", 0, "seed of the simulated traffic; 0 takes the clock")
	f.Float64Var(&o.rate, "rate", 0, "simulated events per second; 0 is 20, or as fast as possible with --events")
	f.BoolVar(&o.exit, "exit", false, "after --events events, print the ledger and exit with its verdict")
	f.BoolVar(&o.json, "json", false, "print addresses and ledger as JSON, one object a line")
	f.BoolVar(&o.verbose, "verbose", false, "log everything")
	return c
}

func (o devOptions) check() error {
	var errs []error
	switch o.only {
	case "", onlyBroker, onlyRegistry:
	default:
		errs = append(errs, fmt.Errorf("only: %q is unknown; use %s or %s", o.only, onlyBroker, onlyRegistry))
	}
	if o.exit && (o.events <= 0 || !o.simulate || o.only != "") {
		errs = append(errs, errors.New("exit: needs --events N and simulated traffic"))
	}
	if o.events < 0 || o.rate < 0 {
		errs = append(errs, errors.New("events, rate: want no negative number"))
	}
	if o.only == onlyRegistry {
		if o.kafka == "" || o.registry != "" {
			errs = append(errs, errors.New("only: the registry alone needs --kafka, and no other --registry"))
		}
	} else if (o.kafka == "") != (o.registry == "") {
		errs = append(errs, errors.New("kafka, registry: give both or neither; ids of one registry mean nothing to another"))
	}
	if o.only == onlyBroker && o.kafka != "" {
		errs = append(errs, errors.New("only: there is no embedded broker with --kafka"))
	}
	return errors.Join(errs...)
}

// dev runs until ctx ends or, with --exit, until the self-test is over.
func dev(ctx context.Context, o devOptions, out io.Writer) (err error) {
	release, err := app.LockDataDir(o.DataDir, "trunkline dev")
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, release()) }()
	if o.fresh {
		if err := app.EmptyDataDir(o.DataDir); err != nil {
			return err
		}
	}
	infra, err := startInfrastructure(o)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, infra.stop()) }()
	vendors := &clouds{}
	if o.simulate && o.only == "" {
		if vendors, err = startClouds(o); err != nil {
			return err
		}
		defer func() { err = errors.Join(err, vendors.stop()) }()
		infra.config = infra.config.AtClouds(vendors.urls)
	}
	file := filepath.Join(o.DataDir, "trunkline.yaml")
	if err := app.WriteConfig(file, infra.config); err != nil {
		return err
	}
	// What is missing is told at once: the application itself would wait for the
	// registry.
	if err := app.SetUp(ctx, infra.config); err != nil {
		return err
	}
	if o.only != "" {
		announce(out, o, infra, vendors, nil, file)
		<-ctx.Done()
		return nil
	}
	return serveDev(ctx, o, infra, vendors, file, out)
}

// serveDev runs the application and its traffic.
func serveDev(ctx context.Context, o devOptions, infra *infrastructure, vendors *clouds, file string, out io.Writer) (err error) {
	o.Role, o.Instance = app.RoleAll, "dev"
	a, err := app.New(infra.config, o.Options)
	if err != nil {
		return err
	}
	running, stop := context.WithCancel(context.WithoutCancel(ctx))
	ended := make(chan error, 1)
	go func() { ended <- a.Run(running) }()
	defer func() {
		stop()
		err = errors.Join(err, <-ended)
	}()
	if err := untilReady(ctx, a, ended); err != nil || ctx.Err() != nil {
		return err
	}
	announce(out, o, infra, vendors, a, file)

	status := newStatus(infra.config, o, out)
	following, unfollow := context.WithCancel(ctx)
	defer unfollow()
	go status.follow(following)
	if !o.simulate {
		<-ctx.Done()
		return nil
	}
	before := int64(0)
	if o.exit {
		if before, err = app.RawRecords(ctx, infra.config); err != nil {
			return fmt.Errorf("count the raw records: %w", err)
		}
	}
	records, traffic := int64(0), make(chan error, 1)
	go func() {
		var err error
		records, err = vendors.run(ctx, "http://"+a.Addr("edge"))
		traffic <- err
	}()
	select {
	case err := <-ended:
		ended <- nil
		return err
	case err := <-traffic:
		if err != nil && ctx.Err() == nil {
			return err
		}
	}
	if !o.exit {
		<-ctx.Done()
		return nil
	}
	if err := status.arrived(ctx, before+records); err != nil {
		return err
	}
	return selfTest(ctx, infra.config, status, a, o, out)
}

// untilReady waits until the application can do its work.
func untilReady(ctx context.Context, a *app.App, ended chan error) error {
	tick := time.NewTicker(20 * time.Millisecond)
	defer tick.Stop()
	for a.Ready() != nil {
		select {
		case <-ctx.Done():
			return nil
		case err := <-ended:
			ended <- nil
			return environmentError{err}
		case <-tick.C:
		}
	}
	return nil
}

// selfTest waits until every raw record has its fate and prints the ledger.
func selfTest(ctx context.Context, c app.Config, status *status, a *app.App, o devOptions, out io.Writer) error {
	if err := status.drained(ctx, a.Spooled); err != nil {
		return err
	}
	report, err := app.Verify(ctx, c, app.VerifyOptions{Rows: true})
	if err != nil {
		return err
	}
	return printLedger(out, report, o.json, map[string]any{"ledger": report})
}

// infrastructure is what the application talks to: embedded, or real.
type infrastructure struct {
	config   app.Config
	broker   *embedded.Broker
	registry *embedded.Registry
}

func startInfrastructure(o devOptions) (*infrastructure, error) {
	i := &infrastructure{}
	brokers, replication := strings.Split(o.kafka, ","), int16(3)
	if o.kafka == "" {
		var err error
		i.broker, err = embedded.StartBroker(embedded.BrokerConfig{
			Addr: o.kafkaListen, DataDir: filepath.Join(o.DataDir, "kafka"), Logger: o.Logger,
		})
		if err != nil {
			return nil, &app.AddrError{Flag: "kafka-listen", Addr: o.kafkaListen, Err: err}
		}
		brokers, replication = []string{i.broker.Addr()}, 1
	}
	if o.registry == "" {
		var err error
		if i.registry, err = startRegistry(o.registryListen, brokers); err != nil {
			return nil, errors.Join(err, i.stop())
		}
		o.registry = i.registry.URL()
	}
	i.config = app.DevConfig(brokers, o.registry, replication)
	return i, nil
}

func startRegistry(addr string, brokers []string) (*embedded.Registry, error) {
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	r, err := embedded.StartRegistry(ctx, embedded.RegistryConfig{Addr: addr, Kafka: brokers})
	var listen *net.OpError
	switch {
	case err == nil:
		return r, nil
	case errors.As(err, &listen) && listen.Op == "listen":
		return nil, &app.AddrError{Flag: "registry-listen", Addr: addr, Err: err}
	default:
		return nil, environmentError{err}
	}
}

func (i *infrastructure) stop() error {
	var errs []error
	if i.registry != nil {
		errs = append(errs, i.registry.Close())
	}
	if i.broker != nil {
		errs = append(errs, i.broker.Close())
	}
	return errors.Join(errs...)
}

// announce prints where everything is and what to try.
func announce(out io.Writer, o devOptions, i *infrastructure, vendors *clouds, a *app.App, file string) {
	addrs := map[string]string{
		"kafka": strings.Join(i.config.Kafka.Brokers, ","), "registry": i.config.Registry.URL, "config": file,
		"genesys": vendors.urls.Genesys, "cxone": vendors.urls.CXone,
	}
	if a != nil {
		for _, flag := range []string{"edge", "admin", "view", "metrics"} {
			if addr := a.Addr(flag); addr != "" {
				addrs[flag] = "http://" + addr
			}
		}
	}
	if o.json {
		_ = json.NewEncoder(out).Encode(addrs)
		return
	}
	for _, name := range []string{"edge", "admin", "view", "metrics", "kafka", "registry", "genesys", "cxone", "config"} {
		if addrs[name] != "" {
			fmt.Fprintf(out, "%-9s %s\n", name, addrs[name])
		}
	}
	if a == nil {
		fmt.Fprintf(out, "\nJoin it:\n  %s run --config %s --role all --instance p1 --data-dir /tmp/p1\n", os.Args[0], file)
		return
	}
	fmt.Fprintf(out, `
Try:
  %s tail changes --follow --config %s
  curl -sS -H 'Authorization: Bearer %s' -H 'Content-Type: application/json' \
    -d '{"id":"try-1","resourceType":"user","eventType":"created","resourceId":"u-1","ts_ms":%d,"data":{"id":"u-1","name":"Ann"}}' \
    %s/v1/ingest/genesys/%s/events
  curl -sS %s/v1/genesys/%s/resources/user/u-1

Ctrl-C drains and stops; what is there stays in %s.
`, os.Args[0], file, app.DevToken, time.Now().UnixMilli(), addrs["edge"], app.DevTenant, addrs["view"], app.DevTenant, o.DataDir)
}
