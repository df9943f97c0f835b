package ingest

import (
	"fmt"
	"net/http"
	"path"
	"runtime"
	"runtime/debug"
	"strings"
	"time"

	"trunkline/topology"
)

// handler answers one request and writes nothing itself, so that an answer is
// whole or, after a panic, another one.
type handler func(w http.ResponseWriter, r *http.Request) *answer

// Handler returns the routes of the edge:
//
//	POST /v1/ingest/genesys/{tenant}/events
//	POST /v1/ingest/cxone/{tenant}/webhook
//	POST /cxone/webhook                     tenant by credential
//	GET  /healthz, /readyz
//
// It answers no 5xx but 503, no redirect, and never panics.
func (e *Edge) Handler() http.Handler {
	mux := http.NewServeMux()
	post := func(pattern, vendor string, h handler) {
		mux.Handle("POST "+pattern, e.serve(vendor, h))
		mux.Handle(pattern, e.serve(vendor, notAllowed("POST")))
	}
	post("/v1/ingest/genesys/{tenant}/events", topology.Genesys, e.receive(topology.Genesys))
	post("/v1/ingest/cxone/{tenant}/webhook", topology.CXone, e.receive(topology.CXone))
	post("/cxone/webhook", topology.CXone, e.receiveAny(topology.CXone))
	for pattern, h := range map[string]http.HandlerFunc{"/healthz": healthy, "/readyz": e.readiness} {
		mux.Handle("GET "+pattern, h)
		mux.Handle(pattern, e.serve("", notAllowed("GET, HEAD")))
	}
	lost := e.serve("", func(http.ResponseWriter, *http.Request) *answer { return refuse(NoRoute, "no such path") })
	mux.Handle("/", lost)

	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if !isClean(r.URL.EscapedPath()) {
			lost.ServeHTTP(w, r)
			return
		}
		mux.ServeHTTP(w, r)
	})
}

// isClean reports whether ServeMux takes the path as it is; it would answer any
// other with a redirect, which senders do not follow.
func isClean(p string) bool {
	clean := path.Clean(p)
	return strings.HasPrefix(p, "/") && (p == clean || clean != "/" && p == clean+"/")
}

func notAllowed(allow string) handler {
	return func(http.ResponseWriter, *http.Request) *answer {
		return &answer{outcome: MethodNotAllowed, allow: allow, detail: "method must be " + allow}
	}
}

// serve writes the answer of h. A panic is answered 503 and logged without its
// text, which could quote a payload (I10).
func (e *Edge) serve(vendor string, h handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		a := e.answer(h, w, r)
		var tenant string
		if s := e.senders[tenancy{vendor, r.PathValue("tenant")}]; s != nil {
			tenant = s.tenant
		}
		e.o.Answered(vendor, tenant, a.outcome)
		a.write(w, e.o.Random)
	})
}

func (e *Edge) answer(h handler, w http.ResponseWriter, r *http.Request) (a *answer) {
	defer func() {
		if p := recover(); p != nil {
			e.o.Logger.Error("panic while answering a delivery", "panic", describePanic(p), "stack", string(debug.Stack()))
			a = refuse(Panicked, "internal fault")
		}
	}()
	return h(w, r)
}

// describePanic names a panic: in full when the runtime raised it, for those
// texts hold only types and numbers, else by its type.
func describePanic(p any) string {
	if err, ok := p.(runtime.Error); ok {
		return err.Error()
	}
	return fmt.Sprintf("panic of type %T", p)
}

func healthy(w http.ResponseWriter, _ *http.Request) {
	writeState(w, http.StatusOK, "ok", nil)
}

// readiness answers 503 with the reasons why not.
func (e *Edge) readiness(w http.ResponseWriter, r *http.Request) {
	if reasons := e.Ready(r.Context()); len(reasons) > 0 {
		writeState(w, http.StatusServiceUnavailable, "not ready", reasons)
		return
	}
	writeState(w, http.StatusOK, "ready", nil)
}

func writeState(w http.ResponseWriter, status int, state string, reasons []string) {
	writeJSON(w, status, struct {
		Status  string   `json:"status"`
		Reasons []string `json:"reasons,omitempty"`
	}{state, reasons})
}

// NewHTTPServer returns a server with limits that keep slow and hostile senders
// from holding it. The caller sets its address and logger and runs it.
func NewHTTPServer(h http.Handler) *http.Server {
	return &http.Server{
		Handler:           h,
		ReadHeaderTimeout: 5 * time.Second,
		ReadTimeout:       15 * time.Second,
		WriteTimeout:      30 * time.Second,
		IdleTimeout:       time.Minute,
		MaxHeaderBytes:    32 << 10,
	}
}
