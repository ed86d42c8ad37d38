package main

import (
	"errors"
	"fmt"
	"slices"
	"strings"
)

var errClaims = errors.New("a claim did not hold")

// claim is a number that must come out, and the one that did.
type claim struct {
	what       string
	want, seen int
	broken     string // what it means if they differ
}

func (c claim) holds() bool { return c.want == c.seen }

// table shows claims and their proof.
func (s *screen) table(claims []claim) {
	longest := 0
	for _, c := range claims {
		longest = max(longest, len(c.what))
	}
	s.line("")
	s.line(s.paint(dim, fmt.Sprintf("  %-*s  %6s  %4s", longest, "", "should", "was")))
	for _, c := range claims {
		verdict := s.paint(green, "ok")
		if !c.holds() {
			verdict = s.paint(red, "FAILED")
		}
		s.line(fmt.Sprintf("  %-*s  %6d  %4d  %s", longest, c.what, c.want, c.seen, verdict))
	}
	s.line("")
}

// conclude says in words how it went; errClaims where a claim did not hold.
func (s *screen) conclude(claims []claim) error {
	var broken []string
	for _, c := range claims {
		if !c.holds() && !slices.Contains(broken, c.broken) {
			broken = append(broken, c.broken)
		}
	}
	if len(broken) == 0 {
		s.line("  " + s.paint(green, fmt.Sprintf("All %d claims held.", len(claims))))
		s.para("The server counted, not authferry. No file and no process is left behind.")
		s.line("")
		return nil
	}
	s.line("  " + s.paint(red, fmt.Sprintf("Not all of the %d claims held:", len(claims))))
	s.para(strings.Join(broken, "; ") + ".")
	s.line("")
	return errClaims
}
