package main

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/authferry/authferry/broker/brokertest"
	"github.com/authferry/authferry/keystore/keystoretest"
	"github.com/authferry/authferry/proofs"
	"github.com/authferry/authferry/testenv"
)

// await returns when the ledger is as wanted.
func (w *world) await(t *testing.T, holds func(brokertest.Ledger) bool) {
	t.Helper()
	deadline := time.Now().Add(time.Minute)
	for !holds(w.server.Ledger()) {
		if time.Now().After(deadline) {
			t.Fatal("the server never got there")
		}
		time.Sleep(2 * time.Millisecond)
	}
}

// requester is the process that has sent the account's refresh token.
func (w *world) requester(t *testing.T, id string) int {
	t.Helper()
	idx, err := w.index()
	if err != nil || idx.Account(id) == nil || len(idx.Account(id).Intents) == 0 {
		t.Fatalf("no request is under way: %v", err)
	}
	return idx.Account(id).Intents[len(idx.Account(id).Intents)-1].PID
}

// K9, K10: the rotator is killed when the server has spent the refresh token and
// not answered, and when it has read half of the answer. Only a server without
// grace makes that cost the login.
func TestKilledWhileTheServerAnswers(t *testing.T) {
	t.Parallel()
	for _, kind := range proofs.Sample(2, []brokertest.Rotation{brokertest.Fixed, brokertest.Rotate, brokertest.Strict, brokertest.GraceSame, brokertest.GraceNew}) {
		for point, cut := range map[string]brokertest.Cut{"K9": brokertest.CutHeaders, "K10": brokertest.CutMidBody} {
			t.Run(fmt.Sprint(kind, " ", point), func(t *testing.T) {
				t.Parallel()
				w := newWorld(t, brokertest.New(t, brokertest.Config{Rotation: kind}), nil)
				id := w.add("ada", -time.Second)
				w.server.Inject(brokertest.Fault{Stall: cut, After: true})
				done := make(chan result, 1)
				go func() { done <- w.run("", "token", "--account", id, "--json") }()
				w.await(t, func(l brokertest.Ledger) bool { return l.Refreshes("ada") == 1 })
				testenv.Must(t, syscall.Kill(w.requester(t, id), syscall.SIGKILL))
				got := <-done
				spent := kind == brokertest.Rotate || kind == brokertest.Strict
				switch {
				case spent && (got.code != 4 || got.failure != "login_needed"):
					t.Errorf("exit code %d: %s; want login_needed", got.code, got.err)
				case !spent && got.code != 0:
					t.Errorf("exit code %d: %s", got.code, got.err)
				}
				l := w.server.Ledger()
				if n := len(l.Reuse); n > 1 {
					t.Errorf("a spent refresh token was sent %d times", n)
				}
				sent := 0
				for _, token := range l.Of("ada")[0].RefreshTokens {
					sent += len(token.Sends)
				}
				if spent {
					t.Log("came of it: a login")
				} else {
					t.Logf("came of it: a token, %d sent", sent)
				}
				if again := w.run("", "token", "--account", id); again.code != got.code {
					t.Errorf("the next call: exit code %d, want %d", again.code, got.code)
				}
				w.settle()
				for _, b := range w.sound() {
					t.Error(b)
				}
			})
		}
	}
}

// P3: a rotator that is stopped in the middle of a request keeps its lock.
// Nobody refreshes beside it; they are told who holds it; who needs no refresh is
// served; and when it goes on, its work was not in vain.
func TestStoppedRotator(t *testing.T) {
	t.Parallel()
	w := newWorld(t, brokertest.New(t, strict), nil)
	id := w.add("ada", 50*time.Second) // still alive, and less than --min-ttl
	release := make(chan struct{})
	w.server.Inject(brokertest.Fault{Until: release, After: true})
	go w.run("", "refresh", id)
	w.await(t, func(l brokertest.Ledger) bool { return l.Refreshes("ada") == 1 })
	pid := w.requester(t, id)
	testenv.Must(t, syscall.Kill(pid, syscall.SIGSTOP))
	close(release)
	w.env = append(w.env, "AUTHFERRY_LOCK_TIMEOUT=300ms", "AUTHFERRY_HTTP_TIMEOUT=1s")
	if got := w.run("", "token", "--account", id); got.code != 0 {
		t.Errorf("a living token was withheld: exit code %d: %s", got.code, got.err)
	}
	if got := w.run("", "refresh", id); got.code != 7 && got.code != 8 {
		t.Errorf("beside a stopped rotator: exit code %d: %s", got.code, got.err)
	}
	testenv.Must(t, syscall.Kill(pid, syscall.SIGCONT))
	w.settle()
	if got := w.run("", "token", "--account", id); got.code != 0 || !w.good(got.out) {
		t.Errorf("afterwards: exit code %d: %s", got.code, got.err)
	}
	if l := w.server.Ledger(); len(l.Reuse) != 0 || l.Refreshes("ada") != 1 {
		t.Errorf("%d refreshes, %d reuses; want 1, 0", l.Refreshes("ada"), len(l.Reuse))
	}
}

// P4: what a command starts inherits none of its locks.
func TestChildrenHoldNoLocks(t *testing.T) {
	t.Parallel()
	w := newWorld(t, brokertest.New(t, strict), nil)
	id := w.add("ada", -time.Second)
	ready := filepath.Join(w.home, "ready")
	cmd := w.command("exec", "--account", id, "--env", "TOKEN", "--", "sh", "-c", "echo >"+ready+"; exec sleep 300")
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	testenv.Must(t, cmd.Start())
	defer func() {
		_ = syscall.Kill(-cmd.Process.Pid, syscall.SIGKILL)
		_ = cmd.Wait()
	}()
	for deadline := time.Now().Add(time.Minute); ; time.Sleep(2 * time.Millisecond) {
		if _, err := os.Stat(ready); err == nil {
			break
		} else if time.Now().After(deadline) {
			t.Fatal("the child never started")
		}
	}
	w.env = append(w.env, "AUTHFERRY_LOCK_TIMEOUT=10s")
	for _, args := range [][]string{{"refresh", id}, {"rename", id, "other"}, {"remove", id, "--yes"}} {
		w.must("", args...)
	}
}

// P5: everything at once on many accounts: no deadlock, and one refresh each.
func TestForkStorm(t *testing.T) {
	t.Parallel()
	accounts := proofs.Size(10, 100)
	w := newWorld(t, brokertest.New(t, strict), nil)
	var ids []string
	for i := range accounts {
		ids = append(ids, w.add(fmt.Sprintf("u%d", i), -time.Second))
	}
	w.env = append(w.env, "AUTHFERRY_LOCK_TIMEOUT=3m", "AUTHFERRY_HTTP_TIMEOUT=3m")
	var work sync.WaitGroup
	for i, id := range ids {
		work.Go(func() {
			if got := w.run("", "token", "--account", id); got.code != 0 || !w.good(got.out) {
				t.Errorf("account %d: exit code %d: %q: %s", i, got.code, got.out, got.err)
			}
		})
		if i%5 == 0 {
			work.Go(func() { w.run("", "rename", id, fmt.Sprintf("label %d", i)) })
			work.Go(func() { w.run("", "status") })
		}
	}
	work.Wait()
	l := w.server.Ledger()
	if l.Refreshes("") != accounts || len(l.Reuse) != 0 || l.Revoked() != 0 {
		t.Errorf("%d refreshes of %d accounts, %d reuses, %d logins revoked", l.Refreshes(""), accounts, len(l.Reuse), l.Revoked())
	}
}

// P8: a process with hardly any file descriptors says so and spends nothing, or
// works.
func TestFewDescriptors(t *testing.T) {
	t.Parallel()
	w := newWorld(t, brokertest.New(t, strict), nil)
	for _, limit := range proofs.Sample(4, []int{3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15, 16}) {
		user := fmt.Sprintf("u%d", limit)
		id := w.add(user, -time.Second)
		cmd := w.command()
		cmd.Path, cmd.Args = "/bin/sh", []string{"sh", "-c", fmt.Sprintf(`ulimit -n %d && exec "$0" "$@"`, limit), w.bin, "token", "--account", id, "--json"}
		got := w.attempt(cmd, attempt{})
		w.settle()
		if got.code == 0 && !strings.Contains(got.out, "afat_") {
			t.Errorf("%d descriptors: no token and no error", limit)
		}
		if got.code == 4 {
			t.Errorf("%d descriptors: %s", limit, got.err)
		}
		w.allowRetry(t)
		if after := w.run("", "token", "--account", id); after.code != 0 || !w.good(after.out) {
			t.Errorf("after %d descriptors: exit code %d: %s", limit, after.code, after.err)
		}
		if n := reusesOf(w.server.Ledger(), user); n != 0 {
			t.Errorf("%d descriptors: a spent refresh token was sent", limit)
		}
	}
}

// C13: two daemons on one keyring file, as with two sessions of one person. Used
// in turn they see each other's writes, or say what they miss; no refresh token
// is sent twice.
func TestTwoDaemons(t *testing.T) {
	t.Parallel()
	k := keystoretest.GnomeKeyring(t)
	other := k.Second(t)
	w := newWorld(t, brokertest.New(t, brokertest.Config{Rotation: brokertest.Strict}), k.Env)
	id := w.add("ada", -time.Second)
	first := w.env
	second := append(append([]string{}, first...), other...)
	for round := range 4 {
		w.env = first
		if round%2 == 1 {
			w.env = second
		}
		got := w.run("", "refresh", id, "--json")
		if got.code != 0 && got.code != 6 {
			t.Errorf("round %d: exit code %d: %s", round, got.code, got.err)
		}
	}
	if l := w.server.Ledger(); len(l.Reuse) != 0 || l.Revoked() != 0 {
		t.Errorf("%d reuses, %d logins revoked", len(l.Reuse), l.Revoked())
	}
}

// C14: a keyring that other programs have filled is slower, and that is all.
func TestFullKeyring(t *testing.T) {
	t.Parallel()
	items := proofs.Size(20, 150)
	if *full {
		items = 2000
	}
	k := keystoretest.GnomeKeyring(t)
	k.Fill(t, items)
	w := newWorld(t, brokertest.New(t, strict), k.Env)
	id := w.add("ada", -time.Second)
	var work sync.WaitGroup
	for range 8 {
		work.Go(func() {
			if got := w.run("", "token", "--account", id); got.code != 0 || !w.good(got.out) {
				t.Errorf("exit code %d: %s", got.code, got.err)
			}
		})
	}
	work.Wait()
	if l := w.server.Ledger(); l.TokenRequests != 1 {
		t.Errorf("%d token requests, want 1", l.TokenRequests)
	}
}

// D6: the keystore is older than the index, as after a power cut or from a backup.
// The stored token is tried, as after an unknown outcome, and only the provider
// can say that the login is over.
func TestKeystoreFromBackup(t *testing.T) {
	t.Parallel()
	for kind, want := range map[brokertest.Rotation]int{brokertest.Fixed: 0, brokertest.GraceNew: 0, brokertest.Strict: 4} {
		t.Run(string(kind), func(t *testing.T) {
			w := newWorld(t, brokertest.New(t, brokertest.Config{Rotation: kind}), nil)
			id := w.add("ada", -time.Second)
			backup := filepath.Join(t.TempDir(), "vault")
			testenv.Must(t, os.CopyFS(backup, os.DirFS(filepath.Join(w.dir, "vault"))))
			w.must("", "refresh", id)
			testenv.Must(t, os.RemoveAll(filepath.Join(w.dir, "vault")))
			testenv.Must(t, os.CopyFS(filepath.Join(w.dir, "vault"), os.DirFS(backup)))
			if got := w.run("", "token", "--account", id); got.code != want || want == 0 && !w.good(got.out) {
				t.Errorf("exit code %d, want %d: %s", got.code, want, got.err)
			}
			if n := len(w.server.Ledger().Reuse); n > 1 {
				t.Errorf("the old refresh token was sent %d times", n)
			}
		})
	}
}

// D11: no HOME, no AUTHFERRY_DIR: a plain error, and nothing is written anywhere.
func TestNoHome(t *testing.T) {
	t.Parallel()
	w := newWorld(t, brokertest.New(t, strict), nil)
	cmd := w.command("list")
	cmd.Env = []string{"PATH=" + os.Getenv("PATH")}
	if got := w.attempt(cmd, attempt{}); got.code != 1 && got.code != 80 || !strings.HasPrefix(got.err, "authferry: error: ") {
		t.Errorf("exit code %d: %s", got.code, got.err)
	}
}
