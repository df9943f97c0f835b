package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"time"

	"trunkline/app"
)

// status shows what the pipeline does, from its topics alone.
type status struct {
	app.Progress
	config   app.Config
	out      io.Writer
	silent   bool
	terminal bool
}

func newStatus(c app.Config, o devOptions, out io.Writer) *status {
	return &status{config: c, out: out, silent: o.json, terminal: isTerminal(out)}
}

func isTerminal(out io.Writer) bool {
	f, ok := out.(*os.File)
	if !ok {
		return false
	}
	info, err := f.Stat()
	return err == nil && info.Mode()&os.ModeCharDevice != 0
}

// follow counts and prints until ctx ends: a line that lives on a terminal, one
// every five seconds elsewhere.
func (s *status) follow(ctx context.Context) {
	counted := make(chan error, 1)
	go func() { counted <- s.Follow(ctx, s.config) }()
	if s.silent {
		<-counted
		return
	}
	every, format := 5*time.Second, "%s\n"
	if s.terminal {
		every, format = 250*time.Millisecond, "\r\x1b[K%s"
	}
	tick := time.NewTicker(every)
	defer tick.Stop()
	for {
		select {
		case err := <-counted:
			if s.terminal {
				fmt.Fprintln(s.out)
			}
			if err != nil {
				fmt.Fprintln(s.out, "the status is no longer counted:", err)
			}
			return
		case <-tick.C:
			fmt.Fprintf(s.out, format, s.line())
		}
	}
}

func (s *status) line() string {
	return fmt.Sprintf("events in %d · changes out %d · duplicates %d · late %d · dead %d · other %d · lag %d",
		s.In.Load(), s.Changes.Load(), s.Duplicates.Load(), s.Late.Load(), s.Dead.Load(), s.Other.Load(), s.Lag())
}

// stalled is how long nothing may move before a drain is given up.
const stalled = time.Minute

// arrived waits until there are n records in the raw log.
func (s *status) arrived(ctx context.Context, n int64) error {
	return s.until(ctx, "what happened at the vendors is not in the raw log", func() bool { return s.In.Load() >= n })
}

// drained waits until what was accepted is in the raw log and every raw record has
// its fate; nothing may be sent meanwhile.
func (s *status) drained(ctx context.Context, spooled func() uint64) error {
	if err := s.until(ctx, "the spool does not drain", func() bool { return spooled() == 0 }); err != nil {
		return err
	}
	raw, err := app.RawRecords(ctx, s.config)
	if err != nil {
		return fmt.Errorf("count the raw records: %w", err)
	}
	return s.until(ctx, "the pipeline does not drain", func() bool { return s.Outcomes() >= raw })
}

// until waits for done. Its error says what is not when nothing moves any more.
func (s *status) until(ctx context.Context, not string, done func() bool) error {
	tick := time.NewTicker(50 * time.Millisecond)
	defer tick.Stop()
	for last, moved := int64(-1), time.Now(); !done(); {
		if now := s.In.Load() + s.Outcomes(); now != last {
			last, moved = now, time.Now()
		}
		if time.Since(moved) > stalled {
			return errors.New(not + ": " + s.line())
		}
		select {
		case <-ctx.Done():
			return errors.New("interrupted before the pipeline had drained")
		case <-tick.C:
		}
	}
	return nil
}
