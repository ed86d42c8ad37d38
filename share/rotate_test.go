package share

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/authferry/authferry/broker/fault"
	"github.com/authferry/authferry/broker/rotation"
	"github.com/authferry/authferry/proofs"
	"github.com/authferry/authferry/share/engine"
	"github.com/authferry/authferry/share/engine/enginetest"
	"github.com/authferry/authferry/share/seal"
	"github.com/authferry/authferry/testenv"
)

// Many machines find their access token over at the same moment, five times: five
// requests.
func TestManyMachinesOneRequest(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		m := newModel(t, proofs.Size(8, 20))
		for gen := 2; gen <= 6; gen++ {
			var all sync.WaitGroup
			for _, x := range m.all {
				all.Go(func() { testenv.Check(t, x.start().rotate(rotation.Wish{})) })
			}
			all.Wait()
			for _, x := range m.all {
				if s := x.entry().Share; s.Generation != gen || s.State != "idle" {
					t.Errorf("%s has generation %d, %s", x.id, s.Generation, s.State)
				}
			}
		}
		if m.server.requests != 5 || m.server.reuse != 0 {
			t.Errorf("%d requests, %d reuses", m.server.requests, m.server.reuse)
		}
	})
}

// What another machine, or the same one, finds where a rotator was killed: the table in
// doc.go.
func TestKillPoints(t *testing.T) {
	const fine, waits, lost = "fine", "waits", "lost"
	type row struct {
		at                    string
		same, lasting, passes string // who comes next: the machine itself; another one, if it was a lasting one; or a passing one
		sends                 int    // of the first refresh token, in the end
	}
	for _, row := range proofs.Sample(4, []row{
		{"K2", fine, fine, fine, 1},
		{"S1", fine, fine, fine, 1},
		{"S2", fine, fine, fine, 1},
		{"K4", fine, fine, fine, 1},
		{"K5", fine, fine, fine, 1},
		{"S3", fine, fine, fine, 1},
		{"S4", fine, waits, fine, 1},
		{"K7", fine, waits, fine, 1},
		{"sent", lost, waits, lost, 2},
		{"K11", lost, waits, lost, 2},
		{"K14", fine, waits, lost, 1},
		{"S6", fine, fine, fine, 1},
	}) {
		for _, who := range []string{"same", "lasting", "passing"} {
			t.Run(row.at+"/"+who, func(t *testing.T) {
				inBubble(t, func(t *testing.T) {
					m := newModel(t, 2)
					a, b := m.all[0], m.all[1]
					a.passing = who == "passing"
					killed := a.start()
					killed.crashAt = row.at
					if row.at == "K14" { // and the engine is not told
						killed.inject(func(c enginetest.Call) enginetest.Fault {
							if c.Op == "swap" && killed.told() {
								return enginetest.Fault{Outcome: enginetest.NeverApplied}
							}
							return enginetest.Fault{}
						})
					}
					if err := killed.rotate(rotation.Wish{}); !errors.Is(err, errKilled) {
						t.Fatalf("not killed: %v", err)
					}
					next, want := b, row.lasting
					switch who {
					case "same":
						next, want = a, row.same
					case "passing":
						want = row.passes
					}
					err := next.start().rotate(rotation.Wish{})
					for fault.CodeOf(err) == fault.WaitingForMachine && want != waits {
						time.Sleep(30 * time.Second)
						err = next.start().rotate(rotation.Wish{})
					}
					switch code := fault.CodeOf(err); {
					case want == fine && err != nil, want == waits && code != fault.WaitingForMachine, want == lost && code != fault.LoginNeeded:
						t.Fatalf("want %s: %v", want, err)
					}
					if want == waits {
						time.Sleep(48 * time.Hour)
						if err := next.start().rotate(rotation.Wish{}); fault.CodeOf(err) != fault.WaitingForMachine {
							t.Fatalf("it must not end by itself: %v", err)
						}
						return
					}
					sends := row.sends
					if row.at == "K14" && who == "passing" {
						sends = 2
					}
					if n := m.server.sends["rt-1"]; n != sends || (m.server.reuse > 0) != (want == lost) {
						t.Errorf("%d sends, %d reuses", n, m.server.reuse)
					}
				})
			})
		}
	}
}

// told reports whether the process has its answer, and tells the others now.
func (p *process) told() bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.phase != ""
}

// Schedules at random: machines that are killed, stopped and cut off at any point, lost
// answers, swaps whose outcome is unknown and comes late, an engine that slows down. A login
// is lost only in the window that doc.go states.
func TestRandomSchedules(t *testing.T) {
	first, n := 1, proofs.Size(6, 200)
	if s, err := strconv.Atoi(os.Getenv("TEST_SEED")); err == nil {
		first, n = s, 1
	}
	var total totals
	for seed := first; seed < first+n; seed++ {
		t.Run(fmt.Sprint(seed), func(t *testing.T) {
			inBubble(t, func(t *testing.T) { schedule(t, rand.New(rand.NewPCG(uint64(seed), 7)), &total) })
		})
		if t.Failed() {
			break
		}
	}
	t.Logf("%+v", total)
}

type totals struct{ Rotations, Killed, InWindow, Lost, Reuse, Waited, Recovered int }

// crashPoints are all points of a shared rotation.
var crashPoints = []string{"K2", "S0", "S1", "S2", "K3", "K4", "K5", "S3", "S4", "K7", "sent", "K11", "S5", "S6", "K14", "K15", "K16", "S7", "S8"}

func schedule(t *testing.T, r *rand.Rand, total *totals) {
	m := newModel(t, 2+r.IntN(4))
	for _, x := range m.all {
		x.passing = r.IntN(3) == 0
	}
	m.server.latency = time.Duration(1+r.IntN(1500)) * time.Millisecond
	window := 0
	var mu sync.Mutex
	answers := rand.New(rand.NewPCG(r.Uint64(), 1))
	m.server.answer = func(int) (int, bool) {
		switch {
		case answers.IntN(20) == 0:
			return 503, false
		case answers.IntN(25) == 0:
			mu.Lock()
			window++ // the answer is lost on the way
			mu.Unlock()
			return 0, true
		}
		return 0, false
	}
	one := func(x *machine, rnd *rand.Rand, calm bool) {
		p := x.start()
		if !calm {
			if rnd.IntN(3) == 0 {
				p.crashAt = crashPoints[rnd.IntN(len(crashPoints))]
			}
			if rnd.IntN(6) == 0 {
				// Within T: what is stopped for longer between send and store is as good as dead.
				p.pause[crashPoints[rnd.IntN(len(crashPoints))]] = time.Duration(rnd.IntN(60)) * time.Second
			}
			if rnd.IntN(6) == 0 {
				p.pause[[]string{"S3", "S4", "K7"}[rnd.IntN(3)]] = time.Duration(rnd.IntN(300)) * time.Second
			}
			odds, faults := rnd.IntN(30), rand.New(rand.NewPCG(rnd.Uint64(), 1))
			var fm sync.Mutex
			p.inject(func(enginetest.Call) enginetest.Fault {
				fm.Lock()
				defer fm.Unlock()
				if faults.IntN(100) >= odds {
					return enginetest.Fault{}
				}
				return enginetest.Fault{Delay: time.Duration(faults.IntN(3000)) * time.Millisecond, Outcome: enginetest.Outcome(faults.IntN(4))}
			})
			pauses := rand.New(rand.NewPCG(rnd.Uint64(), 1))
			go func() {
				for range 5 {
					time.Sleep(time.Duration(pauses.IntN(20)) * time.Second)
					p.deliver()
				}
			}()
		}
		err := p.rotate(rotation.Wish{Rejected: rnd.IntN(10) == 0})
		m.note("%s %p: %v", x.id[5:8], p, err)
		mu.Lock()
		defer mu.Unlock()
		total.Rotations++
		if errors.Is(err, errKilled) {
			total.Killed++
		}
		if p.inWindow() {
			window++
			total.InWindow++
		}
		switch fault.CodeOf(err) {
		case fault.WaitingForMachine:
			total.Waited++
		case fault.Internal:
			if err != nil && !errors.Is(err, errKilled) {
				t.Errorf("%s: %v", x.id, err)
			}
		}
	}
	var all sync.WaitGroup
	for _, x := range m.all {
		rnd := rand.New(rand.NewPCG(r.Uint64(), 1))
		all.Go(func() {
			for range 3 + rnd.IntN(4) {
				one(x, rnd, false)
				time.Sleep(time.Duration(rnd.IntN(90)) * time.Second)
			}
		})
	}
	all.Wait()
	reuse, dead := m.server.reuse, m.server.dead
	lost := 0
	if dead {
		lost = 1
	}
	if reuse > window || lost > window {
		t.Errorf("%d reuses, %d lost logins, and only %d deaths and lost answers in the window\n%s", reuse, lost, window, strings.Join(m.told, "\n"))
	}
	total.Reuse, total.Lost = total.Reuse+reuse, total.Lost+lost
	// Once everybody is well, everybody has a token, unless the login is lost.
	m.server.answer = nil
	time.Sleep(10 * time.Minute)
	deadline := time.Now().Add(20 * time.Minute)
	for _, x := range m.all {
		for {
			p := x.start()
			err := p.rotateBeyond(rotation.Wish{Beyond: x.entry().Generation, Person: true})
			if err == nil || fault.CodeOf(err) == fault.LoginNeeded && m.server.dead {
				break
			}
			if time.Now().After(deadline) {
				rec := m.record()
				t.Errorf("%s never gets a token: %v (%+v)", x.id, err, rec.Claim)
				return
			}
			time.Sleep(20 * time.Second)
			for _, y := range m.all { // the machine that it waits for comes back
				_ = y.start().rotate(rotation.Wish{})
			}
		}
	}
	if m.server.reuse > window { // recoveries of what died in the window have met the strict server
		t.Errorf("%d reuses in the end, %d in the window", m.server.reuse, window)
	}
}

// A passing machine is slow, and announces long after another one has seen its claim: how
// long that one waits is counted from the announcement.
func TestAnnouncedLongAfterTheClaim(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		m := newModel(t, 2)
		a, b := m.all[0], m.all[1]
		a.passing = true
		m.server.latency = 30 * time.Second
		p := a.start()
		p.pause["S2"] = 200 * time.Second
		done := make(chan error, 1)
		go func() { done <- p.rotate(rotation.Wish{}) }()
		look := func() error { return b.start().rotate(rotation.Wish{Background: true}) }
		time.Sleep(5 * time.Second)
		wantCode(t, look(), fault.WaitingForMachine)
		time.Sleep(200 * time.Second)
		if r := m.record(); !r.Claim.Announced {
			t.Fatalf("%+v", r.Claim)
		}
		for range 2 { // as long as the provider may take
			wantCode(t, look(), fault.WaitingForMachine)
			time.Sleep(20 * time.Second)
		}
		testenv.Must(t, <-done)
		testenv.Must(t, look())
		if m.server.requests != 1 || m.server.reuse != 0 {
			t.Errorf("%d requests, %d reuses", m.server.requests, m.server.reuse)
		}
	})
}

// A passing machine has its answer, and is stopped for so long that another one tries, and is
// refused for good. What the first one has is published all the same.
func TestLateAnswerOverDead(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		m := newModel(t, 2)
		a, b := m.all[0], m.all[1]
		a.passing = true
		p := a.start()
		p.pause["K11"] = 300 * time.Second
		done := make(chan error, 1)
		go func() { done <- p.rotate(rotation.Wish{}) }()
		time.Sleep(10 * time.Second)
		look := func() error { return b.start().rotate(rotation.Wish{Background: true}) }
		wantCode(t, look(), fault.WaitingForMachine)
		time.Sleep(sendingLasts)
		wantCode(t, look(), fault.LoginNeeded)
		if r := m.record(); r.State != seal.Dead || r.Gen != 1 {
			t.Errorf("%s, %d", r.State, r.Gen)
		}
		testenv.Must(t, <-done)
		time.Sleep(time.Minute)
		if r := m.record(); r.State != seal.Idle || r.Gen != 2 {
			t.Errorf("%s, %d", r.State, r.Gen)
		}
		testenv.Must(t, look())
		if got := b.entry(); got.Dead != "" || got.Share.Generation != 2 {
			t.Errorf("%+v, %+v", got, got.Share)
		}
	})
}

// The provider refuses a login for good, and the engine can't be told, or the process is
// killed before. The machine's next process tells it, also if the index was put back in the
// meantime, and sends nothing.
func TestRefusalThatWasNotTold(t *testing.T) {
	for _, how := range []string{"cut off", "killed", "put back"} {
		t.Run(how, func(t *testing.T) {
			inBubble(t, func(t *testing.T) {
				m := newModel(t, 2)
				a, b := m.all[0], m.all[1]
				m.server.dead = true
				p, want := a.start(), errKilled
				if how == "killed" {
					p.crashAt = "S7"
				} else {
					want = nil
					p.inject(func(enginetest.Call) enginetest.Fault {
						if p.told() {
							return enginetest.Fault{Err: engine.ErrUnreachable}
						}
						return enginetest.Fault{}
					})
				}
				if how == "put back" {
					before, err := os.ReadFile(filepath.Join(a.dir, "index.json"))
					testenv.Must(t, err)
					m.server.answer = func(int) (int, bool) {
						testenv.Check(t, os.WriteFile(filepath.Join(a.dir, "index.json"), before, 0o600))
						return 0, false
					}
				}
				if err := p.rotate(rotation.Wish{}); want != nil && !errors.Is(err, want) || want == nil && fault.CodeOf(err) != fault.EngineUnreachable {
					t.Fatal(err)
				}
				if r := m.record(); r.State != seal.Sending {
					t.Fatalf("%s", r.State)
				}
				wantCode(t, a.start().rotate(rotation.Wish{Person: true}), fault.LoginNeeded)
				if r := m.record(); r.State != seal.Dead {
					t.Errorf("%s", r.State)
				}
				wantCode(t, b.start().rotate(rotation.Wish{}), fault.LoginNeeded)
				if m.server.requests != 1 {
					t.Errorf("%d requests", m.server.requests)
				}
			})
		})
	}
}
