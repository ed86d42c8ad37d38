package main

import (
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/authferry/authferry/broker/brokertest"
	"github.com/authferry/authferry/keystore/keystoretest"
	"github.com/authferry/authferry/proofs"
	"github.com/authferry/authferry/testenv"
)

// operation is a command whose processes are killed at each system call that
// changes something, and what has to be true afterwards.
type operation struct {
	name    string
	server  brokertest.Config
	inVault bool // it counts what is in the sealed files
	// begin makes what the command needs.
	begin func(w *world, user string) prepared
	// after uses the folder as the next one would. It says what came of the
	// killed command in a word or two, and what is broken.
	after func(w *world, user string, a prepared) (outcome string, broken []string)
}

// prepared is an operation that can begin.
type prepared struct {
	attempt
	who victim
	id  string // of the account, where there is one already
	// since are the victim's calls between the request and its end.
	since []string
}

// lost is the outcome of a kill in the window that nothing can close: the
// refresh token is spent, the new one was not stored, and the server is strict.
const lost = "login needed"

var strict = brokertest.Config{Rotation: brokertest.Strict}

// rotation is a caller that finds an expired token, and the rotator it starts.
// long names the fault that makes the refresh token long: it is sent, and stored
// in a keychain, in several parts.
func rotation(name string, cfg brokertest.Config, long string) operation {
	return operation{name: name, server: cfg,
		begin: func(w *world, user string) prepared {
			p := prepared{id: w.add(user, -time.Second), attempt: attempt{args: []string{"token", "--account", user}}}
			if long != "" {
				f := brokertest.Faults()[long]
				f.User = user
				w.server.Inject(f)
				w.must("", "refresh", user)
				p.args = []string{"refresh", user}
			}
			return p
		},
		after: func(w *world, user string, a prepared) (string, []string) {
			outcome, broken := "", []string(nil)
			if long != "" { // the token before still lives, and would be served
				switch r := w.run("", "refresh", user, "--json"); {
				case r.code == 4 && r.failure == "login_needed":
					outcome = lost
				case r.code != 0:
					broken = append(broken, fmt.Sprintf("I5: the next refresh: exit code %d: %s", r.code, r.err))
				}
			}
			if outcome == "" {
				var more []string
				outcome, more = w.served(user)
				broken = append(broken, more...)
			}
			l := w.server.Ledger()
			reuses := reusesOf(l, user)
			switch {
			case outcome == lost && (reuses == 0 || a.who == caller || cfg.Rotation != brokertest.Strict):
				broken = append(broken, "I4: a login was lost outside the window")
			case outcome == lost && slices.ContainsFunc(a.since, func(call string) bool { return strings.HasPrefix(call, "rename ") }):
				broken = append(broken, "the window is longer than it has to be: a file was in its place already")
			case outcome != lost && cfg.Rotation == brokertest.Strict && reuses > 0, a.who == caller && reuses > 0:
				broken = append(broken, fmt.Sprintf("I1: a spent refresh token was sent %d times", reuses))
			}
			if n := l.MaxInflight[user]; n > 1 && a.who == caller { // a server does not notice at once that a client is dead
				broken = append(broken, fmt.Sprintf("I2: %d requests at once", n))
			}
			if outcome == lost {
				return outcome, broken
			}
			if idx, err := w.index(); err != nil || idx == nil || idx.Account(a.id) == nil || idx.Account(a.id).Generation < 2 {
				broken = append(broken, "I3: the generation went back")
			}
			return outcome, append(broken, w.mended()...)
		}}
}

// reusesOf counts the sends of user's spent refresh tokens.
func reusesOf(l brokertest.Ledger, user string) (n int) {
	for _, r := range l.Reuse {
		if r.User == user {
			n++
		}
	}
	return n
}

// served asks for user's token as the next caller, twice.
func (w *world) served(user string) (outcome string, broken []string) {
	first := w.run("", "token", "--account", user, "--json")
	switch {
	case first.code == 4 && first.failure == "login_needed":
		return lost, nil
	case first.code != 0:
		return "error", []string{fmt.Sprintf("I5: the next call: exit code %d: %s", first.code, first.err)}
	}
	var doc struct {
		AccessToken string `json:"access_token"`
	}
	if err := json.Unmarshal([]byte(first.out), &doc); err != nil || !w.good(doc.AccessToken) {
		return "error", []string{"I5: the API refuses the next call's token"}
	}
	if again := w.run("", "token", "--account", user); strings.TrimSpace(again.out) != doc.AccessToken {
		broken = append(broken, "the call after that gets another token: "+again.err)
	}
	return "served", broken
}

// arrival is a command that adds an account; done again undisturbed, it has to be
// there.
func arrival(name string, begin func(w *world, user string) prepared) operation {
	return operation{name: name, server: strict, begin: begin,
		after: func(w *world, user string, a prepared) (string, []string) {
			outcome := "nothing"
			if idx, err := w.index(); err == nil && idx != nil && len(idx.Accounts) > 0 {
				outcome = "added"
			}
			var broken []string
			again := w.attempt(w.command(a.args...), a.attempt)
			if again.code != 0 && (outcome != "added" || again.failure != "label_taken") {
				broken = append(broken, fmt.Sprintf("I5: the same command again: exit code %d: %s", again.code, again.err))
			}
			label := user
			if a.login {
				label = w.server.Ledger().Families[0].User
			}
			if got, b := w.served(label); got != "served" {
				broken = append(broken, "I5: then its token: "+got+strings.Join(b, " "))
			}
			broken = append(broken, w.mended()...)
			if n := reusesOf(w.server.Ledger(), label); n > 0 {
				broken = append(broken, "I1: a refresh token was sent twice")
			}
			return outcome, broken
		}}
}

func importing(w *world, user string) prepared {
	return prepared{attempt: attempt{args: []string{"import", "grant", "sim", "--label", user, "--json"}, stdin: w.grant(user, time.Hour)}}
}

func withKey(w *world, user string) prepared {
	return prepared{attempt: attempt{args: []string{"login", "sim", "--api-key-stdin", "--label", user, "--json"}, stdin: w.server.IssueKey(user)}}
}

func loggingIn(_ *world, _ string) prepared {
	return prepared{attempt: attempt{args: []string{"login", "sim", "--no-browser", "--json"}, login: true}}
}

func withDevice(_ *world, _ string) prepared {
	return prepared{attempt: attempt{args: []string{"login", "sim", "--flow", "device", "--no-input", "--json"}, login: true}}
}

// operations on any keystore.
func operations() []operation {
	return []operation{
		rotation("rotate, strict server", strict, ""),
		rotation("rotate, server with grace", brokertest.Config{Rotation: brokertest.GraceNew, Grace: time.Hour}, ""),
		rotation("rotate a long token", strict, "refresh-64k"),
		arrival("import grant", importing),
		arrival("login with an API key", withKey),
		arrival("login in a browser", loggingIn),
		arrival("login with a device code", withDevice),
		{name: "login again", server: strict,
			begin: func(w *world, _ string) prepared {
				if r := w.attempt(w.command("login", "sim", "--no-browser", "--json"), attempt{login: true}); r.code != 0 {
					w.t.Fatal(r.err)
				}
				return prepared{attempt: attempt{args: []string{"login", "sim", "--no-browser", "--json"}, login: true}}
			},
			after: func(w *world, _ string, _ prepared) (string, []string) {
				idx, err := w.index()
				if err != nil || len(idx.Accounts) != 1 {
					return "error", []string{fmt.Sprintf("I5: not one account: %v", err)}
				}
				a := idx.Accounts[0]
				outcome := fmt.Sprintf("generation %d", a.Generation)
				r := w.run("", "refresh", a.ID, "--json")
				if r.code != 0 {
					return outcome, []string{"I5: the next refresh: " + r.err}
				}
				_, broken := w.served(a.ID)
				if n := len(w.server.Ledger().Reuse); n > 0 {
					broken = append(broken, "I1: a refresh token was sent twice")
				}
				return outcome, append(broken, w.mended()...)
			}},
		{name: "remove", server: strict,
			begin: func(w *world, user string) prepared {
				id := w.add(user, time.Hour)
				return prepared{id: id, attempt: attempt{args: []string{"remove", id, "--yes"}}}
			},
			after: func(w *world, user string, a prepared) (string, []string) {
				idx, err := w.index()
				outcome := "kept"
				switch {
				case err != nil:
					return "error", []string{"I8: " + err.Error()}
				case idx.Account(a.id) == nil:
					outcome = "removed"
				case idx.Account(a.id).Removing:
					outcome = "marked"
				}
				var broken []string
				again := w.run("", append(a.args, "--json")...)
				if again.code != 0 && (again.code != 3 || outcome == "kept") {
					broken = append(broken, fmt.Sprintf("I5: the same command again: exit code %d: %s", again.code, again.err))
				}
				broken = append(broken, w.mended()...)
				if idx, err := w.index(); err != nil || len(idx.Accounts) != 0 {
					broken = append(broken, "the entry is still there")
				}
				if items, _ := filepath.Glob(filepath.Join(w.dir, "vault", "*")); len(items) > 0 {
					broken = append(broken, fmt.Sprintf("secrets are left: %d items", len(items)))
				}
				if w.server.Ledger().Of(user)[0].RevokedAt.IsZero() {
					broken = append(broken, "the login was not revoked")
				}
				return outcome, broken
			}},
		{name: "doctor", server: strict, inVault: true,
			begin: func(w *world, user string) prepared {
				return prepared{id: w.add(user, time.Hour), attempt: attempt{args: []string{"doctor", "--fix"}}}
			},
			after: func(w *world, user string, _ prepared) (string, []string) {
				got, broken := w.served(user)
				broken = append(broken, w.mended()...)
				// The grant, the access token, and the manifest.
				if items, _ := filepath.Glob(filepath.Join(w.dir, "vault", "*")); len(items) != 3 {
					broken = append(broken, fmt.Sprintf("%d items in the vault, want 3", len(items)))
				}
				return got, broken
			}},
		{name: "rename", server: strict,
			begin: func(w *world, user string) prepared {
				id := w.add(user, time.Hour)
				return prepared{id: id, attempt: attempt{args: []string{"rename", id, "another name"}}}
			},
			after: func(w *world, user string, a prepared) (string, []string) {
				idx, err := w.index()
				if err != nil {
					return "error", []string{"I8: " + err.Error()}
				}
				outcome := "the new label"
				if label := idx.Account(a.id).Label; label == user {
					outcome = "the old label"
				} else if label != "another name" {
					outcome = label
				}
				_, broken := w.served(a.id)
				return outcome, append(broken, w.mended()...)
			}},
	}
}

// migration needs both keystores.
func migration() operation {
	return operation{name: "keystore migrate", server: strict,
		begin: func(w *world, user string) prepared {
			id := w.add(user, -time.Second)
			w.must("", "keystore", "init", "--key-file", filepath.Join(w.home, "key.txt"))
			return prepared{id: id, attempt: attempt{args: []string{"keystore", "migrate", "file"}}}
		},
		after: func(w *world, user string, _ prepared) (string, []string) {
			idx, err := w.index()
			if err != nil {
				return "error", []string{"I8: " + err.Error()}
			}
			outcome := idx.Keystore
			got, broken := w.served(user)
			if got != "served" {
				broken = append(broken, "I5: the next call: "+got)
			}
			if n := reusesOf(w.server.Ledger(), user); n > 0 {
				broken = append(broken, "I1: a refresh token was sent twice")
			}
			return outcome, append(broken, w.mended()...)
		}}
}

// users numbers the people who log in: no two kills share one.
var users atomic.Int64

// killed does an operation once and kills at the n-th call. It returns what went
// wrong.
func (o operation) killed(t *testing.T, server *brokertest.Server, keychain []string, who victim, n int) (e execution, outcome string, broken []string) {
	home, err := os.MkdirTemp("", "af")
	testenv.Must(t, err)
	defer os.RemoveAll(home)
	w := openWorld(t, program(t), home, server, keychain)
	user := fmt.Sprintf("u%d", users.Add(1))
	a := o.begin(w, user)
	a.who = who
	traced, report := executed(t, w.command(a.args...), who, n)
	w.attempt(traced, a.attempt)
	e = report()
	if n > 0 && !e.Killed {
		return e, "", nil
	}
	w.settle()
	broken = w.sound()
	a.since = e.Since
	outcome, more := o.after(w, user, a)
	return e, outcome, append(broken, more...)
}

// perKeychain is how many kills leave their items in one keychain: gnome-keyring
// writes all of them whenever one changes, and would answer slower and slower.
const perKeychain = 24

// sweep kills the operation's victim at each of its calls, or at a sample of
// them, and prints what came of it. keychain makes one; nil: sealed files.
func (o operation) sweep(t *testing.T, keychain func(*testing.T) []string, who victim, sample int) {
	t.Helper()
	cfg := o.server
	cfg.DeviceInterval = time.Second
	var undisturbed execution
	o.on(t, keychain, "undisturbed", func(t *testing.T, env []string) {
		var broken []string
		if undisturbed, _, broken = o.killed(t, brokertest.New(t, cfg), env, who, 0); len(broken) > 0 {
			t.Fatalf("undisturbed: %v", broken)
		}
	})
	if t.Failed() {
		return
	}
	step, next := 1, 1
	if sample > 0 { // another one each time
		step = max(1, undisturbed.Calls/sample)
		next = 1 + rand.IntN(step) // #nosec G404 -- a sample
	}
	outcomes, window := map[string]int{}, map[string]int{}
	kills, over := 0, false
	for !over && next <= 3*undisturbed.Calls {
		o.on(t, keychain, fmt.Sprint("from call ", next), func(t *testing.T, env []string) {
			var mu sync.Mutex
			left := perKeychain
			if env == nil {
				left = 3 * undisturbed.Calls
			}
			turn := func() (n int, ok bool) {
				mu.Lock()
				defer mu.Unlock()
				left--
				n, next = next, next+step
				return n, !over && left >= 0 && n <= 3*undisturbed.Calls
			}
			var work sync.WaitGroup
			for range 2 {
				work.Go(func() {
					for n, ok := turn(); ok; n, ok = turn() {
						server, err := brokertest.Start(cfg)
						if err != nil {
							t.Error(err)
							return
						}
						got, outcome, broken := o.killed(t, server, env, who, n)
						server.Close()
						mu.Lock()
						if !got.Killed {
							over = true
						} else {
							kills++
							outcomes[outcome]++
							if outcome == lost {
								window[got.Before]++
							}
						}
						mu.Unlock()
						if len(broken) > 0 {
							t.Errorf("%s: the %s killed at call %d, %s: %s\n  %s", o.name, who, n, got.Before, outcome, strings.Join(broken, "\n  "))
						}
					}
				})
			}
			work.Wait()
			next -= 2 * step // each worker drew one that it did not do
		})
	}
	var words []string
	for outcome, n := range outcomes {
		words = append(words, fmt.Sprintf("%s %d", outcome, n))
	}
	slices.Sort(words)
	t.Logf("%-26s %-8s %3d calls, killed at %3d: %s", o.name, who, undisturbed.Calls, kills, strings.Join(words, ", "))
	for call, n := range window {
		t.Logf("  %s at %d x %s", lost, n, call)
	}
}

// on does a part of a sweep, with a keychain of its own where it takes one.
func (o operation) on(t *testing.T, keychain func(*testing.T) []string, part string, do func(*testing.T, []string)) {
	t.Helper()
	if keychain == nil {
		do(t, nil)
		return
	}
	t.Run(part, func(t *testing.T) { do(t, keychain(t)) })
}

// Every process of every command that changes something, killed at every system
// call by which it does: the next command works or names the true cause.
func TestKillAtEverySystemCall(t *testing.T) {
	t.Parallel()
	sweeps(t, slices.Concat(operations(), takeovers()), nil, sampled(6), 6)
}

// sweeps kills each victim of the operations at a sample of its calls. By default it is
// one kill, and one of so many victims, others each time.
func sweeps(t *testing.T, all []operation, keychain func(*testing.T) []string, sample, among int) {
	if *full || *allKinds {
		among = 1
	}
	among = proofs.Size(among, 1)
	n := rand.IntN(among) // #nosec G404 -- a sample
	for _, o := range all {
		var victims []victim
		for _, who := range o.victims() {
			if n++; n%among == 0 {
				victims = append(victims, who)
			}
		}
		if victims == nil {
			continue
		}
		t.Run(o.name, func(t *testing.T) {
			t.Parallel()
			for _, who := range victims {
				o.sweep(t, keychain, who, sample)
			}
		})
	}
}

// victims are whose calls are counted: most commands start nobody.
func (o operation) victims() []victim {
	if strings.HasPrefix(o.name, "rotate") {
		return []victim{caller, rotator, everyone}
	}
	return []victim{caller}
}

// sampled is at how many calls to kill; 0 is all of them.
func sampled(n int) int {
	if *full {
		return 0
	}
	return proofs.Size(1, n)
}

// The same on a real gnome-keyring: a rotation at every call, as ever, and each of
// the others, if time is no matter, at calls all along its way, others each time.
func TestKillAtEverySystemCallOnKeyring(t *testing.T) {
	t.Parallel()
	onKeychain(t, func(t *testing.T) []string { return keystoretest.GnomeKeyring(t).Env }, sampled(2), 25)
}

// And on a Secret Service that takes its time over each call, so that the calls
// after one that is under way are reached by a kill as well.
func TestKillAtSystemCallsOnSecretService(t *testing.T) {
	proofs.Only(t, "it waits for every call of a slow service")
	t.Parallel()
	env := func(t *testing.T) []string { return keystoretest.SecretService(t, keystoretest.Slow).Env }
	if !*full {
		rotation("rotate, strict server", strict, "").sweep(t, env, rotator, sampled(2))
		return
	}
	onKeychain(t, env, 25, 8)
}

func onKeychain(t *testing.T, env func(*testing.T) []string, sample, others int) {
	sweeps(t, []operation{rotation("rotate, strict server", strict, ""), rotation("rotate a long token", strict, "refresh-4200")}, env, sample, 6)
	if !*full {
		return
	}
	for _, o := range slices.Concat(operations(), takeovers()[:1], []operation{migration()}) {
		if o.inVault || strings.HasPrefix(o.name, "rotate") {
			continue
		}
		t.Run(o.name, func(t *testing.T) {
			t.Parallel()
			o.sweep(t, env, caller, others)
		})
	}
}
