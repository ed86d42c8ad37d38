package main

import (
	"io"
	"strings"
	"testing"
)

// A paste that a terminal wrapped comes as several lines; those of one paste are read
// as one, and blank ones are passed over.
func TestPasteOfSeveralLines(t *testing.T) {
	t.Parallel()
	for in, want := range map[string]string{
		"one\n": "one\n", "one": "one", "\n \r\none\ntwo\nthree\n": "\n \r\none\ntwo\nthree\n", "one\x7f\x7fXY\n": "oXY\n", "wrong\x15right\n": "right\n",
	} {
		s := &signIn{app: piped(t, in), over: func() {}}
		if got, err := s.paste(t.Context()); err != nil || got != want {
			t.Errorf("%q: got %q, %v", in, got, err)
		}
		if got, err := s.paste(t.Context()); err == nil {
			t.Errorf("%q: behind its end: %q", in, got)
		}
	}
}

func TestPasteWithoutAnEnd(t *testing.T) {
	t.Parallel()
	read, write := io.Pipe()
	t.Cleanup(func() { _ = write.Close() })
	s := &signIn{app: piped(t, ""), over: func() {}}
	s.in = read
	go func() { _, _ = io.Copy(write, strings.NewReader("first\nline\n")) }()
	if got, err := s.paste(t.Context()); err != nil || got != "first\nline\n" {
		t.Errorf("got %q, %v", got, err)
	}
	go func() { _, _ = io.Copy(write, strings.NewReader("again\n")) }()
	if got, err := s.paste(t.Context()); err != nil || got != "again\n" {
		t.Errorf("once more: got %q, %v", got, err)
	}
}
