package app

import (
	"strings"
	"testing"
)

// TestReconcileConfig reads every field of reconciliation and shows that each fault names
// its field and the cure.
func TestReconcileConfig(t *testing.T) {
	const api = "tokens: [x], api: {url: 'https://api.example'}, reconcile: "
	tests := []struct {
		name, vendor, fields string
		want                 []string // parts of the error; none: no error
	}{
		{"least", "genesys", api + "{}", nil},
		{"most of genesys", "genesys", api + "{every: 1m, retry_window: 10s, mode: async, services: [Directory, Routing]}", nil},
		{"most of cxone", "cxone", api + "{every: 1m, retry_window: 10s, lists: [agents/skills, contacts/active]}", nil},
		{"no URL", "genesys", "tokens: [x], reconcile: {}", []string{"genesys.api.url: is empty; reconcile calls the vendor there"}},
		{"negative", "genesys", api + "{every: -1s, retry_window: -1s}", []string{"reconcile.every: -1s is not between", "reconcile.retry_window: -1s is negative"}},
		{"rare", "genesys", api + "{every: 25h}", []string{"reconcile.every: 25h0m0s is not between 0 and half of dedup_window 48h0m0s"}},
		{"mode", "genesys", api + "{mode: slow}", []string{`reconcile.mode: "slow" is unknown; use realtime or async`}},
		{"lists of genesys", "genesys", api + "{lists: [agents]}", []string{"reconcile.lists: are those of cxone; name services"}},
		{"services of cxone", "cxone", api + "{services: [Routing]}", []string{"reconcile: has services or mode, which are those of genesys; name lists"}},
		{"list", "cxone", api + "{lists: [teams]}", []string{`reconcile.lists: "teams" is unknown; use some of`, "contacts/completed"}},
		{"twice", "genesys", api + "{services: [Routing, Routing]}", []string{"reconcile.services: one is empty or stands twice; leave it out"}},
		{"empty", "cxone", api + "{lists: ['']}", []string{"reconcile.lists: one is empty or stands twice"}},
		{"misspelt", "cxone", api + "{interval: 1m}", []string{"interval"}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			text := strings.Replace(edgeConfig("", "", tt.fields), "cxone: {", tt.vendor+": {", 1)
			_, err := parseConfig([]byte(text))
			if (err != nil) != (len(tt.want) > 0) {
				t.Fatalf("got error %v, want parts %q", err, tt.want)
			}
			for _, part := range tt.want {
				if !strings.Contains(err.Error(), part) {
					t.Errorf("error %q lacks %q", err, part)
				}
			}
		})
	}
}
