package main

import (
	"io"
	"slices"
	"strconv"
	"strings"
	"unicode"

	"golang.org/x/text/width"
)

// table is aligned text; every cell is made printable. It fits the terminal's width and
// never wraps a row of cells.
type table struct {
	head  []string // nil: names and their values
	rows  [][]string
	spare []int // columns that are dropped, in this order, if there is no room
	whole []int // columns that are never cut
	least []int // columns that are dropped, in this order, if there is no room even for cut ones
}

func newTable(head ...string) *table { return &table{head: head} }

func (t *table) add(cells ...string) { t.rows = append(t.rows, cells) }

const gap = 2 // between columns

// print writes the table for a terminal of that many columns; 0: as wide as it is.
func (t *table) print(w io.Writer, columns int) error {
	rows := t.rows
	if t.head != nil {
		rows = slices.Concat([][]string{t.head}, rows)
	}
	for _, row := range rows {
		for i, c := range row {
			row[i] = printable(c)
		}
	}
	for _, i := range t.spare {
		if columns > 0 && total(widths(rows)) > columns {
			drop(rows, i)
		}
	}
	sizes := widths(rows)
	if t.head != nil && columns > 0 {
		for _, i := range t.least {
			if t.shrink(slices.Clone(sizes), columns) {
				break
			}
			drop(rows, i)
			sizes = widths(rows)
		}
		t.shrink(sizes, columns)
	}
	var b strings.Builder
	for _, row := range rows {
		var line strings.Builder
		for i, c := range row {
			switch {
			case i < len(row)-1 && sizes[i] == 0:
			case i < len(row)-1:
				line.WriteString(pad(shorten(c, sizes[i]), sizes[i]+gap))
			case t.head != nil:
				line.WriteString(shorten(c, sizes[i]))
			default:
				line.WriteString(hang(c, cells(line.String()), columns))
			}
		}
		for text := range strings.SplitSeq(line.String(), "\n") {
			b.WriteString(strings.TrimRight(text, " ") + "\n")
		}
	}
	_, err := io.WriteString(w, b.String())
	return err
}

// drop empties column i.
func drop(rows [][]string, i int) {
	for _, row := range rows {
		if i < len(row) {
			row[i] = ""
		}
	}
}

// widths are the cells that each column takes; the only cell of a row is a title, and takes
// none.
func widths(rows [][]string) (sizes []int) {
	for _, row := range rows {
		for i, c := range row {
			if i == len(sizes) {
				sizes = append(sizes, 0)
			}
			if len(row) > 1 {
				sizes[i] = max(sizes[i], cells(c))
			}
		}
	}
	return sizes
}

func total(sizes []int) (n int) {
	for _, size := range sizes {
		if size > 0 {
			n += size + gap
		}
	}
	return n - gap
}

// narrowest that a column becomes.
const narrowestColumn = 6

// shrink narrows the widest column until all of them fit; false: they don't.
func (t *table) shrink(sizes []int, columns int) bool {
	for total(sizes) > columns {
		widest := -1
		for i, size := range sizes {
			if size > narrowestColumn && !slices.Contains(t.whole, i) && (widest < 0 || size > sizes[widest]) {
				widest = i
			}
		}
		if widest < 0 {
			return false
		}
		sizes[widest]--
	}
	return true
}

// hang breaks text between words, with an indent. A command or an address stays in one
// piece, on a line of its own if necessary.
func hang(text string, indent, columns int) string {
	if columns == 0 || indent+cells(text) <= columns {
		return text
	}
	lines := []string{text}
	if !strings.HasPrefix(text, "authferry ") {
		lines = wrap(text, columns-indent)
	}
	if slices.ContainsFunc(lines, func(line string) bool { return indent+cells(line) > columns }) && indent > 2*gap {
		indent = 2 * gap
		lines = slices.Concat([]string{""}, lines)
	}
	return strings.Join(lines, "\n"+strings.Repeat(" ", indent))
}

// wrap breaks text between words into lines of that many cells; a longer word is not
// broken.
func wrap(text string, room int) (lines []string) {
	line, at := "", 0
	for word := range strings.FieldsSeq(text) {
		size := cells(word)
		if line != "" && at+1+size > room {
			lines, line, at = append(lines, line), "", 0
		}
		if line != "" {
			line, at = line+" ", at+1
		}
		line, at = line+word, at+size
	}
	return append(lines, line)
}

// cells is the number of columns that text takes on a terminal.
func cells(text string) (n int) {
	for _, r := range text {
		switch {
		case unicode.In(r, unicode.Mn, unicode.Me, unicode.Cf):
		case wide(r):
			n += 2
		default:
			n++
		}
	}
	return n
}

func wide(r rune) bool {
	k := width.LookupRune(r).Kind()
	return k == width.EastAsianWide || k == width.EastAsianFullwidth
}

func pad(text string, to int) string { return text + strings.Repeat(" ", max(0, to-cells(text))) }

// shorten cuts text to that many columns.
func shorten(text string, to int) string {
	if cells(text) <= to {
		return text
	}
	short, size := "", 0
	for _, r := range text {
		if size += cells(string(r)); size >= to {
			break
		}
		short += string(r)
	}
	return short + "…"
}

// counted is "1 account", "2 accounts".
func counted(n int, thing string) string {
	if n != 1 {
		thing += "s"
	}
	return strconv.Itoa(n) + " " + thing
}
