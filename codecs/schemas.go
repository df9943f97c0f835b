// Package codecs holds the bytes on the wire: the registry's framing, the
// canonical event (Avro), the Debezium change (Avro and JSON) and its projection
// (Avro), dead letters and late events (headers), fates (JSON) and the working event of the topology's
// own topic (msgp). All encoders are safe for concurrent use.
package codecs

import (
	_ "embed"
	"fmt"
	"strings"
	"sync"

	"github.com/linkedin/goavro/v2"
)

// The schema texts. They are embedded and never reformatted: a registry takes
// another text for another version.
var (
	//go:embed schemas/canonical.avsc
	canonicalSchema string
	//go:embed schemas/change_key.avsc
	changeKeySchema string
	//go:embed schemas/change_value.avsc
	changeValueSchema string
	//go:embed schemas/seed_value.avsc
	seedValueSchema string
	//go:embed schemas/change_key.connect.json
	changeKeyConnect string
	//go:embed schemas/change_value.connect.json
	changeValueConnect string
)

// The topic and the connector that the embedded change schemas were made with.
const (
	embeddedTopic     = "genesys.config.changes"
	embeddedConnector = "genesyscloud"
	connectorPackage  = "io.debezium.connector."
)

// CanonicalSchema is the Avro schema text of CanonicalCcaaEvent, as guide 2
// writes it. Register this text.
func CanonicalSchema() string { return canonicalSchema }

// Connector is the name of the vendor's connector in `source.connector` and in
// the name of the source schema.
func Connector(vendor string) (string, error) {
	switch vendor {
	case "genesys":
		return "genesyscloud", nil
	case "cxone":
		return "cxone", nil
	}
	return "", fmt.Errorf("find connector: vendor %q has none", vendor)
}

// ChangeSchemas returns the Avro schema texts of a change topic, byte for byte
// what Debezium's Avro converter registers. Register these texts under
// `{topic}-key` and `{topic}-value`.
func ChangeSchemas(topic, connector string) (key, value string) {
	r := changeNames(topic, connector)
	return r.Replace(changeKeySchema), r.Replace(changeValueSchema)
}

// SeedSchemas returns the Avro schema texts of the projection of guide 1: the key
// of a change topic, and GenesysConfigChange. The guide's text is not valid Avro:
// where it says struct stand records, which need names, and the map's values,
// `object`, are texts. Register these texts under `{topic}-key` and
// `{topic}-value`.
func SeedSchemas(topic string) (key, value string) {
	return changeNames(topic, embeddedConnector).Replace(changeKeySchema), seedValueSchema
}

// connectSchemas returns the schemas that JsonConverter writes into every
// record of the topic.
func connectSchemas(topic, connector string) (key, value string) {
	r := changeNames(topic, connector)
	return r.Replace(changeKeyConnect), r.Replace(changeValueConnect)
}

func changeNames(topic, connector string) *strings.Replacer {
	return strings.NewReplacer(
		embeddedTopic, schemaName(topic),
		connectorPackage+embeddedConnector, connectorPackage+connector,
	)
}

// schemaName makes an Avro name of a topic: a topic may hold `-` and parts that
// start with a digit, a name may not. Debezium's schema name adjustment puts
// underscores in the same way.
func schemaName(topic string) string {
	name := []byte(topic)
	for i, c := range name {
		letter := 'a' <= c|0x20 && c|0x20 <= 'z' || c == '_'
		digit := '0' <= c && c <= '9'
		first := i == 0 || name[i-1] == '.'
		if !letter && (c != '.' || first) && (!digit || first) {
			name[i] = '_'
		}
	}
	if n := len(name); n > 0 && name[n-1] == '.' {
		name[n-1] = '_'
	}
	return string(name)
}

// limitAvro lowers goavro's limits, which are global: with its own, a map that
// announces 2^31 entries in six bytes ends the process.
var limitAvro = sync.OnceFunc(func() {
	goavro.MaxBlockCount = 10_000
	goavro.MaxBlockSize = 1 << 20
})

func newAvro(schema string) (*goavro.Codec, error) {
	limitAvro()
	c, err := goavro.NewCodec(schema)
	if err != nil {
		return nil, fmt.Errorf("parse avro schema: %w", err)
	}
	return c, nil
}
