package embedded

import (
	"context"
	"encoding/json"
	"fmt"
	"maps"
	"net/http"
	"slices"
	"strings"
	"sync"

	"trunkline/codecs/avro"
)

// subjects are the schemas of the registry: what its topic holds, in memory. A
// schema is its text: the same bytes have the same id in every subject, other
// white space is another schema.
type subjects struct {
	append func(ctx context.Context, key schemaKey, value any) error

	mu     sync.RWMutex
	all    map[string][]schemaVersion // by subject, in order of version
	levels map[string]avro.Level      // of subjects that have their own
	global avro.Level
	ids    map[string]int // by text
	texts  map[int]string // by id
	lastID int
}

// schemaVersion is a schema in a subject, as the API shows it.
type schemaVersion struct {
	Subject string `json:"subject"`
	Version int    `json:"version"`
	ID      int    `json:"id"`
	Schema  string `json:"schema"`
}

func newSubjects(write func(context.Context, schemaKey, any) error) *subjects {
	return &subjects{
		append: write,
		all:    make(map[string][]schemaVersion),
		levels: make(map[string]avro.Level),
		global: avro.Backward, // Confluent's default
		ids:    make(map[string]int),
		texts:  make(map[int]string),
	}
}

// apply takes over a record of the topic.
func (s *subjects) apply(key, value []byte) error {
	var k schemaKey
	if err := json.Unmarshal(key, &k); err != nil {
		return fmt.Errorf("decode schema key: %w", err)
	}
	switch k.Type {
	case schemaKeyType:
		var v schemaValue
		if value == nil {
			return nil
		}
		if err := json.Unmarshal(value, &v); err != nil {
			return fmt.Errorf("decode schema: %w", err)
		}
		s.put(schemaVersion{Subject: v.Subject, Version: v.Version, ID: v.ID, Schema: v.Schema})
	case configKeyType:
		var v configValue
		if value != nil {
			if err := json.Unmarshal(value, &v); err != nil {
				return fmt.Errorf("decode compatibility level: %w", err)
			}
		}
		s.putLevel(k.Subject, v.Level)
	}
	return nil
}

func (s *subjects) put(v schemaVersion) {
	versions := s.all[v.Subject]
	i, found := slices.BinarySearchFunc(versions, v.Version, func(w schemaVersion, n int) int { return w.Version - n })
	if found {
		versions[i] = v
	} else {
		s.all[v.Subject] = slices.Insert(versions, i, v)
	}
	s.ids[v.Schema] = v.ID
	s.texts[v.ID] = v.Schema
	s.lastID = max(s.lastID, v.ID)
}

func (s *subjects) putLevel(subject *string, level avro.Level) {
	switch {
	case subject == nil && level != "":
		s.global = level
	case subject == nil:
		s.global = avro.Backward
	case level != "":
		s.levels[*subject] = level
	default:
		delete(s.levels, *subject)
	}
}

// register returns the version of the text in the subject; a new one it checks
// and adds.
func (s *subjects) register(ctx context.Context, subject, text string) (schemaVersion, error) {
	schema, err := avro.Parse(text)
	if err != nil {
		return schemaVersion{}, errInvalidSchema(err)
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	versions := s.all[subject]
	if v, ok := find(versions, text); ok {
		return v, nil
	}
	faults, err := faultsAgainst(s.levelOf(subject), schema, versions)
	if err != nil {
		return schemaVersion{}, err
	}
	if len(faults) > 0 {
		return schemaVersion{}, &registryError{http.StatusConflict, http.StatusConflict, fmt.Sprintf(
			"schema being registered is incompatible with an earlier schema for subject %q: %s; compatibility level %s",
			subject, strings.Join(faults, "; "), s.levelOf(subject))}
	}
	v := schemaVersion{Subject: subject, Version: 1, ID: s.ids[text], Schema: text}
	if n := len(versions); n > 0 {
		v.Version = versions[n-1].Version + 1
	}
	if v.ID == 0 {
		v.ID = s.lastID + 1
	}
	err = s.append(ctx, schemaKey{Type: schemaKeyType, Subject: &subject, Version: v.Version, Magic: 1},
		schemaValue{Subject: subject, Version: v.Version, ID: v.ID, Schema: text})
	if err != nil {
		return schemaVersion{}, err
	}
	s.put(v)
	return v, nil
}

// faultsAgainst returns why a schema breaks the level against the older versions.
func faultsAgainst(level avro.Level, schema *avro.Schema, older []schemaVersion) ([]string, error) {
	if n := len(older); n > 0 && !level.Transitive() {
		older = older[n-1:]
	}
	var faults []string
	for _, v := range older {
		o, err := avro.Parse(v.Schema)
		if err != nil {
			return nil, fmt.Errorf("parse version %d of %s: %w", v.Version, v.Subject, err)
		}
		for _, f := range level.Check(schema, o) {
			faults = append(faults, fmt.Sprintf("version %d: %s", v.Version, f))
		}
	}
	return faults, nil
}

// check returns why the text could not follow the chosen versions of the subject.
func (s *subjects) check(subject, text string, choose func([]schemaVersion) ([]schemaVersion, error)) ([]string, error) {
	schema, err := avro.Parse(text)
	if err != nil {
		return nil, errInvalidSchema(err)
	}
	s.mu.RLock()
	defer s.mu.RUnlock()
	versions, err := choose(s.all[subject])
	if err != nil {
		return nil, err
	}
	return faultsAgainst(s.levelOf(subject), schema, versions)
}

// lookup returns the version of the text in the subject.
func (s *subjects) lookup(subject, text string) (schemaVersion, error) {
	if _, err := avro.Parse(text); err != nil {
		return schemaVersion{}, errInvalidSchema(err)
	}
	versions, err := s.versions(subject)
	if err != nil {
		return schemaVersion{}, err
	}
	if v, ok := find(versions, text); ok {
		return v, nil
	}
	return schemaVersion{}, &registryError{http.StatusNotFound, 40403, "schema not found"}
}

// versions returns the versions of a subject; a subject has at least one.
func (s *subjects) versions(subject string) ([]schemaVersion, error) {
	s.mu.RLock()
	defer s.mu.RUnlock()
	versions := slices.Clone(s.all[subject])
	if len(versions) == 0 {
		return nil, &registryError{http.StatusNotFound, 40401, fmt.Sprintf("subject %q not found", subject)}
	}
	return versions, nil
}

// list returns every version of every subject, sorted.
func (s *subjects) list() []schemaVersion {
	s.mu.RLock()
	defer s.mu.RUnlock()
	all := []schemaVersion{}
	for _, subject := range slices.Sorted(maps.Keys(s.all)) {
		all = append(all, s.all[subject]...)
	}
	return all
}

// text returns the schema of an id.
func (s *subjects) text(id int) (string, error) {
	s.mu.RLock()
	defer s.mu.RUnlock()
	text, ok := s.texts[id]
	if !ok {
		return "", &registryError{http.StatusNotFound, 40403, fmt.Sprintf("schema %d not found", id)}
	}
	return text, nil
}

// level returns the level of a subject and whether it is its own; nil stands for
// the global one.
func (s *subjects) level(subject *string) (level avro.Level, own bool) {
	s.mu.RLock()
	defer s.mu.RUnlock()
	if subject == nil {
		return s.global, true
	}
	_, own = s.levels[*subject]
	return s.levelOf(*subject), own
}

// setLevel sets the level of a subject, or the global one for nil; an empty level
// takes it back.
func (s *subjects) setLevel(ctx context.Context, subject *string, level avro.Level) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	var value any
	if level != "" {
		value = configValue{Level: level}
	}
	if err := s.append(ctx, schemaKey{Type: configKeyType, Subject: subject}, value); err != nil {
		return err
	}
	s.putLevel(subject, level)
	return nil
}

func (s *subjects) levelOf(subject string) avro.Level {
	if level, ok := s.levels[subject]; ok {
		return level
	}
	return s.global
}

func find(versions []schemaVersion, text string) (schemaVersion, bool) {
	i := slices.IndexFunc(versions, func(v schemaVersion) bool { return v.Schema == text })
	if i < 0 {
		return schemaVersion{}, false
	}
	return versions[i], true
}
