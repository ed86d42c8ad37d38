package main

import (
	"context"
	"errors"
	"os"
	"strconv"
	"strings"
	"testing"
	"testing/synctest"
	"time"
	"unicode/utf8"

	"pgregory.net/rapid"

	"github.com/authferry/authferry/testenv"
)

// glass is the screen of a terminal, as far as a watch draws on it.
type glass struct {
	t          interface{ Fatalf(string, ...any) }
	rows       [][]rune
	columns    int
	row, at    int
	written    int  // bytes
	everything int  // how often all was cleared
	own        bool // it is the watch's own screen, not the one with a person's commands
	noCursor   bool
	lenient    bool
	pending    string // the beginning of what is still to come
}

func newGlass(t interface{ Fatalf(string, ...any) }, columns, rows int) *glass {
	g := &glass{t: t}
	g.resize(columns, rows)
	return g
}

func (g *glass) resize(columns, rows int) {
	g.columns, g.rows = columns, make([][]rune, rows)
	for i := range g.rows {
		g.rows[i] = []rune(strings.Repeat("?", columns)) // whatever was there
	}
}

func (g *glass) blank(row, from int) {
	for i := from; i < g.columns; i++ {
		g.rows[row][i] = ' '
	}
}

func (g *glass) Write(data []byte) (int, error) {
	g.written += len(data)
	text := g.pending + string(data)
	for text != "" && utf8.FullRuneInString(text) {
		if text[0] != '\x1b' {
			r, size := utf8.DecodeRuneInString(text)
			g.put(r)
			text = text[size:]
			continue
		}
		i := strings.IndexFunc(text[min(2, len(text)):], func(r rune) bool { return r >= '@' && r <= '~' })
		if i < 0 {
			break
		}
		numbers, kind := text[2:2+i], text[2+i]
		text = text[2+i+1:]
		switch kind {
		case 'h', 'l':
			g.own = g.own && numbers != "?1049" || kind == 'h' && numbers == "?1049"
			g.noCursor = g.noCursor && numbers != "?25" || kind == 'l' && numbers == "?25"
		case 'H':
			row, column, _ := strings.Cut(numbers, ";")
			g.row, _ = strconv.Atoi(row)
			g.at, _ = strconv.Atoi(column)
			g.row, g.at = g.row-1, g.at-1
			if g.row >= len(g.rows) {
				g.beyond("row", g.row+1)
				g.row = len(g.rows) - 1
			}
		case 'K':
			if g.at >= g.columns {
				g.beyond("the rest of a full line", g.at)
			}
			g.blank(g.row, g.at)
		case 'J':
			g.everything++
			for row := range g.rows {
				g.blank(row, 0)
			}
		case 'm':
		default:
			g.t.Fatalf("what is %q?", numbers+string(kind))
		}
	}
	g.pending = text
	return len(data), nil
}

// beyond is for what isn't on the screen; one that is being resized may get it.
func (g *glass) beyond(what string, at int) {
	if !g.lenient {
		g.t.Fatalf("%s %d, on %d columns and %d rows:\n%s", what, at, g.columns, len(g.rows), g)
	}
}

func (g *glass) put(r rune) {
	switch r {
	case '\r':
		g.at = 0
	case '\n':
		g.row = min(g.row+1, len(g.rows)-1)
	default:
		if g.at >= g.columns {
			g.beyond("column", g.at+1)
			g.at = g.columns - 1
		}
		g.rows[g.row][g.at] = r
		g.at++
	}
}

func (g *glass) String() string {
	var b strings.Builder
	for _, row := range g.rows {
		b.WriteString(strings.TrimRight(string(row), " ") + "\n")
	}
	return strings.TrimRight(b.String(), "\n")
}

// A watch draws when something changed or a time passed, and nothing else: one that
// nothing happens to writes nothing.
func TestWatchDrawsWhatChanges(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		shown := []string{"one", "two", "three"}
		began := time.Now()
		keys := make(chan byte)
		g := newGlass(t, 12, 6)
		changed, drawn := false, 0
		w := &watch{out: g, size: func() (int, int) { return g.columns, len(g.rows) }, keys: keys, changed: func() bool { return changed },
			lines: func(_ int, now time.Time) ([]string, time.Time) {
				drawn++
				if now.Sub(began) >= time.Hour {
					return []string{"an hour on"}, now.Add(slowPace)
				}
				return shown, began.Add(time.Hour)
			}}
		ended := make(chan error, 1)
		go func() { ended <- w.run(t.Context()) }()
		see := func(want string) {
			t.Helper()
			time.Sleep(watchEvery)
			synctest.Wait()
			if g.String() != want {
				t.Fatalf("on the screen is\n%s\nwant\n%s", g, want)
			}
		}
		see("one\ntwo\nthree\nq quits")
		before := g.written
		changed = true
		time.Sleep(30 * time.Minute)
		synctest.Wait()
		changed = false
		if drawn < 1000 || g.written != before {
			t.Errorf("of %d drawings %d bytes were written, and nothing differed", drawn, g.written-before)
		}
		drawn = 0
		time.Sleep(10 * time.Minute)
		synctest.Wait()
		if drawn != 0 {
			t.Errorf("drawn %d times though nothing was changed", drawn)
		}
		changed = true
		shown = []string{"one", "2", "three"}
		see("one\n2\nthree\nq quits")
		if n := g.written - before; n > len("\x1b[2;1H2\x1b[K") {
			t.Errorf("%d bytes for one line", n)
		}
		shown = []string{"one"}
		see("one\nq quits")
		shown = []string{"a line that is far too long", "\x1b[31mred and far too long\x1b[0m"}
		see("a line that…\nred and far…\nq quits")
		shown = strings.Fields("1 2 3 4 5 6 7 8")
		see("1\n2\n3\n4\n5\n3 more line…")
		g.resize(30, 9)
		see("1\n2\n3\n4\n5\n6\n7\n8\nq quits")
		if g.everything != 2 {
			t.Errorf("the screen was cleared %d times, for one change of size", g.everything)
		}
		changed = false
		time.Sleep(time.Hour)
		synctest.Wait()
		see("an hour on\nq quits")
		keys <- 'x'
		keys <- 'q'
		testenv.Check(t, <-ended)
	})
}

// What a person types, what signals say and the end of a terminal end it, each in its way.
func TestWatchEnds(t *testing.T) {
	for name, c := range map[string]struct {
		do   func(keys chan byte, signals chan os.Signal, cancel context.CancelCauseFunc)
		want error
	}{
		"q":        {func(keys chan byte, _ chan os.Signal, _ context.CancelCauseFunc) { keys <- 'q' }, nil},
		"Q":        {func(keys chan byte, _ chan os.Signal, _ context.CancelCauseFunc) { keys <- 'Q' }, nil},
		"Ctrl-D":   {func(keys chan byte, _ chan os.Signal, _ context.CancelCauseFunc) { keys <- ctrlD }, nil},
		"Ctrl-C":   {func(keys chan byte, _ chan os.Signal, _ context.CancelCauseFunc) { keys <- ctrlC }, signalled{os.Interrupt}},
		"hung up":  {func(keys chan byte, _ chan os.Signal, _ context.CancelCauseFunc) { close(keys) }, nil},
		"a signal": {func(_ chan byte, signals chan os.Signal, _ context.CancelCauseFunc) { signals <- os.Interrupt }, signalled{os.Interrupt}},
		"interrupted": {func(_ chan byte, _ chan os.Signal, cancel context.CancelCauseFunc) {
			cancel(signalled{os.Interrupt})
		}, signalled{os.Interrupt}},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				ctx, cancel := context.WithCancelCause(t.Context())
				keys, signals, ended := make(chan byte), make(chan os.Signal), make(chan error)
				w := &watch{out: newGlass(t, 80, 24), size: func() (int, int) { return 80, 24 }, keys: keys, signals: signals,
					signal: func(by os.Signal) bool { return by == os.Interrupt }, lines: func(int, time.Time) ([]string, time.Time) { return nil, time.Time{} }, changed: func() bool { return false }}
				go func() { ended <- w.run(ctx) }()
				synctest.Wait()
				c.do(keys, signals, cancel)
				if err := <-ended; !errors.Is(err, c.want) && err != c.want {
					t.Errorf("got %v, want %v", err, c.want)
				}
			})
		})
	}
}

// Whatever is shown, before and after, on whatever size: the screen has just that.
func TestWatchShowsWhatThereIs(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		columns, rows := rapid.IntRange(1, 40).Draw(t, "columns"), rapid.IntRange(1, 8).Draw(t, "rows")
		g := newGlass(t, columns, rows)
		var lines []string
		w := &watch{out: g, columns: columns, rows: rows, lines: func(int, time.Time) ([]string, time.Time) { return lines, time.Time{} }}
		for range 4 {
			lines = rapid.SliceOfN(rapid.StringMatching(`([a-c]{0,20}|\x1b\[2m[x-z]{0,20}\x1b\[0m){0,3}`), 0, 10).Draw(t, "lines")
			testenv.Must(t, w.draw(time.Time{}))
			for i, got := range strings.Split(g.String(), "\n") {
				if i < len(lines) && i < rows-1 {
					want := unpainted(lines[i])
					if len(want) > columns {
						want = want[:columns-1] + "…"
					}
					if got != want {
						t.Fatalf("line %d is %q, want %q", i+1, got, want)
					}
				}
			}
		}
	})
}
