package stream

import (
	"cmp"
	"errors"
	"fmt"
	"log/slog"
	"time"

	"github.com/IBM/sarama"
	"github.com/rcrowley/go-metrics"
)

// Config is how an instance talks to Kafka. The zero value of a duration means
// its default; [Config.Validate] tells what is missing.
type Config struct {
	Brokers  []string
	Instance string // stable over restarts, unique in the group: the static member's name
	DataDir  string // where tables keep their rows

	// Leave makes the end of Run final: the others take the partitions over at
	// once. Otherwise they wait a session time-out for the instance to come back.
	Leave bool

	CommitInterval   time.Duration // from the end of one transaction to the next; 100 ms
	SessionTimeout   time.Duration // what a lost machine costs; 10 s
	RebalanceTimeout time.Duration // 15 s
	RecoveryTimeout  time.Duration // how long a table waits for open transactions; 60 s

	Logger *slog.Logger // nil discards
}

// Timeouts measured on three brokers; a commit is four serial replicated round
// trips, so shorter intervals only add transactions.
const (
	defaultCommitInterval   = 100 * time.Millisecond
	defaultSessionTimeout   = 10 * time.Second
	defaultRebalanceTimeout = 15 * time.Second
	defaultRecoveryTimeout  = 60 * time.Second

	heartbeatInterval  = 500 * time.Millisecond
	transactionTimeout = 10 * time.Second
	transactionRetries = 300
	metadataRetries    = 120
	metadataPause      = 250 * time.Millisecond

	// sarama holds a place for every retry of each partition it writes to: 32 bytes,
	// times thousands of partitions. These last for hours.
	producerRetries = 10_000

	// MaxMessageBytes is the largest record that producers send and consumers
	// fetch.
	MaxMessageBytes = 8 << 20
)

func (c Config) withDefaults() Config {
	c.CommitInterval = cmp.Or(c.CommitInterval, defaultCommitInterval)
	c.SessionTimeout = cmp.Or(c.SessionTimeout, defaultSessionTimeout)
	c.RebalanceTimeout = cmp.Or(c.RebalanceTimeout, defaultRebalanceTimeout)
	c.RecoveryTimeout = cmp.Or(c.RecoveryTimeout, defaultRecoveryTimeout)
	if c.Logger == nil {
		c.Logger = slog.New(slog.DiscardHandler)
	}
	return c
}

// Validate joins everything that is wrong with c.
func (c Config) Validate() error {
	var errs []error
	if len(c.Brokers) == 0 {
		errs = append(errs, errors.New("brokers: at least one host:port is needed"))
	}
	if c.Instance == "" {
		errs = append(errs, errors.New("instance: a name that is unique in the group and stable over restarts is needed"))
	}
	if c.SessionTimeout != 0 && c.SessionTimeout < 2*heartbeatInterval {
		errs = append(errs, fmt.Errorf("session timeout: %s is less than two heartbeats of %s", c.SessionTimeout, heartbeatInterval))
	}
	return errors.Join(errs...)
}

func init() { metrics.UseNilMetrics = true } // sarama meters every request otherwise

// client returns a fresh sarama configuration: goka's builders change one in
// place, so none is ever shared.
func (c Config) client(clientID string) *sarama.Config {
	s := sarama.NewConfig()
	s.ClientID = clientID
	s.Version = sarama.V2_8_0_0 // the lowest with everything the protocol needs
	s.Metadata.AllowAutoTopicCreation = false
	s.Metadata.Retry.Max = metadataRetries
	s.Metadata.Retry.Backoff = metadataPause
	s.Net.ReadTimeout = c.SessionTimeout + c.RebalanceTimeout + 5*time.Second // a JoinGroup is held that long

	s.Consumer.IsolationLevel = sarama.ReadCommitted
	s.Consumer.Return.Errors = true
	s.Consumer.Offsets.Initial = sarama.OffsetOldest
	s.Consumer.Offsets.AutoCommit.Enable = false // offsets travel in transactions only (I2)
	s.Consumer.MaxWaitTime = 50 * time.Millisecond
	s.Consumer.Fetch.Default = 1 << 20
	s.Consumer.Fetch.Max = 2 * MaxMessageBytes
	return s
}

// group returns the configuration of a static member of a consumer group. The
// member tells its name to the leader, whose strategy assigns the partitions.
func (c Config) group(clientID string, strategy sarama.BalanceStrategy) *sarama.Config {
	s := c.client(clientID)
	s.Consumer.Group.InstanceId = c.Instance
	s.Consumer.Group.Member.UserData = []byte(c.Instance)
	s.Consumer.Group.Session.Timeout = c.SessionTimeout
	s.Consumer.Group.Heartbeat.Interval = heartbeatInterval
	s.Consumer.Group.Rebalance.Timeout = c.RebalanceTimeout
	s.Consumer.Group.Rebalance.GroupStrategies = []sarama.BalanceStrategy{strategy}
	return s
}

// producer returns the configuration of an idempotent producer that loses
// nothing: acks=all, one request in flight, retried without practical limit.
func (c Config) producer(clientID string) *sarama.Config {
	s := c.client(clientID)
	s.Producer.RequiredAcks = sarama.WaitForAll
	s.Producer.Idempotent = true
	s.Net.MaxOpenRequests = 1
	s.Producer.Retry.Max = producerRetries
	s.Producer.Retry.BackoffFunc = backoff
	s.Producer.Return.Successes = true
	s.Producer.Return.Errors = true
	s.Producer.Compression = sarama.CompressionLZ4
	s.Producer.MaxMessageBytes = MaxMessageBytes
	s.Producer.Flush.Frequency = 10 * time.Millisecond
	s.Producer.Flush.Bytes = 256 << 10
	s.Producer.Partitioner = sarama.NewManualPartitioner // the caller applies murmur2
	return s
}

// transactional returns the configuration of a transactional producer. sarama
// asks retry for the back-off before it sends records again, and resend before it
// repeats a request of the transaction.
func (c Config) transactional(clientID, id string, retry, resend func(retries, limit int) time.Duration) *sarama.Config {
	s := c.producer(clientID)
	s.Producer.Transaction.ID = id
	s.Producer.Transaction.Timeout = transactionTimeout
	s.Producer.Transaction.Retry.Max = transactionRetries
	s.Producer.Transaction.Retry.BackoffFunc = resend
	s.Producer.Retry.BackoffFunc = retry
	return s
}

// backoff grows from 5 to 100 ms: a failover takes seconds, a busy coordinator
// milliseconds. Whoever is away for longer than a minute is asked once a second.
func backoff(retries, _ int) time.Duration {
	if retries > 600 {
		return time.Second
	}
	return min(5*time.Millisecond<<min(retries, 5), 100*time.Millisecond)
}
