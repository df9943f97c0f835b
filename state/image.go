package state

import (
	"bytes"
	"cmp"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/go-json-experiment/json/jsontext"
)

// mergeImage returns the image after an event: a full image replaces the row's,
// a partial one lays its members over it (a shallow merge). Both are canonical
// JSON objects and so is the result. An event without an image changes nothing.
func mergeImage(row, patch []byte, partial bool) ([]byte, error) {
	switch {
	case patch == nil && row == nil:
		return []byte("{}"), nil
	case patch == nil:
		return row, nil
	case !partial || row == nil:
		return patch, nil
	}
	merged, err := members(row)
	if err != nil {
		return nil, fmt.Errorf("read the row's image: %w", err)
	}
	over, err := members(patch)
	if err != nil {
		return nil, fmt.Errorf("read the event's image: %w", err)
	}
	maps.Copy(merged, over)

	out := make([]byte, 0, len(row)+len(patch))
	out = append(out, '{')
	for i, name := range slices.SortedFunc(maps.Keys(merged), byText) {
		if i > 0 {
			out = append(out, ',')
		}
		out = append(append(out, name...), ':')
		out = append(out, merged[name]...)
	}
	return append(out, '}'), nil
}

// byText orders quoted names as the mappers do: by the bytes of what they say,
// not of how they are written.
func byText(a, b string) int {
	return cmp.Or(strings.Compare(unquoted(a), unquoted(b)), strings.Compare(a, b))
}

func unquoted(name string) string {
	text, err := jsontext.AppendUnquote(nil, name)
	if err != nil && len(text) == 0 {
		return name
	}
	return string(text)
}

// members splits a JSON object into its members: quoted name → value, as they
// stand.
func members(object []byte) (map[string][]byte, error) {
	d := jsontext.NewDecoder(bytes.NewReader(object),
		jsontext.AllowInvalidUTF8(true), jsontext.AllowDuplicateNames(true)) // two lone surrogates would count as one name
	switch t, err := d.ReadToken(); {
	case err != nil:
		return nil, err
	case t.Kind() != '{':
		return nil, errors.New("want an object")
	}
	ms := map[string][]byte{}
	for d.PeekKind() == '"' {
		name, err := d.ReadValue()
		if err != nil {
			return nil, err
		}
		quoted := string(name)
		value, err := d.ReadValue()
		if err != nil {
			return nil, err
		}
		ms[quoted] = bytes.Clone(value)
	}
	if _, err := d.ReadToken(); err != nil {
		return nil, err
	}
	return ms, nil
}

// imageName is the `name` member of an image when it is a string.
func imageName(image []byte) *string {
	ms, err := members(image)
	if err != nil {
		return nil
	}
	quoted, ok := ms[`"name"`]
	if !ok || len(quoted) == 0 || quoted[0] != '"' {
		return nil
	}
	name := unquoted(string(quoted))
	return &name
}
