package serve

import (
	"fmt"
	"runtime"
	"slices"
	"testing"

	"github.com/authferry/authferry/broker"
	"github.com/authferry/authferry/broker/index"
	"github.com/authferry/authferry/testenv"
)

// A success is reported once a minute, and never after a refusal that came later.
func TestSuccessesAreReported(t *testing.T) {
	t.Parallel()
	var s successes
	var said []string
	begun, release, refused := make(chan struct{}), make(chan struct{}), make(chan struct{})
	s.tell("ada", "m", func() {
		close(begun)
		<-release
		said = append(said, "first")
	})
	<-begun
	s.tell("ada", "m", func() { said = append(said, "too soon") })
	s.tell("ada", "n", func() { said = append(said, "late") }) // it waits for the first
	go func() {
		s.refused("ada", "m")
		said = append(said, "refusal")
		close(refused)
	}()
	for known := 0; known == 0; runtime.Gosched() {
		s.mu.Lock()
		known = s.refusals["ada"]
		s.mu.Unlock()
	}
	close(release)
	<-refused
	s.wait()
	s.tell("ada", "m", func() { said = append(said, "again") })
	s.wait()
	if want := []string{"first", "refusal", "again"}; !slices.Equal(said, want) {
		t.Errorf("%q, want %q", said, want)
	}
}

// Neither conversations nor models fill memory.
func TestMemoryIsBounded(t *testing.T) {
	t.Parallel()
	p := &Proxy{}
	tok := &broker.Token{Account: index.Account{ID: "acc"}}
	for i := range 2 * maxSessions {
		c := &call{session: fmt.Sprint(i), scope: fmt.Sprint("model:", i)}
		if i < maxSessions+10 {
			p.sessions.put(c, tok)
		}
		at, _, err := p.ramps.enter(t.Context(), "sim", c.scope, "acc")
		testenv.Must(t, err)
		at.leave(accepted)
		p.reports.tell("acc", c.scope, func() {})
	}
	p.reports.wait()
	if len(p.sessions.by) > maxSessions || len(p.ramps.by) > maxRamps || len(p.ramps.last) > maxRamps || len(p.reports.last) > maxSessions {
		t.Errorf("%d conversations, %d and %d ramps, %d reports", len(p.sessions.by), len(p.ramps.by), len(p.ramps.last), len(p.reports.last))
	}
}
