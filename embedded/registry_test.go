package embedded

import (
	"context"
	"encoding/json"
	"errors"
	"io"
	"net/http"
	"os"
	"strings"
	"syscall"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/twmb/franz-go/pkg/sr"
)

func startTestRegistry(t *testing.T, b *Broker) (*Registry, *sr.Client) {
	t.Helper()
	r, err := StartRegistry(testContext(t), RegistryConfig{Addr: "127.0.0.1:0", Kafka: []string{b.Addr()}})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := r.Close(); err != nil {
			t.Error(err)
		}
	})
	client, err := sr.NewClient(sr.URLs(r.URL()))
	if err != nil {
		t.Fatal(err)
	}
	return r, client
}

func create(t *testing.T, c *sr.Client, subject, text string) sr.SubjectSchema {
	t.Helper()
	s, err := c.CreateSchema(testContext(t), subject, sr.Schema{Schema: text})
	if err != nil {
		t.Fatalf("create %s: %v", subject, err)
	}
	return s
}

func setLevel(t *testing.T, c *sr.Client, level sr.CompatibilityLevel, subjects ...string) {
	t.Helper()
	for _, r := range c.SetCompatibility(testContext(t), sr.SetCompatibility{Level: level}, subjects...) {
		if r.Err != nil {
			t.Fatal(r.Err)
		}
	}
}

// canonicalEvent is the schema of guide 2.
var canonicalEvent = func() string {
	text, err := os.ReadFile("../codecs/schemas/canonical.avsc")
	if err != nil {
		panic(err)
	}
	return string(text)
}()

// promotedEvent is canonicalEvent with a field that drift promoted.
var promotedEvent = strings.Replace(canonicalEvent, `{"name": "metadata"`,
	`{"name": "queue", "type": ["null", "string"], "default": null}, {"name": "metadata"`, 1)

func recordOf(fields string) string { return `{"type":"record","name":"R","fields":[` + fields + `]}` }

const (
	subjectA = "ccaaus.events.genesys.acme-value"
	subjectB = "ccaaus.events.cxone.a/c%me#1-value"
)

// The same bytes have one id in every subject, come back as they were, and both
// survive a restart.
func TestRegistryKeepsSchemas(t *testing.T) {
	dir := t.TempDir()
	b := startTestBroker(t, dir)
	_, c := startTestRegistry(t, b)
	setLevel(t, c, sr.CompatFull, subjectA, subjectB)
	first := create(t, c, subjectA, canonicalEvent)
	again := create(t, c, subjectA, canonicalEvent)
	other := create(t, c, subjectB, canonicalEvent)
	// <, & and line separators are what JSON encoders like to rewrite.
	odd := strings.Replace(promotedEvent, `"default": null`, "\"doc\": \"<a> & \u2028 'b'\",\t\"default\" :null", 1)
	second := create(t, c, subjectA, odd)

	for _, tt := range []struct {
		name        string
		got         sr.SubjectSchema
		version, id int
		text        string
	}{
		{"first", first, 1, 1, canonicalEvent},
		{"again", again, 1, 1, canonicalEvent},
		{"other subject", other, 1, 1, canonicalEvent},
		{"second", second, 2, 2, odd},
	} {
		if tt.got.Version != tt.version || tt.got.ID != tt.id || tt.got.Schema.Schema != tt.text {
			t.Errorf("%s: got version %d, id %d, text %q", tt.name, tt.got.Version, tt.got.ID, tt.got.Schema.Schema)
		}
	}

	before := dump(t, c)
	_, reopened := startTestRegistry(t, b)
	if diff := cmp.Diff(before, dump(t, reopened)); diff != "" {
		t.Errorf("another registry on the topic: %s", diff)
	}
	b = startTestBroker(t, copyDir(t, dir))
	_, killed := startTestRegistry(t, b)
	if diff := cmp.Diff(before, dump(t, killed)); diff != "" {
		t.Errorf("after a kill: %s", diff)
	}
	if got := create(t, killed, "new", `"string"`); got.ID != 3 {
		t.Errorf("got id %d for the first schema after the restart, want 3", got.ID)
	}
}

// dump is all that a registry tells about its schemas.
func dump(t *testing.T, c *sr.Client) map[string]any {
	t.Helper()
	ctx := testContext(t)
	all := make(map[string]any)
	subjects, err := c.Subjects(ctx)
	if err != nil {
		t.Fatal(err)
	}
	all["subjects"] = subjects
	for _, s := range subjects {
		schemas, err := c.Schemas(ctx, s)
		if err != nil {
			t.Fatal(err)
		}
		all[s] = schemas
		level := c.Compatibility(ctx, s)[0]
		all[s+" level"] = level.Level
		for _, v := range schemas {
			text, err := c.SchemaTextByID(ctx, v.ID)
			if err != nil || text != v.Schema.Schema {
				t.Errorf("got text %q, %v by id %d, want %q", text, err, v.ID, v.Schema.Schema)
			}
			byVersion, err := c.SchemaTextByVersion(ctx, s, v.Version)
			if err != nil || byVersion != v.Schema.Schema {
				t.Errorf("got text %q, %v by version, want %q", byVersion, err, v.Schema.Schema)
			}
			found, err := c.LookupSchema(ctx, s, v.Schema)
			if err != nil || found.ID != v.ID || found.Version != v.Version {
				t.Errorf("got %v, %v by lookup, want %v", found, err, v)
			}
		}
	}
	return all
}

// Each level looks at what it says, and a check answers as the registration
// would.
func TestRegistryLevels(t *testing.T) {
	b := startTestBroker(t, "")
	_, c := startTestRegistry(t, b)
	one := recordOf(`{"name":"a","type":"int"}`)
	two := recordOf(``)
	three := recordOf(`{"name":"a","type":"int","default":1}`)
	four := recordOf(`{"name":"a","type":"string","default":""}`)
	for _, tt := range []struct {
		level sr.CompatibilityLevel
		texts []string
		want  bool // of the last one
	}{
		{sr.CompatNone, []string{one, four}, true},
		{sr.CompatBackward, []string{one, two}, true},
		{sr.CompatBackward, []string{two, one}, false},
		{sr.CompatBackward, []string{one, two, four}, true},
		{sr.CompatBackwardTransitive, []string{one, two, four}, false},
		{sr.CompatForward, []string{one, two}, false},
		{sr.CompatForward, []string{two, one}, true},
		{sr.CompatForward, []string{three, two, four}, true},
		{sr.CompatForwardTransitive, []string{three, two, four}, false},
		{sr.CompatFull, []string{one, two}, false},
		{sr.CompatFull, []string{two, one}, false},
		{sr.CompatFull, []string{two, three}, true},
		{sr.CompatFull, []string{three, two, four}, true},
		{sr.CompatFullTransitive, []string{three, two, four}, false},
		{sr.CompatFull, []string{canonicalEvent, promotedEvent, canonicalEvent + "\n"}, true},
		{sr.CompatFull, []string{canonicalEvent, strings.Replace(canonicalEvent, `{"name": "vendor", "type": "string"},`, "", 1)}, false},
	} {
		subject := strings.ReplaceAll(t.Name()+tt.level.String()+strings.Join(tt.texts, ""), "\n", "")
		setLevel(t, c, tt.level, subject)
		last := len(tt.texts) - 1
		for _, text := range tt.texts[:last] {
			create(t, c, subject, text)
		}
		schema := sr.Schema{Schema: tt.texts[last]}
		check, err := c.CheckCompatibility(sr.WithParams(testContext(t), sr.Verbose), subject, -2, schema)
		if err != nil || check.Is != tt.want || (len(check.Messages) == 0) != tt.want {
			t.Errorf("%s %q: got check %v, %v, want %t", tt.level, tt.texts, check, err, tt.want)
		}
		_, err = c.CreateSchema(testContext(t), subject, schema)
		if tt.want {
			if err != nil {
				t.Errorf("%s %q: got %v", tt.level, tt.texts, err)
			}
			continue
		}
		var answer *sr.ResponseError
		if !errors.As(err, &answer) || answer.StatusCode != http.StatusConflict || answer.ErrorCode != 409 || len(answer.Message) < 50 {
			t.Errorf("%s %q: got %v, want 409 with a message", tt.level, tt.texts, err)
		}
	}
}

func TestRegistryConfig(t *testing.T) {
	b := startTestBroker(t, "")
	_, c := startTestRegistry(t, b)
	ctx := testContext(t)
	if got := c.Compatibility(ctx)[0]; got.Level != sr.CompatBackward || got.Err != nil {
		t.Errorf("got global level %v, want BACKWARD", got)
	}
	if got := c.Compatibility(ctx, "s")[0]; !isCode(got.Err, 40408) {
		t.Errorf("got %v for a subject without a level, want 40408", got.Err)
	}
	setLevel(t, c, sr.CompatForward)
	setLevel(t, c, sr.CompatFullTransitive, "s")
	_, reopened := startTestRegistry(t, b)
	for _, tt := range []struct {
		subject string
		want    sr.CompatibilityLevel
	}{{"", sr.CompatForward}, {"s", sr.CompatFullTransitive}, {"other", sr.CompatForward}} {
		got := reopened.Compatibility(sr.WithParams(ctx, sr.DefaultToGlobal), tt.subject)[0]
		if got.Level != tt.want || got.Err != nil {
			t.Errorf("%q: got level %v, %v, want %v", tt.subject, got.Level, got.Err, tt.want)
		}
	}
	if got := c.ResetCompatibility(ctx, "s")[0]; got.Level != sr.CompatFullTransitive || got.Err != nil {
		t.Errorf("got %v, want the level that was taken back", got)
	}
	_, reopened = startTestRegistry(t, b)
	if got := reopened.Compatibility(ctx, "s")[0]; !isCode(got.Err, 40408) {
		t.Errorf("got %v after the level was taken back, want 40408", got)
	}
}

func isCode(err error, code int) bool {
	var answer *sr.ResponseError
	return errors.As(err, &answer) && answer.ErrorCode == code
}

// Errors have Confluent's shape, status and codes.
func TestRegistryErrors(t *testing.T) {
	b := startTestBroker(t, "")
	r, c := startTestRegistry(t, b)
	create(t, c, "s", `"string"`)
	const (
		good    = `{"schema":"\"string\""}`
		another = `{"schema":"\"int\""}`
		invalid = `{"schema":"{\"type\":\"record\"}"}`
	)
	for _, tt := range []struct {
		method, path, body string
		status, code       int
	}{
		{"POST", "/subjects/s/versions", invalid, 422, 42201},
		{"POST", "/subjects/s/versions", `{"schema":"nonsense"}`, 422, 42201},
		{"POST", "/subjects/s/versions", `{}`, 422, 42201},
		{"POST", "/subjects/s/versions", `{"schema":"{}","schemaType":"JSON"}`, 422, 42201},
		{"POST", "/subjects/s/versions", `{"schema":"\"int\"","references":[{}]}`, 422, 42201},
		{"POST", "/subjects/s/versions", another, 409, 409},
		{"POST", "/subjects/s/versions", `{`, 400, 400},
		{"POST", "/subjects/s/versions", `{"schema":"` + strings.Repeat(" ", 9<<20) + `"}`, 413, 413},
		{"POST", "/subjects/s", another, 404, 40403},
		{"POST", "/subjects/s", invalid, 422, 42201},
		{"POST", "/subjects/unknown", good, 404, 40401},
		{"GET", "/subjects/unknown/versions", "", 404, 40401},
		{"GET", "/subjects/unknown/versions/1", "", 404, 40401},
		{"GET", "/subjects/s/versions/2", "", 404, 40402},
		{"GET", "/subjects/s/versions/0", "", 422, 42202},
		{"GET", "/subjects/s/versions/first", "", 422, 42202},
		{"GET", "/schemas/ids/99", "", 404, 40403},
		{"GET", "/schemas/ids/x", "", 404, 40403},
		{"PUT", "/config/s", `{"compatibility":"HALF"}`, 422, 42203},
		{"PUT", "/config", `{}`, 422, 42203},
		{"DELETE", "/config/s", "", 404, 40408},
		{"POST", "/compatibility/subjects/s/versions/2", good, 404, 40402},
		{"POST", "/compatibility/subjects/s/versions/latest", invalid, 422, 42201},
		{"GET", "/nowhere", "", 404, 404},

		{"GET", "/subjects/s/versions/latest", "", 200, 0},
		{"GET", "/subjects/s/versions/-1", "", 200, 0},
		{"POST", "/subjects/s", good, 200, 0},
		{"POST", "/compatibility/subjects/s/versions/latest", another, 200, 0},
		{"POST", "/compatibility/subjects/unknown/versions/latest", another, 200, 0},
		{"PUT", "/config/s", `{"compatibility":"full"}`, 200, 0},
		{"GET", "/mode", "", 200, 0},
		{"GET", "/schemas/types", "", 200, 0},
		{"GET", "/", "", 200, 0},
	} {
		status, body := callRegistry(t, tt.method, r.URL()+tt.path, tt.body)
		var answer struct {
			Code    int    `json:"error_code"`
			Message string `json:"message"`
		}
		if err := json.Unmarshal(body, &answer); err != nil && tt.code != 0 {
			t.Errorf("%s %s: got %q", tt.method, tt.path, body)
		}
		if status != tt.status || answer.Code != tt.code || (answer.Message == "") != (tt.code == 0) {
			t.Errorf("%s %s %.60s: got %d %s, want %d with code %d", tt.method, tt.path, tt.body, status, body, tt.status, tt.code)
		}
	}
}

func callRegistry(t *testing.T, method, url, body string) (int, []byte) {
	t.Helper()
	req, err := http.NewRequestWithContext(testContext(t), method, url, strings.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	data, err := io.ReadAll(resp.Body)
	if err != nil {
		t.Fatal(err)
	}
	return resp.StatusCode, data
}

// A schema that the broker does not take is not registered.
func TestRegistryWithoutBroker(t *testing.T) {
	b := startTestBroker(t, "")
	s := newSubjects(func(context.Context, schemaKey, any) error { return errors.New("broker is gone") })
	if _, err := s.register(t.Context(), "s", `"string"`); err == nil {
		t.Error("got no error")
	}
	if _, err := s.versions("s"); err == nil {
		t.Error("got a version of what was not written")
	}
	if _, err := StartRegistry(t.Context(), RegistryConfig{Addr: b.Addr(), Kafka: []string{b.Addr()}}); !errors.Is(err, syscall.EADDRINUSE) {
		t.Errorf("got %v on a port in use, want address in use", err)
	}
}
