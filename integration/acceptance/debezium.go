package acceptance

import (
	"bytes"
	"encoding/json"
	"strings"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kgo"

	"trunkline/codecs"
	"trunkline/event"
	"trunkline/integration/harness"
	"trunkline/topology"
)

// verdict is what Verify.java found.
type verdict struct {
	Violations int
	Records    map[string]int // by op
	said       string
}

// verify has Debezium check every record of the topics, of all change topics when
// none is named.
func (d *deployment) verify(topics ...string) (v verdict) {
	d.t.Helper()
	jars := harness.Tools(d.t, "debezium") + "/*:" + harness.Tools(d.t, "avro") + "/*"
	// Debezium's tests name classes of a registry that are not there, and must then
	// not be verified.
	cmd := d.java(append([]string{
		"-Xmx512m", "-Duse.apicurio=true", "-XX:+UnlockDiagnosticVMOptions", "-XX:-BytecodeVerificationRemote",
		"-Dorg.slf4j.simpleLogger.defaultLogLevel=error", "-cp", jars, "Verify.java", d.file,
	}, topics...)...)
	var said bytes.Buffer
	cmd.Stderr = &said
	out, err := cmd.Output()
	lines := bytes.Split(bytes.TrimSpace(out), []byte("\n"))
	if err == nil {
		err = json.Unmarshal(lines[len(lines)-1], &v)
	}
	if err != nil {
		d.t.Fatalf("Verify.java: %v\n%s", err, said.Bytes())
	}
	v.said = said.String()
	return v
}

// verifyForged shows that Debezium's checks see what they are there for: one record
// of five is a change.
func (d *deployment) verifyForged() {
	d.t.Helper()
	const topic = "forged"
	client, err := kgo.NewClient(kgo.SeedBrokers(strings.Split(d.env["KAFKA"], ",")...))
	if err != nil {
		d.t.Fatal(err)
	}
	defer client.Close()
	if _, err := kadm.NewClient(client).CreateTopic(d.t.Context(), 1, -1, nil, topic); err != nil {
		d.t.Fatal(err)
	}
	e, err := codecs.NewChangeEncoder(codecs.ChangeOptions{Topic: topic, Vendor: topology.Genesys, Format: codecs.FormatJSON})
	if err != nil {
		d.t.Fatal(err)
	}
	k := event.Key{Vendor: topology.Genesys, Tenant: "acme", Type: "user", ID: "u-1"}
	key, err := e.Key(k)
	if err != nil {
		d.t.Fatal(err)
	}
	created, _, err := e.Value(&event.Change{Key: k, Op: event.Create, After: &event.Image{Data: []byte("{}")}})
	if err != nil {
		d.t.Fatal(err)
	}
	forged := func(old, spoilt string) *kgo.Record {
		return &kgo.Record{Topic: topic, Key: key, Value: []byte(strings.Replace(string(created), old, spoilt, 1))}
	}
	records := []*kgo.Record{
		forged("", ""),
		forged(`"op":"c"`, `"op":"d"`), // with an after and no before
		forged(`"op":"c"`, `"op":"x"`),
		forged(`"connector":"genesyscloud"`, `"connector":null`),
		{Topic: topic, Value: created}, // without a key
	}
	if err := client.ProduceSync(d.t.Context(), records...).FirstErr(); err != nil {
		d.t.Fatal(err)
	}
	if v := d.verify(topic); v.Violations != len(records)-1 {
		d.t.Errorf("Debezium's checks: %d violations of %d forged records:\n%s", v.Violations, len(records)-1, v.said)
	}
}
