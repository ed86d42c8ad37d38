package share

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/authferry/authferry/broker/account"
	"github.com/authferry/authferry/broker/fault"
	"github.com/authferry/authferry/broker/folder"
	"github.com/authferry/authferry/broker/index"
	"github.com/authferry/authferry/broker/oauth"
	"github.com/authferry/authferry/broker/pool"
	"github.com/authferry/authferry/broker/rotation"
	"github.com/authferry/authferry/keystore"

	"github.com/authferry/authferry/share/engine/enginetest"
	"github.com/authferry/authferry/share/seal"
	"github.com/authferry/authferry/testenv"
)

// age lets the access token of every machine end.
func age() { time.Sleep(modelLife + time.Minute) }

func wantCode(t *testing.T, err error, want fault.Code) {
	t.Helper()
	if got := fault.CodeOf(err); err == nil || got != want {
		t.Fatalf("%v, want %s", err, want)
	}
}

// Without peers a shared account is left alone, also by an index that doesn't know that it
// is shared.
func TestNothingIsSentAlone(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		m := newModel(t, 1)
		for _, forget := range []bool{false, true} {
			f := m.all[0].folder()
			if forget {
				testenv.Must(t, f.Update(t.Context(), index.Fast, func(idx *index.Index) error {
					idx.Account(m.account).Share = nil
					return nil
				}))
			}
			wantCode(t, rotation.Rotate(t.Context(), f, m.account, rotation.Wish{Beyond: 9}), fault.EngineUnreachable)
		}
		if m.server.requests != 0 {
			t.Errorf("%d requests", m.server.requests)
		}
	})
}

// A machine without the engine sends nothing, says since when it is alone, and asks for no
// login; it isn't asked again by every caller. With the engine again, all is well.
func TestMachineAlone(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		m := newModel(t, 2)
		p := m.all[0].start()
		p.conn.Partition()
		p.cut = true
		err := p.rotate(rotation.Wish{})
		wantCode(t, err, fault.EngineUnreachable)
		if pool.StateOf(m.all[0].entry(), time.Now()) == pool.NeedsLogin {
			t.Error("it asks for a login")
		}
		if refused := rotation.Refusal(m.all[0].entry(), rotation.Wish{}, time.Now()); fault.CodeOf(refused) != fault.EngineUnreachable {
			t.Errorf("the next caller would ask again: %v", refused)
		}
		time.Sleep(time.Minute)
		testenv.Must(t, m.all[0].start().rotate(rotation.Wish{}))
		if f := m.all[0].entry().Failure; f != nil {
			t.Errorf("%+v", f)
		}
	})
}

// A consumer gets what a holder refreshes, asks for it, and has no refresh token.
func TestConsumer(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		m := newModel(t, 1)
		c := m.join("mach_cccccccccccccccc")
		c.role = seal.Consumer
		holder := m.all[0]
		testenv.Must(t, holder.start().rotate(rotation.Wish{}))
		adopt := func() error { return c.start().rotateBeyond(rotation.Wish{Beyond: c.entry().Generation}) }
		testenv.Must(t, adopt())
		if a := c.entry(); a.Share.Generation != 2 || pool.StateOf(a, time.Now()) != pool.Valid {
			t.Fatalf("%+v, %s", a.Share, pool.StateOf(a, time.Now()))
		}
		age()
		if s := pool.StateOf(c.entry(), time.Now()); s == pool.NeedsLogin {
			t.Errorf("a consumer whose token is over is %s", s)
		}
		wantCode(t, adopt(), fault.WaitingForMachine)
		e, _, err := m.engine.Get(t.Context(), Key("authferry", modelPool, "want", m.account))
		testenv.Must(t, err)
		if w := ParseWant(e.Value); w == nil || w.Gen != 2 || w.Machine != c.id || w.Rejected {
			t.Fatalf("%s", e.Value)
		}
		done := make(chan error)
		go func() { done <- adopt() }()
		time.Sleep(3 * time.Second)
		testenv.Must(t, holder.start().rotate(rotation.Wish{}))
		testenv.Must(t, <-done)
		if c.entry().Share.Generation != 3 || m.server.requests != 2 {
			t.Errorf("generation %d, %d requests", c.entry().Share.Generation, m.server.requests)
		}
		idx, err := c.folder().Read()
		testenv.Must(t, err)
		o, err := c.folder().Open(idx)
		testenv.Must(t, err)
		stored, err := o.Grants(t.Context(), m.account)
		testenv.Must(t, err)
		if !stored.Best.RefreshToken.Empty() || stored.Best.Fingerprint() != m.record().FP {
			t.Error("a consumer's grant has a refresh token, or isn't recognised")
		}
		if c.chain.has(t, m.server.newest) {
			t.Error("a consumer's keychain has a refresh token")
		}
	})
}

// The engine is restored from a backup: a machine that has seen more puts it back, sends
// nothing until a person has confirmed that, and then loses nothing.
func TestRestoredEngine(t *testing.T) {
	for name, keep := range map[string]bool{"revision falls": false, "revision rises": true} {
		t.Run(name, func(t *testing.T) {
			inBubble(t, func(t *testing.T) {
				m := newModel(t, 3)
				a, b := m.all[0], m.all[1]
				backup := m.engine.Snapshot()
				for range 3 {
					testenv.Must(t, a.start().rotate(rotation.Wish{}))
					testenv.Must(t, b.start().rotateBeyond(rotation.Wish{Beyond: b.entry().Generation}))
					age()
				}
				m.engine.Restore(backup, keep)
				wantCode(t, b.start().rotate(rotation.Wish{}), fault.EngineRestored)
				if r := m.record(); r.Gen != 4 || r.State != seal.Idle {
					t.Fatalf("not put back: %d, %s", r.Gen, r.State)
				}
				wantCode(t, b.start().rotate(rotation.Wish{Person: true}), fault.EngineRestored)
				testenv.Must(t, b.folder().Update(t.Context(), index.Fast, func(idx *index.Index) error { // as share doctor --fix does
					p := idx.SharedPool(modelPool)
					p.Engine, p.Revision = index.EngineOK, 0
					return nil
				}))
				testenv.Must(t, b.start().rotate(rotation.Wish{}))
				if m.server.reuse != 0 || m.server.dead {
					t.Errorf("%d reuses", m.server.reuse)
				}
			})
		})
	}
}

// An engine that has forgotten that a login ended is told so by a machine that knows, and the
// others don't send its refresh token again.
func TestRestoredEngineFromBeforeTheEnd(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		m := newModel(t, 2)
		a, b := m.all[0], m.all[1]
		backup := m.engine.Snapshot()
		m.server.dead = true
		wantCode(t, a.start().rotate(rotation.Wish{}), fault.LoginNeeded)
		m.engine.Restore(backup, true)
		wantCode(t, a.start().rotate(rotation.Wish{}), fault.LoginNeeded)
		if s := m.record().State; s != seal.Dead {
			t.Errorf("the engine has it as %s", s)
		}
		wantCode(t, b.start().rotate(rotation.Wish{}), fault.LoginNeeded)
		if m.server.requests != 1 {
			t.Errorf("%d requests", m.server.requests)
		}
	})
}

// An engine that has forgotten the last rotation is one that was restored, though what this
// machine has follows on what the engine has: it had been published.
func TestRestoredEngineOneGenerationBack(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		m := newModel(t, 2)
		backup := m.engine.Snapshot()
		testenv.Must(t, m.all[0].start().rotate(rotation.Wish{}))
		age()
		m.engine.Restore(backup, true)
		wantCode(t, m.all[0].start().rotate(rotation.Wish{}), fault.EngineRestored)
		if m.record().Gen != 2 || m.server.requests != 1 {
			t.Errorf("generation %d, %d requests", m.record().Gen, m.server.requests)
		}
	})
}

// A machine that has just looked at the engine, and adopts something newer, notices from then
// on if the engine has forgotten that.
func TestAdoptionPinsTheRevision(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		m := newModel(t, 2)
		a, b := m.all[0], m.all[1]
		for range 2 {
			testenv.Must(t, a.start().rotateBeyond(rotation.Wish{Beyond: a.entry().Generation}))
			testenv.Must(t, b.start().rotateBeyond(rotation.Wish{Beyond: b.entry().Generation}))
		}
		_, id, err := m.engine.Get(t.Context(), "any")
		testenv.Must(t, err)
		idx, err := b.folder().Read()
		testenv.Must(t, err)
		if got := idx.SharedPool(modelPool).Revision; got != id.Revision {
			t.Errorf("revision %d, the engine is at %d", got, id.Revision)
		}
	})
}

// A machine that comes back after a long time, to an engine that was restored from a backup,
// doesn't send the old refresh token that it finds there.
func TestStranger(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		m := newModel(t, 1)
		backup := m.engine.Snapshot()
		testenv.Must(t, m.all[0].start().rotate(rotation.Wish{}))
		age()
		age()
		m.engine.Restore(backup, true)
		x := m.join("mach_cccccccccccccccc")
		wantCode(t, x.start().rotate(rotation.Wish{}), fault.EngineRestored)
		if m.server.requests != 1 {
			t.Errorf("%d requests", m.server.requests)
		}
	})
}

// A machine whose folder is a copy, taken after it had announced, waits for the original.
func TestClone(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		host := thisHost
		defer func() { thisHost = host }()
		m := newModel(t, 1)
		p := m.all[0].start()
		p.crashAt = "K7"
		_ = p.rotate(rotation.Wish{})
		clone := m.all[0].clone()
		testenv.Must(t, clone.folder().Update(t.Context(), index.Fast, func(idx *index.Index) (err error) { // on its own machine its path is the same
			idx.Path, err = index.RealPath(clone.dir)
			return err
		}))
		thisHost = func() string { return "another" }
		wantCode(t, clone.start().rotate(rotation.Wish{}), fault.WaitingForMachine)
		thisHost = host
		testenv.Must(t, m.all[0].start().rotate(rotation.Wish{}))
		thisHost = func() string { return "another" }
		testenv.Must(t, clone.start().rotate(rotation.Wish{}))
		if m.server.requests != 1 {
			t.Errorf("%d requests", m.server.requests)
		}
	})
}

// The index is a backup from before the claim, or rebuilt from its own: what was announced
// meanwhile may have been sent.
func TestIndexFromBackup(t *testing.T) {
	for _, at := range []string{"S1", "K7"} {
		t.Run(at, func(t *testing.T) {
			inBubble(t, func(t *testing.T) {
				m := newModel(t, 1)
				x := m.all[0]
				var old []byte
				p := x.start()
				was := folder.Reached
				folder.Reached = func(point string) {
					if point == at && old == nil {
						old, _ = os.ReadFile(filepath.Join(x.dir, "index.json.bak"))
					}
					was(point)
				}
				p.crashAt = "sent"
				_ = p.rotate(rotation.Wish{})
				testenv.Must(t, os.WriteFile(filepath.Join(x.dir, "index.json.bak"), old, 0o600))
				testenv.Must(t, os.WriteFile(filepath.Join(x.dir, "index.json"), []byte("x"), 0o600))
				last, err := x.folder().File().LastGood()
				testenv.Must(t, err)
				_, _, err = x.folder().Mend(t.Context(), last)
				testenv.Must(t, err)
				wantCode(t, x.start().rotateBeyond(rotation.Wish{Beyond: 9}), fault.WaitingForMachine)
				if m.server.reuse != 0 {
					t.Errorf("%d reuses", m.server.reuse)
				}
			})
		})
	}
}

// Whose announcement has an unknown outcome sends nothing and takes it back, or the next
// process of the machine does.
func TestUnknownAnnouncement(t *testing.T) {
	for name, outcome := range map[string]enginetest.Outcome{"applied": enginetest.AppliedNow, "later": enginetest.AppliedLater, "never": enginetest.NeverApplied} {
		t.Run(name, func(t *testing.T) {
			inBubble(t, func(t *testing.T) {
				m := newModel(t, 2)
				p, swaps := m.all[0].start(), 0
				p.inject(func(c enginetest.Call) enginetest.Fault {
					if c.Op == "swap" {
						if swaps++; swaps == 2 {
							return enginetest.Fault{Outcome: outcome}
						}
					}
					return enginetest.Fault{}
				})
				wantCode(t, p.rotate(rotation.Wish{}), fault.EngineUnreachable)
				if m.server.granted != 0 {
					t.Error("it was sent")
				}
				if r := m.record(); r.State != seal.Idle {
					t.Errorf("not taken back: %s", r.State)
				}
				p.conn.Heal()
				p.conn.Deliver()
				if r := m.record(); r.State != seal.Idle {
					t.Errorf("it came after all: %s", r.State)
				}
				testenv.Must(t, m.all[1].start().rotate(rotation.Wish{}))
			})
		})
	}
}

// Which machine waits for a provider that gives no usable answer says so, and lets the
// others try.
func TestUnknownAnswerFreesTheOthers(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		m := newModel(t, 2)
		m.server.answer = func(int) (int, bool) { return 502, false }
		wantCode(t, m.all[0].start().rotate(rotation.Wish{}), fault.ProviderUnreachable)
		if r := m.record(); r.State != seal.Sending || r.Claim.Announced || !r.Claim.Passing {
			t.Fatalf("%s %+v", r.State, r.Claim)
		}
		m.server.answer = nil
		wantCode(t, m.all[1].start().rotate(rotation.Wish{}), fault.ProviderUnreachable) // the pause is counted from here
		time.Sleep(time.Minute)
		testenv.Must(t, m.all[1].start().rotate(rotation.Wish{}))
	})
}

// What the engine has and no machine of the pool stored there is refused.
func TestForgedRecord(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		m := newModel(t, 1)
		keys, err := seal.NewKeys(1)
		testenv.Must(t, err)
		r := m.record()
		forged, err := seal.Seal(seal.Ring{keys}, r.Contents)
		testenv.Must(t, err)
		value, err := forged.Encode(seal.Ring{keys})
		testenv.Must(t, err)
		m.engine.Put(Key("authferry", modelPool, "acc", m.account), value)
		wantCode(t, m.all[0].start().rotate(rotation.Wish{}), fault.Fenced)
		m.engine.Delete(Key("authferry", modelPool, "acc", m.account))
		wantCode(t, m.all[0].start().rotate(rotation.Wish{}), fault.EngineRestored)
		if m.server.requests != 0 {
			t.Errorf("%d requests", m.server.requests)
		}
	})
}

// has reports whether any item of the keychain has the text in it.
func (c *memoryChain) has(t *testing.T, text string) bool {
	t.Helper()
	c.mu.Lock()
	defer c.mu.Unlock()
	for _, v := range c.items {
		if strings.Contains(v.Reveal(), text) {
			return true
		}
	}
	return false
}

// Nothing else writes, spends or revokes a shared login, also if the index has forgotten
// that it is shared.
func TestNothingElseTouchesASharedLogin(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		m := newModel(t, 1)
		x := m.all[0]
		testenv.Must(t, x.folder().Update(t.Context(), index.Fast, func(idx *index.Index) error {
			idx.Account(m.account).Share = nil
			return nil
		}))
		_, err := account.Remove(t.Context(), x.folder(), m.account, account.RevokeAlways)
		wantCode(t, err, fault.Fenced)
		idx, err := x.folder().Read()
		testenv.Must(t, err)
		o, err := x.folder().Open(idx)
		testenv.Must(t, err)
		stored, err := o.Grants(t.Context(), m.account)
		testenv.Must(t, err)
		l, err := o.Folder.LockAccount(t.Context(), m.account, 0)
		testenv.Must(t, err)
		defer l.Release()
		next := *stored.Best
		next.Generation, next.RefreshToken = next.Generation+1, keystore.NewSecret("another")
		_, err = o.Commit(t.Context(), l, folder.Login{Slot: "c", Grant: &next})
		wantCode(t, err, fault.Fenced)
		if a := x.entry(); a == nil || a.Removing || a.Generation > 2 {
			t.Errorf("%+v", a)
		}
	})
}

// An API that refuses everything makes all machines together refresh once in 30 s, not each
// of them.
func TestRefusedTokensOfManyMachines(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		m := newModel(t, 6)
		testenv.Must(t, m.all[0].start().rotate(rotation.Wish{}))
		for range 4 {
			for _, x := range m.all {
				_ = x.start().rotate(rotation.Wish{Rejected: true})
			}
			time.Sleep(8 * time.Second)
		}
		if m.server.requests > 3 {
			t.Errorf("%d requests", m.server.requests)
		}
		time.Sleep(time.Minute)
		before := m.server.requests
		testenv.Must(t, m.all[5].start().rotate(rotation.Wish{Rejected: true}))
		if m.server.requests != before+1 && m.all[5].entry().Share.Generation != m.record().Gen {
			t.Errorf("%d requests", m.server.requests)
		}
	})
}

// A login that ended is replaced on one machine, and goes on on all.
func TestLoginOnAnotherMachine(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		m := newModel(t, 2)
		a, b := m.all[0], m.all[1]
		m.server.dead = true
		for _, x := range m.all {
			wantCode(t, x.start().rotate(rotation.Wish{}), fault.LoginNeeded)
		}
		if m.server.requests != 1 || m.record().State != seal.Dead {
			t.Errorf("%d requests, %s", m.server.requests, m.record().State)
		}
		access, refresh := m.server.login()
		_, err := account.Replace(t.Context(), a.folder(), m.account, account.NewAccount{AccessToken: keystore.NewSecret(access), RefreshToken: keystore.NewSecret(refresh), ExpiresAt: time.Now().Add(modelLife), ObtainedAt: time.Now(),
			Provider: oauth.Provider{Name: "sim", Issuer: "https://api.sim.example", TokenEndpoint: "https://api.sim.example/token", ClientID: "sim", APIOrigins: []string{"https://api.sim.example"}}})
		testenv.Must(t, err)
		testenv.Must(t, a.start().rotateBeyond(rotation.Wish{Beyond: a.entry().Generation - 1})) // publishes it
		testenv.Must(t, b.start().rotate(rotation.Wish{}))
		if got := b.entry(); got.Dead != "" || got.Share.Generation != 2 || m.server.requests != 1 {
			t.Errorf("%+v, %d requests", got, m.server.requests)
		}
		age()
		testenv.Must(t, b.start().rotate(rotation.Wish{}))
	})
}
