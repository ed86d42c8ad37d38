package setup

import (
	"fmt"
	"maps"
	"strings"
	"unicode"
	"unicode/utf8"
)

// Diff shows the change as a unified diff, for a terminal. Authferry's own lines are shown
// completely. Configuration files contain secrets, so of other lines only the changed parts
// are shown, and of authferry's own entry not the values that somebody added to it.
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
	own := ownLines(old)
	maps.Copy(own, ownLines(now))
	show := func(sign, line string, others []string) {
		if !own[line] {
			line = essence(line, others)
		}
		b.WriteString(sign + clean(line) + "\n")
	}
	for _, h := range hunks(old, now) {
		fmt.Fprintf(&b, "@@ -%s +%s @@\n", span(h.old, h.oldEnd), span(h.now, h.nowEnd))
		gone, come := c.hidden(old[h.old:h.oldEnd]), c.hidden(now[h.now:h.nowEnd])
		for _, line := range gone {
			show("-", line, come)
		}
		for _, line := range come {
			show("+", line, gone)
		}
	}
	return b.String()
}

// ownPair is a line of JSON that only has authferry's content.
var ownPair = pattern(`^\s*"[^"]*": ?"(authferry|[^"\s]*authferry[^"\s]* helper [a-z-]+( --(account|pool) [^"\s]+)?)",?$`)

// ownLines are the lines that are only authferry's.
func ownLines(lines []string) map[string]bool {
	own, inside := map[string]bool{}, false
	for _, line := range lines {
		line = strings.TrimRight(line, "\r\n")
		said, marked := strings.CutPrefix(strings.TrimLeft(line, " "), markOf)
		inside = inside || marked && strings.Contains(said, ": begin (")
		if inside || ownPair().MatchString(line) {
			own[line] = true
		}
		inside = inside && !(marked && strings.HasSuffix(said, ": end"))
	}
	return own
}

func (c Change) hidden(lines []string) (all []string) {
	for _, line := range lines {
		line = strings.TrimRight(line, "\r\n")
		for _, text := range c.private {
			line = strings.ReplaceAll(line, text, `"…"`)
		}
		all = append(all, line)
	}
	return all
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

// hunks compares line by line. Setup changes little, so where the lines differ the nearest
// pair that matches is good enough.
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

// meet finds where the lines match again: preferably after lines that were only added or
// only removed, as setup does.
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

// essence is the part of a line that differs from the others: its beginning may be shared
// with one of them, its end with another. A shared part exists before and after, and may be
// a secret: only the characters next to the difference are shown.
func essence(line string, others []string) string {
	var head, tail int
	for _, other := range others {
		h, t := inCommon(line, other)
		head, tail = max(head, h), max(tail, t)
	}
	tail = min(tail, len(line)-head)
	for tail > 0 && !utf8.RuneStart(line[len(line)-tail]) {
		tail--
	}
	before, after := line[:head], line[len(line)-tail:]
	word := func(r rune) bool { return unicode.IsLetter(r) || unicode.IsDigit(r) }
	if i := strings.LastIndexFunc(before, word); i >= 0 {
		_, size := utf8.DecodeRuneInString(before[i:])
		before = "…" + before[i+size:]
	}
	if i := strings.IndexFunc(after, word); i >= 0 {
		after = after[:i] + "…"
	}
	return before + line[head:len(line)-tail] + after
}

// inCommon is the length of the beginning and of the end that two lines share; they may
// overlap.
func inCommon(line, other string) (head, tail int) {
	most := min(len(line), len(other))
	for head < most && line[head] == other[head] {
		head++
	}
	for head > 0 && head < len(line) && !utf8.RuneStart(line[head]) {
		head--
	}
	for tail < most && line[len(line)-1-tail] == other[len(other)-1-tail] {
		tail++
	}
	for tail > 0 && !utf8.RuneStart(line[len(line)-tail]) {
		tail--
	}
	return head, tail
}

// clean escapes characters that move the cursor or hide text.
func clean(text string) string {
	return strings.Map(func(r rune) rune {
		if r == '\t' || unicode.IsPrint(r) {
			return r
		}
		return unicode.ReplacementChar
	}, text)
}
