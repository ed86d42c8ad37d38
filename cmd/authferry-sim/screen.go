package main

import (
	"fmt"
	"io"
	"os"
	"strings"
	"unicode/utf8"

	"golang.org/x/term"
)

// The rules of output. Text is wrapped to the terminal, or to 76 columns where
// there is none; commands are never wrapped, so that they can be copied. Colour
// only on a terminal, or with CLICOLOR_FORCE, and never the only sign of anything.

const (
	bold  = "1"
	green = "32"
	red   = "1;31"
	dim   = "2"
)

// screen is where people read.
type screen struct {
	io.Writer
	width    int
	colour   bool
	terminal bool
}

func newScreen(f *os.File) *screen {
	forced := os.Getenv("CLICOLOR_FORCE")
	s := &screen{Writer: f, width: 76, colour: forced != "" && forced != "0" && os.Getenv("NO_COLOR") == ""}
	fd := int(f.Fd()) // #nosec G115 -- a file descriptor is small
	if !term.IsTerminal(fd) {
		return s
	}
	s.terminal = true
	s.colour = os.Getenv("NO_COLOR") == "" && os.Getenv("TERM") != "dumb"
	if width, _, err := term.GetSize(fd); err == nil && width > 0 {
		s.width = min(width, 100)
	}
	return s
}

func (s *screen) paint(style, text string) string {
	if !s.colour {
		return text
	}
	return "\x1b[" + style + "m" + text + "\x1b[0m"
}

func (s *screen) line(text string) { _, _ = fmt.Fprintln(s, text) }

func (s *screen) title(text string) { s.line("\n" + s.paint(bold, text) + "\n") }

// para prints wrapped text.
func (s *screen) para(text string) {
	for _, l := range wrap(text, s.width-2) {
		s.line("  " + l)
	}
}

// commands prints lines to copy, each whole.
func (s *screen) commands(lines ...string) {
	s.line("\n    " + strings.Join(lines, "\n    ") + "\n")
}

// progress replaces what progress printed before; only a terminal sees it.
func (s *screen) progress(text string) {
	if !s.terminal {
		return
	}
	if utf8.RuneCountInString(text) > s.width-3 {
		text = string([]rune(text)[:s.width-3])
	}
	_, _ = fmt.Fprint(s, "\r\x1b[K", s.paint(dim, text))
}

func (s *screen) endProgress() {
	if s.terminal {
		_, _ = fmt.Fprint(s, "\r\x1b[K")
	}
}

func wrap(text string, width int) []string {
	var lines []string
	line := ""
	for word := range strings.FieldsSeq(text) {
		switch {
		case line == "":
			line = word
		case utf8.RuneCountInString(line)+1+utf8.RuneCountInString(word) <= width:
			line += " " + word
		default:
			lines = append(lines, line)
			line = word
		}
	}
	if line != "" {
		lines = append(lines, line)
	}
	return lines
}
