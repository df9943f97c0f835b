package integration

import (
	"bytes"
	"context"
	"encoding/json"
	"net"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"

	"trunkline/app"
	"trunkline/embedded"
	"trunkline/integration/harness"
	"trunkline/ledger"
	"trunkline/topology"
)

// The self-test is the promise anyone can check for himself in minutes (I3–I5).
func TestSelfTestBalances(t *testing.T) {
	const events = 3000
	for _, seed := range []string{"1", "2"} {
		t.Run("seed "+seed, func(t *testing.T) {
			args := []string{"dev", "--data-dir", t.TempDir(), "--events", "3000", "--exit", "--seed", seed, "--json"}
			p := harness.Start(t, slices.Concat(args, harness.FreePorts, harness.Infrastructure(t))...)
			var addrs map[string]string
			p.JSON(&addrs)
			var result struct{ Ledger ledger.Report }
			p.JSON(&result)
			if code := p.Wait(); code != 0 {
				t.Errorf("exit code %d, want 0: %+v", code, result.Ledger)
			}
			r := result.Ledger
			// A delivery that was answered 503 may be in the log all the same and is
			// sent again. The embedded broker is always in time.
			if r.RawRecords < events || !harness.Real() && r.RawRecords > events {
				t.Errorf("got %d raw records of %d events", r.RawRecords, events)
			}
			if !r.OK || r.Fates["duplicate"] == 0 || r.Fates["dead_letter"] == 0 || r.Fates["late"] == 0 || r.Tombstones == 0 {
				t.Errorf("got %+v", r)
			}
		})
	}
}

// I8: after SIGKILL and after a drain, the pipeline goes on where it was.
func TestDevGoesOnAfterRestarts(t *testing.T) {
	dir := t.TempDir()
	ends := []func(*harness.Dev){
		func(d *harness.Dev) { d.Kill() },
		func(d *harness.Dev) {
			if code := d.Stop(); code != 0 {
				t.Errorf("exit code after SIGTERM: %d, want 0", code)
			}
		},
		func(d *harness.Dev) { d.Kill() },
	}
	for round, end := range ends {
		d := harness.StartDev(t, dir)
		send(t, d.Addrs.Edge, int64(round), 400)
		end(d)
	}
	d := harness.StartDev(t, dir)
	harness.Drained(t, d.Config, d.Addrs.Metrics)
	balance(t, d.Config)
}

// send plays both vendors until all is accepted.
func send(t *testing.T, edge string, seed int64, events int) {
	t.Helper()
	for i, vendor := range topology.Vendors {
		s, err := embedded.NewSimulator(embedded.SimulatorConfig{
			Vendor: vendor, Tenant: app.DevTenant, EdgeURL: edge, Token: app.DevToken,
			Seed: seed*100 + int64(i), Events: events / len(topology.Vendors),
		})
		if err != nil {
			t.Fatal(err)
		}
		if _, err := s.Run(t.Context()); err != nil {
			t.Fatal(err)
		}
	}
}

func TestDevTellsWhatIsWrong(t *testing.T) {
	taken, err := new(net.ListenConfig).Listen(context.Background(), "tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer taken.Close()
	held := t.TempDir()
	harness.StartDev(t, held)
	foreign := t.TempDir()
	if err := os.WriteFile(filepath.Join(foreign, "thesis.txt"), nil, 0o600); err != nil {
		t.Fatal(err)
	}

	inUse := func(flag string) []string {
		args := []string{"dev", "--simulate=false", "--data-dir", t.TempDir()}
		return slices.Concat(args, harness.FreePorts, harness.Infrastructure(t), []string{"--" + flag, taken.Addr().String()})
	}
	tests := []struct {
		name string
		args []string
		code int
		want string // in the one line that is printed
	}{
		{"edge in use", inUse("edge"), 3, "--edge"},
		{"view in use", inUse("view"), 3, "--view"},
		{"metrics in use", inUse("metrics"), 3, "--metrics"},
		{"kafka in use", inUse("kafka-listen"), 3, "--kafka-listen"},
		{"registry in use", inUse("registry-listen"), 3, "--registry-listen"},
		{"second dev", append([]string{"dev", "--data-dir", held}, harness.FreePorts...), 3, "held by trunkline dev, pid"},
		{"foreign files", append([]string{"dev", "--fresh", "--data-dir", foreign}, harness.FreePorts...), 1, "thesis.txt"},
		{"unknown flag", []string{"dev", "--frsh"}, 2, "--frsh"},
		{"unknown command", []string{"devv"}, 2, "devv"},
		{"exit without events", []string{"dev", "--exit"}, 2, "--events"},
		{"registry alone without kafka", []string{"dev", "--only", "registry"}, 2, "--kafka"},
		{"registry beside another", []string{"dev", "--only", "registry", "--kafka", "127.0.0.1:1", "--registry", "http://127.0.0.1:1"}, 2, "--registry"},
		{"broker beside another", []string{"dev", "--only", "broker", "--kafka", "127.0.0.1:1", "--registry", "http://127.0.0.1:1"}, 2, "only"},
		{"only what", []string{"dev", "--only", "sink"}, 2, "sink"},
		{"kafka without registry", []string{"dev", "--kafka", "127.0.0.1:1"}, 2, "registry"},
		{"run without configuration", []string{"run", "--config", "/nonexistent.yaml"}, 2, "/nonexistent.yaml"},
		{"tail of nothing", []string{"tail"}, 2, "arguments"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			if harness.Real() && strings.HasSuffix(tt.want, "-listen") {
				t.Skip("there is no embedded broker or registry whose port could be in use: make test")
			}
			p := harness.Start(t, tt.args...)
			if got := p.Wait(); got != tt.code {
				t.Errorf("exit code %d, want %d", got, tt.code)
			}
			said := strings.TrimSpace(p.Stderr())
			if !strings.Contains(said, tt.want) || strings.Contains(said, "\n") {
				t.Errorf("got %q, want one line with %q", said, tt.want)
			}
		})
	}
}

// A configuration mistake names its field and the cure.
func TestConfigurationMistakes(t *testing.T) {
	d := harness.StartDeployment(t)
	good, err := os.ReadFile(filepath.Join(filepath.Dir(d.File), "trunkline.yaml"))
	if err != nil {
		t.Fatal(err)
	}
	tests := []struct{ name, from, to, want string }{
		{"misspelt key", "partitions: 4\nrun", "partitons: 4\nrun", "partitons"},
		{"unknown format", "format: avro", "format: protobuf", "changes.format"},
		{"broken duration", "grace: 500ms", "grace: soon", "soon"},
		{"tenant in no topic name", "id: acme", "id: a/b", "tenants[0].id"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			bad := bytes.Replace(good, []byte(tt.from), []byte(tt.to), 1)
			if bytes.Equal(bad, good) {
				t.Fatalf("%q is not in the configuration:\n%s", tt.from, good)
			}
			file := filepath.Join(t.TempDir(), "bad.yaml")
			if err := os.WriteFile(file, bad, 0o600); err != nil {
				t.Fatal(err)
			}
			p := harness.Start(t, "run", "--config", file, "--instance", "x", "--data-dir", t.TempDir())
			if got := p.Wait(); got != 2 {
				t.Errorf("exit code %d, want 2", got)
			}
			if !strings.Contains(p.Stderr(), tt.want) {
				t.Errorf("got %q, want %q named", p.Stderr(), tt.want)
			}
		})
	}
}

// --fresh starts over; without it what was there stays.
func TestFreshStartsOver(t *testing.T) {
	if harness.Real() {
		t.Skip("--fresh empties the data dir and with it the embedded broker; it leaves a real one alone: make test")
	}
	dir := t.TempDir()
	rows := func(args ...string) int {
		d := harness.StartDev(t, dir, args...)
		defer d.Signal(syscall.SIGKILL)
		status, _ := harness.Fetch(t, d.Addrs.View+"/v1/genesys/acme/resources/user/u-1")
		if status != 200 {
			post(t, d.Addrs.Edge, `{"id":"fresh-1","resourceType":"user","eventType":"created","resourceId":"u-1","data":{"id":"u-1"}}`)
			harness.Until(t, "the row is served", func() bool {
				s, _ := harness.Fetch(t, d.Addrs.View+"/v1/genesys/acme/resources/user/u-1")
				return s == 200
			})
		}
		d.Kill()
		return status
	}
	for i, step := range []struct {
		args []string
		want int
	}{{nil, 404}, {nil, 200}, {[]string{"--fresh"}, 404}} {
		if got := rows(step.args...); got != step.want {
			t.Errorf("start %d %v: row answered %d, want %d", i, step.args, got, step.want)
		}
	}
}

// post sends one Genesys body and demands that it is accepted.
func post(t *testing.T, edge, body string) {
	t.Helper()
	status, answer := harness.Post(t, edge+"/v1/ingest/genesys/"+app.DevTenant+"/events", "Bearer "+app.DevToken, "application/json", []byte(body))
	var accepted struct{ Status string }
	if err := json.Unmarshal([]byte(answer), &accepted); status != 200 || err != nil || accepted.Status != "accepted" {
		t.Fatalf("got %d %s, want it accepted", status, answer)
	}
}
