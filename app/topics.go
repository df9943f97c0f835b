package app

import (
	"context"

	"trunkline/stream"
)

// TopicDrifts compares the topics of the deployment with those of the layout: a
// tenant's with the retention of its class.
func TopicDrifts(ctx context.Context, c Config) ([]stream.Drift, error) {
	c = c.withDefaults()
	return stream.Drifts(ctx, streamConfig(c, Options{}), topicSpecs(c.Layout()))
}

// MendTopics ends drifts, as far as [stream.Mend] may.
func MendTopics(ctx context.Context, c Config, drifts []stream.Drift) error {
	c = c.withDefaults()
	return stream.Mend(ctx, streamConfig(c, Options{}), topicSpecs(c.Layout()), drifts)
}
