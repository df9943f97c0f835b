package main

import (
	"bytes"
	"encoding/json"
	"fmt"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// hooks is a CXone that keeps webhooks.
type hooks struct {
	held   []map[string]any
	refuse int // the status of writes, if not 0
	writes int
}

// ServeHTTP implements [http.Handler].
func (h *hooks) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	switch {
	case r.URL.Path == "/authentication/v1/token/access-key":
		fmt.Fprint(w, `{"access_token":"hunter2-access","expires_in":3600}`)
	case r.Method == http.MethodGet:
		_ = json.NewEncoder(w).Encode(h.held)
	case h.refuse != 0:
		http.Error(w, `{"error":"access_denied"}`, h.refuse)
	default:
		h.writes++
		var sent map[string]any
		if err := json.NewDecoder(r.Body).Decode(&sent); err != nil {
			http.Error(w, err.Error(), http.StatusBadRequest)
			return
		}
		sent["id"] = fmt.Sprint("wh-", len(h.held)+1)
		h.held = append(h.held, sent)
		w.WriteHeader(http.StatusCreated)
		fmt.Fprintf(w, `{"id":%q}`, sent["id"])
	}
}

// TestRegister goes through the command as an operator does: look, do, do again,
// and every way in which it can end.
func TestRegister(t *testing.T) {
	vendor := &hooks{}
	server := httptest.NewServer(vendor)
	defer server.Close()
	gone := httptest.NewServer(vendor)
	gone.Close()

	config := filepath.Join(t.TempDir(), "trunkline.yaml")
	write := func(edge, api string) {
		t.Helper()
		tenant := func(id string) string {
			return fmt.Sprintf("- id: %s\n  vendors:\n    cxone: {tokens: [hunter2-%[1]s], registration: {name: hook %[1]s}, api: {url: %[2]s, access_key: {url: %[2]s, id: i, secret: hunter2}}}\n", id, api)
		}
		text := "kafka: {brokers: ['localhost:9092']}\nregistry: {url: 'http://localhost:8081'}\nedge: {" + edge + "}\ntenants:\n" + tenant("acme") + tenant("beta")
		if err := os.WriteFile(config, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	const public = "public_url: 'https://edge.example'"
	tests := []struct {
		name      string
		edge, api string
		args      string
		refuse    int
		code      int
		stdout    string // a part
		stderr    string // a part
		held      int
	}{
		{"dry run", public, server.URL, "register cxone", 0, 0, `cxone, tenant acme: no registration "hook acme"
  + name                   hook acme
  + url                    https://edge.example/v1/ingest/cxone/acme/webhook
  + events                 CALL_STARTED
  + events                 CALL_ENDED
  + events                 QUEUE_ENTERED
  + events                 AGENT_ASSIGNED
  + authentication.type    bearer
  + authentication.token   [redacted]
  + retryPolicy.maxRetries 5
  + retryPolicy.backoffMs  1000
dry run: --execute would create it
cxone, tenant beta: no`, "", 0},
		{"refused", public, server.URL, "register cxone --execute", 403, 1, "", "trunkline: cxone, tenant acme: create registration: answered 403, access_denied: the credential lacks the scope webhook:manage", 0},
		{"one tenant", public, server.URL, "register cxone --tenant acme --execute", 0, 0, "done: created\n", "", 1},
		{"the other", public, server.URL, "register cxone --execute", 0, 0, "in order: nothing to do\ncxone, tenant beta: registration \"hook beta\" (wh-2)\n", "", 2},
		{"again", public, server.URL, "register cxone --execute", 0, 0, "in order: nothing to do\n", "", 2},
		{"as JSON", public, server.URL, "register cxone --tenant acme --json", 0, 0,
			`{"vendor":"cxone","tenant":"acme","executed":false,"action":"none","name":"hook acme","id":"wh-1","conflict":false,"lines":[{"mark":"keep","field":"name","value":"hook acme"},`, "", 2},
		{"moved", "public_url: 'https://new.example/in'", server.URL, "register cxone --tenant acme", 0, 0,
			"  - url                    https://edge.example/v1/ingest/cxone/acme/webhook\n  + url                    https://new.example/in/v1/ingest/cxone/acme/webhook\n", "", 2},
		{"a conflict", "public_url: 'https://new.example/in'", server.URL, "register cxone --tenant acme", 0, 0,
			"conflict: the registration of this name delivers to another URL; if it is another deployment's, use another registration.name\ndry run: --execute would update it\n", "", 2},
		{"no public URL", "", server.URL, "register cxone --execute", 0, 2, "", "edge.public_url: is missing", 2},
		{"no such tenant", public, server.URL, "register cxone --tenant gamma", 0, 2, "", `tenants: none is "gamma" and has the vendor cxone`, 2},
		{"no such vendor", public, server.URL, "register avaya", 0, 2, "", `vendor "avaya" is unknown; use one of [genesys cxone]`, 2},
		{"no vendor", public, server.URL, "register", 0, 2, "", "got 0 arguments, want 1", 2},
		{"a flag of the other vendor", public, server.URL, "register genesys --send-token", 0, 2, "", "--send-token is for cxone", 2},
		{"nobody there", public, gone.URL, "register cxone --tenant acme", 0, 3, "", "cxone, tenant acme: list registrations: vendor cannot be reached: ", 2},
	}
	for _, tt := range tests {
		write(tt.edge, tt.api)
		vendor.refuse = tt.refuse
		var stdout, stderr bytes.Buffer
		code := execute(t.Context(), append(strings.Fields(tt.args), "--config", config), &stdout, &stderr)
		if code != tt.code || !strings.Contains(stdout.String(), tt.stdout) || !strings.Contains(stderr.String(), tt.stderr) {
			t.Errorf("%s: exit code %d, want %d; stdout\n%s\nwants\n%s\nstderr\n%s\nwants\n%s", tt.name, code, tt.code, &stdout, tt.stdout, &stderr, tt.stderr)
		}
		if said := stdout.String() + stderr.String(); strings.Contains(said, "hunter2") {
			t.Errorf("%s: a secret is told: %s", tt.name, said)
		}
		if len(vendor.held) != tt.held || vendor.writes != tt.held {
			t.Errorf("%s: the vendor holds %v after %d writes, want %d", tt.name, vendor.held, vendor.writes, tt.held)
		}
	}
}
