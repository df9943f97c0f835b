package stream

import (
	"context"
	"errors"
	"slices"
	"time"

	"github.com/IBM/sarama"
)

// group is the consumer group that goka sees. One Consume lasts as long as the
// processor: sessions follow each other inside it, without goka's pause of five
// seconds between them, and whatever the brokers do wrong starts the next one.
// Only an error of the stage itself ends it.
type group struct {
	sarama.ConsumerGroup
	e *engine
}

// Consume runs sessions until ctx ends or the stage fails.
func (g group) Consume(ctx context.Context, topics []string, stage sarama.ConsumerGroupHandler) error {
	topics = slices.DeleteFunc(slices.Clone(topics), func(t string) bool { return t == g.e.opts.Tick })
	for failures := 0; ctx.Err() == nil; {
		s := newSession(g.e, stage)
		err := g.session(ctx, topics, s)
		switch {
		case s.stageErr != nil:
			return s.stageErr
		case errors.Is(err, sarama.ErrClosedConsumerGroup), errors.Is(err, sarama.ErrFencedInstancedId):
			return err
		case err == nil:
			failures = 0
			continue
		}
		if ctx.Err() != nil {
			return nil
		}
		if s.commits > 0 {
			failures = 0 // it worked for a while: whatever ended it is new
		}
		failures++
		g.e.cfg.Logger.Warn("session ended", "group", string(g.e.graph.Group()), "error", err, "failures", failures)
		wait(ctx, sessionBackoff(failures))
	}
	return nil
}

// session joins the group and stays until the generation ends. The producer comes
// first: its new epoch aborts what an earlier life left open, which would keep
// offsets from being fetched and tables from recovering.
func (g group) session(ctx context.Context, topics []string, s *session) error {
	if err := g.e.openProducer(); err != nil {
		return err
	}
	return g.ConsumerGroup.Consume(ctx, topics, s)
}

// sessionBackoff grows from 50 ms to 2 s.
func sessionBackoff(failures int) time.Duration {
	return min(25*time.Millisecond<<min(failures, 7), 2*time.Second)
}
