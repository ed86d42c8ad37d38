package broker

import (
	"errors"
	"os"
	"path/filepath"
	"sync"
	"testing"
	"time"

	"github.com/authferry/authferry/broker/brokertest"
	"github.com/authferry/authferry/broker/fault"
	"github.com/authferry/authferry/broker/index"
	"github.com/authferry/authferry/broker/lock"
	"github.com/authferry/authferry/broker/pool"
	"github.com/authferry/authferry/broker/record"
	"github.com/authferry/authferry/keystore"
	"github.com/authferry/authferry/testenv"
)

// change edits the account's entry, as time or another program would.
func (w *world) change(id string, f func(*index.Account)) {
	w.t.Helper()
	testenv.Must(w.t, index.At(w.dir).Update(w.t.Context(), index.Durable, func(idx *index.Index) error {
		f(idx.Account(id))
		return nil
	}))
}

// allowRejection lets the 30 s between two forced refreshes pass.
func allowRejection(w *world, id string) {
	w.change(id, func(a *index.Account) { a.RejectedAt = time.Time{} })
}

// allowRetry lets the back-off pass.
func allowRetry(w *world, id string) {
	w.change(id, func(a *index.Account) {
		if a.Failure != nil {
			a.Failure.NextTryAt = time.Now().Add(-time.Second)
		}
	})
}

// What a server may do to a refresh, what the caller is told, and what is kept.
// The numbers are those of the fault list.
func TestServerFaults(t *testing.T) {
	t.Parallel()
	faults := brokertest.Faults()
	for _, row := range []struct {
		name  string
		fault brokertest.Fault
		kind  brokertest.Rotation
		want  fault.Code // "": served
		sends int
		after fault.Code // what the next call gets when the fault and the back-off are over; "": served
	}{
		{name: "S2 reuse refused", kind: brokertest.Rotate, fault: brokertest.Fault{Status: 400, Body: `{"error":"invalid_grant"}`}, want: fault.LoginNeeded, sends: 1, after: fault.LoginNeeded},
		{name: "S10 429 with Retry-After", fault: brokertest.Fault{Status: 429, Header: map[string]string{"Retry-After": "7"}}, want: fault.ProviderRefused, sends: 1},
		{name: "S11 503 of the server", fault: faults["503"], want: fault.ProviderRefused, sends: 1},
		{name: "S11 503 with Retry-After", fault: brokertest.Fault{Status: 503, Header: map[string]string{"Retry-After": "7"}, Body: "<html>"}, want: fault.ProviderRefused, sends: 1},
		{name: "S11 503 of a gateway before rotating", fault: faults["gateway-503"], sends: 2},
		{name: "S11 503 of a gateway before rotating, twice", fault: brokertest.Fault{Status: 503, Times: 2}, want: fault.ProviderUnreachable, sends: 2},
		{name: "S11 503 of a gateway after rotating, server with grace", fault: faults["gateway-503-after"], kind: brokertest.GraceSame, sends: 2},
		{name: "S11 500 before rotating, twice", fault: brokertest.Fault{Status: 500, Times: 2}, want: fault.ProviderUnreachable, sends: 2},
		{name: "S11 502 before rotating, once", fault: brokertest.Fault{Status: 502}, sends: 2},
		{name: "S11 500 after rotating, server with grace", kind: brokertest.GraceSame, fault: brokertest.Fault{Status: 500, After: true}, sends: 2},
		{name: "S12 reset after rotation, strict", fault: brokertest.Fault{Reset: brokertest.CutMidHeaders, After: true}, want: fault.LoginNeeded, sends: 2, after: fault.LoginNeeded},
		{name: "S12 reset after rotation, grace", kind: brokertest.GraceNew, fault: brokertest.Fault{Reset: brokertest.CutMidBody, After: true}, sends: 2},
		{name: "S15 HTML", fault: faults["html"], sends: 2},
		{name: "S15 HTML after rotating, server with grace", fault: faults["html-after"], kind: brokertest.GraceSame, sends: 2},
		{name: "S17 error as an object", fault: faults["error-object"], want: fault.LoginNeeded, sends: 1, after: fault.LoginNeeded},
		{name: "S17 nested code", fault: faults["error-nested"], want: fault.LoginNeeded, sends: 1, after: fault.LoginNeeded},
		{name: "S18 invalid_client", fault: faults["invalid-client"], want: fault.ProviderRefused, sends: 1},
		{name: "S10 429, Retry-After absurd", fault: faults["429-absurd"], want: fault.ProviderRefused, sends: 1},
		{name: "S10 429, Retry-After negative", fault: faults["429-negative"], want: fault.ProviderRefused, sends: 1},
		{name: "S10 429, Retry-After as a date", fault: faults["429-date"], want: fault.ProviderRefused, sends: 1},
		{name: "S12 reset after rotation, unheard", fault: faults["drop-after"], want: fault.LoginNeeded, sends: 2, after: fault.LoginNeeded},
		{name: "S14 307 to another host", fault: faults["redirect-307-other"], sends: 2},
		{name: "S14 302 to itself", fault: faults["redirect-302-self"], sends: 2},
		{name: "S15 empty", fault: faults["empty"], sends: 2},
		{name: "S15 truncated JSON", fault: faults["truncated"], kind: brokertest.GraceSame, sends: 2},
		{name: "S15 10 MB", fault: faults["huge"], kind: brokertest.GraceSame, sends: 2},
		{name: "S15 gzip", fault: faults["gzip"], sends: 1},
		{name: "S15 form", fault: faults["form"], sends: 1},
		{name: "S15 BOM", fault: faults["bom"], sends: 1},
		{name: "S15 duplicate keys", fault: faults["duplicate"], sends: 1},
		{name: "S15 wrong content type", fault: faults["content-type"], sends: 1},
		{name: "S16 expires_in a string", fault: faults["expires-string"], sends: 1},
		{name: "S16 expires_in a float", fault: faults["expires-float"], sends: 1},
		{name: "S16 expires_in 1e18", fault: faults["expires-1e18"], sends: 1},
		{name: "S16 expires_in negative", fault: faults["expires-negative"], sends: 1},
		{name: "S16 expires_in zero", fault: faults["expires-zero"], sends: 1},
		{name: "S16 expires_in null", fault: faults["expires-null"], sends: 1},
		{name: "S16 expires_in missing", fault: faults["expires-missing"], sends: 1},
		{name: "S17 free text", fault: faults["error-text"], want: fault.ProviderRefused, sends: 1},
		{name: "S17 200 with an error", fault: faults["error-200"], want: fault.LoginNeeded, sends: 1, after: fault.LoginNeeded},
		{name: "S17 401 without a code", fault: faults["error-401-empty"], want: fault.ProviderRefused, sends: 1},
		{name: "S18 unauthorized_client", fault: faults["unauthorized-client"], want: fault.ProviderRefused, sends: 1},
		{name: "S19 scope reduced", fault: faults["scope-reduced"], sends: 1},
		{name: "S20 subject changed", fault: faults["subject-changed"], sends: 1},
		{name: "S21 access token with a newline", fault: faults["access-newline"], want: fault.ProviderRefused, sends: 1},
		{name: "S21 access token of an unknown type", fault: faults["token-type-mac"], want: fault.ProviderRefused, sends: 1},
		{name: "S21 refresh token with a newline", fault: faults["refresh-newline"], sends: 1},
		{name: "S21 refresh token with NUL", fault: faults["refresh-nul"], sends: 1},
		{name: "S21 refresh token of 64 KB", fault: faults["refresh-64k"], sends: 1},
		{name: "S23 Date hours ahead", fault: faults["date-ahead"], sends: 1},
		{name: "S25 closes an idle connection", fault: faults["idle-close"], sends: 1},
	} {
		t.Run(row.name, func(t *testing.T) {
			t.Parallel()
			w := newWorld(t, brokertest.Config{Rotation: row.kind})
			a := w.add("ada", -time.Second)
			w.server.Inject(row.fault)
			got := w.ask()
			if row.want == "" && got.err != nil {
				t.Fatalf("%s: %v", got.err.Code, got.err)
			}
			if row.want != "" && (got.err == nil || got.err.Code != row.want) {
				t.Fatalf("got %+v, want %s", got, row.want)
			}
			if n := sends(w.server.Ledger()); n != row.sends {
				t.Errorf("the refresh token was sent %d times, want %d", n, row.sends)
			}
			if row.want == fault.ProviderRefused || row.want == fault.ProviderUnreachable {
				// Nobody asks again before the back-off is over, which is made long
				// here: a slow machine takes longer than a short one lasts.
				w.change(a.ID, func(a *index.Account) { a.Failure.NextTryAt = a.Failure.NextTryAt.Add(time.Minute) })
				again := w.ask()
				if again.err == nil || again.err.Code != row.want || again.err.RetryAt.IsZero() {
					t.Errorf("within the back-off: %+v", again)
				}
				if n := sends(w.server.Ledger()); n != row.sends {
					t.Errorf("a request within the back-off")
				}
			}
			w.server.ClearFaults()
			allowRetry(w, a.ID)
			switch after := w.ask(); {
			case row.after == "" && (after.err != nil || !w.good(after.token)):
				t.Errorf("afterwards: %+v", after)
			case row.after != "" && (after.err == nil || after.err.Code != row.after):
				t.Errorf("afterwards: %+v, want %s", after, row.after)
			}
			if l := w.server.Ledger(); l.Elsewhere != 0 {
				t.Error("something went to another host")
			}
			if acc := w.account(a.ID); (acc.Dead != "") != (row.after == fault.LoginNeeded) {
				t.Errorf("the dead mark is %q", acc.Dead)
			}
		})
	}
}

// S12: a connection that is reset as soon as it stands is either noticed before
// the token leaves, and nothing is spent, or recovered from.
func TestResetAtAccept(t *testing.T) {
	w := newWorld(t, brokertest.Config{})
	a := w.add("ada", -time.Second)
	w.server.Inject(brokertest.Faults()["reset-accept"])
	got := w.ask()
	if n := sends(w.server.Ledger()); got.err != nil && (got.err.Code != fault.ProviderUnreachable || n != 0 || w.account(a.ID).Intents != nil) {
		t.Fatalf("%v, sent %d times, intents %v", got.err, n, w.account(a.ID).Intents)
	}
	allowRetry(w, a.ID)
	if got := w.ask(); got.err != nil || !w.good(got.token) {
		t.Fatalf("afterwards: %v", got.err)
	}
}

// A herd at a failing endpoint causes one request, and all are told the same.
func TestFailingEndpointUnderLoad(t *testing.T) {
	w := newWorld(t, brokertest.Config{})
	w.add("ada", -time.Second)
	w.server.Inject(brokertest.Fault{Status: 429, Header: map[string]string{"Retry-After": "60"}, Times: -1})
	var wg sync.WaitGroup
	answers := make([]answer, 32)
	for i := range answers {
		wg.Go(func() { answers[i] = w.askApart() })
	}
	wg.Wait()
	for _, got := range answers {
		if got.err == nil || got.err.Code != fault.ProviderRefused || time.Until(got.err.RetryAt) > time.Minute {
			t.Fatalf("got %+v", got)
		}
	}
	if n := sends(w.server.Ledger()); n != 1 {
		t.Errorf("%d requests, want 1", n)
	}
}

// Who comes while a failure is fresh hears of it from the index alone: a herd
// would keep the keystore busy for an answer that the rotator has already.
func TestBackOffAsksNoKeystore(t *testing.T) {
	w := newWorld(t, brokertest.Config{})
	w.add("ada", -time.Second)
	w.server.Inject(brokertest.Fault{Status: 429, Header: map[string]string{"Retry-After": "600"}, Times: -1})
	if got := w.ask(); got.err == nil || got.err.Code != fault.ProviderRefused {
		t.Fatalf("got %+v", got)
	}
	items, err := filepath.Glob(filepath.Join(w.dir, "vault", "*.age"))
	if err != nil || len(items) == 0 {
		t.Fatalf("%d items in the vault: %v", len(items), err)
	}
	for _, item := range items { // a read of any of them is an error now
		testenv.Must(t, errors.Join(os.Remove(item), os.Mkdir(item, 0o700)))
	}
	if got := w.ask(); got.err == nil || got.err.Code != fault.ProviderRefused || got.err.RetryAt.IsZero() {
		t.Errorf("within the back-off: %+v", got)
	}
}

// What the index takes for over, because somebody set the clock, is looked at in
// the keystore before anybody is told of a failure.
func TestTokenThatOnlySeemsOver(t *testing.T) {
	w := newWorld(t, brokertest.Config{})
	a := w.add("ada", time.Hour)
	w.change(a.ID, func(a *index.Account) { a.ExpiresAt = time.Now().Add(-time.Minute) })
	w.server.Inject(brokertest.Fault{Status: 429, Header: map[string]string{"Retry-After": "600"}, Times: -1})
	for range 2 {
		if got := w.ask(); got.err != nil || !w.good(got.token) {
			t.Fatalf("got %+v", got)
		}
	}
	if n := sends(w.server.Ledger()); n != 1 {
		t.Errorf("%d requests, want 1", n)
	}
}

// A token that still lives is served whatever happens to its refresh.
func TestValidTokenIsNeverWithheld(t *testing.T) {
	for name, spoil := range map[string]func(*world, string){
		"provider unreachable": func(w *world, _ string) { w.server.Close() },
		"429":                  func(w *world, _ string) { w.server.Inject(brokertest.Fault{Status: 429, Times: -1}) },
		"login dead": func(w *world, _ string) {
			w.server.Inject(brokertest.Fault{Status: 400, Body: `{"error":"invalid_grant"}`, Times: -1})
		},
		"rotation lock held": func(w *world, id string) {
			l, err := lock.TryAcquire(lock.Rotation(id).In(w.dir))
			testenv.Must(w.t, err)
			w.t.Cleanup(l.Release)
			w.env = append(w.env, "AUTHFERRY_LOCK_TIMEOUT=100ms")
		},
	} {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t, brokertest.Config{})
			a := w.add("ada", 30*time.Second) // below --min-ttl
			spoil(w, a.ID)
			if got := w.ask(); got.err != nil || got.token == "" {
				t.Fatalf("%+v", got)
			} else if got.text == "" {
				t.Error("no warning")
			}
		})
	}
}

// Inside the soft margin the valid token is handed out at once and refreshed
// behind, once.
func TestRefreshBehind(t *testing.T) {
	w := newWorld(t, brokertest.Config{AccessTTL: time.Hour})
	release := make(chan struct{})
	w.server.Inject(brokertest.Fault{Until: release})
	a := w.add("ada", 100*time.Second)
	lengthenToken(w, a.ID)
	first := w.ask()
	if first.err != nil {
		t.Fatal(first.err)
	}
	w.await("a refresh", func(l brokertest.Ledger) bool { return l.Inflight["ada"] == 1 })
	for range 10 {
		if got := w.ask(); got.err != nil || got.token != first.token {
			t.Fatalf("while the refresh is under way: %+v", got)
		}
	}
	close(release)
	w.waitForRotators()
	if got := w.ask(); got.err != nil || got.token == first.token {
		t.Errorf("after the refresh: %+v", got)
	}
	if n := sends(w.server.Ledger()); n != 1 {
		t.Errorf("%d refreshes, want 1", n)
	}
}

// opened is openedAt for the world's own.
func (w *world) opened() (*Broker, *index.Index) {
	w.t.Helper()
	b := w.broker()
	return b, open(w.t, b).Index
}

// lengthenToken makes an imported token look as if it had been issued an hour ago.
func lengthenToken(w *world, id string) {
	w.t.Helper()
	b, idx := w.opened()
	a := idx.Account(id)
	acc, err := b.Folder.Access(w.t.Context(), idx, a)
	testenv.Must(w.t, err)
	acc.ObtainedAt, acc.Imported, acc.Boot = time.Now().Add(-time.Hour), false, record.Boot{}
	v, err := acc.Encode()
	testenv.Must(w.t, err)
	testenv.Must(w.t, raw(w.t, b).Set(w.t.Context(), record.AccessItem(idx.Store, id, a.AccessSlot), v))
}

// --rejected: a newer token that is stored already is handed out; else one
// refresh, and none for 30 s after it.
func TestRejected(t *testing.T) {
	w := newWorld(t, brokertest.Config{})
	a := w.add("ada", time.Hour)
	first := w.ask()
	second := w.askApart("TEST_REJECTED=" + lease(a.ID, 1))
	if second.err != nil || second.token == first.token {
		t.Fatalf("%+v", second)
	}
	if again := w.askApart("TEST_REJECTED=" + lease(a.ID, 1)); again.token != second.token {
		t.Errorf("a late report of the old token: %+v", again)
	}
	third := w.askApart("TEST_REJECTED=" + lease(a.ID, 2))
	if third.err == nil || third.err.Code != fault.ProviderRefused || third.err.RetryAt.IsZero() {
		t.Errorf("a second refresh within 30 s: %+v", third)
	}
	if n := sends(w.server.Ledger()); n != 1 {
		t.Errorf("%d refreshes, want 1", n)
	}
}

// A dead login is passed over for the next account of the pool.
func TestFailoverFromDeadLogin(t *testing.T) {
	w := newWorld(t, brokertest.Config{})
	dead := w.add("ada", -time.Second)
	next := w.add("bob", time.Hour)
	w.server.Revoke("ada")
	b := w.broker()
	tok, err := b.Token(t.Context(), TokenRequest{MinTTL: pool.DefaultMinTTL})
	if err != nil || tok.Account.ID != next.ID {
		t.Fatalf("%v, %v", tok, err)
	}
	if acc := w.account(dead.ID); pool.StateOf(&acc, time.Now()) != pool.NeedsLogin {
		t.Error("the dead login is not marked")
	}
	if _, err := b.Token(t.Context(), TokenRequest{Selection: pool.Selection{Account: "ada"}, MinTTL: pool.DefaultMinTTL}); fault.CodeOf(err) != fault.LoginNeeded {
		t.Errorf("pinned: %v", err)
	}
}

// A server that sends no refresh token keeps the old one; one that sends an
// odd one has it kept as it is; and a 50 KB token is one like any other.
func TestOddTokens(t *testing.T) {
	for _, kind := range []brokertest.Rotation{brokertest.OmitRefresh, brokertest.BlankRefresh, brokertest.SameRefresh, brokertest.KeepsOld, brokertest.KillsAccess} {
		t.Run(string(kind), func(t *testing.T) {
			t.Parallel()
			w := newWorld(t, brokertest.Config{Rotation: kind})
			a := w.add("ada", -time.Second)
			for range 3 {
				if got := w.ask(); got.err != nil || !w.good(got.token) {
					t.Fatalf("%+v", got)
				}
				expireToken(w, a.ID)
			}
		})
	}
	t.Run("S21 50 KB", func(t *testing.T) {
		t.Parallel()
		w := newWorld(t, brokertest.Config{})
		a := w.add("ada", -time.Second)
		big := string(make50KB())
		w.server.Inject(brokertest.Fault{Append: map[string]string{"access_token": big, "refresh_token": big}})
		if got := w.ask(); got.err != nil || !w.good(got.token) || len(got.token) < len(big) {
			t.Fatalf("%v", got.err)
		}
		expireToken(w, a.ID)
		if got := w.ask(); got.err != nil || !w.good(got.token) {
			t.Fatalf("%v", got.err)
		}
	})
}

func make50KB() []byte {
	b := make([]byte, 50<<10)
	for i := range b {
		b[i] = "abcdefgh"[i%8]
	}
	return b
}

// expireToken ends the stored access token.
func expireToken(w *world, id string) {
	w.t.Helper()
	b, idx := w.opened()
	testenv.Must(w.t, raw(w.t, b).Delete(w.t.Context(), record.AccessItem(idx.Store, id, idx.Account(id).AccessSlot)))
}

// A keystore that fails ends a rotation before anything is spent, with the
// contract's code; when it is well again, so is the login.
func TestKeystoreFails(t *testing.T) {
	ctx := t.Context()
	w := newWorld(t, brokertest.Config{})
	w.add("ada", -time.Second)
	key := keyFileOf(w)
	hidden := key + ".away"
	move(t, key, hidden)
	if got := w.ask(); got.err == nil || got.err.Code != fault.KeystoreUnavailable {
		t.Fatalf("%+v", got)
	}
	if n := sends(w.server.Ledger()); n != 0 {
		t.Error("a refresh token was spent though the keystore was away")
	}
	move(t, hidden, key)
	if got := w.ask(); got.err != nil || !w.good(got.token) {
		t.Fatalf("%+v", got)
	}
	if _, err := New(Options{Dir: w.dir, Keystore: keystore.Keychain}).Token(ctx, TokenRequest{}); fault.CodeOf(err) != fault.KeystoreMismatch {
		t.Errorf("naming the other keystore: %v", err)
	}
}

// A caller whose patience is over goes; the refresh goes on, and its result is
// there for the next one.
func TestImpatientCaller(t *testing.T) {
	w := newWorld(t, brokertest.Config{})
	release := make(chan struct{})
	w.server.Inject(brokertest.Fault{Until: release})
	w.add("ada", -time.Second)
	if got := w.askApart("AUTHFERRY_HTTP_TIMEOUT=500ms"); got.err == nil || got.err.Code != fault.ProviderUnreachable {
		t.Errorf("%+v", got)
	}
	close(release)
	if got := w.ask(); got.err != nil || !w.good(got.token) {
		t.Errorf("afterwards: %+v", got)
	}
	if n := sends(w.server.Ledger()); n != 1 {
		t.Errorf("%d sends, want 1", n)
	}
}
