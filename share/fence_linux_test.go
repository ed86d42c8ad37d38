package share_test

import (
	"math/rand/v2"
	"os"
	"os/exec"
	"syscall"
	"testing"
	"time"

	"github.com/authferry/authferry/broker/brokertest"
	"github.com/authferry/authferry/broker/fault"
	"github.com/authferry/authferry/proofs"
	"github.com/authferry/authferry/share/sharetest"
	"github.com/authferry/authferry/testenv"
)

// duel is two machines with one account, whose processes nothing happens to by itself.
// Even machines are lasting ones, odd ones passing.
func duel(t *testing.T) (a *arena, lasting, passing *fighter) {
	t.Helper()
	sharetest.Need(t)
	a = newArena(t, sharetest.Shared(t), 3, 1, time.Hour, rand.New(rand.NewPCG(1, 1))) // #nosec G404 -- a test
	return a, a.all[2], a.all[1]
}

// stop starts a rotator that stops itself at a point, and returns once it has.
func (x *fighter) stop(point string) (*exec.Cmd, *shot) {
	x.arena.t.Helper()
	cmd, s := x.process(x.arena.users[0], x.entry(x.arena.users[0]).Generation, "ARENA_STOP="+point)
	testenv.Must(x.arena.t, cmd.Start())
	for deadline := time.Now().Add(30 * time.Second); ; time.Sleep(5 * time.Millisecond) {
		if _, err := os.Stat(s.phase + ".stopped"); err == nil {
			return cmd, s
		}
		if time.Now().After(deadline) {
			_ = cmd.Process.Kill()
			x.arena.t.Fatalf("it never reached %s", point)
		}
	}
}

// insist has the machine rotate again as long as it was only too slow: the times of the arena
// are short, and the fence kills who is late.
func (x *fighter) insist(user string) (code fault.Code) {
	for patience := testenv.Patience(x.arena.t); patience.Err() == nil; {
		if code = x.rotate(user); code != fault.EngineUnreachable && code != fault.ProviderUnreachable && code != fault.Internal {
			break
		}
	}
	return code
}

// A passing machine that is stopped between its announcement and the send is killed by the
// kernel, stopped as it is. Another one refreshes once T is over, and nothing is sent twice.
func TestFenceKillsTheStopped(t *testing.T) {
	proofs.Only(t, "it waits until the times of the protocol are over")
	a, lasting, passing := duel(t)
	cmd, _ := passing.stop("K7")
	killed := cmd.Wait() // by the fence: nobody continues it
	if status, ok := cmd.ProcessState.Sys().(syscall.WaitStatus); !ok || status.Signal() != syscall.SIGKILL {
		t.Fatalf("%v", killed)
	}
	user := a.users[0]
	code := lasting.insist(user)
	for patience := testenv.Patience(t); code == fault.WaitingForMachine && patience.Err() == nil; {
		code = lasting.insist(user)
	}
	if code != "" {
		t.Fatal(code)
	}
	if code := passing.insist(user); code != "" {
		t.Fatal(code)
	}
	if l := a.server.Ledger(); len(l.Reuse) != 0 || len(a.revoked()) != 0 {
		t.Errorf("%d sends, %d reuses", sends(l), len(l.Reuse))
	}
}

// A lasting machine that is stopped there is waited for, however long; it doesn't send when
// it goes on too late, and then the others don't wait for it any more.
func TestStoppedLastingMachine(t *testing.T) {
	proofs.Only(t, "it waits until the times of the protocol are over")
	a, lasting, passing := duel(t)
	cmd, _ := lasting.stop("K7")
	user := a.users[0]
	for range 4 {
		if code := passing.insist(user); code != fault.WaitingForMachine {
			t.Fatalf("%q", code)
		}
	}
	if l := a.server.Ledger(); sends(l) != 0 {
		t.Errorf("%d sends", sends(l))
	}
	time.Sleep(2 * time.Second) // it is past D by now
	testenv.Must(t, cmd.Process.Signal(syscall.SIGCONT))
	_ = cmd.Wait()
	if code := passing.insist(user); code != "" {
		t.Fatal(code)
	}
	if code := lasting.insist(user); code != "" {
		t.Fatal(code)
	}
	if l := a.server.Ledger(); len(l.Reuse) != 0 || len(a.revoked()) != 0 {
		t.Errorf("%d reuses, %d logins lost", len(l.Reuse), len(a.revoked()))
	}
}

// A lasting machine is killed at each point, on a real engine, and comes back: nothing is
// lost outside the window.
func TestKilledProcesses(t *testing.T) {
	type row struct {
		at    string
		sends int // in all, of one refresh token and those after it
		lost  bool
	}
	for _, row := range proofs.Sample(2, []row{
		{"S1", 1, false}, {"S2", 1, false}, {"S3", 1, false}, {"S4", 1, false}, {"K7", 1, false},
		{"K11", 2, true}, {"K15", 1, false}, {"S6", 1, false},
	}) {
		t.Run(row.at, func(t *testing.T) {
			a, lasting, passing := duel(t)
			user := a.users[0]
			before := lasting.entry(user).Generation
			cmd, _ := lasting.process(user, before, "ARENA_KILL="+row.at, "ARENA_CALM=1")
			if err := cmd.Run(); err == nil {
				t.Fatal("it wasn't killed")
			}
			code := lasting.rotateBeyond(user, before, "ARENA_CALM=1")
			l := a.server.Ledger()
			if row.lost != (len(l.Reuse) > 0) || row.lost != (code == fault.LoginNeeded) || !row.lost && code != "" {
				t.Errorf("%q, %d reuses", code, len(l.Reuse))
			}
			if n := sends(l); n != row.sends {
				t.Errorf("%d sends, want %d", n, row.sends)
			}
			if code := passing.rotateBeyond(user, passing.entry(user).Generation, "ARENA_CALM=1"); code != "" && !row.lost {
				t.Errorf("the other machine: %q", code)
			}
		})
	}
}

// sends is how often any refresh token arrived.
func sends(l brokertest.Ledger) (n int) {
	for _, f := range l.Families {
		for _, t := range f.RefreshTokens {
			n += len(t.Sends)
		}
	}
	return n
}
