// Package harness runs the real binary for tests: a broker in one process,
// instances in others, which can be killed, stopped and started again.
package harness

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"trunkline/app"
)

// patience is how long Until waits. Machines are slow and shared; nothing that
// works takes this long.
const patience = 2 * time.Minute

// Until is the only waiting loop of the tests: it returns once cond is true and
// fails the test when that takes too long.
func Until(t testing.TB, what string, cond func() bool) {
	t.Helper()
	for end := time.Now().Add(patience); !cond(); {
		if time.Now().After(end) {
			t.Fatalf("waited %s until %s", patience, what)
		}
		time.Sleep(20 * time.Millisecond)
	}
}

var build = sync.OnceValues(func() (string, error) {
	dir, err := os.MkdirTemp("", "trunkline-test-")
	if err != nil {
		return "", err
	}
	path := filepath.Join(dir, "trunkline")
	args := slices.Concat([]string{"build"}, buildFlags, []string{"-o", path, "trunkline/cmd/trunkline"})
	out, err := exec.CommandContext(context.Background(), "go", args...).CombinedOutput() //nolint:gosec // our own package
	if err != nil {
		return "", fmt.Errorf("build trunkline: %w\n%s", err, out)
	}
	return path, nil
})

// Binary builds trunkline once per test run and returns its path.
func Binary(t testing.TB) string {
	t.Helper()
	path, err := build()
	if err != nil {
		t.Fatal(err)
	}
	return path
}

// Process is a running trunkline.
type Process struct {
	t      testing.TB
	args   []string
	cmd    *exec.Cmd
	lines  chan string
	done   chan struct{}
	err    error
	stderr *lockedBuffer
}

// Start runs trunkline with the given arguments. The test ends it if it still
// runs.
func Start(t testing.TB, args ...string) *Process {
	t.Helper()
	p := &Process{
		t: t, args: args, cmd: exec.CommandContext(context.Background(), Binary(t), args...), //nolint:gosec // our own binary
		lines: make(chan string, 1024), done: make(chan struct{}), stderr: new(lockedBuffer),
	}
	p.cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL} // never outlive the tests
	p.cmd.Stderr = p.stderr
	out, err := p.cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := p.cmd.Start(); err != nil {
		t.Fatal(err)
	}
	go func() {
		scanner := bufio.NewScanner(out)
		scanner.Buffer(nil, 16<<20)
		for scanner.Scan() {
			select {
			case p.lines <- scanner.Text():
			default: // nobody reads: the process must not block on us
			}
		}
		_, _ = io.Copy(io.Discard, out)
		p.err = p.cmd.Wait()
		close(p.lines)
		close(p.done)
	}()
	t.Cleanup(func() {
		p.Kill()
		if strings.Contains(p.stderr.Tail(1<<20), "DATA RACE") { // see buildFlags
			t.Error("trunkline has a data race")
		}
		if t.Failed() && p.stderr.Len() > 0 {
			t.Logf("stderr of trunkline %s:\n%s", strings.Join(args, " "), p.stderr.Tail(8<<10))
		}
	})
	return p
}

// Line returns the next line of standard output.
func (p *Process) Line() string {
	p.t.Helper()
	select {
	case line, ok := <-p.lines:
		if !ok {
			p.t.Fatalf("trunkline %s ended: %v\n%s", strings.Join(p.args, " "), p.err, p.stderr.Tail(4<<10))
		}
		return line
	case <-time.After(patience):
		p.t.Fatalf("trunkline %s printed no line for %s", strings.Join(p.args, " "), patience)
	}
	return ""
}

// Lines returns what is left of standard output, line by line, once the process has
// ended it.
func (p *Process) Lines() []string {
	var lines []string
	for line := range p.lines {
		lines = append(lines, line)
	}
	return lines
}

// JSON decodes the next line of standard output.
func (p *Process) JSON(v any) {
	p.t.Helper()
	line := p.Line()
	if err := json.Unmarshal([]byte(line), v); err != nil {
		p.t.Fatalf("line %q: %v", line, err)
	}
}

// Signal sends a signal; a process that has ended already is fine.
func (p *Process) Signal(s os.Signal) {
	p.t.Helper()
	if err := p.cmd.Process.Signal(s); err != nil && !errors.Is(err, os.ErrProcessDone) {
		p.t.Fatal(err)
	}
}

// Running reports whether the process has not ended.
func (p *Process) Running() bool {
	select {
	case <-p.done:
		return false
	default:
		return true
	}
}

// PeakMemory is the most memory that the process had resident so far, in bytes.
func (p *Process) PeakMemory() int64 {
	p.t.Helper()
	b, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", p.cmd.Process.Pid))
	if err != nil {
		p.t.Fatal(err)
	}
	_, rest, _ := strings.Cut(string(b), "VmHWM:")
	var kib int64
	if _, err := fmt.Sscanf(rest, "%d kB", &kib); err != nil {
		p.t.Fatalf("read the peak of memory: %v", err)
	}
	return kib << 10
}

// Kill ends the process with SIGKILL and waits for its end.
func (p *Process) Kill() {
	p.Signal(syscall.SIGKILL)
	<-p.done
}

// Stop asks the process to end and returns its exit code.
func (p *Process) Stop() int {
	p.t.Helper()
	p.Signal(syscall.SIGTERM)
	return p.Wait()
}

// Wait returns the exit code once the process has ended.
func (p *Process) Wait() int {
	p.t.Helper()
	select {
	case <-p.done:
	case <-time.After(patience):
		p.t.Errorf("trunkline %s did not end within %s", strings.Join(p.args, " "), patience)
		p.Kill()
	}
	return p.cmd.ProcessState.ExitCode()
}

// Stderr returns what the process said on standard error so far.
func (p *Process) Stderr() string { return p.stderr.Tail(1 << 20) }

// Dev is `trunkline dev` with everything in one process, on free ports and
// without traffic of its own.
type Dev struct {
	*Process
	Config app.Config
	Addrs  struct{ Edge, View, Metrics, Kafka, Registry, Config string }
}

// FreePorts makes every address of the application a free one.
var FreePorts = []string{"--edge", "127.0.0.1:0", "--admin", "127.0.0.1:0", "--view", "127.0.0.1:0", "--metrics", "127.0.0.1:0"}

// StartDev starts `trunkline dev` over a data dir, on the [Infrastructure] of the
// test, and waits until it is ready.
func StartDev(t testing.TB, dataDir string, args ...string) *Dev {
	t.Helper()
	args = append([]string{"dev", "--json", "--simulate=false", "--data-dir", dataDir}, args...)
	d := &Dev{Process: Start(t, slices.Concat(args, FreePorts, Infrastructure(t))...)}
	d.JSON(&d.Addrs)
	var err error
	if d.Config, err = app.LoadConfig(d.Addrs.Config); err != nil {
		t.Fatal(err)
	}
	return d
}

// Deployment is a broker and a registry, topics and schemas set up; instances of
// the application join it as processes of their own.
type Deployment struct {
	*Process // broker and registry, or the registry alone
	t        testing.TB
	Config   app.Config
	// File is the configuration that instances run with.
	File string
	// Cluster are the real brokers; nil on the embedded one.
	Cluster *Cluster
}

// StartDeployment starts the embedded broker and registry as a child process, or
// takes the real brokers that the tests of the package share, and sets them up.
func StartDeployment(t testing.TB) *Deployment {
	t.Helper()
	if Real() {
		return shared.use(t)
	}
	return deploy(t, nil, append([]string{"--only", "broker"}, Infrastructure(t)...))
}

// StartDeploymentOn starts a registry on real brokers as a child process, and
// sets them up.
func StartDeploymentOn(t testing.TB, c *Cluster) *Deployment {
	t.Helper()
	return deploy(t, c, []string{"--only", "registry", "--kafka", strings.Join(c.Addrs(), ","), "--registry-listen", "127.0.0.1:0"})
}

func deploy(t testing.TB, c *Cluster, infrastructure []string) *Deployment {
	t.Helper()
	args := append([]string{"dev", "--json", "--data-dir", t.TempDir()}, infrastructure...)
	d := &Deployment{t: t, Process: Start(t, args...), Cluster: c}
	var addrs struct{ Config string }
	d.JSON(&addrs)
	d.File = addrs.Config
	var err error
	if d.Config, err = app.LoadConfig(addrs.Config); err != nil {
		t.Fatal(err)
	}
	return d
}

// Instance is one `trunkline run`, which can be killed and started again under
// its name and with its data.
type Instance struct {
	*Process
	d       *Deployment
	args    []string
	dataDir string
	// Addrs are the addresses it printed: edge, view, metrics.
	Addrs map[string]string
}

// Run starts an instance in a role, with flags of its own, and waits until it is
// ready.
func (d *Deployment) Run(name string, role app.Role, flags ...string) *Instance {
	d.t.Helper()
	i := d.Launch(name, role, flags...)
	i.UntilReady()
	return i
}

// Launch is Run without waiting.
func (d *Deployment) Launch(name string, role app.Role, flags ...string) *Instance {
	d.t.Helper()
	i := &Instance{d: d, dataDir: d.t.TempDir()}
	i.args = slices.Concat([]string{
		"run", "--config", d.File, "--role", string(role), "--instance", name, "--data-dir", i.dataDir,
	}, FreePorts, flags)
	i.Start()
	return i
}

// Start starts the instance, anew after a kill, without waiting for it.
func (i *Instance) Start() {
	i.d.t.Helper()
	i.Process = Start(i.d.t, i.args...)
	i.Addrs = map[string]string{}
	for i.Addrs["metrics"] == "" {
		name, url, _ := strings.Cut(i.Line(), " ")
		i.Addrs[name] = url
	}
}

// LoseDisk removes what a killed instance kept.
func (i *Instance) LoseDisk() {
	i.d.t.Helper()
	if err := errors.Join(os.RemoveAll(i.dataDir), os.Mkdir(i.dataDir, 0o700)); err != nil {
		i.d.t.Fatal(err)
	}
}

// UntilReady waits until the instance can do its role's work.
func (i *Instance) UntilReady() {
	i.d.t.Helper()
	Until(i.d.t, "instance is ready", func() bool {
		if !i.Running() {
			i.d.t.Fatalf("trunkline %s ended: %v\n%s", strings.Join(i.args, " "), i.err, i.stderr.Tail(4<<10))
		}
		status, _ := Fetch(i.d.t, i.Addrs["metrics"]+"/readyz")
		return status == http.StatusOK
	})
}

// Fetch returns status and body of a GET; status 0 is no answer.
func Fetch(t testing.TB, url string) (status int, body string) {
	t.Helper()
	request, err := http.NewRequestWithContext(t.Context(), http.MethodGet, url, nil)
	if err != nil {
		t.Fatal(err)
	}
	return do(request)
}

// Post returns status and body of a POST; status 0 is no answer. An empty
// authorization or content type is left out.
func Post(t testing.TB, url, authorization, contentType string, body []byte) (status int, answer string) {
	t.Helper()
	request, err := http.NewRequestWithContext(t.Context(), http.MethodPost, url, bytes.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	if authorization != "" {
		request.Header.Set("Authorization", authorization)
	}
	if contentType != "" {
		request.Header.Set("Content-Type", contentType)
	}
	return do(request)
}

func do(request *http.Request) (status int, body string) {
	response, err := http.DefaultClient.Do(request)
	if err != nil {
		return 0, ""
	}
	defer response.Body.Close()
	b, err := io.ReadAll(response.Body)
	if err != nil {
		return 0, ""
	}
	return response.StatusCode, string(b)
}

// Drained waits until the spools of edges are empty, which are known by the URLs of
// their metrics, and every raw record of a deployment has its fate. Nothing may be
// sent meanwhile.
func Drained(t testing.TB, c app.Config, edges ...string) {
	t.Helper()
	for _, url := range edges {
		SpoolDrained(t, url)
	}
	raw, err := app.RawRecords(t.Context(), c)
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	var p app.Progress
	followed := make(chan error, 1)
	go func() { followed <- p.Follow(ctx, c) }()
	for n := p.Outcomes(); n < raw; {
		before := n
		Until(t, "the pipeline gets on", func() bool { n = p.Outcomes(); return n > before })
	}
	cancel()
	if err := <-followed; err != nil {
		t.Fatal(err)
	}
}

// SpoolDrained waits until the spool of an edge is empty, which is known by the URL
// of its metrics.
func SpoolDrained(t testing.TB, edge string) {
	t.Helper()
	Until(t, "the spool has drained", func() bool {
		status, metrics := Fetch(t, edge+"/metrics")
		return status == http.StatusOK && !spooled.MatchString(metrics)
	})
}

// spooled finds deliveries that wait in a spool.
var spooled = regexp.MustCompile(`(?m)^trunkline_spool_deliveries\{.*\} [^0]`)

// lockedBuffer collects what a process says.
type lockedBuffer struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (l *lockedBuffer) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.Write(p)
}

// Len is the number of bytes so far.
func (l *lockedBuffer) Len() int {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.Len()
}

// Tail is the last n bytes.
func (l *lockedBuffer) Tail(n int) string {
	l.mu.Lock()
	defer l.mu.Unlock()
	b := l.b.Bytes()
	return string(b[max(0, len(b)-n):])
}
