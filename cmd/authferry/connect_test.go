package main

import (
	"bufio"
	"bytes"
	"fmt"
	"io"
	"math/rand/v2"
	"os"
	"os/exec"
	"strings"
	"testing"
	"time"

	"github.com/authferry/authferry/broker/brokertest"
	"github.com/authferry/authferry/proofs"
	"github.com/authferry/authferry/testenv"
)

// aBridge is one that runs, and has its session.
type aBridge struct {
	t   *testing.T
	cmd *exec.Cmd
	in  io.WriteCloser
	out *bufio.Reader
}

const opening = `{"jsonrpc":"2.0","id":0,"method":"initialize","params":{"protocolVersion":"2025-11-25","capabilities":{},"clientInfo":{"name":"t","version":"1"}}}
{"jsonrpc":"2.0","method":"notifications/initialized"}
`

func openBridge(t *testing.T, s *scene, args ...string) *aBridge {
	t.Helper()
	b := &aBridge{t: t, cmd: s.Command(append([]string{"mcp", "connect", "docs"}, args...)...)}
	var err error
	b.in, err = b.cmd.StdinPipe()
	testenv.Must(t, err)
	out, err := b.cmd.StdoutPipe()
	testenv.Must(t, err)
	testenv.Must(t, b.cmd.Start())
	b.out = bufio.NewReader(out)
	b.say(opening)
	if got := b.hear(); !strings.Contains(got, `"protocolVersion"`) {
		t.Errorf("it opens with %s", got)
	}
	return b
}

func (b *aBridge) say(text string) {
	if _, err := io.WriteString(b.in, text); err != nil {
		b.t.Error(err)
	}
}

// hear returns the next line; empty: there is none.
func (b *aBridge) hear() string {
	line, _ := b.out.ReadString('\n') // it may be killed
	return strings.TrimSpace(line)
}

func (b *aBridge) ask(id int) {
	b.say(fmt.Sprintf(`{"jsonrpc":"2.0","id":%d,"method":"tools/call","params":{"name":"whoami"}}`+"\n", id))
}

func (b *aBridge) end() {
	b.t.Helper()
	_ = b.in.Close()
	if err := b.cmd.Wait(); err != nil {
		b.t.Error(err)
	}
}

const bridgedUser = "ada@example.com"

func bridgeScene(t *testing.T, cfg brokertest.Config) *scene {
	t.Helper()
	s := newScene(t, cfg)
	s.Must("", "login", s.Server.URL+"/mcp", "--name", "docs")
	return s
}

// Many bridges that find their token over at once, as after a laptop's sleep: one
// refresh, and every call is answered.
func TestBridgesWakeAtOnce(t *testing.T) {
	t.Parallel()
	s := bridgeScene(t, brokertest.Config{})
	var all []*aBridge
	for range proofs.Size(8, 64) {
		all = append(all, openBridge(t, s))
	}
	s.Server.ExpireAccess(bridgedUser)
	for _, b := range all {
		b.ask(1)
	}
	for _, b := range all {
		if got := b.hear(); !strings.Contains(got, bridgedUser) {
			t.Errorf("%s", got)
		}
	}
	if n := s.Server.Refreshes(bridgedUser); n != 1 {
		t.Errorf("%d refreshes", n)
	}
	for _, b := range all {
		b.end()
	}
	if n := s.Server.Reuse() + s.Server.Ledger().Revoked(); n != 0 {
		t.Errorf("%d", n)
	}
}

// Calls of the helper in waves, each of which finds the token over, as after every break:
// one refresh a wave, and all get the same headers.
func TestHeadersInWaves(t *testing.T) {
	t.Parallel()
	s := bridgeScene(t, brokertest.Config{})
	lives := func(d time.Duration) {
		testenv.Must(t, s.Server.Configure(func(c *brokertest.Config) { c.AccessTTL = d }))
	}
	for wave := range proofs.Size(2, 8) {
		lives(brief)
		s.Must("", "login", "docs", "--renew", "docs-1")
		time.Sleep(brief)
		lives(time.Hour)
		all := make([]*exec.Cmd, proofs.Size(8, 125))
		said := make([]bytes.Buffer, len(all))
		for i := range all {
			all[i] = s.Command("helper", "mcp-headers", "--account", "docs-1", s.Server.URL+"/mcp")
			all[i].Stdout, all[i].Stderr = &said[i], os.Stderr
			testenv.Must(t, all[i].Start())
		}
		for i, cmd := range all {
			if err := cmd.Wait(); err != nil || said[i].String() != said[0].String() || !strings.HasPrefix(said[i].String(), `{"authorization":"Bearer afat_`) {
				t.Errorf("wave %d, call %d: %v %s", wave, i, err, said[i].String())
			}
		}
		if n := s.Server.Refreshes(bridgedUser); n != wave+1 {
			t.Errorf("%d refreshes after wave %d", n, wave)
		}
	}
	if l := s.Server.Ledger(); s.Server.Reuse() != 0 || l.Registrations != 1 {
		t.Errorf("reuse %d, registrations %d", s.Server.Reuse(), l.Registrations)
	}
}

// A login that is over is asked for once, in one browser, however many bridges need it.
func TestBridgesAskOnce(t *testing.T) {
	t.Parallel()
	s := bridgeScene(t, brokertest.Config{})
	var all []*aBridge
	for range 4 {
		all = append(all, openBridge(t, s, "--login"))
	}
	asked := s.Server.Ledger().Authorizations
	s.Server.Revoke(bridgedUser)
	s.Server.ExpireAccess(bridgedUser)
	for _, b := range all {
		b.ask(1)
	}
	for _, b := range all {
		if got := b.hear(); !strings.Contains(got, bridgedUser) {
			t.Errorf("%s", got)
		}
		b.end()
	}
	l := s.Server.Ledger()
	if n := l.Authorizations - asked; n != 1 || l.Registrations != 1 {
		t.Errorf("asked %d times, registered %d times", n, l.Registrations)
	}
}

// brief is how long a token lives where each call takes a refresh.
const brief = time.Second

// A bridge and a helper that are killed at any moment, in the middle of a refresh too, cost
// no login and make no registration.
func TestBridgesKilled(t *testing.T) {
	proofs.Only(t, "it kills bridges, again and again")
	t.Parallel()
	s := bridgeScene(t, brokertest.Config{AccessTTL: brief})
	for range 60 {
		b := openBridge(t, s)
		time.Sleep(brief)
		helper := s.Command("helper", "mcp-headers", "--account", "docs-1", s.Server.URL+"/mcp")
		testenv.Must(t, helper.Start())
		b.ask(1) // which takes a refresh, and so does the helper
		for _, cmd := range []*exec.Cmd{b.cmd, helper} {
			time.Sleep(rand.N(60 * time.Millisecond))
			_ = cmd.Process.Kill() // the helper may have ended
			_ = cmd.Wait()
		}
	}
	b := openBridge(t, s)
	b.ask(1)
	if got := b.hear(); !strings.Contains(got, bridgedUser) {
		t.Errorf("%s", got)
	}
	b.end()
	s.Rest()
	t.Logf("%d refreshes", s.Server.Refreshes(bridgedUser))
	if l := s.Server.Ledger(); l.Refreshes(bridgedUser) == 0 || s.Server.Reuse() != 0 || s.Server.Ledger().Revoked() != 0 || l.Registrations != 1 {
		t.Errorf("reuse %d, revoked %d, registrations %d", s.Server.Reuse(), s.Server.Ledger().Revoked(), l.Registrations)
	}
}
