package app

import (
	"cmp"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"os"

	"trunkline/codecs"
	"trunkline/registry"
)

// schemaIDsFile is where a data dir keeps the ids.
const schemaIDsFile = "schema-ids.json"

// schemaStore keeps the ids of the last start that reached the registry. An id is
// good for this text at this registry only; with it stand the fields that were
// promoted by then.
type schemaStore struct {
	path     string
	registry string // its address
}

// keptSchemas is the file.
type keptSchemas struct {
	Registry string                `json:"registry"`
	Schemas  map[string]keptSchema `json:"schemas"` // by subject
}

type keptSchema struct {
	ID       int    `json:"id"`
	SHA256   string `json:"sha256"`             // of the text that the id names
	Promoted string `json:"promoted,omitempty"` // that text, where it is ours with promoted fields
}

func sum(text string) string {
	s := sha256.Sum256([]byte(text))
	return hex.EncodeToString(s[:])
}

// keep replaces what is kept.
func (s schemaStore) keep(schemas []registry.Schema, ids schemaIDs) error {
	kept := keptSchemas{Registry: s.registry, Schemas: map[string]keptSchema{}}
	for _, schema := range schemas {
		kept.Schemas[schema.Subject] = keptSchema{
			ID: ids[schema.Subject].ID, Promoted: ids[schema.Subject].Promoted,
			SHA256: sum(cmp.Or(ids[schema.Subject].Promoted, schema.Text)),
		}
	}
	b, err := json.MarshalIndent(kept, "", "  ")
	if err != nil {
		return fmt.Errorf("encode schema ids: %w", err)
	}
	// A torn file would be no file: it waits for the registry.
	if err := os.WriteFile(s.path+".new", b, 0o600); err != nil {
		return fmt.Errorf("keep schema ids: %w", err)
	}
	if err := os.Rename(s.path+".new", s.path); err != nil {
		return fmt.Errorf("keep schema ids: %w", err)
	}
	return nil
}

// names reports whether the id names the schema, with promoted fields or without.
func (k keptSchema) names(s registry.Schema) bool {
	if k.Promoted == "" {
		return k.SHA256 == sum(s.Text)
	}
	_, err := codecs.Promotions(k.Promoted)
	return err == nil && s.Text == codecs.CanonicalSchema() && k.SHA256 == sum(k.Promoted)
}

// ids returns what is kept of the schemas, and the first subject of which nothing
// is.
func (s schemaStore) ids(schemas []registry.Schema) (ids schemaIDs, missing string) {
	var kept keptSchemas
	b, err := os.ReadFile(s.path)
	if err != nil || json.Unmarshal(b, &kept) != nil || kept.Registry != s.registry {
		kept = keptSchemas{}
	}
	ids = schemaIDs{}
	for _, schema := range schemas {
		k, ok := kept.Schemas[schema.Subject]
		if !ok || !k.names(schema) {
			return nil, schema.Subject
		}
		ids[schema.Subject] = Registered{ID: k.ID, Promoted: k.Promoted}
	}
	return ids, ""
}
