package app

import (
	"cmp"
	"fmt"
	"slices"
	"time"

	"trunkline/ingest/notifications"
	"trunkline/ingest/reconcile"
	"trunkline/topology"
)

// Stream is an event stream of a vendor (Server-Sent Events).
type Stream struct {
	URL     string `yaml:"url"`                // with its query
	PollURL string `yaml:"poll_url,omitempty"` // asked for what the stream cannot give
}

// check finds what is wrong with the stream of field.
func (s *Stream) check(field string, wrong func(field, format string, args ...any)) {
	for name, raw := range map[string]string{"url": s.URL, "poll_url": s.PollURL} {
		if (raw != "" || name == "url") && !isURL(raw) {
			wrong(field+"."+name, "is no http(s) URL; copy it from the vendor's console")
		}
	}
}

// Notifications are what is read from Genesys' Notifications API.
type Notifications struct {
	// Topics are subscribed; {id} stands for every user, queue or flow.
	Topics []string `yaml:"topics"`
}

// check finds what is wrong with the notifications of field.
func (n *Notifications) check(field, vendor string, wrong func(field, format string, args ...any)) {
	if vendor != topology.Genesys {
		wrong(field, "are an interface of %s; leave them out", topology.Genesys)
	}
	if len(n.Topics) == 0 {
		wrong(field+".topics", "is empty; name a topic, as v2.routing.queues.{id}.users, or leave notifications out")
	}
	for i, t := range n.Topics {
		if err := notifications.CheckTopic(t); err != nil {
			wrong(fmt.Sprintf("%s.topics[%d]", field, i), "%v", err)
		}
	}
}

// Reconcile says how a vendor is asked for what deliveries missed.
type Reconcile struct {
	Every time.Duration `yaml:"every,omitempty"`
	// RetryWindow is for how long the vendor tries to deliver an event. The lists are
	// read at once when the edge is back from a longer outage.
	RetryWindow time.Duration `yaml:"retry_window,omitempty"`
	// Services are those of Genesys whose audits are queried, in Mode.
	Services []string `yaml:"services,omitempty"`
	Mode     string   `yaml:"mode,omitempty"` // realtime or async
	// Lists are those of CXone.
	Lists []string `yaml:"lists,omitempty"`
}

// Modes of an audit query.
const (
	modeRealtime = "realtime" // answered at once, of the last 14 days
	modeAsync    = "async"    // executed, then fetched
)

// retryWindows are how long the vendors try to deliver an event.
var retryWindows = map[string]time.Duration{topology.Genesys: 85 * time.Second, topology.CXone: 31 * time.Second}

// check finds what is wrong with the reconciliation of field.
func (r *Reconcile) check(field, vendor string, dedupWindow time.Duration, wrong func(field, format string, args ...any)) {
	if r.Every < 0 || cmp.Or(r.Every, reconcile.DefaultEvery) > dedupWindow/2 {
		wrong(field+".every", "%s is not between 0 and half of dedup_window %s, behind which nothing is asked for",
			cmp.Or(r.Every, reconcile.DefaultEvery), dedupWindow)
	}
	if r.RetryWindow < 0 {
		wrong(field+".retry_window", "%s is negative", r.RetryWindow)
	}
	if vendor != topology.Genesys && (len(r.Services) > 0 || r.Mode != "") {
		wrong(field, "has services or mode, which are those of %s; name lists", topology.Genesys)
	}
	if r.Mode != "" && r.Mode != modeRealtime && r.Mode != modeAsync {
		wrong(field+".mode", "%q is unknown; use %s or %s", r.Mode, modeRealtime, modeAsync)
	}
	if vendor != topology.CXone && len(r.Lists) > 0 {
		wrong(field+".lists", "are those of %s; name services", topology.CXone)
	}
	for _, list := range r.Lists {
		if vendor == topology.CXone && !slices.Contains(reconcile.CXoneLists, list) {
			wrong(field+".lists", "%q is unknown; use some of %q", list, reconcile.CXoneLists)
		}
	}
	for name, lists := range map[string][]string{"services": r.Services, "lists": r.Lists} {
		if sorted := slices.Sorted(slices.Values(lists)); slices.Contains(lists, "") || len(slices.Compact(sorted)) < len(lists) {
			wrong(field+"."+name, "one is empty or stands twice; leave it out")
		}
	}
}
