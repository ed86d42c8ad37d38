package setup

import (
	"fmt"
	"strings"
	"unicode"
	"unicode/utf8"
)

// Diff shows the change as a unified diff, for a terminal. Other lines than those
// that change are left out, of a long one what doesn't change, and of what goes
// with authferry's own entry the values that somebody put there: configuration
// files hold secrets of others.
func (c Change) Diff() string {
	var b strings.Builder
	switch {
	case c.Link != "" && c.After == nil:
		return fmt.Sprintf("remove the link %s -> %s\n", clean(c.Path), clean(string(c.Before)))
	case c.Link != "":
		return fmt.Sprintf("link %s -> %s\n", clean(c.Path), clean(string(c.After)))
	}
	from, to := clean(c.Path), clean(c.Path)
	if c.Before == nil {
		from = "/dev/null"
	}
	if c.After == nil {
		to = "/dev/null"
	}
	fmt.Fprintf(&b, "--- %s\n+++ %s\n", from, to)
	old, now := linesOf(c.Before), linesOf(c.After)
	for _, h := range hunks(old, now) {
		fmt.Fprintf(&b, "@@ -%s +%s @@\n", span(h.old, h.oldEnd), span(h.now, h.nowEnd))
		gone, come := old[h.old:h.oldEnd], now[h.now:h.nowEnd]
		for i, line := range gone {
			other := ""
			if i < len(come) {
				other = come[i]
			}
			b.WriteString("-" + essence(c.hidden(line), c.hidden(other)) + "\n")
		}
		for i, line := range come {
			other := ""
			if i < len(gone) {
				other = gone[i]
			}
			b.WriteString("+" + essence(c.hidden(line), c.hidden(other)) + "\n")
		}
	}
	return b.String()
}

func (c Change) hidden(line string) string {
	for _, text := range c.private {
		line = strings.ReplaceAll(line, text, `"…"`)
	}
	return line
}

func linesOf(data []byte) (all []string) {
	for line := range strings.Lines(string(data)) {
		all = append(all, line)
	}
	return all
}

func span(from, to int) string {
	if from == to {
		return fmt.Sprintf("%d,0", from)
	}
	return fmt.Sprintf("%d,%d", from+1, to-from)
}

// hunk is old[old:oldEnd] that became now[now:nowEnd].
type hunk struct{ old, oldEnd, now, nowEnd int }

// hunks compares line by line. What setup does to a file is small, so where the
// lines differ the nearest pair that agrees again is good enough.
func hunks(old, now []string) (all []hunk) {
	i, j := 0, 0
	for i < len(old) || j < len(now) {
		if i < len(old) && j < len(now) && old[i] == now[j] {
			i, j = i+1, j+1
			continue
		}
		h := hunk{old: i, now: j}
		i, j = meet(old, now, i, j)
		h.oldEnd, h.nowEnd = i, j
		all = append(all, h)
	}
	return all
}

// meet finds where the lines agree again: best after lines that were only added or
// only removed, which is what setup does.
func meet(old, now []string, i, j int) (int, int) {
	rest := len(old) - i + len(now) - j
	for far := 1; far <= rest; far++ {
		if i < len(old) && j+far < len(now) && old[i] == now[j+far] {
			return i, j + far
		}
		if j < len(now) && i+far < len(old) && old[i+far] == now[j] {
			return i + far, j
		}
	}
	for far := 2; far <= rest; far++ {
		for skip := 1; skip < far; skip++ {
			if a, b := i+skip, j+far-skip; a < len(old) && b < len(now) && old[a] == now[b] {
				return a, b
			}
		}
	}
	return len(old), len(now)
}

// essence is a line, or what sets a long one apart from other.
func essence(line, other string) string {
	const elided = 24
	line, other = strings.TrimRight(line, "\r\n"), strings.TrimRight(other, "\r\n")
	if other == "" {
		return clean(line)
	}
	same := 0
	for same < min(len(line), len(other)) && line[same] == other[same] {
		same++
	}
	for same > 0 && same < len(line) && !utf8.RuneStart(line[same]) {
		same--
	}
	head, line, other := line[:same], line[same:], other[same:]
	same = 0
	for same < min(len(line), len(other)) && line[len(line)-1-same] == other[len(other)-1-same] {
		same++
	}
	for same > 0 && !utf8.RuneStart(line[len(line)-same]) {
		same--
	}
	line, tail := line[:len(line)-same], line[len(line)-same:]
	if len(head) > elided {
		head = "…"
	}
	if len(tail) > elided {
		tail = "…"
	}
	return clean(head + line + tail)
}

// clean escapes what could move a cursor or hide text.
func clean(text string) string {
	return strings.Map(func(r rune) rune {
		if r == '\t' || unicode.IsPrint(r) {
			return r
		}
		return unicode.ReplacementChar
	}, text)
}
