package notifications

import (
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

const (
	presence = "v2.users.{id}.presence"
	members  = "v2.routing.queues.{id}.users"
)

// TestScenarios reads a vendor at which one thing happens. After it an event is
// read again, no event is missing but in a gap, and the gaps are those wanted and
// no more.
func TestScenarios(t *testing.T) {
	const largest = 16 << 10 // bytes of a frame
	tests := []struct {
		name    string
		happens func(t *testing.T, v *vendor, r *reader)
		gaps    []Reason // after the first
		opened  int      // channels
	}{
		{"nothing", func(*testing.T, *vendor, *reader) {}, nil, 1},
		{"the socket breaks", func(_ *testing.T, v *vendor, _ *reader) {
			v.each(func(ch *vendorChannel) { _ = ch.conn.CloseNow() })
		}, []Reason{Disconnected}, 2},
		{"the socket is closed", func(t *testing.T, v *vendor, _ *reader) {
			v.each(func(ch *vendorChannel) {
				closeLater(ch.conn)
			})
			until(t, "a second channel", func() bool { v.mu.Lock(); defer v.mu.Unlock(); return v.opened == 2 })
		}, []Reason{Disconnected}, 2},
		{"the end is announced", func(t *testing.T, v *vendor, _ *reader) {
			v.tell(`{"topicName":"v2.system.socket_closing","eventBody":{"message":"soon"}}`)
			until(t, "a second channel", func() bool { v.mu.Lock(); defer v.mu.Unlock(); return v.opened == 2 })
		}, nil, 2},
		{"the end is announced by who answers no more", func(t *testing.T, v *vendor, _ *reader) {
			v.tell(`{"topicName":"v2.system.socket_closing","eventBody":{}}`)
			v.each(func(ch *vendorChannel) { ch.mute = true })
			until(t, "a second channel", func() bool { v.mu.Lock(); defer v.mu.Unlock(); return v.opened == 2 })
		}, []Reason{Disconnected}, 2},
		{"silence", func(t *testing.T, v *vendor, _ *reader) {
			v.each(func(ch *vendorChannel) { ch.mute = true })
			v.publish("v2.users.u1.presence", 0)
			until(t, "a second channel", func() bool { v.mu.Lock(); defer v.mu.Unlock(); return v.opened == 2 })
		}, []Reason{Disconnected}, 2},
		{"the token is revoked", func(t *testing.T, v *vendor, _ *reader) {
			v.tell(`{"topicName":"v2.system.token_revoked.t1","eventBody":{}}`)
			until(t, "a second channel", func() bool { v.mu.Lock(); defer v.mu.Unlock(); return v.opened == 2 })
		}, []Reason{Unsubscribed}, 2},
		{"a subscription ends", func(t *testing.T, v *vendor, _ *reader) {
			v.each(func(ch *vendorChannel) { delete(ch.topics, "v2.users.u1.presence") })
			v.publish("v2.users.u1.presence", 0)
			v.tell(`{"topicName":"v2.system.no_longer_subscribed.c1","eventBody":{}}`)
			until(t, "a second channel", func() bool { v.mu.Lock(); defer v.mu.Unlock(); return v.opened == 2 })
		}, []Reason{Unsubscribed}, 2},
		{"a queue is new", func(t *testing.T, v *vendor, _ *reader) {
			v.mu.Lock()
			v.ids["/api/v2/routing/queues"] = append(v.ids["/api/v2/routing/queues"], "q2")
			v.mu.Unlock()
			v.publish("v2.routing.queues.q2.users", 0)
			until(t, "the queue is subscribed", func() bool { return v.subscribed(1, "v2.routing.queues.q2.users") })
		}, []Reason{Discovered}, 1},
		{"a queue is gone", func(t *testing.T, v *vendor, _ *reader) {
			v.mu.Lock()
			v.ids["/api/v2/routing/queues"] = nil
			v.mu.Unlock()
			until(t, "the queue is not subscribed", func() bool { return !v.subscribed(1, "v2.routing.queues.q1.users") })
		}, nil, 1},
		{"a frame is too large", func(t *testing.T, v *vendor, r *reader) {
			v.publish("v2.users.u1.presence", largest)
			until(t, "it is told", func() bool { return r.alarmed("more than 16384 bytes") })
		}, []Reason{Oversized}, 1},
		{"a frame is far too large", func(t *testing.T, v *vendor, r *reader) {
			v.publish("v2.users.u1.presence", mostRead*largest)
			until(t, "it is told", func() bool { return r.alarmed("given up", "more than 1048576 bytes") })
		}, []Reason{Disconnected}, 2},
		{"frames of no event, and frames that nobody can read", func(t *testing.T, v *vendor, r *reader) {
			v.tell(`{"topicName":"channel.metadata","eventBody":{"message":"WebSocket Heartbeat"}}`)
			v.tell(`{"topicName":"v2.subscription.updated","eventBody":{}}`)
			for _, frame := range []string{`{`, ``, `[1]`, `{"topicName":7}`, "\xff"} {
				v.tell(frame)
				until(t, "it is kept", func() bool { r.mu.Lock(); defer r.mu.Unlock(); return slices.Contains(r.frames, frame) })
			}
			if r.mu.Lock(); len(r.frames) != 6 { // with the event before
				t.Errorf("kept %q", r.frames)
			}
			r.mu.Unlock()
		}, nil, 1},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			v := newVendor(t)
			v.ids["/api/v2/users"], v.ids["/api/v2/routing/queues"] = []string{"u1", "u2"}, []string{"q1"}
			r := newReader(t, v)
			o := r.options(presence, members)
			o.MaxFrame = largest
			r.live(o)
			until(t, "the topics are subscribed", func() bool {
				return v.subscribed(1, "v2.users.u1.presence", "v2.users.u2.presence", "v2.routing.queues.q1.users") && len(r.reasons()) == 1
			})
			before := v.publish("v2.users.u1.presence", 0)
			until(t, "an event is kept", func() bool { return r.has(before) })
			tt.happens(t, v, r)
			until(t, "one channel is read, and the gap is told", func() bool {
				return v.subscribed(1, "v2.users.u1.presence") && len(r.reasons()) > len(tt.gaps)
			})
			after := v.publish("v2.users.u1.presence", 0)
			until(t, "an event is kept", func() bool { return r.has(after) })
			if diff := cmp.Diff(append([]Reason{Unread}, tt.gaps...), r.reasons()); diff != "" {
				t.Errorf("gaps, -want +got:\n%s", diff)
			}
			if v.opened != tt.opened {
				t.Errorf("%d channels were opened, want %d", v.opened, tt.opened)
			}
			r.complete()
		})
	}
}

// TestPermission shows that topics for which a permission is missing keep no
// others from being subscribed, that the alarm names the permission, and that
// they are subscribed when it is granted.
func TestPermission(t *testing.T) {
	v := newVendor(t)
	v.ids["/api/v2/users"], v.ids["/api/v2/routing/queues"] = []string{"u1", "u2"}, []string{"q1"}
	v.denied = "v2.users."
	r := newReader(t, v)
	r.live(r.options(presence, members))
	until(t, "the queue is subscribed", func() bool { return v.subscribed(1, "v2.routing.queues.q1.users") })
	until(t, "an alarm", func() bool { return r.alarmed("v2.users.{id}.presence", "presence:userPresence:view") })
	n := v.publish("v2.routing.queues.q1.users", 0)
	until(t, "an event is kept", func() bool { return r.has(n) })
	time.Sleep(5 * quick.Expand)
	v.mu.Lock()
	v.denied = ""
	v.mu.Unlock()
	until(t, "the users are subscribed", func() bool {
		return v.subscribed(1, "v2.users.u1.presence", "v2.users.u2.presence") && slices.Contains(r.reasons(), Discovered)
	})
	if len(r.alarms) != 1 || v.opened != 1 {
		t.Errorf("%d channels and alarms %q, want one of each", v.opened, r.alarms)
	}
	r.complete()
}

// TestListDenied shows that a list that may not be read keeps no other topics
// from being subscribed.
func TestListDenied(t *testing.T) {
	v := newVendor(t)
	v.ids["/api/v2/users"], v.ids["/api/v2/routing/queues"] = []string{"u1"}, []string{"q1"}
	v.unlisted = "/api/v2/users"
	r := newReader(t, v)
	r.live(r.options(presence, members))
	until(t, "the queue is subscribed", func() bool { return v.subscribed(1, "v2.routing.queues.q1.users") })
	until(t, "an alarm", func() bool { return r.alarmed("v2.users.{id}.presence", "list /api/v2/users: answered 403; grant") })
	v.mu.Lock()
	v.unlisted = ""
	v.mu.Unlock()
	until(t, "the user is subscribed", func() bool { return v.subscribed(1, "v2.users.u1.presence") })
}

// TestChannelIsExtended shows that a channel outlives its expiry without a gap.
func TestChannelIsExtended(t *testing.T) {
	v := newVendor(t)
	v.lives = 300 * time.Millisecond
	r := newReader(t, v)
	r.live(r.options("v2.users.u1.presence"))
	until(t, "the topic is subscribed", func() bool { return v.subscribed(1, "v2.users.u1.presence") })
	for end := time.Now().Add(3 * v.lives); time.Now().Before(end); time.Sleep(10 * time.Millisecond) {
		v.publish("v2.users.u1.presence", 0)
	}
	n := v.publish("v2.users.u1.presence", 0)
	until(t, "the last event is kept", func() bool { return r.has(n) })
	if got := r.reasons(); len(got) != 1 || v.opened != 1 {
		t.Errorf("%d channels, gaps %v; want one of each", v.opened, got)
	}
	r.complete()
}

// TestLimits shows that a channel has a thousand topics at most, that never more
// than 20 channels are read, also while they follow each other, and that what
// does not fit is told.
func TestLimits(t *testing.T) {
	users := func(n int) (ids []string) {
		for i := range n {
			ids = append(ids, fmt.Sprintf("u%05d", i))
		}
		return ids
	}
	t.Run("two channels", func(t *testing.T) {
		v := newVendor(t)
		v.ids["/api/v2/users"] = users(1001)
		r := newReader(t, v)
		r.live(r.options(presence))
		until(t, "all are subscribed", func() bool { return v.subscribed(2, "v2.users.u00000.presence", "v2.users.u01000.presence") })
	})
	t.Run("too many", func(t *testing.T) {
		v := newVendor(t)
		v.ids["/api/v2/users"] = users(20_001)
		r := newReader(t, v)
		o := r.options("v2.flows.f1", presence)
		o.Timing.Expand, o.Timing.ExpandMin, o.Timing.Watchdog = time.Hour, time.Hour, time.Minute
		r.live(o)
		until(t, "what fits is subscribed", func() bool {
			return v.subscribed(19, "v2.flows.f1", "v2.users.u00000.presence", "v2.users.u18998.presence")
		})
		if v.subscribed(19, "v2.users.u18999.presence") {
			t.Error("a channel has too many topics")
		}
		if !r.alarmed("20002 topics need 21 channels, 19 can be had: 1002 topics are not subscribed", presence) {
			t.Errorf("alarms %q", r.alarms)
		}
		until(t, "all gaps before are told", func() bool { return len(r.reasons()) == 19 })
		v.tell(`{"topicName":"v2.system.socket_closing"}`)
		until(t, "all channels are new", func() bool {
			v.mu.Lock()
			defer v.mu.Unlock()
			return v.opened == 38 && len(v.read()) == 19
		})
	})
}

// TestSlowHandler shows that a handler that takes long is no silence of the
// vendor, and that nothing is lost while sockets are not read.
func TestSlowHandler(t *testing.T) {
	v := newVendor(t)
	r := newReader(t, v)
	o := r.options("v2.users.u1.presence")
	o.MaxFrame, o.Buffer, o.Timing.Watchdog = 64<<10, 128<<10, 100*time.Millisecond
	slow := make(chan struct{})
	r.refuse = func() bool { <-slow; return false }
	r.live(o)
	until(t, "the topic is subscribed", func() bool { return v.subscribed(1, "v2.users.u1.presence") })
	last := 0
	for range 40 {
		last = v.publish("v2.users.u1.presence", 60<<10)
	}
	time.Sleep(5 * o.Timing.Watchdog)
	close(slow)
	until(t, "all is kept", func() bool { return r.has(last) })
	if got := r.reasons(); len(got) != 1 {
		t.Errorf("gaps %v, want only the first", got)
	}
	if len(r.seen) != 40 {
		t.Errorf("%d events are kept, want 40", len(r.seen))
	}
}

// TestFalseAddress shows that a socket is opened at no host but the vendor's, and
// that the alarm does not tell the address (I10).
func TestFalseAddress(t *testing.T) {
	elsewhere, v := newVendor(t), newVendor(t)
	v.host = strings.TrimPrefix(elsewhere.url, "http://")
	r := newReader(t, v)
	r.live(r.options("v2.users.u1.presence"))
	until(t, "an alarm", func() bool {
		return r.alarmed("outgoing call refused: the address of the channel is not of the domain of")
	})
	if r.alarmed("/socket/") || r.alarmed(v.host) {
		t.Errorf("alarms %q", r.alarms)
	}
}
