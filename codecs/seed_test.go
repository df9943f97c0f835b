package codecs_test

import (
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"trunkline/codecs"
	"trunkline/event"
)

// A reformatted text would be a new version at every registry.
func TestSeedSchemaStaysTheSame(t *testing.T) {
	_, value := codecs.SeedSchemas("genesys.config.seed")
	sum := sha256.Sum256([]byte(value))
	const want = "93feb490210cce566efcbe439100538253f61b203bd6cf19163d24c39386bf5a"
	if got := hex.EncodeToString(sum[:]); got != want {
		t.Errorf("schema text has sum %s, want %s", got, want)
	}
}

// The projection of Debezium's golden changes, and of one with every kind of member,
// as any reader of Avro decodes it. Seen failing with the processing time in ts_ms
// and with a delete without the members that it had.
func TestSeedProjection(t *testing.T) {
	_, ids, changes := goldenInputs(t)
	odd := changes["c"]
	odd.Key.ID = "nul\x00"
	odd.After = &event.Image{Data: []byte(`{"a":{"x":[1,"y"]},"big":9007199254740993.10,"d":null,"l":"\ud800","n":"\u0000","u":"😀"}`)}
	changes["odd"] = odd
	codec := newSeedCodec(t, ids)
	key, value := codecs.SeedSchemas("genesys.config.seed")
	var golden strings.Builder
	for _, name := range slices.Sorted(maps.Keys(changes)) {
		c := changes[name]
		k, err := codec.Key(c.Key)
		if err != nil {
			t.Fatal(err)
		}
		v, err := codec.Value(&c)
		if err != nil {
			t.Fatal(err)
		}
		line := map[string]any{"name": name}
		for what, read := range map[string]struct {
			schema string
			framed []byte
		}{"key": {key, k}, "value": {value, v}} {
			id, payload, err := codecs.Unframe(read.framed)
			if err != nil || id != 7 {
				t.Fatalf("%s %s is framed with id %d, %v, want 7", name, what, id, err)
			}
			line[what] = decode(t, read.schema, payload)
		}
		if got, err := codec.Decode(v); err != nil || !cmp.Equal(any(got), line["value"]) {
			t.Errorf("%s: decoded as %v, %v, want %v", name, got, err, line["value"])
		}
		text, err := json.Marshal(line)
		if err != nil {
			t.Fatal(err)
		}
		fmt.Fprintf(&golden, "%s\n", text)
	}
	checkGolden(t, "seed.jsonl", golden.String())
}

func newSeedCodec(t testing.TB, ids codecs.SchemaIDs) *codecs.SeedCodec {
	t.Helper()
	codec, err := codecs.NewSeedCodec("genesys.config.seed", ids)
	if err != nil {
		t.Fatal(err)
	}
	return codec
}
