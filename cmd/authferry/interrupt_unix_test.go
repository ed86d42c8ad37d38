//go:build unix

package main

import (
	"bytes"
	"net"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/authferry/authferry/broker/brokertest"
	"github.com/authferry/authferry/broker/index"
	"github.com/authferry/authferry/keystore"
)

var signals = map[syscall.Signal]int{syscall.SIGINT: exitInterrupt, syscall.SIGTERM: exitTerminated}

// Ctrl-C while the provider is slow ends the caller at once; the refresh goes on
// and the next caller has its result, for which nothing is sent again.
func TestInterruptedWhileRefreshing(t *testing.T) {
	for sig, code := range signals {
		for _, args := range [][]string{{"token"}, {"token", "--json"}, {"header"}, {"refresh", "Ada"}, {"refresh", "Ada", "--json"}} {
			t.Run(sig.String()+" "+strings.Join(args, " "), func(t *testing.T) {
				t.Parallel()
				s := newScene(t, brokertest.Config{})
				s.must("", "provider", "add", "sim", "--issuer", s.server.URL, "--client-id", "authferry-sim")
				s.must(s.grant("ada", -time.Second), "import", "grant", "sim", "--label", "Ada")
				answer := make(chan struct{})
				s.server.Inject(brokertest.Fault{Until: answer})
				got := s.interrupt(sig, func(l brokertest.Ledger) bool { return l.Inflight["ada"] == 1 }, args...)
				s.wantInterrupted(got, code, args)
				close(answer)
				s.await("the refresh", func(l brokertest.Ledger) bool { return l.Refreshes("ada") == 1 })
				s.must("", "token")
				if l := s.server.Ledger(); l.TokenRequests != 1 || l.Revoked() != 0 {
					t.Errorf("%d token requests and %d revoked logins, want 1 and 0", l.TokenRequests, l.Revoked())
				}
			})
		}
	}
}

// interrupt starts a command, and sends it a signal when the ledger is as wanted.
func (s *scene) interrupt(sig syscall.Signal, when func(brokertest.Ledger) bool, args ...string) outcome {
	s.t.Helper()
	cmd := s.command(args...)
	cmd.Stdout, cmd.Stderr = new(bytes.Buffer), new(bytes.Buffer)
	if err := cmd.Start(); err != nil {
		s.t.Fatal(err)
	}
	s.await("the request of "+strings.Join(args, " "), when)
	if err := cmd.Process.Signal(sig); err != nil {
		s.t.Fatal(err)
	}
	return s.finish(cmd)
}

// afterAWhile starts a command that will wait, and sends it a signal: with more
// patience if it came before the program listened.
func (s *scene) afterAWhile(sig syscall.Signal, in *os.File, args ...string) outcome {
	s.t.Helper()
	for patience := 50 * time.Millisecond; ; patience *= 2 {
		cmd := s.command(args...)
		cmd.Stdout, cmd.Stderr = new(bytes.Buffer), new(bytes.Buffer)
		if in != nil {
			cmd.Stdin = in
		}
		if err := cmd.Start(); err != nil {
			s.t.Fatal(err)
		}
		time.Sleep(patience)
		if err := cmd.Process.Signal(sig); err != nil {
			s.t.Fatal(err)
		}
		stuck := time.AfterFunc(20*time.Second, func() { _ = cmd.Process.Kill() })
		got := s.finish(cmd)
		stuck.Stop()
		if status, ok := cmd.ProcessState.Sys().(syscall.WaitStatus); !ok || !status.Signaled() || status.Signal() != sig {
			return got
		}
	}
}

func (s *scene) wantInterrupted(got outcome, code int, args []string) {
	s.t.Helper()
	asJSON := asksForJSON(args)
	f, err := failureOf(got.out, got.err, asJSON)
	if got.code != code || err != nil || asJSON && f.Error.Code != "cancelled" || !strings.Contains(got.err, "interrupted") {
		s.t.Errorf("authferry %v: exit code %d, want %d; %v\n%s%s", args, got.code, code, err, got.out, got.err)
	}
}

// A command that waits for another server, for a lock or for its input ends when
// it is told to, and has changed nothing.
func TestInterruptedWhileWaiting(t *testing.T) {
	for sig, code := range signals {
		t.Run(sig.String(), func(t *testing.T) {
			t.Parallel()
			s := newScene(t, brokertest.Config{})
			s.must("", "provider", "add", "sim", "--issuer", s.server.URL, "--client-id", "authferry-sim")
			s.must(s.grant("ada", time.Hour), "import", "grant", "sim", "--label", "Ada")

			t.Run("discovery", func(*testing.T) {
				answer := make(chan struct{})
				defer close(answer)
				s.server.Inject(brokertest.Fault{On: brokertest.OnMetadata, Until: answer, Times: -1})
				args := []string{"provider", "add", "new", "--issuer", s.server.URL, "--json"}
				s.wantInterrupted(s.afterAWhile(sig, nil, args...), code, args)
			})

			t.Run("lock", func(t *testing.T) {
				l, err := index.Acquire(t.Context(), filepath.Join(s.dir, "locks", "index.lock"))
				if err != nil {
					t.Fatal(err)
				}
				defer l.Release()
				for _, args := range [][]string{{"rename", "Ada", "Eve"}, {"rename", "Ada", "Eve", "--json"}} {
					s.wantInterrupted(s.afterAWhile(sig, nil, args...), code, args)
				}
			})

			t.Run("input", func(t *testing.T) {
				for _, args := range [][]string{
					{"import", "grant", "sim", "--label", "Eve", "--json"},
					{"provider", "add", "secret", "--token-endpoint", s.server.URL + "/token", "--client-id", "x", "--client-secret-stdin"},
				} {
					r, w, err := os.Pipe()
					if err != nil {
						t.Fatal(err)
					}
					s.wantInterrupted(s.afterAWhile(sig, r, args...), code, args)
					_, _ = r.Close(), w.Close()
				}
			})
			if got := s.must("", "list", "--json"); strings.Contains(got.out, "Eve") {
				t.Errorf("an interrupted command changed something: %s", got.out)
			}
		})
	}
}

// A token whose keychain says nothing is interrupted as well, though signals are
// caught only once it waits.
func TestInterruptedAtAMuteKeychain(t *testing.T) {
	if runtime.GOOS != "linux" {
		t.Skip("needs Linux: the keychain here is not a Secret Service")
	}
	s := newScene(t, brokertest.Config{})
	s.must("", "provider", "add", "sim", "--issuer", s.server.URL, "--client-id", "authferry-sim")
	s.must(s.grant("ada", time.Hour), "import", "grant", "sim", "--label", "Ada")
	if err := index.At(s.dir).Update(t.Context(), index.Durable, func(ix *index.Index) error {
		ix.Keystore = string(keystore.Keychain)
		return nil
	}); err != nil {
		t.Fatal(err)
	}
	dir, err := os.MkdirTemp("", "bus") // the path of a socket has to be short
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = os.RemoveAll(dir) })
	mute, err := net.Listen("unix", filepath.Join(dir, "mute"))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = mute.Close() })
	s.env = append(s.env, "DBUS_SESSION_BUS_ADDRESS=unix:path="+mute.Addr().String(), "AUTHFERRY_KEYCHAIN_TIMEOUT=1m")
	for sig, code := range signals {
		for _, args := range [][]string{{"token", "--json"}, {"header"}} {
			s.wantInterrupted(s.afterAWhile(sig, nil, args...), code, args)
		}
	}
}
