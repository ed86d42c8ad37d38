package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/signal"
	"slices"
	"strings"
	"time"

	"golang.org/x/term"

	"github.com/authferry/authferry/broker"
	"github.com/authferry/authferry/broker/fault"
	"github.com/authferry/authferry/broker/folder"
	"github.com/authferry/authferry/broker/pool"
)

const (
	// watchEvery is how often a watch looks whether a file was replaced.
	watchEvery = 500 * time.Millisecond
	// fastPace is how often it is drawn while some of its times are told in seconds, and
	// slowPace while none is.
	fastPace, slowPace = time.Second, 10 * time.Second
)

// What a watch tells a terminal.
const (
	enterScreen = "\x1b[?1049h\x1b[?25l" // one of its own, without a cursor
	leaveScreen = "\x1b[?25h\x1b[?1049l"
	clearScreen = "\x1b[2J"
	restOfLine  = "\x1b[K"
)

// Keys that a person may press. While a watch runs, its terminal makes no signals of them.
const (
	ctrlC = 0x03
	ctrlD = 0x04
	ctrlZ = 0x1a
)

// watch shows a status on a terminal and redraws what changes, until a person quits.
type watch struct {
	out     io.Writer
	size    func() (columns, rows int)
	lines   func(columns int, now time.Time) (lines []string, until time.Time) // what to show, and when to ask again
	changed func() bool                                                        // ask at once: a file was replaced since the last call
	keys    <-chan byte
	signals <-chan os.Signal
	signal  func(os.Signal) (over bool) // over: that ends the program
	suspend func()                      // until somebody wakes it

	columns, rows int
	shown         []string // nil: unknown, so all is drawn
	until         time.Time
}

// watch is status --watch. The terminal is as it was when it returns, whatever ends it.
func (c *statusCmd) watch(a *app) error {
	in, _ := a.in.(*os.File)
	out, _ := a.out.(*os.File)
	if in == nil || out == nil || !isTerminal(in) || !isTerminal(out) || a.term.getenv("TERM") == "dumb" {
		return &fault.Error{Code: fault.Usage, Message: "status --watch needs a terminal", Next: []fault.Remedy{{Do: plain, Value: "authferry status"}}}
	}
	signals := make(chan os.Signal, 16)
	signal.Notify(signals, screenSignals...)
	defer signal.Stop(signals)
	s := &screen{in: in, out: out}
	if err := s.enter(); err != nil {
		return &fault.Error{Code: fault.Usage, Message: "this terminal can't be redrawn", Err: err, Next: []fault.Remedy{{Do: plain, Value: "authferry status"}}}
	}
	defer s.leave()
	ctx, cancel := context.WithCancel(a.ctx)
	defer cancel()
	w := &watch{out: out, size: s.size, lines: watchedStatus(a), changed: changes(a), keys: typedKeys(ctx, in), signals: signals, signal: s.signal, suspend: s.suspend}
	err := w.run(ctx)
	if by, ok := errors.AsType[signalled](err); ok {
		return &childError{code: by.exitCode()} // that it was interrupted a person knows
	}
	return err
}

// changes reports whether a file of the folder was replaced since its last call.
func changes(a *app) func() bool {
	var before folder.Stamp
	return func() bool {
		now := folder.StampOf(a.folder)
		changed := now != before
		before = now
		return changed
	}
}

// watchedStatus is what a watch shows, errors included: an index that can't be read now may be
// readable again in a moment.
func watchedStatus(a *app) func(columns int, now time.Time) ([]string, time.Time) {
	opt := a.options
	opt.Memory, opt.Log = &folder.Memory{}, nil // a log would be written over the screen
	return func(columns int, now time.Time) ([]string, time.Time) {
		p, pause := newPage(a.term, columns), slowPace
		var warnings []string
		opt.Warn = func(message string, _ ...fault.Remedy) { warnings = append(warnings, message) }
		s, err := broker.Status(folder.New(opt))
		switch {
		case err != nil:
			p.wrapped("", err.Error())
			if e, ok := errors.AsType[*fault.Error](err); ok {
				for hint := range strings.Lines(a.term.hints.of(e)) {
					p.line("    " + strings.TrimSpace(hint))
				}
			}
		case len(s.Pools) == 0:
			p.line(noAccountYet)
		default:
			p.status(s, now)
			if tellsSeconds(s, now) {
				pause = fastPace
			}
		}
		for _, w := range warnings {
			p.wrapped("warning: ", w)
		}
		return strings.Split(strings.TrimSuffix(p.text.String(), "\n"), "\n"), now.Add(pause)
	}
}

// tellsSeconds reports that a moment is so near that the time until then is told in seconds.
func tellsSeconds(s *broker.StatusView, now time.Time) bool {
	near := func(t time.Time) bool { return t.After(now) && t.Sub(now) <= time.Hour+slowPace }
	for _, p := range s.Pools {
		for _, v := range p.Accounts {
			if near(v.ExpiresAt) || v.Backoff != nil && near(v.Backoff.Until) || slices.ContainsFunc(v.Holds, func(h pool.HoldView) bool { return near(h.Until) }) ||
				slices.ContainsFunc(v.Usage, func(u pool.UsageView) bool { return near(u.ResetsAt) }) {
				return true
			}
		}
	}
	return false
}

// run draws until ctx ends, or a person quits: q and Ctrl-D, or Ctrl-C, which is an
// interrupt.
func (w *watch) run(ctx context.Context) error {
	tick := time.NewTicker(watchEvery)
	defer tick.Stop()
	for {
		changed := w.changed()
		if columns, rows := w.size(); columns != w.columns || rows != w.rows {
			w.columns, w.rows, w.shown = columns, rows, nil
		}
		if now := time.Now(); changed || w.shown == nil || !now.Before(w.until) {
			if err := w.draw(now); err != nil {
				return err
			}
		}
		select {
		case <-ctx.Done():
			return context.Cause(ctx)
		case <-tick.C:
		case by := <-w.signals:
			if w.signal(by) {
				return signalled{by}
			}
			w.shown = nil
		case key, open := <-w.keys:
			switch {
			case !open, key == 'q', key == 'Q', key == ctrlD: // no keys: the terminal is gone
				return nil
			case key == ctrlC:
				return signalled{os.Interrupt}
			case key == ctrlZ:
				w.suspend()
				w.shown = nil
			}
		}
	}
}

// draw writes what is not on the screen already, at once.
func (w *watch) draw(now time.Time) error {
	var b strings.Builder
	if w.shown == nil {
		b.WriteString(clearScreen)
	}
	all, until := w.lines(w.columns, now)
	lines := w.fit(all)
	for i := range max(len(lines), len(w.shown)) {
		before, line := "", ""
		if i < len(w.shown) {
			before = w.shown[i]
		}
		if i < len(lines) {
			line = lines[i]
		}
		if line == before {
			continue
		}
		fmt.Fprintf(&b, "\x1b[%d;1H%s", i+1, line)
		if cells(unpainted(line)) < w.columns { // behind a full line, its last cell would go
			b.WriteString(restOfLine)
		}
	}
	w.shown, w.until = lines, until
	if b.Len() == 0 {
		return nil
	}
	_, err := io.WriteString(w.out, b.String())
	return err
}

// fit cuts what is to be seen to the terminal, and says in the last line how to leave.
func (w *watch) fit(lines []string) []string {
	quit := "q quits"
	if room := max(w.rows-1, 0); len(lines) > room {
		quit = counted(len(lines)-room, "more line") + " · " + quit
		lines = lines[:room:room]
	}
	lines = append(lines, quit)
	fitted := make([]string, 0, len(lines))
	for _, line := range lines[:min(len(lines), w.rows)] {
		fitted = append(fitted, clip(line, w.columns))
	}
	return fitted
}

// clip cuts a painted line to so many columns.
func clip(line string, columns int) string {
	if cells(unpainted(line)) <= columns {
		return line
	}
	var b strings.Builder
	for room := max(columns-1, 0); line != ""; {
		text, rest, painted := strings.Cut(line, "\x1b[")
		for _, r := range text {
			if room -= cells(string(r)); room < 0 {
				return b.String() + "\x1b[0m…"
			}
			b.WriteRune(r)
		}
		style, after, _ := strings.Cut(rest, "m")
		if painted {
			b.WriteString("\x1b[" + style + "m")
		}
		line = after
	}
	return b.String()
}

// unpainted is text without its colours.
func unpainted(line string) string {
	text, rest, painted := strings.Cut(line, "\x1b[")
	for painted {
		_, after, _ := strings.Cut(rest, "m")
		var more string
		more, rest, painted = strings.Cut(after, "\x1b[")
		text += more
	}
	return text
}

// typedKeys are the bytes that a person types, until ctx ends or the terminal is gone.
func typedKeys(ctx context.Context, in io.Reader) <-chan byte {
	keys := make(chan byte)
	go func() {
		defer close(keys)
		typed := make([]byte, 64)
		for {
			n, err := in.Read(typed)
			for _, key := range typed[:n] {
				select {
				case keys <- key:
				case <-ctx.Done():
					return
				}
			}
			if err != nil {
				return
			}
		}
	}()
	return keys
}

// screen is a terminal that a watch has for itself.
type screen struct {
	in, out *os.File
	before  *term.State
	restore func() // what else of the terminal was changed; nil: nothing
}

func (s *screen) enter() (err error) {
	if s.restore, err = redrawable(s.out); err != nil {
		return err
	}
	if s.before, err = term.MakeRaw(int(s.in.Fd())); err != nil { // #nosec G115 -- a file descriptor is small
		s.restore()
		return err
	}
	_, _ = s.out.WriteString(enterScreen) // drawing fails as well then, and ends the watch
	return nil
}

func (s *screen) leave() {
	_, _ = s.out.WriteString(leaveScreen)
	_ = term.Restore(int(s.in.Fd()), s.before) // #nosec G115 -- a file descriptor is small
	s.restore()
}

// size is the terminal's: what COLUMNS says is from before it was resized.
func (s *screen) size() (columns, rows int) {
	columns, rows, err := term.GetSize(int(s.out.Fd())) // #nosec G115 -- a file descriptor is small
	if err != nil || columns <= 0 || rows <= 0 {
		return usualWidth, usualHeight
	}
	return columns, rows
}
