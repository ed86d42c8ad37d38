//go:build unix

package main

import (
	"bufio"
	"bytes"
	"encoding/json"
	"io"
	"net"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/authferry/authferry/broker/brokertest"
	"github.com/authferry/authferry/broker/fault"
	"github.com/authferry/authferry/broker/index"
	"github.com/authferry/authferry/broker/lock"
	"github.com/authferry/authferry/cmd/authferry/authferrytest"
	"github.com/authferry/authferry/keystore"
	"github.com/authferry/authferry/testenv"
)

var signals = map[syscall.Signal]int{syscall.SIGINT: exitInterrupt, syscall.SIGTERM: exitTerminated}

// Ctrl-C while the provider is slow ends the caller at once; the refresh goes on
// and the next caller has its result, for which nothing is sent again.
func TestInterruptedWhileRefreshing(t *testing.T) {
	t.Parallel()
	for sig, code := range signals {
		for _, args := range [][]string{{"token"}, {"token", "--json"}, {"header"}, {"refresh", "Ada"}, {"refresh", "Ada", "--json"}} {
			t.Run(sig.String()+" "+strings.Join(args, " "), func(t *testing.T) {
				t.Parallel()
				s := newScene(t, brokertest.Config{})
				s.Must("", "provider", "add", "sim", "--issuer", s.Server.URL, "--client-id", "authferry-sim")
				s.Must(s.Grant("ada", -time.Second), "import", "grant", "sim", "--label", "Ada")
				answer := make(chan struct{})
				s.Server.Inject(brokertest.Fault{Until: answer})
				got := s.interrupt(sig, func(l brokertest.Ledger) bool { return l.Inflight["ada"] == 1 }, args...)
				s.wantInterrupted(got, code, args)
				close(answer)
				s.Await("the refresh", func(l brokertest.Ledger) bool { return l.Refreshes("ada") == 1 })
				s.Must("", "token")
				if l := s.Server.Ledger(); l.TokenRequests != 1 || l.Revoked() != 0 {
					t.Errorf("%d token requests and %d revoked logins, want 1 and 0", l.TokenRequests, l.Revoked())
				}
			})
		}
	}
}

// interrupt starts a command, and sends it a signal when the ledger is as wanted.
func (s *scene) interrupt(sig syscall.Signal, when func(brokertest.Ledger) bool, args ...string) authferrytest.Outcome {
	s.T.Helper()
	cmd := s.Command(args...)
	cmd.Stdout, cmd.Stderr = new(bytes.Buffer), new(bytes.Buffer)
	testenv.Must(s.T, cmd.Start())
	s.Await("the request of "+strings.Join(args, " "), when)
	testenv.Must(s.T, cmd.Process.Signal(sig))
	return s.Finish(cmd)
}

// afterAWhile starts a command that will wait, and sends it a signal: with more
// patience if it came before the program listened.
func (s *scene) afterAWhile(sig syscall.Signal, in *os.File, args ...string) authferrytest.Outcome {
	s.T.Helper()
	for patience := 50 * time.Millisecond; ; patience *= 2 {
		cmd := s.Command(args...)
		cmd.Stdout, cmd.Stderr = new(bytes.Buffer), new(bytes.Buffer)
		if in != nil {
			cmd.Stdin = in
		}
		testenv.Must(s.T, cmd.Start())
		time.Sleep(patience)
		testenv.Must(s.T, cmd.Process.Signal(sig))
		stuck := time.AfterFunc(20*time.Second, func() { _ = cmd.Process.Kill() })
		got := s.Finish(cmd)
		stuck.Stop()
		if status, ok := cmd.ProcessState.Sys().(syscall.WaitStatus); !ok || !status.Signaled() || status.Signal() != sig {
			return got
		}
	}
}

// onceItSays starts a command, and sends it a signal when it has said so on stderr.
func (s *scene) onceItSays(sig syscall.Signal, words string, args ...string) authferrytest.Outcome {
	s.T.Helper()
	cmd := s.Command(args...)
	out, said := new(bytes.Buffer), new(bytes.Buffer)
	cmd.Stdout = out
	pipe, err := cmd.StderrPipe()
	testenv.Must(s.T, err)
	testenv.Must(s.T, cmd.Start())
	for lines := bufio.NewScanner(io.TeeReader(pipe, said)); lines.Scan(); {
		if strings.Contains(lines.Text(), words) {
			testenv.Must(s.T, cmd.Process.Signal(sig))
		}
	}
	_ = cmd.Wait()
	return authferrytest.Outcome{Code: cmd.ProcessState.ExitCode(), Out: out.String(), Err: said.String()}
}

func (s *scene) wantInterrupted(got authferrytest.Outcome, code int, args []string) {
	s.T.Helper()
	var f errorDoc
	if asksForJSON(args) {
		documents := strings.Split(strings.TrimSpace(got.Out), "\n") // login prints more than one
		testenv.Must(s.T, json.Unmarshal([]byte(documents[len(documents)-1]), &f))
	} else {
		f.Error.Code = fault.Cancelled
	}
	lines := strings.Split(strings.TrimSpace(got.Err), "\n")
	said := lines[len(lines)-1]
	_, again, _ := strings.Cut(said, "; try again: ")
	complaint := pasted(again)
	if got.Code != code || f.Error.Code != fault.Cancelled || !strings.HasPrefix(said, "interrupted") || strings.Contains(got.Err, "error:") || complaint != "" {
		s.T.Errorf("authferry %v: exit code %d, want %d; %s\n%s%s", args, got.Code, code, complaint, got.Out, got.Err)
	}
	if asked := "authferry " + strings.Join(args, " "); !strings.HasPrefix(again, strings.TrimSuffix(asked, " --json")) {
		s.T.Errorf("authferry %v: says how to go on with %q", args, again)
	}
}

// A command that waits for another server, for a lock or for its input ends when
// it is told to, and has changed nothing.
func TestInterruptedWhileWaiting(t *testing.T) {
	t.Parallel()
	for sig, code := range signals {
		t.Run(sig.String(), func(t *testing.T) {
			t.Parallel()
			s := newScene(t, brokertest.Config{})
			s.Must("", "provider", "add", "sim", "--issuer", s.Server.URL, "--client-id", "authferry-sim")
			s.Must(s.Grant("ada", time.Hour), "import", "grant", "sim", "--label", "Ada")

			t.Run("discovery", func(*testing.T) {
				answer := make(chan struct{})
				defer close(answer)
				s.Server.Inject(brokertest.Fault{On: brokertest.OnMetadata, Until: answer, Times: -1})
				args := []string{"provider", "add", "new", "--issuer", s.Server.URL, "--json"}
				s.wantInterrupted(s.afterAWhile(sig, nil, args...), code, args)
			})

			t.Run("lock", func(t *testing.T) {
				l, err := lock.Acquire(t.Context(), filepath.Join(s.Dir, "locks", "index.lock"))
				testenv.Must(t, err)
				defer l.Release()
				for _, args := range [][]string{{"rename", "Ada", "Eve"}, {"rename", "Ada", "Eve", "--json"}} {
					s.wantInterrupted(s.afterAWhile(sig, nil, args...), code, args)
				}
			})

			t.Run("input", func(t *testing.T) {
				for _, args := range [][]string{
					{"import", "grant", "sim", "--label", "Eve", "--json"},
					{"provider", "add", "secret", "--token-endpoint", s.Server.URL + "/token", "--client-id", "x", "--client-secret-stdin"},
				} {
					r, w, err := os.Pipe()
					testenv.Must(t, err)
					s.wantInterrupted(s.afterAWhile(sig, r, args...), code, args)
					_, _ = r.Close(), w.Close()
				}
			})

			t.Run("person", func(*testing.T) {
				for _, how := range []string{"browser", "device"} {
					args := []string{"login", "sim", "--label", "Eve", "--flow", how, "--no-browser"}
					s.wantInterrupted(s.onceItSays(sig, "Log in to sim", args...), code, args)
				}
			})

			t.Run("held", func(*testing.T) {
				s.Must("", "holds", "add", "Ada", "2h")
				for _, args := range [][]string{
					{"token", "sim", "--wait"}, {"token", "sim", "--wait", "--json"}, {"exec", "sim", "--wait", "--", "true"},
				} {
					s.wantInterrupted(s.onceItSays(sig, "; waiting", args...), code, args)
				}
			})
			if got := s.Must("", "list", "--json"); strings.Contains(got.Out, "Eve") {
				t.Errorf("an interrupted command changed something: %s", got.Out)
			}
		})
	}
}

// A token whose keychain says nothing is interrupted as well, though signals are
// caught only once it waits.
func TestInterruptedAtAMuteKeychain(t *testing.T) {
	t.Parallel()
	if runtime.GOOS != "linux" {
		t.Skip("needs Linux: the keychain here is not a Secret Service")
	}
	s := newScene(t, brokertest.Config{})
	s.Must("", "provider", "add", "sim", "--issuer", s.Server.URL, "--client-id", "authferry-sim")
	s.Must(s.Grant("ada", time.Hour), "import", "grant", "sim", "--label", "Ada")
	testenv.Must(t, index.At(s.Dir).Update(t.Context(), index.Durable, func(ix *index.Index) error {
		ix.Keystore = string(keystore.Keychain)
		return nil
	}))
	dir, err := os.MkdirTemp("", "bus") // the path of a socket has to be short
	testenv.Must(t, err)
	t.Cleanup(func() { _ = os.RemoveAll(dir) })
	mute, err := net.Listen("unix", filepath.Join(dir, "mute"))
	testenv.Must(t, err)
	t.Cleanup(func() { _ = mute.Close() })
	s.Env = append(s.Env, "DBUS_SESSION_BUS_ADDRESS=unix:path="+mute.Addr().String(), "AUTHFERRY_KEYCHAIN_TIMEOUT=1m")
	for sig, code := range signals {
		for _, args := range [][]string{{"token", "--json"}, {"header"}} {
			s.wantInterrupted(s.afterAWhile(sig, nil, args...), code, args)
		}
	}
}
