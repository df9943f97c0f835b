package app

import (
	"context"
	"sync/atomic"

	"trunkline/codecs"
	"trunkline/event"
	"trunkline/stream"
	"trunkline/topology"
)

// Progress counts what a deployment has done so far, from its topics alone.
type Progress struct {
	In         atomic.Int64 // raw records
	Changes    atomic.Int64
	Duplicates atomic.Int64
	Late       atomic.Int64
	Dead       atomic.Int64
	Other      atomic.Int64 // unchanged, filtered, event only, replayed
}

// Outcomes is the number of raw records whose fate is known.
func (p *Progress) Outcomes() int64 {
	return p.Changes.Load() + p.Duplicates.Load() + p.Late.Load() + p.Dead.Load() + p.Other.Load()
}

// Lag is the number of raw records whose fate is not known yet. The topics are
// read side by side, so it may be off for a moment: see [RawRecords].
func (p *Progress) Lag() int64 { return max(0, p.In.Load()-p.Outcomes()) }

// RawRecords counts the raw records that stand in the topics now. When nothing
// is sent any more, a deployment has drained once [Progress.Outcomes] is that
// number.
func RawRecords(ctx context.Context, c Config) (int64, error) {
	var n int64
	err := stream.Read(ctx, streamConfig(c, Options{}), stream.Range{Topics: rawTopics()}, func(stream.Record) error {
		n++
		return nil
	})
	return n, err
}

// Follow counts until ctx ends.
func (p *Progress) Follow(ctx context.Context, c Config) error {
	return stream.Read(ctx, streamConfig(c, Options{}), stream.Range{Topics: LedgerTopics(), Follow: true}, func(r stream.Record) error {
		p.count(r)
		return nil
	})
}

func (p *Progress) count(r stream.Record) {
	_, raw := topology.VendorOf(r.Topic)
	switch {
	case raw:
		p.In.Add(1)
	case r.Topic == string(topology.LateEventsTopic):
		p.Late.Add(1)
	case r.Topic == string(topology.DeadLettersTopic):
		p.Dead.Add(1)
	case r.Topic == string(topology.FatesTopic):
		if f, err := codecs.DecodeFate(r.Value); err == nil && f.Kind == event.FateDuplicate {
			p.Duplicates.Add(1)
		} else {
			p.Other.Add(1)
		}
	case r.Value != nil && r.Headers[event.HeaderCause] == nil: // neither a tombstone nor of no raw record
		p.Changes.Add(1)
	}
}
