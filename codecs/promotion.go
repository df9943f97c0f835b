package codecs

import (
	"encoding/json"
	"errors"
	"fmt"
	"reflect"
	"regexp"
	"slices"
	"strings"

	"github.com/go-json-experiment/json/jsontext"

	"trunkline/event"
)

// Promotion is a field that the canonical schema has beside those of guide 2: text
// or null, filled from the metadata of the event. The schema names the source, so
// that the registry is the only place where a promotion stands.
type Promotion struct {
	Name   string `json:"name"`
	Source string `json:"source"` // its key in the metadata, such as x_queueName
}

// sourceProperty is the property of a promoted field that names its source.
const sourceProperty = "trunkline.source"

// of is the field's value for an event: as in the payload a string as its
// characters and anything else as its JSON text, but null is null.
func (p Promotion) of(metadata map[string]string) *string {
	text, ok := metadata[p.Source]
	switch {
	case !ok, text == "null":
		return nil
	case strings.HasPrefix(text, `"`):
		// An error tells of a lone surrogate, which is U+FFFD then.
		unquoted, _ := jsontext.AppendUnquote(nil, text)
		text = string(unquoted)
	}
	return &text
}

// PromotionName is the name of a promoted field: its path in lower snake case. It is
// empty where none can be made of it.
func PromotionName(source string) string {
	var name []byte
	var before rune
	for _, r := range strings.TrimPrefix(source, event.UnknownPrefix) {
		upper := 'A' <= r && r <= 'Z'
		digit := '0' <= r && r <= '9'
		if upper && ('a' <= before && before <= 'z' || '0' <= before && before <= '9') {
			name = append(name, '_')
		}
		before = r
		switch {
		case upper:
			name = append(name, byte(r-'A'+'a'))
		case digit, 'a' <= r && r <= 'z':
			name = append(name, byte(r))
		case len(name) > 0 && name[len(name)-1] != '_':
			name = append(name, '_')
		}
	}
	text := strings.Trim(string(name), "_")
	if !promotionName.MatchString(text) {
		return ""
	}
	return text
}

var promotionName = regexp.MustCompile(`^[a-z_][a-z0-9_]*$`)

// Validate says what is wrong with the field itself.
func (p Promotion) Validate() error {
	if !promotionName.MatchString(p.Name) {
		return fmt.Errorf("name: %q is no name in lower snake case, such as queue_name", p.Name)
	}
	if len(p.Source) <= len(event.UnknownPrefix) || !strings.HasPrefix(p.Source, event.UnknownPrefix) || p.Source == event.UnknownOverflow {
		return fmt.Errorf("field: %q is no unknown field; `trunkline schema drift` lists them", p.Source)
	}
	return nil
}

// CheckPromotions says what is wrong with fields that are to stand together: a name
// that is taken, or a source that has a field.
func CheckPromotions(promoted []Promotion) error {
	names := map[string]string{}
	for _, name := range []string{"event_id", "vendor", "tenant_id", "timestamp", "event_type", "payload", "metadata"} {
		names[name] = "a field of its own"
	}
	sources := map[string]string{}
	for _, p := range promoted {
		if err := p.Validate(); err != nil {
			return err
		}
		if by, taken := names[p.Name]; taken {
			return fmt.Errorf("name: the canonical event has %q already, for %s; give another with --name", p.Name, by)
		}
		if by, taken := sources[p.Source]; taken {
			return fmt.Errorf("field: %s is promoted already, as %q", p.Source, by)
		}
		names[p.Name], sources[p.Source] = p.Source, p.Name
	}
	return nil
}

// Promote returns [CanonicalSchema] with promoted fields at its end. The same fields
// give the same bytes.
func Promote(promoted []Promotion) (string, error) {
	const end = "\n]\n}"
	text, ok := strings.CutSuffix(canonicalSchema, end)
	if !ok {
		return "", errors.New("promote: the canonical schema does not end as expected")
	}
	if err := CheckPromotions(promoted); err != nil {
		return "", err
	}
	for _, p := range promoted {
		source, err := json.Marshal(p.Source)
		if err != nil {
			return "", fmt.Errorf("field: %w", err)
		}
		text += fmt.Sprintf(",\n{\"name\": %q, \"type\": [\"null\", \"string\"], \"default\": null, %q: %s}", p.Name, sourceProperty, source)
	}
	return text + end, nil
}

// Promotions returns the fields that a schema has beside those of [CanonicalSchema],
// in their order. The error tells of a schema that is not the canonical one with
// promoted fields alone.
func Promotions(schema string) ([]Promotion, error) {
	if schema == canonicalSchema {
		return nil, nil
	}
	var known, other map[string]any
	if err := json.Unmarshal([]byte(schema), &other); err != nil {
		return nil, fmt.Errorf("read the canonical schema: %w", err)
	}
	if err := json.Unmarshal([]byte(canonicalSchema), &known); err != nil {
		return nil, fmt.Errorf("read the canonical schema: %w", err)
	}
	missing, _ := known["fields"].([]any)
	fields, _ := other["fields"].([]any)
	var promoted []Promotion
	for _, f := range fields {
		same := func(k any) bool { return reflect.DeepEqual(k, f) }
		if i := slices.IndexFunc(missing, same); i >= 0 {
			missing = slices.Delete(missing, i, i+1)
			continue
		}
		o, _ := f.(map[string]any)
		name, _ := o["name"].(string)
		source, _ := o[sourceProperty].(string)
		p := Promotion{Name: name, Source: source}
		form := map[string]any{"name": name, "type": []any{"null", "string"}, "default": nil, sourceProperty: source}
		if !reflect.DeepEqual(o, form) || p.Validate() != nil {
			return nil, fmt.Errorf("read the canonical schema: field %q is neither known nor promoted", name)
		}
		promoted = append(promoted, p)
	}
	delete(known, "fields")
	delete(other, "fields")
	if err := CheckPromotions(promoted); err != nil {
		return nil, fmt.Errorf("read the canonical schema: %w", err)
	}
	if len(missing) > 0 || !reflect.DeepEqual(known, other) {
		return nil, errors.New("read the canonical schema: it lacks what the known one has, or has another name")
	}
	return promoted, nil
}
