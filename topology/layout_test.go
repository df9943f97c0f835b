package topology

import (
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"trunkline/event"
)

func testLayout() Layout {
	return Layout{
		Partitions: 12, Replication: 3, MinISR: 2, RawRetention: 7 * 24 * time.Hour, DedupWindow: 48 * time.Hour,
		Tenants: []Tenant{
			{ID: "acme", Vendors: []string{Genesys, CXone}, Class: HighValue, Partitions: 8},
			{ID: "globex", Vendors: []string{CXone}, Class: Standard, Partitions: 4},
		},
	}
}

// TestLayoutTopics holds what is true of every topic and tells the rest one by
// one.
func TestLayoutTopics(t *testing.T) {
	topics := testLayout().Topics()
	legal := regexp.MustCompile(`^[a-zA-Z0-9._-]{1,249}$`)
	byName := map[string]Topic{}
	for _, topic := range topics {
		if _, twice := byName[topic.Name]; twice {
			t.Errorf("%s stands twice", topic.Name)
		}
		byName[topic.Name] = topic
		if vendor, raw := VendorOf(topic.Name); raw != strings.HasPrefix(topic.Name, "raw.") || raw && string(RawTopic(vendor)) != topic.Name {
			t.Errorf("%s is the raw topic of %q: %v", topic.Name, vendor, raw)
		}
		if !legal.MatchString(topic.Name) {
			t.Errorf("%q is no topic name", topic.Name)
		}
		for name, want := range map[string]string{
			"message.timestamp.type": "LogAppendTime", "min.insync.replicas": "2",
			"unclean.leader.election.enable": "false", "max.message.bytes": strconv.Itoa(MaxRecordBytes),
		} {
			if got := topic.Config[name]; got != want {
				t.Errorf("%s: %s: got %q, want %q", topic.Name, name, got, want)
			}
		}
		if topic.Replication != 3 {
			t.Errorf("%s: got replication %d, want 3", topic.Name, topic.Replication)
		}
		bus := strings.HasPrefix(topic.Name, "ccaaus.events.")
		if !bus && topic.Partitions != 12 {
			t.Errorf("%s: got %d partitions, want those of the layout", topic.Name, topic.Partitions)
		}
		policy := topic.Config["cleanup.policy"]
		if _, kept := topic.Config["retention.ms"]; kept != strings.Contains(policy, "delete") {
			t.Errorf("%s: cleanup.policy %q with retention %q", topic.Name, policy, topic.Config["retention.ms"])
		}
		// Time alone decides: a broker's default in bytes would drop what is unread.
		if got := topic.Config["retention.bytes"]; strings.Contains(policy, "delete") != (got == "-1") {
			t.Errorf("%s: cleanup.policy %q with retention.bytes %q", topic.Name, policy, got)
		}
	}
	if !slices.IsSortedFunc(topics, func(a, b Topic) int { return strings.Compare(a.Name, b.Name) }) {
		t.Error("topics are not sorted by name")
	}

	days := func(n int) string { return strconv.Itoa(n * 86_400_000) }
	tests := []struct {
		name, policy string
		setting      string
		want         string
	}{
		{"raw.genesys", "delete", "retention.ms", days(7)},
		{"raw.cxone", "delete", "retention.ms", days(7)},
		{"events", "delete", "retention.ms", days(7)},
		{"normalise-loop", "delete", "retention.ms", days(7)},
		{"normalise-table", "compact,delete", "retention.ms", days(4)},
		{"entity-table", "compact", "retention.ms", ""},
		{"dead-letters", "delete", "retention.ms", days(30)},
		{"late-events", "delete", "retention.ms", days(30)},
		{"redrives", "delete", "retention.ms", days(60)},
		{"fates", "delete", "retention.ms", days(7)},
		{"quarantine", "compact,delete", "retention.ms", days(2)},
		{"positions", "compact", "retention.ms", ""},
		{"drift", "compact,delete", "retention.ms", days(180)},
		{"genesys.config.changes", "compact", "min.compaction.lag.ms", days(7)},
		{"genesys.interaction.changes", "compact", "min.compaction.lag.ms", days(7)},
		{"cxone.config.changes", "compact", "min.compaction.lag.ms", days(7)},
		{"cxone.interaction.changes", "compact", "min.compaction.lag.ms", days(7)},
		{"ccaaus.events.genesys.acme", "delete", "retention.ms", "604800000"},
		{"ccaaus.events.cxone.acme", "delete", "retention.ms", "604800000"},
		{"ccaaus.events.cxone.globex", "delete", "retention.ms", "259200000"},
	}
	for _, tt := range tests {
		topic, ok := byName[tt.name]
		if !ok {
			t.Errorf("%s is missing", tt.name)
			continue
		}
		if got := topic.Config["cleanup.policy"]; got != tt.policy {
			t.Errorf("%s: got cleanup.policy %q, want %q", tt.name, got, tt.policy)
		}
		if got := topic.Config[tt.setting]; got != tt.want {
			t.Errorf("%s: got %s %q, want %q", tt.name, tt.setting, got, tt.want)
		}
	}
	if len(topics) != len(tests) {
		t.Errorf("got %d topics, want %d", len(topics), len(tests))
	}
	if got := byName["ccaaus.events.genesys.acme"].Partitions; got != 8 {
		t.Errorf("bus topic: got %d partitions, want the tenant's 8", got)
	}
	with := testLayout()
	with.SeedProjection = true
	added := slices.DeleteFunc(with.Topics(), func(t Topic) bool { _, ok := byName[t.Name]; return ok })
	want := byName["genesys.config.changes"]
	want.Name = "genesys.config.seed"
	if diff := cmp.Diff([]Topic{want}, added); diff != "" {
		t.Errorf("topics of the projection (-want +got):\n%s", diff)
	}
	if SeenTable != "normalise-table" || EntityTable != "entity-table" {
		t.Error("tables do not follow goka's naming")
	}
}

// TestOutputsStand holds that whatever a record may be sent to was set up.
func TestOutputsStand(t *testing.T) {
	l := testLayout()
	var names []string
	for _, topic := range l.Topics() {
		names = append(names, topic.Name)
	}
	for _, vendor := range Vendors {
		for _, typ := range []string{"user", event.TypeConversation} {
			if got := ChangeTopic(event.Key{Vendor: vendor, Type: typ}); !slices.Contains(names, got) {
				t.Errorf("%s is missing", got)
			}
		}
		for _, tenant := range []string{"acme", "globex", "unknown"} {
			if got, want := slices.Contains(names, CanonicalTopic(vendor, tenant)), l.Serves(vendor, tenant); got != want {
				t.Errorf("%s of %s: topic stands: %v, tenant is served: %v", tenant, vendor, got, want)
			}
		}
	}
}
