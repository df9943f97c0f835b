package embedded

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"strconv"
	"sync"
	"time"

	"github.com/twmb/franz-go/pkg/kfake"
	"github.com/twmb/franz-go/pkg/kversion"

	"trunkline/topology"
)

// BrokerConfig says where a [Broker] listens and what it keeps.
type BrokerConfig struct {
	// Addr is the host:port to listen on and to advertise; port 0 takes a free
	// one. Clients must be able to reach the host as it is written here.
	Addr string

	// DataDir holds topics, records, offsets and transactions; it is made when
	// missing. No other process may use it: the caller holds its lock. Empty
	// keeps everything in memory.
	DataDir string

	// Logger gets the broker's warnings and errors; nil drops them.
	Logger *slog.Logger
}

// Broker is a Kafka broker inside this process. Its methods may be called
// concurrently.
type Broker struct {
	addr    string
	cluster *kfake.Cluster
	commits *commitIntents // nil without a data dir
	stop    func() error   // once
}

// StartBroker starts a broker and loads what its data dir holds, also after the
// process that used it was killed. The port is taken before the data dir is
// touched; a port in use is an error that is syscall.EADDRINUSE.
func StartBroker(cfg BrokerConfig) (*Broker, error) {
	ln, err := new(net.ListenConfig).Listen(context.Background(), "tcp", cfg.Addr)
	if err != nil {
		return nil, fmt.Errorf("start broker: %w", err)
	}
	b, err := startBroker(cfg, ln)
	if err != nil {
		return nil, errors.Join(fmt.Errorf("start broker: %w", err), ignoreClosed(ln.Close()))
	}
	return b, nil
}

func startBroker(cfg BrokerConfig, ln net.Listener) (*Broker, error) {
	log := cfg.Logger
	if log == nil {
		log = slog.New(slog.DiscardHandler)
	}
	opts := []kfake.Opt{
		kfake.NumBrokers(1),
		kfake.ListenFn(func(string, string) (net.Listener, error) { return ln, nil }),
		kfake.ClusterID("trunkline-embedded"),
		kfake.WithLogger(brokerLog{log}),
		// Later versions name topics by id where the commit intents need the
		// name.
		kfake.MaxVersions(kversion.V4_0_0()),
		kfake.GroupMinSessionTimeout(100 * time.Millisecond),
		kfake.BrokerConfigs(map[string]string{
			"default.replication.factor":   "1",
			"min.insync.replicas":          "1",
			"message.max.bytes":            strconv.Itoa(topology.MaxRecordBytes),
			"log.message.timestamp.type":   "LogAppendTime",
			"group.min.session.timeout.ms": "100",
			"transaction.max.timeout.ms":   "900000",
			// The cleaner is not safe under SIGKILL: its first run is a year away.
			"log.cleaner.backoff.ms": strconv.FormatInt((365 * 24 * time.Hour).Milliseconds(), 10),
		}),
	}
	b := &Broker{addr: ln.Addr().String()}
	if cfg.DataDir != "" {
		if err := repairLog(cfg.DataDir, time.Now, log); err != nil {
			return nil, err
		}
		var err error
		if b.commits, err = openCommitIntents(cfg.DataDir); err != nil {
			return nil, err
		}
		opts = append(opts, kfake.DataDir(cfg.DataDir))
	}
	cluster, err := kfake.NewCluster(opts...)
	if err != nil {
		if b.commits != nil {
			err = errors.Join(err, b.commits.close())
		}
		return nil, err
	}
	b.cluster = cluster
	b.stop = sync.OnceValue(b.close)
	appendTime{now: time.Now}.install(cluster)
	if b.commits != nil {
		b.commits.install(cluster)
	}
	return b, nil
}

// Addr returns the host:port that the broker listens on.
func (b *Broker) Addr() string { return b.addr }

// Cluster returns the broker itself: the seam by which tests install faults
// (kfake's Fault and ControlKey).
func (b *Broker) Cluster() *kfake.Cluster { return b.cluster }

// Close stops the broker and writes its state to the data dir. Transactions that
// are still open stay open over the restart. Later calls return what the first
// did.
func (b *Broker) Close() error { return b.stop() }

func (b *Broker) close() error {
	b.cluster.Close()
	if b.commits == nil {
		return nil
	}
	return b.commits.close()
}

// brokerLog passes on what kfake has to say about faults; its other levels
// are for its own tests.
type brokerLog struct{ log *slog.Logger }

func (l brokerLog) Logf(level kfake.LogLevel, format string, args ...any) {
	switch level {
	case kfake.LogLevelError:
		l.log.Error("broker", "detail", fmt.Sprintf(format, args...))
	case kfake.LogLevelWarn:
		l.log.Warn("broker", "detail", fmt.Sprintf(format, args...))
	}
}

func ignoreClosed(err error) error {
	if errors.Is(err, net.ErrClosed) {
		return nil
	}
	return err
}
