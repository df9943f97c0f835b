package stream

import (
	"context"
	"errors"
	"fmt"
	"hash"
	"strconv"
	"sync/atomic"
	"time"

	"github.com/IBM/sarama"
	"github.com/lovoo/goka"
	"github.com/lovoo/goka/storage"

	"trunkline/state"
)

// ViewOptions says what a [View] materialises.
type ViewOptions struct {
	Table  goka.Table
	Codec  goka.Codec
	Hasher func() hash.Hash32
	// OnUpdate, when set, is called with every row that arrives, from several
	// goroutines; a nil row is a delete.
	OnUpdate func(key string, row []byte)
}

// View is a local copy of a group table, fed with committed rows only. It says
// whether it has caught up: a view that answers while it recovers tells the
// past.
type View struct {
	cfg  Config
	opts ViewOptions
	life atomic.Pointer[goka.View]
}

// NewView checks the configuration; nothing is contacted before Run.
func NewView(cfg Config, opts ViewOptions) (*View, error) {
	if err := cfg.Validate(); err != nil {
		return nil, fmt.Errorf("configure view %s: %w", opts.Table, err)
	}
	return &View{cfg: cfg.withDefaults(), opts: opts}, nil
}

// Run follows the table until ctx ends. A view that fails is rebuilt.
func (v *View) Run(ctx context.Context) error {
	for failures := 0; ; failures++ {
		err := v.live(ctx)
		if ctx.Err() != nil {
			return nil
		}
		v.cfg.Logger.Error("view ended, it will be rebuilt", "table", string(v.opts.Table), "error", err)
		select {
		case <-ctx.Done():
			return nil
		case <-time.After(rebuildBackoff(failures)):
		}
	}
}

func (v *View) live(ctx context.Context) (err error) {
	id := "view-" + string(v.opts.Table) + "-" + v.cfg.Instance
	client, err := sarama.NewClient(v.cfg.Brokers, v.cfg.client(id))
	if err != nil {
		return fmt.Errorf("connect: %w", err)
	}
	defer func() { err = errors.Join(err, client.Close()) }()
	topics := &topicManager{client: client, ctx: ctx, timeout: v.cfg.RecoveryTimeout}
	view, err := goka.NewView(v.cfg.Brokers, v.opts.Table, v.opts.Codec,
		goka.WithViewClientID(id),
		goka.WithViewHasher(v.opts.Hasher),
		goka.WithViewLogger(gokaLogger{v.cfg.Logger}),
		goka.WithViewAutoReconnect(),
		goka.WithViewCallback(v.update),
		goka.WithViewTopicManagerBuilder(func([]string) (goka.TopicManager, error) { return topics, nil }),
		goka.WithViewConsumerSaramaBuilder(func(brokers []string, id string) (sarama.Consumer, error) {
			return sarama.NewConsumer(brokers, v.cfg.client(id))
		}),
		goka.WithViewStorageBuilder(func(topic string, partition int32) (storage.Storage, error) {
			id, err := topicID(client, topic)
			if err != nil {
				return nil, err
			}
			dir := tableDir(v.cfg.DataDir, "views", topic, id, strconv.Itoa(int(partition)))
			return state.OpenStore(dir, state.Options{WriteThrough: true})
		}),
	)
	if err != nil {
		return fmt.Errorf("build the view: %w", err)
	}
	v.life.Store(view)
	defer v.life.Store(nil)
	return view.Run(ctx)
}

func (v *View) update(ctx goka.UpdateContext, s storage.Storage, key string, row []byte) error {
	if err := goka.DefaultUpdate(ctx, s, key, row); err != nil {
		return err
	}
	if v.opts.OnUpdate != nil {
		v.opts.OnUpdate(key, row)
	}
	return nil
}

// errCatchingUp is what a view answers before it is ready.
var errCatchingUp = errors.New("the view is catching up")

// Ready returns nil once the view has read the table to its end.
func (v *View) Ready() error {
	if view := v.life.Load(); view == nil || !view.Recovered() {
		return fmt.Errorf("table %s: %w", v.opts.Table, errCatchingUp)
	}
	return nil
}

// Row returns the decoded row of a key, nil when there is none.
func (v *View) Row(key string) (any, error) {
	view := v.life.Load()
	if view == nil {
		return nil, errCatchingUp
	}
	return view.Get(key)
}

// Rows walks the rows with start ≤ key < limit in key order within a partition;
// empty bounds are open.
func (v *View) Rows(start, limit string) (goka.Iterator, error) {
	view := v.life.Load()
	if view == nil {
		return nil, errCatchingUp
	}
	if start == "" && limit == "" {
		return view.Iterator()
	}
	return view.IteratorWithRange(start, limit)
}
