package main

import (
	"bytes"
	"fmt"
	"html"
	"strings"
	"unicode/utf8"
)

const columns = 92

// shown is a command and what the terminal shows of it.
type shown struct{ command, text string }

// styles are how the picture shows what the program says by escape sequences.
var styles = map[string]string{
	"":   `fill="#d6deeb"`,
	"1":  `fill="#ffffff" font-weight="bold"`,
	"2":  `fill="#7f8ea3"`,
	"31": `fill="#f07178"`,
	"32": `fill="#7fd88f"`,
	"33": `fill="#e6c07b"`,
}

// svg draws the screens below each other as one terminal shows them, on a ground
// of its own that stands out from a light page and from a dark one.
func svg(screens []shown, columns int) []byte {
	const cell, lineHeight, margin, top = 8.43, 20, 20, 30
	var lines, titles []string
	for i, s := range screens {
		if i > 0 {
			lines = append(lines, "")
		}
		titles = append(titles, s.command)
		lines = append(lines, "\x1b[2m$ "+s.command)
		for line := range strings.SplitSeq(strings.TrimRight(s.text, "\n"), "\n") {
			lines = append(lines, folded(line, columns)...)
		}
	}
	wide, high := columns*17/2+2*margin, top+(len(lines)-1)*lineHeight+margin+2
	var b bytes.Buffer
	fmt.Fprintf(&b, `<svg xmlns="http://www.w3.org/2000/svg" width="%d" height="%d" viewBox="0 0 %d %d" role="img" aria-label="%s">`+"\n", wide, high, wide, high, html.EscapeString(strings.Join(titles, ", ")))
	fmt.Fprintf(&b, `<rect x=".5" y=".5" width="%d" height="%d" rx="8" fill="#0f1720" stroke="#3d4c5c"/>`+"\n", wide-1, high-1)
	fmt.Fprintln(&b, `<g font-family="ui-monospace,SFMono-Regular,Menlo,Consolas,'DejaVu Sans Mono',monospace" font-size="14">`)
	for i, line := range lines {
		column, style := 0, ""
		for piece := range strings.SplitSeq("\x1b[m"+line, "\x1b[") {
			code, run, ok := strings.Cut(piece, "m")
			if !ok {
				continue
			}
			if style = code; style == "0" {
				style = ""
			}
			// Each word is placed by its column, so that no font can shift it.
			for word := range strings.SplitAfterSeq(run, " ") {
				text, size := strings.TrimSpace(word), utf8.RuneCountInString(word)
				if text != "" {
					fmt.Fprintf(&b, `<text x="%.1f" y="%d" %s>%s</text>`+"\n", margin+float64(column)*cell, top+i*lineHeight, styles[style], html.EscapeString(text))
				}
				column += size
			}
		}
	}
	fmt.Fprintln(&b, "</g>\n</svg>")
	return b.Bytes()
}

// folded is a line as a terminal of that width shows it. Lines with colours are
// made to fit by the program.
func folded(line string, columns int) (parts []string) {
	runes := []rune(line)
	if strings.Contains(line, "\x1b") {
		return []string{line}
	}
	for len(runes) > columns {
		parts, runes = append(parts, string(runes[:columns])), runes[columns:]
	}
	return append(parts, string(runes))
}
