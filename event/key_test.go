package event

import (
	"math/rand/v2"
	"strings"
	"testing"
)

// randomText is bytes of every kind, most of all those that keys escape.
func randomText(g *rand.Rand) string {
	var b strings.Builder
	for range g.IntN(8) {
		switch g.IntN(4) {
		case 0:
			b.WriteByte("/#%\x00\x1f\x7f%F"[g.IntN(8)])
		case 1:
			b.WriteByte(byte(g.Uint32()))
		case 2:
			b.WriteString([]string{"ü", "😀", "%2F", "%00", "é"}[g.IntN(5)])
		default:
			b.WriteByte('a' + byte(g.IntN(26)))
		}
	}
	return b.String()
}

// TestKeyRoundtrip holds that a key is read as it was written whatever its
// bytes, and that no event id moves a record away from its entity.
func TestKeyRoundtrip(t *testing.T) {
	g := rand.New(rand.NewPCG(1, 1))
	for range 5000 {
		k := Key{Vendor: randomText(g), Tenant: randomText(g), Type: randomText(g), ID: randomText(g)}
		if got, err := ParseKey(k.String()); err != nil || got != k {
			t.Fatalf("ParseKey(%q): got %+v, %v, want %+v", k.String(), got, err, k)
		}
		if strings.ContainsFunc(k.String(), func(c rune) bool { return c < 0x20 || c == 0x7f || c == '#' }) {
			t.Fatalf("%q holds what a key must escape", k.String())
		}
		id := randomText(g)
		if got := PartitionKey(RecordKey(k, id)); got != k.String() {
			t.Fatalf("PartitionKey of %q with event id %q: got %q", k.String(), id, got)
		}
		if got := PartitionKey(k.String()); got != k.String() {
			t.Fatalf("PartitionKey(%q): got %q", k.String(), got)
		}
	}
}

func TestKeyString(t *testing.T) {
	tests := []struct {
		key  Key
		want string
	}{
		{Key{"genesys", "acme", "user", "u-1"}, "genesys/acme/user/u-1"},
		{Key{"cxone", "a/b", "queue", "100%#1"}, "cxone/a%2Fb/queue/100%25%231"},
		{Key{"cxone", "acme", "user", "\x00\n\x7f"}, "cxone/acme/user/%00%0A%7F"},
		{Key{"cxone", "acme", "user", "ü\xff"}, "cxone/acme/user/ü\xff"},
		{Key{}, "///"},
		{Unkeyed("genesys", "acme", "0197-x/3"), "genesys/acme/-/0197-x%2F3"},
	}
	for _, tt := range tests {
		if got := tt.key.String(); got != tt.want {
			t.Errorf("got %q, want %q", got, tt.want)
		}
	}
}

func TestParseKeyRefuses(t *testing.T) {
	for _, s := range []string{
		"", "a/b/c", "a/b/c/d/e", "a/b/c/%", "a/b/c/%2", "a/b/c/%2g", "a/b/c/%g2", "a/b/c/% 1", "a/b/c/%+1", "a/%/c/d",
	} {
		if got, err := ParseKey(s); err == nil {
			t.Errorf("ParseKey(%q): got %+v, want an error", s, got)
		}
	}
}

// FuzzParseKey holds that a key that parses is written back as one that parses
// to itself.
func FuzzParseKey(f *testing.F) {
	for _, s := range []string{"genesys/acme/user/u-1", "a/b/c/%2F%23%25%00", "a/b/c/%", "///", "a/b/c/%c3%28", "a/b/c/\xff"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		k, err := ParseKey(s)
		if err != nil {
			return
		}
		if again, err := ParseKey(k.String()); err != nil || again != k {
			t.Errorf("%q: got %+v, %v, want %+v", s, again, err, k)
		}
	})
}

func TestInteraction(t *testing.T) {
	for typ, want := range map[string]bool{
		TypeConversation: true, TypeAgentState: true, TypeQueueMembership: true, "user": false, "queue": false, "": false, "-": false,
	} {
		if got := (Key{Type: typ}).Interaction(); got != want {
			t.Errorf("%q: got %v, want %v", typ, got, want)
		}
	}
}
