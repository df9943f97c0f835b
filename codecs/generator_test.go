package codecs_test

import (
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"strings"

	"trunkline/event"
)

// generator draws events and changes with the odd contents that vendors send.
type generator struct{ *rand.Rand }

func newGenerator(seed uint64) generator {
	return generator{rand.New(rand.NewPCG(seed, 1))}
}

var oddPieces = []string{
	"", "a", "Ann", "é", "😀", "\u2028", "\x00", "\x1f", "\x7f", "\"", `\`, `\u0000`, `\ud800`, "/", "#", "\n",
	"\uFFFD", "\xff", "\xed\xa0\x80", "9007199254740993",
}

// text draws any bytes at all.
func (g generator) text() string {
	var b strings.Builder
	for range g.IntN(5) {
		b.WriteString(oddPieces[g.IntN(len(oddPieces))])
	}
	return b.String()
}

// jsonString draws a JSON string, with escapes that Go's own encoder never
// writes.
func (g generator) jsonString() string {
	escapes := []string{
		`a`, `\u0000`, `\ud800`, `\udc00`, `\ud83d\ude00`, `\ud83d\ud83d\ude00`, `\\u0000`, `\\\u0000`, `\\\\ud800`,
		`\n`, `\"`, `\/`, `é`, "\u2028", "😀", `\uD800`, `\uDE00`, `\u00000`, `\ufffd`, `\u2028`,
	}
	var b strings.Builder
	for range g.IntN(6) {
		b.WriteString(escapes[g.IntN(len(escapes))])
	}
	return `"` + b.String() + `"`
}

// image draws a canonical JSON object.
func (g generator) image() []byte {
	values := []func() string{
		g.jsonString,
		func() string { return "9007199254740993" },
		func() string { return "1.50e+3" },
		func() string { return "null" },
		func() string { return "true" },
		func() string { return `{"x":[` + g.jsonString() + `,1]}` },
	}
	var members []string
	for i := range g.IntN(6) {
		members = append(members, fmt.Sprintf(`"m%d":%s`, i, values[g.IntN(len(values))]()))
	}
	return []byte("{" + strings.Join(members, ",") + "}")
}

func (g generator) position() event.Position {
	return event.Position{Topic: "raw.genesys", Partition: g.Int32N(64), Offset: g.Int64N(1 << 62)}
}

func (g generator) key() event.Key {
	types := []string{"user", "queue", event.TypeConversation, g.text()}
	return event.Key{Vendor: "genesys", Tenant: "acme" + g.text(), Type: types[g.IntN(len(types))], ID: g.text()}
}

func (g generator) changeImage() *event.Image {
	i := &event.Image{}
	if g.IntN(4) > 0 {
		i.Data = g.image()
	}
	if g.IntN(2) > 0 {
		name := g.text()
		i.Name = &name
	}
	if g.IntN(2) > 0 {
		version := g.Int64() - g.Int64()
		i.Version = &version
	}
	return i
}

func (g generator) change() event.Change {
	c := event.Change{
		Key:       g.key(),
		Op:        []event.Op{event.Create, event.Update, event.Delete, event.Read}[g.IntN(4)],
		TsMs:      g.Int64N(1 << 43),
		Processed: g.Int64N(1 << 62),
		Snapshot:  []string{"false", "incremental"}[g.IntN(2)],
		EventID:   g.text(), EventType: g.text(),
		SequenceUs: g.Int64N(1 << 53), SequenceN: g.Int64N(1 << 20),
	}
	if g.IntN(8) > 0 {
		c.Raw = g.position()
	}
	if c.Op == event.Update || c.Op == event.Delete {
		c.Before = g.changeImage()
	}
	if c.Op != event.Delete {
		c.After = g.changeImage()
	}
	return c
}

func (g generator) event() event.Event {
	e := event.Event{
		ID: g.text(), Key: g.key(), Type: g.text(),
		Op:       []event.Op{event.Create, event.Update, event.Delete, event.Read, event.OpNone}[g.IntN(5)],
		TsMs:     g.Int64() - g.Int64(),
		TsSource: event.TsEnvelope,
		Partial:  g.IntN(2) > 0,
		Origin: event.Origin{
			IngestID: g.text(), Transport: event.Push, Format: event.GenesysSeed, ReceivedMs: g.Int64(),
			Raw: g.position(), LogSource: "raw.genesys/3", LogMs: g.Int64(),
		},
	}
	if g.IntN(4) == 0 {
		e.Origin.Lineage = event.Lineage{Root: g.text(), Attempts: g.Int(), FirstSeenMs: g.Int64()}
	}
	if g.IntN(2) > 0 {
		e.Version = event.Version{N: g.Int64N(3), Known: true}
	}
	if g.IntN(4) > 0 {
		e.Image = g.image()
	}
	for range g.IntN(4) {
		if e.Metadata == nil {
			e.Metadata = map[string]string{}
		}
		e.Metadata["x_"+g.text()] = g.text()
	}
	e.Origin.Raw.AppendMs = g.Int64()
	return e
}

// plain is the independent reading of a JSON text in which U+0000 and whatever
// is no character became U+FFFD.
func plain(text []byte) (any, error) {
	var v any
	err := json.Unmarshal(text, &v)
	return plainValue(v), err
}

func plainValue(v any) any {
	switch v := v.(type) {
	case string:
		return strings.ReplaceAll(v, "\x00", "\uFFFD")
	case []any:
		for i := range v {
			v[i] = plainValue(v[i])
		}
	case map[string]any:
		for k := range v {
			v[k] = plainValue(v[k])
		}
	}
	return v
}
