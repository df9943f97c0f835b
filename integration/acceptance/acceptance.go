// Package acceptance proves that tools of other people take what we write: Kafka
// Connect with Debezium's JDBC sink into PostgreSQL, an Apicurio registry, and the
// checks that Debezium holds its own records to. It runs on real brokers only.
//
// The worker and its sinks are configured by the files of docs/connect, as they are.
package acceptance

import (
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"trunkline/app"
	"trunkline/codecs"
	"trunkline/integration/harness"
)

// deployment is one of ours beside the consumers of its change topics.
type deployment struct {
	t *testing.T
	*harness.Deployment
	all      *harness.Instance
	database *postgres
	sink     *harness.Service
	worker   string            // URL of the Connect worker
	file     string            // the sink's properties
	env      map[string]string // what the files of docs/connect ask for
}

// needs skips the test where the machine lacks something; of Java and the jars make
// tells.
func needs(t *testing.T) {
	t.Helper()
	if postgresBinaries() == "" {
		harness.NotRun(t, "there is no PostgreSQL (initdb) on the PATH or in /usr/lib/postgresql; install postgresql")
	}
	if _, err := exec.LookPath("javac"); err != nil {
		harness.NotRun(t, "there is no javac on the PATH, which Verify.java needs; install a JDK, 17 or later")
	}
}

// start sets everything up; the sink follows the change topics from now on.
func start(t *testing.T, format codecs.Format) *deployment {
	t.Helper()
	d := &deployment{t: t, Deployment: harness.StartDeployment(t), env: map[string]string{}}
	d.file = document(t, "jdbc-sink-"+string(format)+".properties")
	d.Config.Changes.Format = format
	d.env["KAFKA"] = strings.Join(d.Cluster.DirectAddrs(), ",")
	if format == codecs.FormatAvro {
		registry := startRegistry(t)
		d.Config.Registry.URL = registry + "/apis/ccompat/v7"
		d.env["REGISTRY"] = registry + "/apis/registry/v2"
	}
	if err := app.WriteConfig(d.File, d.Config); err != nil {
		t.Fatal(err)
	}
	d.all = d.Run("all", app.RoleAll)
	d.database = startPostgres(t)
	maps.Copy(d.env, d.database.env())
	d.startSink()
	return d
}

// startSink starts a Connect worker with the sink.
func (d *deployment) startSink() {
	d.t.Helper()
	listener := harness.FreeAddr(d.t)
	d.env["LISTENER"] = "http://" + listener
	worker := d.java(
		"-Xmx512m", "-XX:+UseSerialGC", "-Dorg.slf4j.simpleLogger.defaultLogLevel=error",
		// Who asks while it starts is told so at length.
		"-Dorg.slf4j.simpleLogger.log.org.eclipse.jetty=off", "-Dorg.slf4j.simpleLogger.log.org.glassfish=off",
		"-cp", harness.Tools(d.t, "connect")+"/*:"+harness.Tools(d.t, "avro")+"/*", "org.apache.kafka.connect.cli.ConnectStandalone",
		document(d.t, "worker.properties"), d.file)
	worker.Dir = d.t.TempDir()
	if err := os.Symlink(harness.Tools(d.t, jdbcSink), filepath.Join(worker.Dir, "plugins")); err != nil {
		d.t.Fatal(err)
	}
	d.sink = harness.StartService(d.t, "connect", worker)
	d.worker = "http://" + listener
	d.sink.Until("the sink runs", d.sinking)
}

// sinking reports whether the sink works: what it cannot take ends its task.
func (d *deployment) sinking() bool {
	_, status := harness.Fetch(d.t, d.worker+"/connectors/trunkline-jdbc/status")
	return strings.Count(status, `"RUNNING"`) == 2 // connector and task
}

// java is a JVM that finds in its environment what the properties ask for.
func (d *deployment) java(args ...string) *exec.Cmd {
	cmd := exec.CommandContext(d.t.Context(), "java", args...) //nolint:gosec // our own arguments
	cmd.Env = os.Environ()
	for _, name := range slices.Sorted(maps.Keys(d.env)) {
		cmd.Env = append(cmd.Env, name+"="+d.env[name])
	}
	return cmd
}

// The versions of the archives, as in the Makefile.
const (
	jdbcSink = "jdbc-sink-3.6.0.Final"
	apicurio = "apicurio-3.0.9"
)

// startRegistry starts Apicurio, which keeps what it holds in memory, and returns
// its URL.
func startRegistry(t *testing.T) string {
	t.Helper()
	addr := harness.FreeAddr(t)
	host, port, _ := strings.Cut(addr, ":")
	jar := filepath.Join(harness.Tools(t, apicurio), "apicurio-registry-app-"+strings.TrimPrefix(apicurio, "apicurio-")+"-runner.jar")
	s := harness.StartService(t, "apicurio", exec.CommandContext(t.Context(), "java", "-Xmx384m", "-XX:+UseSerialGC", //nolint:gosec // our own arguments
		"-Dquarkus.http.host="+host, "-Dquarkus.http.port="+port, "-Dquarkus.log.level=WARN", "-Dquarkus.http.access-log.enabled=false", "-jar", jar))
	s.Until("the registry answers", func() bool {
		status, _ := harness.Fetch(t, "http://"+addr+"/apis/ccompat/v7/subjects")
		return status == 200
	})
	return "http://" + addr
}

// document is a file of docs/connect.
func document(t *testing.T, name string) string {
	t.Helper()
	root, err := harness.Root()
	if err != nil {
		t.Fatal(err)
	}
	return filepath.Join(root, "docs", "connect", name)
}
