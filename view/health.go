package view

import (
	_ "embed"
	"net/http"
	"strconv"
)

// The states of a table.
const (
	running    = "running"
	catchingUp = "catching_up"
)

type tableList struct {
	Tables []tableState `json:"tables"`
}

type tableState struct {
	Name      string `json:"name"`
	State     string `json:"state"`
	Watermark string `json:"watermark"`
}

func (a *API) listTables(w http.ResponseWriter, _ *http.Request) {
	var list tableList
	for _, t := range a.tables {
		s := tableState{Name: t.name, State: running}
		if t.ready() != nil {
			s.State = catchingUp
		}
		s.Watermark = rfc3339(t.watermark.Ms())
		list.Tables = append(list.Tables, s)
	}
	a.write(w, http.StatusOK, list)
}

// probe is the answer of the probes.
type probe struct {
	Status  string   `json:"status"`
	Reasons []string `json:"reasons,omitempty"`
}

// health says that the process lives, whatever its tables do.
func (a *API) health(w http.ResponseWriter, _ *http.Request) {
	a.write(w, http.StatusOK, probe{Status: "ok"})
}

// readiness says whether every table has caught up, and if not, which and why.
func (a *API) readiness(w http.ResponseWriter, _ *http.Request) {
	var reasons []string
	for _, t := range a.tables {
		if err := t.ready(); err != nil {
			reasons = append(reasons, err.Error())
		}
	}
	if reasons != nil {
		w.Header().Set("Retry-After", strconv.Itoa(retryAfter))
		a.write(w, http.StatusServiceUnavailable, probe{Status: "not_ready", Reasons: reasons})
		return
	}
	a.write(w, http.StatusOK, probe{Status: "ready"})
}

// openAPI describes the routes; a test compares the two.
//
//go:embed openapi.json
var openAPI []byte

func (a *API) document(w http.ResponseWriter, _ *http.Request) {
	send(w, http.StatusOK, openAPI)
}
