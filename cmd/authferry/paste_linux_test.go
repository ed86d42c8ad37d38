package main

import (
	"io"
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/authferry/authferry/testenv"
)

// A terminal by itself cuts a line at 4,096 bytes; a code can be longer.
func TestPasteOfALongLine(t *testing.T) {
	t.Parallel()
	for typed, want := range map[string]string{
		strings.Repeat("c", 9000) + "\n": strings.Repeat("c", 9000) + "\n", "wrong\x7f\x7f\n": "wro\n", "code\x04": "code",
	} {
		master, terminal := openTerminal(t)
		t.Cleanup(func() { _, _ = master.Close(), terminal.Close() })
		s := &signIn{app: piped(t, ""), over: func() {}}
		s.in = terminal
		fd := int(terminal.Fd())
		before, err := unix.IoctlGetTermios(fd, unix.TCGETS)
		testenv.Must(t, err)
		shown := &prompted{is: func() { _, _ = io.WriteString(master, typed) }}
		s.term.err = shown
		if got, err := s.paste(t.Context()); err != nil || got != want {
			t.Errorf("got %d bytes, %v, want %d", len(got), err, len(want))
		}
		if after, err := unix.IoctlGetTermios(fd, unix.TCGETS); err != nil || *after != *before {
			t.Errorf("the terminal was left in another mode (%v)", err)
		}
	}
}

// prompted calls is once the person is asked.
type prompted struct{ is func() }

func (p *prompted) Write(b []byte) (int, error) {
	go p.is()
	return len(b), nil
}
