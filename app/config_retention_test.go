package app

import (
	"strings"
	"testing"
	"time"
)

// An interaction must outlive the hold of its events; the error names the field and
// the cure.
//
// Seen failing without the check, and with a default that is left out.
func TestInteractionRetention(t *testing.T) {
	tests := []struct {
		yaml string
		want time.Duration
		err  string
	}{
		{"", 7 * 24 * time.Hour, ""},
		{"interaction_retention: 501ms", 501 * time.Millisecond, ""},
		{"interaction_retention: 500ms", 0, "interaction_retention: 500ms is not longer than events are held, 500ms"},
		{"interaction_retention: -1s", 0, "interaction_retention: -1s is negative"},
	}
	for _, tt := range tests {
		c, err := parseConfig([]byte(edgeConfig(tt.yaml, "", "tokens: [x]")))
		if tt.err != "" {
			if err == nil || !strings.Contains(err.Error(), tt.err) {
				t.Errorf("%s: got error %v, want %q", tt.yaml, err, tt.err)
			}
			continue
		}
		if err != nil {
			t.Fatal(err)
		}
		stages, err := StageConfig(c, nil)
		if err != nil {
			t.Fatal(err)
		}
		if got := stages.InteractionRetention; got != tt.want {
			t.Errorf("%s: got %s, want %s", tt.yaml, got, tt.want)
		}
	}
}
