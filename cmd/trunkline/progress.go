package main

import (
	"fmt"
	"io"
	"strings"
	"time"
)

// progress shows how far long work is: a bar that lives on a terminal, a line every
// five seconds elsewhere.
type progress struct {
	out      io.Writer
	what     string
	every    time.Duration
	format   string
	terminal bool
	shown    time.Time
}

func newProgress(out io.Writer, what string) *progress {
	p := &progress{out: out, what: what, every: 5 * time.Second, format: "%s\n", terminal: isTerminal(out), shown: time.Now()}
	if p.terminal {
		p.every, p.format, p.shown = 100*time.Millisecond, "\r\x1b[K%s", time.Time{}
	}
	return p
}

// show is called as often as there is news.
func (p *progress) show(done, total int64) {
	if now := time.Now(); now.Sub(p.shown) >= p.every || p.terminal && done >= total {
		p.shown = now
		fmt.Fprintf(p.out, p.format, p.line(done, total))
	}
}

// end leaves the line, so that results begin on their own.
func (p *progress) end() {
	if p.terminal && !p.shown.IsZero() {
		fmt.Fprintln(p.out)
	}
}

const barWidth = 30

func (p *progress) line(done, total int64) string {
	filled, percent := barWidth, int64(100)
	if total > 0 {
		done = min(done, total)
		filled, percent = int(barWidth*done/total), 100*done/total
	}
	line := fmt.Sprintf("%3d %% · %d of %d %s", percent, done, total, p.what)
	if p.terminal {
		line = "[" + strings.Repeat("█", filled) + strings.Repeat("·", barWidth-filled) + "] " + line
	}
	return line
}
