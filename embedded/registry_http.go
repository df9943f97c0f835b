package embedded

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"slices"
	"strconv"
	"strings"

	"trunkline/codecs/avro"
)

// registryError is an error as the API tells it
// (https://docs.confluent.io/platform/current/schema-registry/develop/api.html).
type registryError struct {
	status  int
	code    int
	message string
}

func (e *registryError) Error() string { return e.message }

func errInvalidSchema(err error) error {
	return &registryError{http.StatusUnprocessableEntity, 42201, "invalid Avro schema: " + err.Error()}
}

// registryAPI answers the requests; its methods return what becomes JSON, or a
// rawText.
type registryAPI struct{ subjects *subjects }

type rawText string

const maxSchemaBytes = 8 << 20

func registryHandler(s *subjects) http.Handler {
	a := registryAPI{subjects: s}
	mux := http.NewServeMux()
	for pattern, answer := range map[string]func(*http.Request) (any, error){
		"GET /{$}":           func(*http.Request) (any, error) { return struct{}{}, nil },
		"GET /mode":          a.mode,
		"GET /schemas":       a.schemas,
		"GET /schemas/types": func(*http.Request) (any, error) { return []string{"AVRO"}, nil },

		"GET /schemas/ids/{id}":          a.schemaByID,
		"GET /schemas/ids/{id}/schema":   a.textByID,
		"GET /schemas/ids/{id}/subjects": a.subjectsByID,
		"GET /schemas/ids/{id}/versions": a.versionsByID,

		"GET /subjects":                                     a.names,
		"POST /subjects/{subject}":                          a.lookup,
		"GET /subjects/{subject}/versions":                  a.versions,
		"POST /subjects/{subject}/versions":                 a.register,
		"GET /subjects/{subject}/versions/{version}":        a.version,
		"GET /subjects/{subject}/versions/{version}/schema": a.textByVersion,

		"GET /config":              a.globalLevel,
		"PUT /config":              a.setGlobalLevel,
		"DELETE /config":           a.resetGlobalLevel,
		"GET /config/{subject}":    a.level,
		"PUT /config/{subject}":    a.setLevel,
		"DELETE /config/{subject}": a.resetLevel,

		"POST /compatibility/subjects/{subject}/versions":           a.checkAll,
		"POST /compatibility/subjects/{subject}/versions/{version}": a.checkVersion,
	} {
		mux.HandleFunc(pattern, func(w http.ResponseWriter, r *http.Request) {
			r.Body = http.MaxBytesReader(w, r.Body, maxSchemaBytes)
			body, err := answer(r)
			respond(w, body, err)
		})
	}
	mux.HandleFunc("/", func(w http.ResponseWriter, _ *http.Request) {
		respond(w, nil, &registryError{http.StatusNotFound, http.StatusNotFound, "HTTP 404 Not Found"})
	})
	return mux
}

func respond(w http.ResponseWriter, body any, err error) {
	status := http.StatusOK
	if err != nil {
		e := &registryError{http.StatusInternalServerError, 50001, "error in the backend data store: " + fmt.Sprint(err)}
		errors.As(err, &e)
		status = e.status
		body = struct {
			Code    int    `json:"error_code"`
			Message string `json:"message"`
		}{e.code, e.message}
	}
	w.Header().Set("Content-Type", "application/vnd.schemaregistry.v1+json")
	w.WriteHeader(status)
	// A client that went away is no fault of ours.
	if text, ok := body.(rawText); ok {
		_, _ = io.WriteString(w, string(text))
		return
	}
	enc := json.NewEncoder(w)
	enc.SetEscapeHTML(false)
	_ = enc.Encode(body)
}

// schemaRequest is the body of requests that carry a schema.
type schemaRequest struct {
	Schema     string            `json:"schema"`
	Type       string            `json:"schemaType"`
	References []json.RawMessage `json:"references"`
}

func readSchema(r *http.Request) (string, error) {
	var req schemaRequest
	if err := readBody(r, &req); err != nil {
		return "", err
	}
	if req.Type != "" && req.Type != "AVRO" {
		return "", errInvalidSchema(fmt.Errorf("schema type %q: only AVRO is kept here", req.Type))
	}
	if len(req.References) > 0 {
		return "", errInvalidSchema(errors.New("schemas with references are not kept here"))
	}
	return req.Schema, nil
}

func readBody(r *http.Request, into any) error {
	err := json.NewDecoder(r.Body).Decode(into)
	if tooLarge := new(http.MaxBytesError); errors.As(err, &tooLarge) {
		return &registryError{http.StatusRequestEntityTooLarge, http.StatusRequestEntityTooLarge, "request is too large"}
	}
	if err != nil {
		return &registryError{http.StatusBadRequest, http.StatusBadRequest, "read request: " + err.Error()}
	}
	return nil
}

func (a registryAPI) mode(*http.Request) (any, error) {
	return map[string]string{"mode": "READWRITE"}, nil
}

func (a registryAPI) schemas(r *http.Request) (any, error) {
	prefix := r.URL.Query().Get("subjectPrefix")
	return slices.DeleteFunc(a.subjects.list(), func(v schemaVersion) bool {
		return !strings.HasPrefix(v.Subject, prefix)
	}), nil
}

func (a registryAPI) names(r *http.Request) (any, error) {
	prefix := r.URL.Query().Get("subjectPrefix")
	names := []string{}
	for _, v := range a.subjects.list() {
		if strings.HasPrefix(v.Subject, prefix) {
			names = append(names, v.Subject)
		}
	}
	return slices.Compact(names), nil
}

// withID returns the versions that have the id of the request.
func (a registryAPI) withID(r *http.Request) (text string, versions []schemaVersion, err error) {
	id, err := strconv.Atoi(r.PathValue("id"))
	if err != nil {
		return "", nil, &registryError{http.StatusNotFound, 40403, "schema not found"}
	}
	if text, err = a.subjects.text(id); err != nil {
		return "", nil, err
	}
	versions = slices.DeleteFunc(a.subjects.list(), func(v schemaVersion) bool { return v.ID != id })
	return text, versions, nil
}

func (a registryAPI) schemaByID(r *http.Request) (any, error) {
	text, _, err := a.withID(r)
	return map[string]string{"schema": text}, err
}

func (a registryAPI) textByID(r *http.Request) (any, error) {
	text, _, err := a.withID(r)
	return rawText(text), err
}

func (a registryAPI) subjectsByID(r *http.Request) (any, error) {
	_, versions, err := a.withID(r)
	names := []string{}
	for _, v := range versions {
		names = append(names, v.Subject)
	}
	return slices.Compact(names), err
}

func (a registryAPI) versionsByID(r *http.Request) (any, error) {
	type subjectVersion struct {
		Subject string `json:"subject"`
		Version int    `json:"version"`
	}
	_, versions, err := a.withID(r)
	list := []subjectVersion{}
	for _, v := range versions {
		list = append(list, subjectVersion{v.Subject, v.Version})
	}
	return list, err
}

func (a registryAPI) register(r *http.Request) (any, error) {
	text, err := readSchema(r)
	if err != nil {
		return nil, err
	}
	v, err := a.subjects.register(r.Context(), r.PathValue("subject"), text)
	return map[string]int{"id": v.ID}, err
}

func (a registryAPI) lookup(r *http.Request) (any, error) {
	text, err := readSchema(r)
	if err != nil {
		return nil, err
	}
	return a.subjects.lookup(r.PathValue("subject"), text)
}

func (a registryAPI) versions(r *http.Request) (any, error) {
	versions, err := a.subjects.versions(r.PathValue("subject"))
	numbers := []int{}
	for _, v := range versions {
		numbers = append(numbers, v.Version)
	}
	return numbers, err
}

func (a registryAPI) version(r *http.Request) (any, error) {
	return a.pathVersion(r)
}

func (a registryAPI) textByVersion(r *http.Request) (any, error) {
	v, err := a.pathVersion(r)
	return rawText(v.Schema), err
}

// pathVersion returns the version that the path names.
func (a registryAPI) pathVersion(r *http.Request) (schemaVersion, error) {
	number, err := versionNumber(r)
	if err != nil {
		return schemaVersion{}, err
	}
	versions, err := a.subjects.versions(r.PathValue("subject"))
	if err != nil {
		return schemaVersion{}, err
	}
	return pick(versions, number)
}

const latest = -1

// versionNumber returns the version of the path: latest, -1 or a number from 1.
func versionNumber(r *http.Request) (int, error) {
	text := r.PathValue("version")
	if text == "latest" {
		return latest, nil
	}
	n, err := strconv.Atoi(text)
	if err != nil || n < 1 && n != latest {
		return 0, &registryError{http.StatusUnprocessableEntity, 42202, fmt.Sprintf(
			"%q is not a valid version: allowed are numbers from 1 and %q", text, "latest")}
	}
	return n, nil
}

func pick(versions []schemaVersion, number int) (schemaVersion, error) {
	if number == latest && len(versions) > 0 {
		return versions[len(versions)-1], nil
	}
	for _, v := range versions {
		if v.Version == number {
			return v, nil
		}
	}
	return schemaVersion{}, &registryError{http.StatusNotFound, 40402, fmt.Sprintf("version %d not found", number)}
}

func (a registryAPI) globalLevel(*http.Request) (any, error) {
	level, _ := a.subjects.level(nil)
	return configValue{level}, nil
}

func (a registryAPI) level(r *http.Request) (any, error) {
	subject := r.PathValue("subject")
	level, own := a.subjects.level(&subject)
	if !own && r.URL.Query().Get("defaultToGlobal") != "true" {
		return nil, errNoLevel(subject)
	}
	return configValue{level}, nil
}

func errNoLevel(subject string) error {
	return &registryError{http.StatusNotFound, 40408, fmt.Sprintf("subject %q does not have subject-level compatibility configured", subject)}
}

// levelBody is a level as requests to set it name it.
type levelBody struct {
	Level avro.Level `json:"compatibility"`
}

func (a registryAPI) setGlobalLevel(r *http.Request) (any, error) { return a.putLevel(r, nil) }

func (a registryAPI) setLevel(r *http.Request) (any, error) {
	subject := r.PathValue("subject")
	return a.putLevel(r, &subject)
}

func (a registryAPI) putLevel(r *http.Request, subject *string) (any, error) {
	var body levelBody
	if err := readBody(r, &body); err != nil {
		return nil, err
	}
	body.Level = avro.Level(strings.ToUpper(string(body.Level)))
	if !body.Level.Valid() {
		return nil, &registryError{http.StatusUnprocessableEntity, 42203, fmt.Sprintf("invalid compatibility level %q", body.Level)}
	}
	return body, a.subjects.setLevel(r.Context(), subject, body.Level)
}

func (a registryAPI) resetGlobalLevel(r *http.Request) (any, error) {
	level, _ := a.subjects.level(nil)
	return levelBody{level}, a.subjects.setLevel(r.Context(), nil, "")
}

func (a registryAPI) resetLevel(r *http.Request) (any, error) {
	subject := r.PathValue("subject")
	level, own := a.subjects.level(&subject)
	if !own {
		return nil, errNoLevel(subject)
	}
	return levelBody{level}, a.subjects.setLevel(r.Context(), &subject, "")
}

// checkAll checks against the versions that a registration would be checked
// against; a subject without any takes everything.
func (a registryAPI) checkAll(r *http.Request) (any, error) {
	return a.check(r, func(all []schemaVersion) ([]schemaVersion, error) { return all, nil })
}

func (a registryAPI) checkVersion(r *http.Request) (any, error) {
	number, err := versionNumber(r)
	if err != nil {
		return nil, err
	}
	return a.check(r, func(all []schemaVersion) ([]schemaVersion, error) {
		if number == latest && len(all) == 0 {
			return nil, nil
		}
		v, err := pick(all, number)
		return []schemaVersion{v}, err
	})
}

func (a registryAPI) check(r *http.Request, choose func([]schemaVersion) ([]schemaVersion, error)) (any, error) {
	text, err := readSchema(r)
	if err != nil {
		return nil, err
	}
	faults, err := a.subjects.check(r.PathValue("subject"), text, choose)
	if err != nil {
		return nil, err
	}
	result := struct {
		Compatible bool     `json:"is_compatible"`
		Messages   []string `json:"messages,omitempty"`
	}{Compatible: len(faults) == 0}
	if r.URL.Query().Get("verbose") == "true" {
		result.Messages = faults
	}
	return result, nil
}
