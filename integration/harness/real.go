package harness

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
)

// Real reports whether the tests run on real brokers: TRUNKLINE_TEST_KAFKA=real,
// as `make test-real` sets it.
func Real() bool { return os.Getenv("TRUNKLINE_TEST_KAFKA") == "real" }

// Main runs the tests of a package, and ends and removes what they shared. It
// returns the exit code.
func Main(m *testing.M) int {
	code := m.Run()
	err := shared.close()
	if path, built := build(); built == nil {
		err = errors.Join(err, os.RemoveAll(filepath.Dir(path)))
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, "end of the tests:", err)
		return 1
	}
	return code
}

// shared is the cluster of the tests of a package, started by the first.
var shared sharedCluster

type sharedCluster struct {
	mu         sync.Mutex
	cluster    *Cluster
	user       string      // the test it was emptied for
	deployment *Deployment // that test's
}

// use sets up the shared cluster. It belongs to one test at a time, with its
// subtests; the next finds it empty.
func (s *sharedCluster) use(t testing.TB) *Deployment {
	t.Helper()
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.cluster == nil {
		c, err := launchCluster(3)
		if err != nil {
			t.Fatal(err)
		}
		s.cluster = c
		c.untilReady(t)
	}
	if s.user != "" && strings.HasPrefix(t.Name()+"/", s.user+"/") {
		return s.deployment
	}
	s.user = ""
	s.cluster.UntilHealthy(t)
	s.cluster.Empty(t)
	t.Cleanup(func() {
		if t.Failed() {
			s.cluster.report(t)
		}
	})
	s.deployment = StartDeploymentOn(t, s.cluster)
	s.user = t.Name()
	return s.deployment
}

func (s *sharedCluster) close() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.cluster == nil {
		return nil
	}
	return s.cluster.close()
}

// Infrastructure are the flags that give `trunkline dev` its broker, its registry
// and the vendors' clouds: embedded ones on free ports, or real brokers that hold
// nothing yet. All starts
// of one test share what they hold.
func Infrastructure(t testing.TB) []string {
	t.Helper()
	clouds := []string{"--genesys-listen", "127.0.0.1:0", "--cxone-listen", "127.0.0.1:0"}
	if !Real() {
		return append(clouds, "--kafka-listen", "127.0.0.1:0", "--registry-listen", "127.0.0.1:0")
	}
	d := shared.use(t)
	return append(clouds, "--kafka", strings.Join(d.Cluster.Addrs(), ","), "--registry", d.Config.Registry.URL)
}
