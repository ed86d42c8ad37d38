package setup

import (
	"bytes"
	"cmp"
	"fmt"
	"strconv"
	"strings"
)

// Files with lines and # comments get a block between two comment lines. The first of them
// has the number of lines, so that lines that somebody adds in between are not removed with
// the block. Adding and removing a block leaves every byte as it was:
//
//  - in a file that did not exist, the block ends with a newline; in one without a final
//    newline (also an empty one) it doesn't, and the newline before it belongs to it;
//  - a block that replaces a line ("users: []") keeps that line in a comment.

// region is the position of a block in a file.
type region struct {
	start, end int // end is after the block's last newline, if there is one
	body       []string
	eol        string
	instead    string // the line that the block replaces
	replaces   bool
}

// markOf is the beginning of the two comment lines.
const (
	markOf    = "# authferry setup "
	insteadOf = "# authferry setup, instead of: "
)

const beginPrefix = "# authferry setup "

func beginOf(name string, lines int) string {
	return fmt.Sprintf(beginPrefix+"%s: begin (lines: %d); authferry setup %[1]s --undo takes this out", name, lines)
}

func endOf(name string) string { return "# authferry setup " + name + ": end" }

// findBlock returns nil if there is none.
func findBlock(text, name string) (*region, error) {
	begin := beginPrefix + name + ": begin (lines: "
	var r *region
	at, want := 0, 0
	for line := range strings.Lines(text) {
		start := at
		at += len(line)
		bare := strings.TrimRight(line, "\r\n")
		said := strings.TrimLeft(bare, " ")
		switch {
		case r == nil && strings.HasPrefix(said, begin):
			number, _, _ := strings.Cut(said[len(begin):], ")")
			want, _ = strconv.Atoi(number)
			r = &region{start: start, eol: line[len(bare):]}
		case r == nil:
		case said == endOf(name):
			r.end = at
			if len(r.body) != want {
				return nil, refuse("the block that authferry wrote has %d lines instead of %d now", len(r.body), want).
					instead("move your own lines out from between %q and %q", strings.TrimSuffix(begin, " (lines: "), endOf(name))
			}
			if n := len(r.body); n > 0 && strings.HasPrefix(r.body[n-1], insteadOf) {
				r.replaces, r.instead = true, strings.TrimPrefix(r.body[n-1], insteadOf)
			}
			return r, nil
		default:
			r.body = append(r.body, said)
		}
	}
	if r != nil {
		return nil, refuse("the end of the block that authferry wrote is missing").instead("write %q after it", endOf(name))
	}
	return nil, nil
}

// blockText is a block without its last newline.
func blockText(name, indent, eol string, body []string) string {
	var b strings.Builder
	b.WriteString(indent + beginOf(name, len(body)) + eol)
	for _, line := range body {
		b.WriteString(indent + line + eol)
	}
	return b.String() + indent + endOf(name)
}

// takeBlock removes the first block of that name. Nil is no file.
func takeBlock(now []byte, name string) ([]byte, error) {
	r, err := findBlock(textOf(now), name)
	if err != nil || r == nil {
		return now, err
	}
	return takeRegion(now, r), nil
}

// takeRegion removes a block. Nil is no file.
func takeRegion(now []byte, r *region) []byte {
	mark, text := cutMark(now)
	before, after := text[:r.start], text[r.end:]
	open := !strings.HasSuffix(text[:r.end], "\n")
	switch {
	case r.replaces && open:
		before += r.instead
	case r.replaces:
		before += r.instead + r.eol
	case before == "" && after == "" && !open && mark == "":
		return nil
	case open:
		before = strings.TrimSuffix(before, r.eol)
	}
	return []byte(mark + before + after)
}

// putBlock adds a block at the start of a line, or at the end; an existing one is changed
// in place.
func putBlock(now []byte, name string, body []string, at int) ([]byte, error) {
	mark, text := cutMark(now)
	r, err := findBlock(text, name)
	if err != nil {
		return nil, err
	}
	if r != nil {
		if r.replaces {
			body = append(body, insteadOf+r.instead)
		}
		head := text[r.start:r.end]
		indent := head[:len(head)-len(strings.TrimLeft(head, " "))]
		block := blockText(name, indent, r.eol, body)
		if strings.HasSuffix(head, "\n") {
			block += r.eol
		}
		return []byte(mark + text[:r.start] + block + text[r.end:]), nil
	}
	return addBlock(now, name, "", body, at), nil
}

// addBlock adds a block at the start of a line, or at the end, even if there are others.
func addBlock(now []byte, name, indent string, body []string, at int) []byte {
	mark, text := cutMark(now)
	block := blockText(name, indent, eolOf(text), body)
	eol := eolOf(text)
	switch {
	case at < len(text), now == nil, strings.HasSuffix(text, "\n"):
		return []byte(mark + text[:at] + block + eol + text[at:])
	case text == "":
		return []byte(mark + block)
	}
	return []byte(mark + text + eol + block)
}

// replaceLine replaces the line text[from:to] by a block.
func replaceLine(now []byte, name string, body []string, from, to int) []byte {
	mark, text := cutMark(now)
	line := text[from:to]
	bare := strings.TrimRight(line, "\r\n")
	end := line[len(bare):]
	block := blockText(name, "", cmp.Or(end, eolOf(text)), append(body, insteadOf+bare))
	return []byte(mark + text[:from] + block + end + text[to:])
}

func eolOf(text string) string {
	if strings.Contains(text, "\r\n") {
		return "\r\n"
	}
	return "\n"
}

const byteOrderMark = "\ufeff"

// cutMark splits off the byte order mark that some editors write.
func cutMark(now []byte) (mark, text string) {
	if rest, ok := bytes.CutPrefix(now, []byte(byteOrderMark)); ok {
		return byteOrderMark, string(rest)
	}
	return "", string(now)
}
