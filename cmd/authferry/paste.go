package main

import (
	"bufio"
	"bytes"
	"context"
	"io"
	"os"
	"strings"
	"time"

	"github.com/authferry/authferry/broker/fault"
)

const (
	// maxPasted is far above any redirect URL.
	maxPasted = 64 << 10
	// pasteGap is the longest pause within one paste. What a terminal wrapped comes as
	// several lines at once; nobody types the next line that fast.
	pasteGap = 150 * time.Millisecond
)

type pastedLine struct {
	text string
	err  error
}

// paste reads what a person pastes, which may be several lines; it gives up waiting
// when ctx ends.
func (s *signIn) paste(ctx context.Context) (string, error) {
	s.over() // the line is the person's now
	in := io.LimitReader(s.in, maxPasted)
	if f, ok := s.in.(*os.File); ok && isTerminal(f) {
		in = typed{in}
		defer unlimited(f)()
	}
	if isTerminal(s.in) && !s.term.noInput {
		s.term.note("Then paste the code, or the address of the last page, here:")
	}
	if s.pasted == nil {
		s.pasted = make(chan pastedLine)
		go readPasted(in, s.pasted)
	}
	var text strings.Builder
	var gap <-chan time.Time
	for {
		select {
		case line, open := <-s.pasted:
			text.WriteString(line.text)
			blank := strings.TrimSpace(text.String()) == ""
			switch {
			case blank && (!open || line.err != nil) && isTerminal(s.in):
				return "", declined()
			case blank && (!open || line.err != nil):
				return "", &fault.Error{Code: fault.LoginFailed, Message: "stdin ended without the code; nothing was changed", Next: []fault.Remedy{{Do: fault.Again, How: fault.Paste}}}
			case blank:
				continue
			case !open || line.err != nil:
				return text.String(), nil
			}
			gap = time.After(pasteGap)
		case <-gap:
			return text.String(), nil
		case <-ctx.Done():
			return "", context.Cause(ctx)
		}
	}
}

// readPasted sends the lines of in, the last one with the error that ends it.
func readPasted(in io.Reader, to chan<- pastedLine) {
	defer close(to)
	lines := bufio.NewReader(in)
	for {
		line, err := lines.ReadString('\n')
		to <- pastedLine{edited(line), err}
		if err != nil {
			return
		}
	}
}

// What a terminal without lines of its own leaves to the program.
const (
	backspace = 0x08
	killLine  = 0x15 // Ctrl-U
	erase     = 0x7f
)

// typed ends where a person types Ctrl-D.
type typed struct{ in io.Reader }

func (t typed) Read(p []byte) (int, error) {
	n, err := t.in.Read(p)
	if i := bytes.IndexAny(p[:n], "\x04\x00"); i >= 0 { // NUL: it was typed before the terminal left that to us
		return i, io.EOF
	}
	return n, err
}

// edited is a line after the person's corrections.
func edited(line string) string {
	if !strings.ContainsAny(line, string([]byte{backspace, killLine, erase})) {
		return line
	}
	var kept []rune
	for _, r := range line {
		switch r {
		case backspace, erase:
			kept = kept[:max(0, len(kept)-1)]
		case killLine:
			kept = nil
		default:
			kept = append(kept, r)
		}
	}
	return string(kept)
}
