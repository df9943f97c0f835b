package topology

import (
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/lovoo/goka"
)

// Check compares the graphs with the layout and joins all that is wrong: a
// graph that goka refuses, an edge without a topic, a topic that nobody writes
// or reads, streams of one group that are not partitioned alike.
func Check(graphs []*goka.GroupGraph, layout Layout) error {
	var errs []error
	wrong := func(format string, args ...any) { errs = append(errs, fmt.Errorf(format, args...)) }

	w := wiringOf(graphs, layout)
	partitions := map[string]int32{}
	for _, t := range w.topics {
		partitions[t.Name] = t.Partitions
		if len(w.writers[t.Name]) == 0 {
			wrong("check topic %s: nobody writes it", t.Name)
		}
		if len(w.readers[t.Name]) == 0 {
			wrong("check topic %s: nobody reads it", t.Name)
		}
	}
	for _, g := range graphs {
		if err := g.Validate(); err != nil {
			wrong("check group %s: %w", g.Group(), err)
		}
		for _, topic := range w.topicsOf(slices.Concat(read(g), written(g))) {
			if _, ok := partitions[topic]; !ok {
				wrong("check group %s: the layout has no topic %s", g.Group(), topic)
			}
		}
		var shapes []string
		counts := map[int32]bool{}
		for _, topic := range w.topicsOf(slices.Concat(g.InputStreams(), g.JointTables(), loop(g), table(g))) {
			if n, ok := partitions[topic]; ok {
				shapes = append(shapes, fmt.Sprintf("%s %d", topic, n))
				counts[n] = true
			}
		}
		if len(counts) > 1 {
			wrong("check group %s: its inputs, loop and table need one partition count, they have: %s",
				g.Group(), strings.Join(shapes, ", "))
		}
	}
	return errors.Join(errs...)
}

// topicsOf returns the topics of the edges, each once, in their order.
func (w *wiring) topicsOf(edges goka.Edges) []string {
	var topics []string
	for _, e := range edges {
		for _, topic := range w.layout.members(goka.Stream(e.Topic())) {
			if !slices.Contains(topics, topic) {
				topics = append(topics, topic)
			}
		}
	}
	return topics
}
