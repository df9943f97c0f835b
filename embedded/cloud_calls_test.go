package embedded

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"net/http/httptest"
	"reflect"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/coder/websocket"
	"github.com/coder/websocket/wsjson"

	"trunkline/topology"
)

// TestCloudChannels proves what a notification channel tells: what happens after
// it was subscribed, of its topics and of no others; the answer to a ping behind
// all that happened before; and the end of its socket.
func TestCloudChannels(t *testing.T) {
	c, err := NewCloud(CloudConfig{Vendor: topology.Genesys, Tenant: "acme", Seed: 3, Events: 600, Entities: 16, Plain: true})
	if err != nil {
		t.Fatal(err)
	}
	server := httptest.NewServer(c)
	defer server.Close()
	host := strings.TrimPrefix(server.URL, "http://")
	var opened struct {
		ConnectURI, ID string
		Expires        time.Time
	}
	decode(t, call(t, c, "POST", "http://"+host+"/api/v2/notifications/channels", ""), &opened)
	if left := time.Until(opened.Expires); left < 23*time.Hour || left > channelLife {
		t.Errorf("the channel expires in %v, want a day", left)
	}
	var topics []topicName
	var want []string
	for n := range 3 {
		s := c.generator.subjects[n] // a user, a queue, a flow
		topics = append(topics, topicName{"v2.audits.entitytype." + auditedTypes[s.key.Type].entity + ".entityid." + s.key.ID})
	}
	body, err := json.Marshal(topics)
	if err != nil {
		t.Fatal(err)
	}
	target := "/api/v2/notifications/channels/" + opened.ID + "/subscriptions"
	var listed struct{ Entities []topicName }
	decode(t, call(t, c, "PUT", target, string(body)), &listed)
	slices.SortFunc(topics, func(a, b topicName) int { return strings.Compare(a.ID, b.ID) })
	if !reflect.DeepEqual(listed.Entities, topics) {
		t.Errorf("subscribed %v, want %v", listed.Entities, topics)
	}
	many := make([]topicName, mostTopics+1)
	for i := range many {
		many[i].ID = fmt.Sprint("v2.users.", i, ".presence")
	}
	if body, err = json.Marshal(many); err != nil {
		t.Fatal(err)
	}
	if w := call(t, c, "PUT", target, string(body)); w.Code != http.StatusBadRequest {
		t.Errorf("%d topics: got %d, want 400", len(many), w.Code)
	}

	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	conn, _, err := websocket.Dial(ctx, opened.ConnectURI, nil)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = conn.CloseNow() }()
	read := func() (f struct {
		TopicName string
		EventBody struct{ ID, Message string }
	}) {
		t.Helper()
		if err := wsjson.Read(ctx, conn, &f); err != nil {
			t.Fatal(err)
		}
		return f
	}
	ping := func() {
		if err := wsjson.Write(ctx, conn, map[string]string{"message": "ping"}); err != nil {
			t.Fatal(err)
		}
	}
	if ping(); read().EventBody.Message != "pong" { // it listens
		t.Fatal("got no pong")
	}
	if err := c.Run(t.Context()); err != nil {
		t.Fatal(err)
	}
	for _, e := range c.log.all(func(e entry) bool { return e.subject.n < 3 && isChange(e.message) }) {
		want = append(want, e.id)
	}
	ping()
	var got []string
	for f := read(); f.EventBody.Message != "pong"; f = read() {
		if !slices.Contains(topics, topicName{f.TopicName}) {
			t.Errorf("told of %s", f.TopicName)
		}
		got = append(got, f.EventBody.ID)
	}
	if !slices.Equal(got, want) || len(want) == 0 {
		t.Errorf("told %d events before the pong, want %d", len(got), len(want))
	}
	c.Sever()
	if f := read(); f.TopicName != "v2.system.socket_closing" {
		t.Errorf("before the end: got %s", f.TopicName)
	}
	if err := wsjson.Read(ctx, conn, &listed); err == nil {
		t.Error("the socket goes on after maintenance")
	}
}

// TestCloudAuditExecution proves that a query that is executed gives, page by page,
// what the one in real time gives.
func TestCloudAuditExecution(t *testing.T) {
	c := happened(t, CloudConfig{Vendor: topology.Genesys, Seed: 3, Events: 600, Entities: 16, Plain: true})
	const query = `{"interval":"2026-11-22T01:50:00Z/2026-11-22T01:50:02Z","serviceName":"Routing"%s}`
	type answer struct {
		ID, State, Cursor string
		Entities          []json.RawMessage
	}
	var whole, asked answer
	decode(t, call(t, c, "POST", "/api/v2/audits/query/realtime", fmt.Sprintf(query, `,"pageSize":1000`)), &whole)
	decode(t, call(t, c, "POST", "/api/v2/audits/query", fmt.Sprintf(query, "")), &asked)
	for asked.State != "Succeeded" {
		decode(t, call(t, c, "GET", "/api/v2/audits/query/"+asked.ID, ""), &asked)
	}
	var got []json.RawMessage
	for cursor, more := "", true; more; {
		var page answer
		decode(t, call(t, c, "GET", "/api/v2/audits/query/"+asked.ID+"/results?pageSize=7&cursor="+cursor, ""), &page)
		got = append(got, page.Entities...)
		cursor, more = page.Cursor, page.Cursor != ""
	}
	if !reflect.DeepEqual(got, whole.Entities) || len(got) < 20 {
		t.Errorf("executed: %d audits, in real time: %d; want more than 20, the same", len(got), len(whole.Entities))
	}
	if first := string(got[0]); !strings.Contains(first, `"serviceName":"Routing"`) {
		t.Errorf("got %s of another service", first)
	}
}

// TestCloudRegistrations proves that what is registered by a call is listed, can be
// replaced, gets the events that it names and no others, and is not registered twice.
func TestCloudRegistrations(t *testing.T) {
	for vendor, v := range map[string]struct{ path, body, same, list, wants string }{
		topology.Genesys: {
			"/api/v2/eventstreams/subscriptions",
			`{"name":"n","type":"PUSH","callbackUrl":"http://edge/1","filters":[{"resourceType":"user","eventType":"created","condition":"any"}]}`,
			"", "entities", `"eventType":"created"`,
		},
		topology.CXone: {
			"/ic3api/v2/integrations/webhooks",
			`{"name":"n","url":"http://edge/1","events":["CALL_ENDED"],"authentication":{"type":"bearer","token":"theirs"}}`,
			"409", "webhooks", `"eventType":"CALL_ENDED"`,
		},
	} {
		synctest.Test(t, func(t *testing.T) {
			var tokens, urls []string
			c, err := NewCloud(CloudConfig{
				Vendor: vendor, Tenant: "acme", Events: 500, Entities: 16, Plain: true, PushToken: "theirs",
				Client: &http.Client{Transport: edgeOf(func(body string, r *http.Request) int {
					tokens, urls = append(tokens, r.Header.Get("Authorization")), append(urls, r.URL.String())
					if !strings.Contains(body, v.wants) {
						t.Errorf("%s: delivered %s", vendor, body)
					}
					return http.StatusOK
				})},
			})
			if err != nil {
				t.Fatal(err)
			}
			c.sending = make(chan struct{}, 1)
			var made struct{ ID string }
			decode(t, call(t, c, "POST", v.path, v.body), &made)
			if w := call(t, c, "POST", v.path, v.body); v.same != "" && fmt.Sprint(w.Code) != v.same {
				t.Errorf("%s: registered again: got %d, want %s", vendor, w.Code, v.same)
			} else if v.same == "" {
				var other struct{ ID string }
				decode(t, w, &other)
				if w := call(t, c, "DELETE", v.path+"/"+other.ID, ""); w.Code != http.StatusNoContent {
					t.Errorf("%s: deleted: got %d, want 204", vendor, w.Code)
				}
			}
			decode(t, call(t, c, "PUT", v.path+"/"+made.ID, strings.Replace(v.body, "edge/1", "edge/2", 1)), &made)
			var list map[string]json.RawMessage
			decode(t, call(t, c, "GET", v.path, ""), &list)
			if n := strings.Count(string(list[v.list]), "http://edge/2"); n != 1 || strings.Contains(string(list[v.list]), "edge/1") {
				t.Errorf("%s: listed %s, want the one that was replaced", vendor, list[v.list])
			}
			if err := c.Run(t.Context()); err != nil {
				t.Fatal(err)
			}
			if len(urls) == 0 || slices.Contains(urls, "http://edge/1") || slices.ContainsFunc(tokens, func(s string) bool { return s != "Bearer theirs" }) {
				t.Errorf("%s: delivered to %v with %v", vendor, slices.Compact(urls), slices.Compact(tokens))
			}
		})
	}
}
