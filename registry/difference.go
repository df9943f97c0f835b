package registry

import (
	"bytes"
	"encoding/json"
	"fmt"
	"maps"
	"slices"
)

// Difference is a place where our text and the registry's newest version say
// different things. White space and the order of attributes say nothing: a registry
// may give a schema back in another form.
type Difference struct {
	Path     string          `json:"path"`               // fields and symbols by their names
	Registry json.RawMessage `json:"registry,omitempty"` // absent: only we have it
	Ours     json.RawMessage `json:"ours,omitempty"`     // absent: only the registry has it
}

// Differences compares our text with the registry's newest version, by path.
func (s Standing) Differences() ([]Difference, error) {
	if s.State == Unknown {
		return nil, nil
	}
	theirs, err := tree(s.Newest)
	if err != nil {
		return nil, fmt.Errorf("read version %d of %s: %w", s.Latest, s.Subject, err)
	}
	ours, err := tree(s.Text)
	if err != nil {
		return nil, fmt.Errorf("read the schema of %s: %w", s.Subject, err)
	}
	return differences("", theirs, ours), nil
}

func tree(text string) (v any, err error) {
	d := json.NewDecoder(bytes.NewReader([]byte(text)))
	d.UseNumber()
	err = d.Decode(&v)
	return v, err
}

func differences(path string, theirs, ours any) []Difference {
	t, tok := members(theirs)
	o, ook := members(ours)
	if !tok || !ook {
		if a, b := raw(theirs), raw(ours); !bytes.Equal(a, b) {
			return []Difference{{Path: path, Registry: a, Ours: b}}
		}
		return nil
	}
	names := maps.Clone(t)
	maps.Copy(names, o)
	var all []Difference
	for _, name := range slices.Sorted(maps.Keys(names)) {
		a, inTheirs := t[name]
		b, inOurs := o[name]
		switch {
		case !inOurs:
			all = append(all, Difference{Path: path + "/" + name, Registry: raw(a)})
		case !inTheirs:
			all = append(all, Difference{Path: path + "/" + name, Ours: raw(b)})
		default:
			all = append(all, differences(path+"/"+name, a, b)...)
		}
	}
	return all
}

// members are the parts of a value by their names: those of an object, and of a list
// of named objects, with their places. A union and a list of symbols have none.
func members(v any) (map[string]any, bool) {
	switch v := v.(type) {
	case map[string]any:
		return v, true
	case []any:
		m := map[string]any{}
		for _, e := range v {
			o, _ := e.(map[string]any)
			name, ok := o["name"].(string)
			if !ok {
				return nil, false
			}
			m[name] = e
		}
		return m, len(m) == len(v) && len(m) > 0
	}
	return nil, false
}

// raw is the JSON of a value, with the members of objects sorted.
func raw(v any) json.RawMessage {
	var b bytes.Buffer
	e := json.NewEncoder(&b)
	e.SetEscapeHTML(false)
	_ = e.Encode(v) // it came from JSON
	return bytes.TrimSpace(b.Bytes())
}
