package embedded

import (
	"bytes"
	"fmt"
	"io"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"time"

	"trunkline/event"
)

// streamNames are the steps of a conversation as the stream names them.
var streamNames = map[string]string{
	"customer.start": "conversation.started", "acd.start": "routing.queued", "acd.end": "conversation.dequeued",
	"user.start": "conversation.agent_assigned", "user.end": "conversation.agent_unassigned", "customer.end": "conversation.ended",
}

// onStream reports whether m is told by the stream: half of the conversations
// are, so that each is told by one way.
func onStream(m message) bool {
	return m.subject.key.Type == event.TypeConversation && m.subject.n%8 == 3 && streamName(m) != "" && m.raw == nil
}

func streamName(m message) string { return streamNames[m.action] }

func streamBody(m message) []byte {
	s := m.subject
	return fmt.Appendf(nil, `{"id":"%s","eventType":"%s","organizationId":"%s","conversationId":"%s","mediaType":"voice","ani":%s,"queueId":"%s","userId":"%[6]s","step":%d,"timestamp":"%s"}`,
		m.id, streamName(m), genesysOrganization, s.key.ID, quote(m.text), s.peer, s.revision, isoMillis(m.tsMs))
}

// streamed tells which events a call wants: of the topics that it names, which are
// the beginnings of event names; "interaction" is all of them.
func streamed(r *http.Request) func(entry) bool {
	topics := strings.Split(r.URL.Query().Get("topics"), ",")
	all := topics[0] == "" || slices.Contains(topics, "interaction")
	return func(e entry) bool {
		topic, _, _ := strings.Cut(e.event, ".")
		return e.streamed && (all || slices.Contains(topics, topic))
	}
}

// streamChunk bounds the events of one write.
const streamChunk = 100

// stream sends events for as long as the caller listens: those after the id that
// he names, from the oldest that is remembered when he names none. An id that is
// remembered no more is 410.
func (c *Cloud) stream(w http.ResponseWriter, r *http.Request) {
	next := c.log.oldest(c.cfg.Remembered)
	if id := r.Header.Get("Last-Event-ID"); id != "" {
		var ok bool
		if next, ok = c.log.after(id, c.cfg.Remembered); !ok {
			w.WriteHeader(http.StatusGone)
			return
		}
	}
	severed, wants := c.severed(), streamed(r)
	left, reset := c.nextCut()
	c.count(func(r *CloudReport) { r.Streams++; r.Reading++ })
	defer c.count(func(r *CloudReport) { r.Reading-- })
	w.Header().Set("Content-Type", "text/event-stream")
	w.Header().Set("Cache-Control", "no-store")
	text := []byte(": connected\nretry: 2000\n\n")
	heartbeat := time.NewTimer(c.cfg.Heartbeat) // since the last byte
	defer heartbeat.Stop()
	for {
		if left >= 0 && len(text) >= left {
			cut(w, text[:left], reset)
			return
		}
		left -= min(left+1, len(text)) // stays below 0 when there is no cut
		if len(text) > 0 {
			if _, err := w.Write(text); err != nil {
				return
			}
			_ = http.NewResponseController(w).Flush()
			heartbeat.Reset(c.cfg.Heartbeat)
		}

		entries, after, grown := c.log.from(next, streamChunk, wants)
		next, text = after, text[:0]
		for _, e := range entries {
			text = fmt.Appendf(text, "id: %s\nevent: %s\ndata: %s\n\n", c.log.id(e.n), e.event, e.body)
		}
		if len(entries) > 0 {
			continue
		}
		select {
		case <-grown:
		case <-heartbeat.C:
			if !c.Faults().Mute {
				text = append(text, ": hb\n\n"...)
			}
			heartbeat.Reset(c.cfg.Heartbeat)
		case <-severed:
			panic(http.ErrAbortHandler)
		case <-r.Context().Done():
			return
		}
	}
}

// cut sends the last bytes of a stream that is cut.
func cut(w io.Writer, text []byte, reset bool) {
	flusher, _ := w.(http.Flusher)
	_, _ = io.Copy(w, bytes.NewReader(text)) // the caller may be gone already
	flusher.Flush()
	if reset {
		panic(http.ErrAbortHandler)
	}
}

// maxPolled bounds the events of one page.
const maxPolled = 200

// events answers pages of what the stream tells: after an id, or since a time. It
// goes back further than the stream.
func (c *Cloud) events(w http.ResponseWriter, r *http.Request) {
	query, wants := r.URL.Query(), streamed(r)
	next := 0
	if id := query.Get("after"); id != "" {
		var ok bool
		if next, ok = c.log.after(id, 0); !ok {
			w.WriteHeader(http.StatusGone)
			return
		}
	} else {
		since, err := time.Parse(time.RFC3339, query.Get("since"))
		if err != nil {
			w.WriteHeader(http.StatusBadRequest)
			return
		}
		of := wants
		wants = func(e entry) bool { return of(e) && !e.at.Before(since) }
	}
	limit, err := strconv.Atoi(query.Get("limit"))
	if err != nil || limit < 1 || limit > maxPolled {
		limit = maxPolled
	}
	entries, _, _ := c.log.from(next, limit+1, wants)
	if len(entries) == 0 {
		w.WriteHeader(http.StatusNoContent)
		return
	}
	more := len(entries) > limit
	if more {
		entries = entries[:limit]
	}
	type polled struct {
		ID    string  `json:"id"`
		Event string  `json:"event"`
		Data  rawJSON `json:"data"`
	}
	page := []polled{}
	for _, e := range entries {
		page = append(page, polled{c.log.id(e.n), e.event, e.body})
	}
	answerJSON(w, http.StatusOK, map[string]any{"events": page, "nextCursor": page[len(page)-1].ID, "hasMore": more})
}
