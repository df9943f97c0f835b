package harness

import (
	"encoding/base64"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"syscall"
	"testing"
	"time"

	"github.com/google/uuid"
	"github.com/twmb/franz-go/pkg/kgo"
	"golang.org/x/sync/errgroup"
)

// Cluster is a set of real Kafka brokers, each a process with a [Proxy] in front.
// Brokers are numbered from 0; the number is also Kafka's id of the node. Its
// methods may be called concurrently.
type Cluster struct {
	jars    string
	dir     string
	brokers []*broker
	proxy   *Proxy
	client  *kgo.Client // goes around the proxy
}

// StartCluster starts brokers on free ports, with their data in a folder that
// goes away with the test, and waits until all of them serve.
func StartCluster(t testing.TB, brokers int) *Cluster {
	t.Helper()
	c, err := launchCluster(brokers)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if t.Failed() {
			c.report(t)
		}
		if err := c.close(); err != nil {
			t.Error(err)
		}
	})
	c.untilReady(t)
	return c
}

// untilReady waits for the topics too that a cluster makes when the first group
// and the first transaction ask for them.
func (c *Cluster) untilReady(t testing.TB) {
	t.Helper()
	c.UntilHealthy(t)
	Until(t, "groups and transactions have coordinators", func() bool {
		return c.GroupCoordinator("first") >= 0 && c.TransactionCoordinator("first") >= 0
	})
	c.UntilHealthy(t)
}

// launchCluster starts the processes.
func launchCluster(size int) (*Cluster, error) {
	jars, err := tools("kafka-"+KafkaVersion, "kafka")
	if err != nil {
		return nil, err
	}
	dir, err := os.MkdirTemp("", "trunkline-kafka-")
	if err != nil {
		return nil, fmt.Errorf("make a folder for the brokers: %w", err)
	}
	c := &Cluster{jars: jars, dir: dir}
	if err := c.launch(size); err != nil {
		return nil, errors.Join(err, c.close())
	}
	return c, nil
}

func (c *Cluster) launch(size int) error {
	addrs, err := freeAddrs(3*size, brokerPort)
	if err != nil {
		return err
	}
	for id := range size {
		b := &broker{
			id: id, dir: filepath.Join(c.dir, fmt.Sprint(id)),
			controller: addrs[3*id], direct: addrs[3*id+1], proxied: addrs[3*id+2],
		}
		if err := os.Mkdir(b.dir, 0o700); err != nil {
			return fmt.Errorf("make a folder for broker %d: %w", id, err)
		}
		c.brokers = append(c.brokers, b)
	}
	var targets []string
	for _, b := range c.brokers {
		targets = append(targets, b.proxied)
	}
	if c.proxy, err = NewProxy(targets); err != nil {
		return err
	}
	c.client, err = kgo.NewClient(kgo.SeedBrokers(c.DirectAddrs()...), kgo.ClientID("trunkline-harness"),
		kgo.DialTimeout(time.Second), kgo.RequestTimeoutOverhead(2*time.Second), kgo.RetryTimeout(5*time.Second))
	if err != nil {
		return fmt.Errorf("configure a client: %w", err)
	}
	random := uuid.New()
	id := base64.RawURLEncoding.EncodeToString(random[:])
	var start errgroup.Group
	for _, b := range c.brokers {
		start.Go(func() error {
			if err := b.format(c.jars, id, b.settings(quorum(c.brokers), c.Addrs()[b.id], size)); err != nil {
				return err
			}
			return b.start(c.jars)
		})
	}
	return start.Wait()
}

// close ends the brokers and removes what they kept.
func (c *Cluster) close() error {
	for _, b := range c.brokers {
		b.kill()
	}
	if c.client != nil {
		c.client.Close()
	}
	var err error
	if c.proxy != nil {
		err = c.proxy.Close()
	}
	return errors.Join(err, os.RemoveAll(c.dir))
}

// report logs what the brokers had to say.
func (c *Cluster) report(t testing.TB) {
	t.Helper()
	for _, b := range c.brokers {
		if said := b.log(); said != "" {
			t.Logf("broker %d:\n%s", b.id, said)
		}
	}
}

// Addrs are the brokers as the application sees them: through the proxy.
func (c *Cluster) Addrs() []string { return c.proxy.Addrs() }

// DirectAddrs are the brokers for whoever only watches: around the proxy.
func (c *Cluster) DirectAddrs() []string {
	var addrs []string
	for _, b := range c.brokers {
		addrs = append(addrs, b.direct)
	}
	return addrs
}

// Size is the number of brokers.
func (c *Cluster) Size() int { return len(c.brokers) }

// Proxies stand in front of the brokers.
func (c *Cluster) Proxies() *Proxy { return c.proxy }

// Kill ends broker i with SIGKILL and waits for its end.
func (c *Cluster) Kill(i int) { c.brokers[i].kill() }

// Restart starts broker i again over its data after Kill; it does not wait until
// it serves. That it cannot be started fails the next UntilHealthy.
func (c *Cluster) Restart(i int) {
	_ = c.brokers[i].start(c.jars) // kept by the broker for UntilHealthy
}

// Pause stops broker i as a machine that hangs does, with its connections open.
func (c *Cluster) Pause(i int) { c.brokers[i].signal(syscall.SIGSTOP) }

// Resume lets broker i go on after Pause.
func (c *Cluster) Resume(i int) { c.brokers[i].signal(syscall.SIGCONT) }
