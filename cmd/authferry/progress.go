package main

import (
	"cmp"
	"fmt"
	"slices"
	"sync"
	"time"

	"github.com/authferry/authferry/broker/folder"
	"github.com/authferry/authferry/humantime"
)

// patience is how long a step may take before it is shown.
const patience = time.Second

// progress is the last line on a terminal: what is being done, by which process, and how
// long it may still take. It appears when something takes over a second and disappears when
// that is over. Without a terminal, or with --quiet, there is none.
type progress struct {
	mu    sync.Mutex
	steps []*step // the innermost last
	shown *step
	timer *time.Timer
}

type step struct {
	folder.Step
	since time.Time
	told  bool
}

// follow reports whether progress is shown to a person or logged.
func (t *terminal) follow(verbose bool) bool {
	return !t.quiet && !verbose && isTerminal(t.err)
}

// step begins a step; the returned function ends it.
func (t *terminal) step(s folder.Step) (over func()) {
	if !t.live {
		return func() {}
	}
	p := &t.progress
	p.mu.Lock()
	defer p.mu.Unlock()
	own := &step{Step: s, since: time.Now()}
	if p.steps = append(p.steps, own); p.timer == nil {
		p.timer = time.AfterFunc(patience, t.tick)
	} else if len(p.steps) == 1 {
		p.timer.Reset(patience)
	}
	return func() {
		p.mu.Lock()
		defer p.mu.Unlock()
		p.steps = slices.DeleteFunc(p.steps, func(s *step) bool { return s == own })
		if len(p.steps) == 0 {
			p.timer.Stop()
		}
		if p.shown == own || len(p.steps) == 0 {
			t.wipe()
		}
	}
}

// tick shows the innermost step that takes long.
func (t *terminal) tick() {
	p := &t.progress
	p.mu.Lock()
	defer p.mu.Unlock()
	for _, s := range slices.Backward(p.steps) {
		if time.Since(s.since) >= patience {
			t.draw(s)
			break
		}
	}
	if len(p.steps) > 0 {
		p.timer.Reset(patience)
	}
}

func (t *terminal) draw(s *step) {
	text := s.Doing()
	if t.getenv("TERM") == "dumb" { // its cursor can't move back
		if !s.told {
			_, _ = fmt.Fprintln(t.err, printable(text))
		}
		s.told = true
		return
	}
	ends := ""
	if !s.Until.IsZero() {
		ends = ", " + humantime.Left(s.Until, time.Now()) + " left"
	}
	// A line wider than the terminal could not be removed again.
	room := cmp.Or(t.columns(t.err), usualWidth) - 1 - cells(ends)
	_, _ = fmt.Fprintf(t.err, "\r%s\x1b[K", shorten(printable(text), room)+ends)
	t.progress.shown = s
}

// wipe removes the line.
func (t *terminal) wipe() {
	if t.progress.shown != nil {
		_, _ = fmt.Fprint(t.err, "\r\x1b[K")
		t.progress.shown = nil
	}
}

// write is for lines that may come while a step is shown.
func (t *terminal) write(line string) {
	t.progress.mu.Lock()
	defer t.progress.mu.Unlock()
	t.wipe()
	_, _ = fmt.Fprintln(t.err, line)
}
