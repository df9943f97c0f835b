package notifications

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"slices"
	"strings"
)

// topic is one that is subscribed, and what of the configuration asked for it.
type topic struct{ name, template string }

// lists are where the ids of a template come from, by its beginning.
var lists = []struct{ beginning, path string }{
	{"v2.users.{id}.", "/api/v2/users"},
	{"v2.detail.events.agent.{id}.", "/api/v2/users"},
	{"v2.routing.queues.{id}.", "/api/v2/routing/queues"},
	{"v2.analytics.queues.{id}.", "/api/v2/routing/queues"},
	{"v2.flows.{id}", "/api/v2/flows"},
}

// CheckTopic returns what is wrong with a topic, or a template of one, of the
// configuration.
func CheckTopic(t string) error {
	switch {
	case !strings.HasPrefix(t, "v2."):
		return fmt.Errorf("%q is no topic; it must begin with v2. and name one", t)
	case !isTemplate(t):
		return nil
	case strings.Count(t, "{") > 1 || listOf(t) == "":
		possible := make([]string, len(lists))
		for i, l := range lists {
			possible[i] = l.beginning
		}
		return fmt.Errorf("%q is no template whose ids can be listed; it may begin with one of %q, or name its ids", t, possible)
	}
	return nil
}

func isTemplate(t string) bool { return strings.ContainsAny(t, "{}*") }

func listOf(template string) string {
	for _, l := range lists {
		if strings.HasPrefix(template, l.beginning) {
			return l.path
		}
	}
	return ""
}

// expand returns the topics that the configuration means now, in its order, each
// once. Those whose list is denied are left out, with an alarm.
func (c *Client) expand(ctx context.Context) ([]topic, error) {
	ids, known := map[string][]string{}, map[string]bool{}
	var all []topic
	add := func(name, template string) {
		if !known[name] {
			known[name] = true
			all = append(all, topic{name, template})
		}
	}
	for _, t := range c.o.Topics {
		if !isTemplate(t) {
			add(t, t)
			continue
		}
		list := listOf(t)
		if _, fetched := ids[list]; !fetched {
			var err error
			ids[list], err = c.api.list(ctx, list)
			if code, _ := errors.AsType[answered](err); code == http.StatusForbidden {
				c.o.Alarm(fmt.Errorf("%s is not subscribed: %w: %w; grant the client to view what is listed", t, errDenied, err))
			} else if err != nil {
				return nil, fmt.Errorf("expand %s: %w", t, err)
			}
		}
		for _, id := range ids[list] {
			add(strings.Replace(t, "{id}", id, 1), t)
		}
	}
	return all, nil
}

// The vendor's limits. One channel is kept for the successor of another.
const (
	topicsOfChannel = 1000
	channelsAtOnce  = 20
	channelsOfOurs  = channelsAtOnce - 1
)

// share gives each topic to a channel: the one that has it, else the first with
// room. What does not fit is returned.
func share(channels [][]topic, topics []topic) (shared [][]topic, left []topic) {
	free := map[topic]bool{}
	for _, t := range topics {
		free[t] = true
	}
	for _, of := range channels {
		kept := slices.DeleteFunc(slices.Clone(of), func(t topic) bool { return !free[t] })
		for _, t := range kept {
			delete(free, t)
		}
		shared = append(shared, kept)
	}
	at := 0
	for _, t := range topics {
		if !free[t] {
			continue
		}
		for at < len(shared) && len(shared[at]) == topicsOfChannel {
			at++
		}
		switch {
		case at < len(shared):
			shared[at] = append(shared[at], t)
		case at < channelsOfOurs:
			shared = append(shared, []topic{t})
		default:
			left = append(left, t)
		}
	}
	return shared, left
}

// tooMany tells of topics that have no channel.
func tooMany(all int, left []topic) error {
	return fmt.Errorf("%d topics need %d channels, %d can be had: %d topics are not subscribed, of %q; narrow the topics, or take them from Amazon EventBridge",
		all, (all+topicsOfChannel-1)/topicsOfChannel, channelsOfOurs, len(left), templatesOf(left))
}

// templatesOf names what the topics come from.
func templatesOf(topics []topic) []string {
	var names []string
	for _, t := range topics {
		if !slices.Contains(names, t.template) {
			names = append(names, t.template)
		}
	}
	return names
}

// errDenied is wrapped by the alarm of topics for which a permission is missing.
var errDenied = errors.New("a permission is missing")
