package ingest

import (
	"bytes"
	"context"
	"errors"
	"io"
	"math/rand/v2"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"
)

// slowReader gives a byte every 100 ms.
type slowReader struct{ rest string }

func (r *slowReader) Read(p []byte) (int, error) {
	if r.rest == "" {
		return 0, io.EOF
	}
	time.Sleep(100 * time.Millisecond)
	n := copy(p[:1], r.rest)
	r.rest = r.rest[n:]
	return n, nil
}

// checkAnswer holds an answer against what every answer keeps:
//   - no status but those of the table, of the 5xx only 503;
//   - a 200 exactly when the log acknowledged, and then with all records (I1);
//   - the records' values are the bytes of the body (I6);
//   - no content of the body in the answer (I10).
func checkAnswer(t *testing.T, resp *http.Response, log *memoryLog, body []byte, plain bool) {
	t.Helper()
	answered := bodyOf(t, resp)
	switch resp.StatusCode {
	case 200, 400, 401, 404, 405, 413, 415, 503:
	default:
		t.Fatalf("status %d: %s", resp.StatusCode, answered)
	}
	records := log.taken()
	if (resp.StatusCode == 200) != (len(records) > 0) {
		t.Fatalf("status %d with %d records", resp.StatusCode, len(records))
	}
	if answered == `{"status":"dead-lettered"}` && plain && len(records) == 1 &&
		!bytes.Equal(records[0].Value, body) && !bytes.HasPrefix(trimSpace(bytes.TrimPrefix(body, []byte("\uFEFF"))), []byte("[")) {
		t.Fatalf("dead letter %q is not the body %q", records[0].Value, body)
	}
	for _, r := range records {
		if plain && !bytes.Contains(body, r.Value) {
			t.Fatalf("record %q is no part of the body %q", r.Value, body)
		}
		if r.Topic != "raw.genesys" && r.Topic != "raw.cxone" {
			t.Fatalf("topic %q", r.Topic)
		}
		if vendor := strings.TrimPrefix(r.Topic, "raw."); !strings.HasPrefix(r.Key, vendor+"/acme/") {
			t.Fatalf("key %q on %s", r.Key, r.Topic) // (I9)
		}
	}
}

// TestRandomRequests sends seeded random requests, broken in every part, to an
// edge whose log fails now and then.
func TestRandomRequests(t *testing.T) {
	bodies := []string{
		"", " ", "{", "[", "]", "{}", "[]", "null", "1e999", `"\ud800"`, "\uFEFF", "\uFEFF[]", "\x00", "[{},{}]", "[[],{},1]", seedEvent,
		sample(t, "signed.json"), zipped(seedEvent), zipped(""), `{"detail-type":1,"detail":[]}`, `{"topicName":{},"eventBody":null}`,
		`{"resourceType":[],"eventType":{},"id":"#/%\u0000"}`, strings.Repeat("[", 20_000), strings.Repeat(`{"a":`, 20_000), fit(1<<20 + 1),
	}
	paths := []string{
		genesysPath, genesysPath, cxonePath, "/cxone/webhook", genesysPath + "?topic=v2.x", genesysPath + "?topic=%zz;", "/v1/ingest/genesys/%00/events",
		"/v1/ingest/cxone/nobody/webhook", "/", "//", "/../x", "/v1/ingest/genesys/%2e%2e/events", "/healthz", "/x/./y",
	}
	methods := []string{"POST", "POST", "POST", "POST", "POST", "GET", "PUT", "OPTIONS", "CONNECT", "BREW"}
	types := []string{"application/json", "application/json", "application/json", "", "text/xml", "a/b+json; c=\"", "application/json;charset=utf-16", ";", "\x00"}
	tokens := []string{"Bearer dev-token", "Bearer dev-token", "Bearer dev-token", "", "Bearer", "Bearer x", "dev-token", "Basic eDp5"}
	signatures := []string{"", "t=", "t=1795312200,v1=" + vectorCurrent, "t=1795312200,v1=00", "v1", strings.Repeat("v1=", 3000), "=,=,="}
	encodings := []string{"", "", "", "gzip", "identity", "br", "gzip,gzip"}

	for seed := range uint64(1000) {
		random := rand.New(rand.NewPCG(seed, 1))
		pick := func(of []string) string { return of[random.IntN(len(of))] }
		body := []byte(pick(bodies))
		for range random.IntN(4) { // damage it
			if len(body) > 0 && random.IntN(2) == 0 {
				body[random.IntN(len(body))] = byte(random.IntN(256))
			}
		}
		log := &memoryLog{}
		if random.IntN(10) == 0 {
			log.fail = func(context.Context) error { return errors.New("no broker") }
		}
		r := httptest.NewRequest(pick(methods), "/", bytes.NewReader(body))
		if u, err := r.URL.Parse("http://edge" + pick(paths)); err == nil {
			r.URL = u
		}
		if random.IntN(5) == 0 {
			r.ContentLength = random.Int64N(2<<20) - 1
		}
		encoding := pick(encodings)
		for name, value := range map[string]string{
			"Content-Type": pick(types), "Authorization": pick(tokens), "X-CXone-Signature": pick(signatures), "Content-Encoding": encoding,
		} {
			if value != "" {
				r.Header.Set(name, value)
			}
		}
		resp := answerTo(newEdge(t, options(log)), r)
		if r.URL.Path == "/healthz" && resp.StatusCode == http.StatusOK {
			continue
		}
		checkAnswer(t, resp, log, body, encoding != "gzip")
		if t.Failed() {
			t.Fatalf("seed %d", seed)
		}
	}
}

func FuzzBody(f *testing.F) {
	for _, s := range []string{"", "{}", "[]", "[1,{}]", "{", "\uFEFF[{}]", "null", seedEvent, "[" + seedEvent + "]", sample(f, "signed.json"), zipped(seedEvent)} {
		f.Add([]byte(s), false, "")
		f.Add([]byte(s), true, "v2.users.1.presence")
	}
	f.Fuzz(func(t *testing.T, body []byte, packed bool, topic string) {
		for _, path := range []string{genesysPath, cxonePath} {
			log := &memoryLog{}
			r := post(path, string(body), "Authorization", "Bearer "+devToken)
			r.URL.RawQuery = "topic=" + topic
			if packed {
				r.Header.Set("Content-Encoding", "gzip")
			}
			checkAnswer(t, answerTo(newEdge(t, options(log)), r), log, body, !packed)
		}
	})
}

// FuzzSignature proves that no headers verify that do not carry a true
// signature, and, if it was made for one, its timestamp; and that what does not
// verify reaches the quarantine at most.
func FuzzSignature(f *testing.F) {
	body := sample(f, "signed.json")
	genuine := []struct{ signature, timestamp string }{
		{vectorCurrent, "1795312200"}, {vectorPrevious, "1795312200"}, {vectorBodyHex, ""}, {vectorBodyBase64[:42], ""},
	}
	for _, v := range vectors {
		for i, c := range conventions {
			if s := header(v.headers).Get(c.header); s != "" {
				f.Add(uint8(i), s, header(v.headers).Get(c.timestamp), header(v.headers).Get(c.id))
			}
		}
	}
	for _, s := range []string{
		"", "t=1795312200,v1=" + vectorPrevious + ",v1=" + vectorCurrent, "t=1,v1=00", "v1=,t=", "t=1795312200",
		strings.Repeat("v1=00,", 9), "t=1795312200,t=1,v1=" + vectorCurrent, "..", "e30..", "t=1795312200,v1a=",
	} {
		f.Add(uint8(0), s, "1795312200", "")
	}
	f.Fuzz(func(t *testing.T, at uint8, signature, timestamp, id string) {
		log, q := &memoryLog{}, &memoryQuarantine{}
		o := options(log)
		o.Quarantine = q
		r := post(cxonePath, body)
		c := conventions[int(at)%len(conventions)]
		for name, value := range map[string]string{c.header: signature, c.timestamp: timestamp, c.id: id} {
			if name != "" {
				r.Header[http.CanonicalHeaderKey(name)] = []string{value}
			}
		}
		resp := answerTo(newEdge(t, o), r)
		if resp.StatusCode != 200 && resp.StatusCode != 401 {
			t.Fatalf("status %d", resp.StatusCode)
		}
		stored, kept := len(log.taken()), len(q.taken())
		if (resp.StatusCode == 200) != (stored+kept == 1) {
			t.Fatalf("status %d with %d records and %d deferred", resp.StatusCode, stored, kept)
		}
		if stored == 0 {
			return
		}
		plain := strings.NewReplacer("-", "+", "_", "/").Replace(signature)
		for _, g := range genuine {
			carried := strings.Contains(strings.ToLower(signature), g.signature) || strings.Contains(plain, g.signature)
			if carried && strings.Contains(signature+timestamp, g.timestamp) {
				return
			}
		}
		t.Fatalf("%q verifies in %s with timestamp %q", signature, c.header, timestamp)
	})
}
