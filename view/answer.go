package view

import (
	"bytes"
	"encoding/json"
	"fmt"
	"net/http"
	"strconv"
	"time"
)

// headerWatermark carries the event time that the answer's table has reached.
const headerWatermark = "X-Watermark"

// retryAfter is how long a client shall wait for a table that catches up, in
// seconds.
const retryAfter = 1

// rfc3339 formats epoch ms in UTC with milliseconds.
func rfc3339(ms int64) string { return time.UnixMilli(ms).UTC().Format("2006-01-02T15:04:05.000Z") }

// refusal is the body of every answer that is not what was asked for.
type refusal struct {
	Error   string `json:"error"`
	Message string `json:"message"`
}

// write answers with v. A value that is no JSON, which only a damaged row can
// hold, is unavailable; the encoder's error would quote it (I10).
func (a *API) write(w http.ResponseWriter, status int, v any) {
	body, err := encode(v)
	if err != nil {
		a.logger.Error("encode answer", "type", fmt.Sprintf("%T", v), "error", "its image is no JSON")
		unavailable(w, "unavailable", "the row could not be read: retry")
		return
	}
	send(w, status, body)
}

// encode is JSON as it stands in an image: `<`, `>` and `&` stay themselves.
func encode(v any) ([]byte, error) {
	var b bytes.Buffer
	e := json.NewEncoder(&b)
	e.SetEscapeHTML(false)
	if err := e.Encode(v); err != nil {
		return nil, err
	}
	return b.Bytes(), nil
}

func send(w http.ResponseWriter, status int, body []byte) {
	h := w.Header()
	h.Set("Content-Type", "application/json; charset=utf-8")
	h.Set("Content-Length", strconv.Itoa(len(body)))
	h.Set("Cache-Control", "no-store")
	h.Set("X-Content-Type-Options", "nosniff")
	w.WriteHeader(status)
	_, _ = w.Write(body) // a reader that left needs no answer
}

func refuse(w http.ResponseWriter, status int, code, message string) {
	body, _ := encode(refusal{code, message}) // cannot fail: two strings
	send(w, status, body)
}

// notFound is one answer for everything that is not there for this reader:
// absent, deleted, unknown or foreign.
func notFound(w http.ResponseWriter) {
	refuse(w, http.StatusNotFound, "not_found", "there is no such resource")
}

func unavailable(w http.ResponseWriter, code, message string) {
	w.Header().Set("Retry-After", strconv.Itoa(retryAfter))
	refuse(w, http.StatusServiceUnavailable, code, message)
}
