package harness

import (
	"bytes"
	"context"
	_ "embed"
	"fmt"
	"maps"
	"math/rand/v2"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"

	"trunkline/topology"
)

// KafkaVersion is the version of the real brokers, as in kafka/pom.xml.
const KafkaVersion = "4.3.1"

//go:embed kafka/log4j2.properties
var brokerLogging []byte

// jvm keeps three brokers small and quick to start on a machine of two cores.
var jvm = []string{"-Xmx384m", "-XX:+UseSerialGC", "-XX:TieredStopAtLevel=1", "-Xshare:auto"}

// broker is one Kafka node, broker and controller in one, and the process that
// runs it at the moment. Its methods may be called concurrently.
type broker struct {
	id  int
	dir string
	// The addresses it listens on: controllers talk on the first, brokers and
	// whoever goes around the proxy on the second, the proxy on the third.
	controller, direct, proxied string

	mu     sync.Mutex
	cmd    *exec.Cmd
	ended  chan struct{} // closed at the end of cmd
	wanted bool          // whether cmd should be running
	err    error         // why it could not be started
}

// settings are the broker's server.properties.
func (b *broker) settings(voters, advertised string, size int) []byte {
	replicas, inSync := strconv.Itoa(min(3, size)), strconv.Itoa(min(2, size))
	s := map[string]string{
		"node.id":                        strconv.Itoa(b.id),
		"process.roles":                  "broker,controller",
		"controller.quorum.voters":       voters,
		"controller.listener.names":      "CONTROLLER",
		"inter.broker.listener.name":     "DIRECT",
		"listener.security.protocol.map": "CONTROLLER:PLAINTEXT,DIRECT:PLAINTEXT,PROXIED:PLAINTEXT",
		"listeners":                      "CONTROLLER://" + b.controller + ",DIRECT://" + b.direct + ",PROXIED://" + b.proxied,
		"advertised.listeners":           "DIRECT://" + b.direct + ",PROXIED://" + advertised,
		"log.dirs":                       filepath.Join(b.dir, "log"),

		"auto.create.topics.enable":                "false",
		"default.replication.factor":               replicas,
		"min.insync.replicas":                      inSync,
		"offsets.topic.replication.factor":         replicas,
		"transaction.state.log.replication.factor": replicas,
		"transaction.state.log.min.isr":            inSync,
		"message.max.bytes":                        strconv.Itoa(topology.MaxRecordBytes),

		// A test must not wait for members that never come.
		"group.initial.rebalance.delay.ms": "0",
		// A follower of a new partition waits for its present fetch, and backs off when
		// the leader has not heard of it yet: the first acks=all of a topic just made
		// would take a second.
		"replica.fetch.wait.max.ms": "100",
		"replica.fetch.backoff.ms":  "50",

		// What serves a few clients.
		"offsets.topic.num.partitions":         "6",
		"transaction.state.log.num.partitions": "6",
		"num.network.threads":                  "2",
		"num.io.threads":                       "4",
		"log.cleaner.dedupe.buffer.size":       strconv.Itoa(16 << 20),
		"log.segment.delete.delay.ms":          "1000",
	}
	var text bytes.Buffer
	for _, name := range slices.Sorted(maps.Keys(s)) {
		fmt.Fprintf(&text, "%s=%s\n", name, s[name])
	}
	return text.Bytes()
}

// format writes the settings and makes the data dir that the node starts with.
func (b *broker) format(jars, clusterID string, settings []byte) error {
	for name, text := range map[string][]byte{b.file("server.properties"): settings, b.file("log4j2.properties"): brokerLogging} {
		if err := os.WriteFile(name, text, 0o600); err != nil {
			return fmt.Errorf("set up broker %d: %w", b.id, err)
		}
	}
	out, err := b.java(jars, "kafka.tools.StorageTool", "format", "--cluster-id="+clusterID, "-c", b.file("server.properties")).CombinedOutput()
	if err != nil {
		return fmt.Errorf("format broker %d: %w\n%s", b.id, err, out)
	}
	return nil
}

func (b *broker) file(name string) string { return filepath.Join(b.dir, name) }

func (b *broker) java(jars, main string, args ...string) *exec.Cmd {
	args = append(slices.Concat(jvm, []string{
		"-Dlog4j2.configurationFile=" + b.file("log4j2.properties"), "-cp", filepath.Join(jars, "*"), main,
	}), args...)
	cmd := exec.CommandContext(context.Background(), "java", args...)  //nolint:gosec // our own arguments
	cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL} // never outlive the tests
	return cmd
}

// start runs the broker over its data; it does not wait until it serves.
func (b *broker) start(jars string) error {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.wanted {
		return nil
	}
	b.err = b.launch(jars)
	b.wanted = b.err == nil
	return b.err
}

func (b *broker) launch(jars string) error {
	said, err := os.OpenFile(b.file("broker.log"), os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600)
	if err != nil {
		return fmt.Errorf("start broker %d: %w", b.id, err)
	}
	defer said.Close() //nolint:errcheck // the child has its own
	cmd := b.java(jars, "kafka.Kafka", b.file("server.properties"))
	cmd.Stdout, cmd.Stderr = said, said
	if err := cmd.Start(); err != nil {
		return fmt.Errorf("start broker %d: %w", b.id, err)
	}
	ended := make(chan struct{})
	b.cmd, b.ended = cmd, ended
	go func() {
		_ = cmd.Wait() // it is killed in the end
		close(ended)
	}()
	return nil
}

// signal sends a signal to the running process, if there is one.
func (b *broker) signal(s syscall.Signal) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.wanted {
		_ = b.cmd.Process.Signal(s) // one that has ended shows in fault
	}
}

// kill ends the process with SIGKILL and waits for its end.
func (b *broker) kill() {
	b.mu.Lock()
	defer b.mu.Unlock()
	if !b.wanted {
		return
	}
	b.wanted = false
	_ = b.cmd.Process.Kill() // it may have ended by itself
	<-b.ended
}

// fault says that the process is not there though nobody killed it.
func (b *broker) fault() error {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.err != nil || !b.wanted {
		return b.err
	}
	select {
	case <-b.ended:
		return fmt.Errorf("broker %d ended by itself: %s\n%s", b.id, b.cmd.ProcessState, b.log())
	default:
		return nil
	}
}

// log is the end of what the broker said.
func (b *broker) log() string {
	said, err := os.ReadFile(b.file("broker.log"))
	if err != nil {
		return err.Error()
	}
	return string(said[max(0, len(said)-4<<10):])
}

// FreeAddr is an address that nobody listens on.
func FreeAddr(t testing.TB) string {
	t.Helper()
	addrs, err := freeAddrs(1, brokerPort)
	if err != nil {
		t.Fatal(err)
	}
	return addrs[0]
}

// brokerPort draws a port for [freeAddrs].
func brokerPort() int { return 10_000 + rand.IntN(22_000) } //nolint:gosec // a port, no secret

// freeAddrs are addresses that nobody listens on. They lie below the ports that
// the system gives to outgoing connections: one of those, on the port of a
// broker that is down, would keep it from coming back.
func freeAddrs(n int, port func() int) ([]string, error) {
	var addrs []string
	for tries := 0; len(addrs) < n; tries++ {
		if tries > 100*n {
			return nil, fmt.Errorf("find %d free ports: none is left", n)
		}
		addr := net.JoinHostPort("127.0.0.1", strconv.Itoa(port()))
		if slices.Contains(addrs, addr) {
			continue
		}
		ln, err := new(net.ListenConfig).Listen(context.Background(), "tcp", addr)
		if err != nil {
			continue
		}
		if err := ln.Close(); err != nil {
			return nil, fmt.Errorf("find a free port: %w", err)
		}
		addrs = append(addrs, addr)
	}
	return addrs, nil
}

func quorum(brokers []*broker) string {
	var voters []string
	for _, b := range brokers {
		voters = append(voters, fmt.Sprintf("%d@%s", b.id, b.controller))
	}
	return strings.Join(voters, ",")
}
