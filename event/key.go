package event

import (
	"fmt"
	"net/url"
	"strings"
)

// Key is the identity of one entity: a configuration resource, a conversation,
// an agent's state. Ids repeat between vendors and between tenants, so both are
// part of it everywhere.
type Key struct {
	Vendor string // "genesys", "cxone"
	Tenant string // from the path or the credential, never from a payload (I9)
	Type   string // resource type in lower snake case: "user", "queue", "conversation"
	ID     string // the vendor's id, any bytes
}

// Interaction reports whether the entity lives on {vendor}.interaction.changes
// (conversations, agent states, queue memberships) rather than on the
// configuration change topic.
func (k Key) Interaction() bool {
	switch k.Type {
	case TypeConversation, TypeAgentState, TypeQueueMembership:
		return true
	}
	return false
}

// Entity types that are no configuration resources.
const (
	TypeConversation    = "conversation"
	TypeAgentState      = "agent_state"
	TypeQueueMembership = "queue_membership"
)

// String is the entity key `vendor/tenant/type/id`, each part percent-encoded
// for `/`, `#`, `%` and control bytes. It is the partition key of every record
// of the entity and the key of its row.
func (k Key) String() string {
	return escape(k.Vendor) + "/" + escape(k.Tenant) + "/" + escape(k.Type) + "/" + escape(k.ID)
}

// ParseKey reads what [Key.String] wrote.
func ParseKey(s string) (Key, error) {
	parts := strings.Split(s, "/")
	if len(parts) != 4 {
		return Key{}, fmt.Errorf("parse entity key %q: want vendor/tenant/type/id, got %d parts", s, len(parts))
	}
	for i, p := range parts {
		u, err := url.PathUnescape(p)
		if err != nil {
			return Key{}, fmt.Errorf("parse entity key %q: %w", s, err)
		}
		parts[i] = u
	}
	return Key{Vendor: parts[0], Tenant: parts[1], Type: parts[2], ID: parts[3]}, nil
}

// Unkeyed is the key of bytes in which no entity can be found: it is unique by
// ingest id, so such records spread over the partitions.
func Unkeyed(vendor, tenant, ingestID string) Key {
	return Key{Vendor: vendor, Tenant: tenant, Type: "-", ID: ingestID}
}

// RecordKey is the key of a raw record and of its dedup row:
// `entity key#event_id`. Only the part before the first `#` decides the
// partition, so all events of an entity share one.
func RecordKey(k Key, eventID string) string {
	return k.String() + "#" + eventID
}

// PartitionKey is the part of a record key that decides the partition: all
// before the first `#`. An entity key is its own partition key.
func PartitionKey(recordKey string) string {
	entity, _, _ := strings.Cut(recordKey, "#")
	return entity
}

func escape(s string) string {
	if !strings.ContainsFunc(s, mustEscape) {
		return s
	}
	var b strings.Builder
	for i := range len(s) {
		if c := s[i]; mustEscape(rune(c)) {
			fmt.Fprintf(&b, "%%%02X", c)
		} else {
			b.WriteByte(c)
		}
	}
	return b.String()
}

func mustEscape(c rune) bool {
	return c < 0x20 || c == 0x7f || c == '/' || c == '#' || c == '%'
}
