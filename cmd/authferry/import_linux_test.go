package main

import (
	"bytes"
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/authferry/authferry/broker/brokertest"
	"github.com/authferry/authferry/cmd/authferry/authferrytest"
	"github.com/authferry/authferry/proofs"
	"github.com/authferry/authferry/testenv"
)

// stateChanging are the system calls by which a program changes files.
var stateChanging = []string{"write", "fsync", "ftruncate", "fchmod", "linkat", "renameat", "unlinkat"}

// A move that is killed before any of its system calls that change something has
// lost no login: it is in the file, or here, or both. Doing it again finishes it.
func TestMoveSurvivesBeingKilled(t *testing.T) {
	t.Parallel()
	proofs.Only(t, "a kill before each system call of a move")
	if out, err := exec.Command("strace", "-f", "-o", os.DevNull, "true").CombinedOutput(); err != nil {
		t.Skipf("needs strace: apt-get install strace, and leave to trace: %v %s", err, out)
	}
	seen := map[string]int{}
	// The calls are counted for each thread, so a sweep may miss the moments between two that
	// another thread makes.
	for sweep := 0; sweep < 5 && (seen[inFile] == 0 || seen[inBoth] == 0 || seen[inIndex] == 0); sweep++ {
		for _, call := range stateChanging {
			for n := 1; ; n++ {
				m := newMove(t)
				killed := m.killAt(call, n)
				seen[m.state()]++
				m.finishJob(fmt.Sprintf("killed before %s %d", call, n))
				if !killed {
					break
				}
			}
		}
	}
	t.Log(seen)
	for _, state := range []string{inFile, inBoth, inIndex} {
		if seen[state] == 0 {
			t.Errorf("no kill left the login %s: %v", state, seen)
		}
	}
}

// Where the login of a move stands.
const (
	inFile  = "in the file"
	inBoth  = "in the file and here"
	inIndex = "here"
	lost    = "nowhere"
)

// move is a user of OpenCode with a login to move.
type move struct {
	s             *scene
	file          string
	access, token string
}

func newMove(t *testing.T) *move {
	s := newScene(t, brokertest.Config{})
	s.Must("", "provider", "add", "sim", "--issuer", s.Server.URL, "--client-id", "authferry-sim", "--api-origin", s.Server.URL)
	g := s.Server.Issue("ada")
	m := &move{s: s, file: filepath.Join(s.Root, "home", ".local", "share", "opencode", "auth.json"), access: g.AccessToken, token: g.RefreshToken}
	doc, err := json.Marshal(map[string]any{
		"sim":   map[string]any{"type": "oauth", "refresh": g.RefreshToken, "access": g.AccessToken, "expires": 4102358400000},
		"other": map[string]any{"type": "api", "key": "stays"},
	})
	testenv.Must(t, err)
	testenv.Must(t, os.MkdirAll(filepath.Dir(m.file), 0o700))
	testenv.Must(t, os.WriteFile(m.file, doc, 0o600))
	return m
}

// killAt moves the login in a process that is killed just before one of its
// threads makes the n-th call of a kind; false: it made no such call.
func (m *move) killAt(call string, n int) bool {
	m.s.T.Helper()
	program := filepath.Join(m.s.Root, "authferry-program", "authferry")
	testenv.Must(m.s.T, os.MkdirAll(filepath.Dir(program), 0o700))
	testenv.Must(m.s.T, os.Symlink(m.s.Program, program))
	cmd := exec.CommandContext(m.s.T.Context(), "strace", "-f", "-qq", "-o", os.DevNull, "-e", "trace="+call,
		"-e", fmt.Sprintf("inject=%s:signal=KILL:when=%d", call, n), program, "import", "opencode", "--move")
	cmd.Env, cmd.Dir = append(slices.Clone(m.s.Env), "GOMAXPROCS=1"), m.s.Root
	var said bytes.Buffer
	cmd.Stderr = &said
	err := cmd.Run()
	if err != nil && cmd.ProcessState.ExitCode() > 0 {
		m.s.T.Fatalf("not killed, and failed: %v\n%s", err, said.Bytes())
	}
	return err != nil
}

func (m *move) state() string {
	m.s.T.Helper()
	data, err := os.ReadFile(m.file)
	if err != nil {
		m.s.T.Fatalf("the other program's file: %v", err)
	}
	var doc map[string]any
	if err := json.Unmarshal(data, &doc); err != nil || doc["other"] == nil {
		m.s.T.Fatalf("the other program's file is damaged: %v\n%s", err, data)
	}
	file := bytes.Contains(data, []byte(m.token)) && bytes.Contains(data, []byte(m.access))
	got := m.s.Run("", "token", "sim")
	here := got.Code == 0 && strings.TrimSpace(got.Out) == m.access
	switch {
	case file && here:
		return inBoth
	case file:
		return inFile
	case here:
		return inIndex
	}
	m.s.T.Errorf("the login is lost: %s%s", got.Out, got.Err)
	return lost
}

// finishJob imports again; then the login is here alone, once, and whole.
func (m *move) finishJob(when string) {
	m.s.T.Helper()
	m.s.Must("", "import", "opencode", "--move")
	if state := m.state(); state != inIndex {
		m.s.T.Errorf("%s, and done again: the login is %s", when, state)
	}
	if err := authferrytest.Leaked([]string{m.access, m.token}, m.s.Root); err != nil {
		m.s.T.Errorf("%s, and done again: %v", when, err)
	}
	var all struct{ Accounts []struct{ Label string } }
	if err := json.Unmarshal([]byte(m.s.Must("", "list", "--json").Out), &all); err != nil || len(all.Accounts) != 1 {
		m.s.T.Errorf("%s, and done again: %d accounts, %v", when, len(all.Accounts), err)
	}
	m.s.Must("", "doctor", "--fix")
	m.s.Must("", "refresh", "sim-1")
	if l := m.s.Server.Ledger(); l.TokenRequests != 1 {
		m.s.T.Errorf("%s: %d token requests, want the one of refresh", when, l.TokenRequests)
	}
}
