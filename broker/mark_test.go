package broker

import (
	"strconv"
	"sync"
	"testing"
	"time"

	"github.com/authferry/authferry/broker/account"
	"github.com/authferry/authferry/broker/folder"
	"github.com/authferry/authferry/broker/index"
	"github.com/authferry/authferry/broker/pool"
	"github.com/authferry/authferry/testenv"
)

// used is a success that says how much of a window is used.
func used(a *index.Account, part string, reset time.Time) ReportRequest {
	const prefix = "anthropic-ratelimit-unified-"
	return ReportRequest{Lease: lease(a.ID, 1), Status: 200, Next: true, Header: map[string][]string{prefix + "5h-utilization": {part},
		prefix + "5h-reset": {strconv.FormatInt(reset.Unix(), 10)}, prefix + "5h-status": {"allowed"}, prefix + "status": {"allowed"}}}
}

// Twenty callers that see one account reach the mark move the pool once, and all go on with
// the same one. A pin stays, so does what a person chose, and where all have reached the
// mark nothing moves.
func TestMarkMovesAHerdOnce(t *testing.T) {
	w, a := pooled(t, "ada", "bob", "cat")
	testenv.Must(t, folder.ConfigSet(t.Context(), w.broker().Folder, "switch_at", "90"))
	reset := time.Now().Add(time.Hour)
	herd := func(each func(*Broker) error) {
		t.Helper()
		var all sync.WaitGroup
		for range 20 {
			all.Go(func() {
				testenv.Check(t, each(w.broker()))
			})
		}
		all.Wait()
	}
	next := func(s pool.Selection) string {
		t.Helper()
		tok, err := w.broker().Token(t.Context(), TokenRequest{Selection: s})
		testenv.Must(t, err)
		return tok.Account.Label
	}
	w.report(pool.Selection{}, used(a[0], "0.89", reset))
	if got := next(pool.Selection{}); got != a[0].Label {
		t.Fatalf("under the mark: %s", got)
	}
	herd(func(b *Broker) error {
		res, err := b.Report(t.Context(), pool.Selection{}, used(a[0], "0.93", reset))
		if err == nil && (res.Action != None || res.Hold != nil || res.Account.State == pool.Held) {
			t.Errorf("%+v", res)
		}
		return err
	})
	if got := w.current(a[0].Pool); got != a[1].ID {
		t.Fatalf("%s is current, want %s", got, a[1].ID)
	}
	herd(func(b *Broker) error {
		tok, err := b.Token(t.Context(), TokenRequest{})
		if err == nil && tok.Account.ID != a[1].ID {
			t.Errorf("got a token of %s", tok.Account.Label)
		}
		return err
	})
	if got := next(pool.Selection{Account: a[0].Label}); got != a[0].Label {
		t.Errorf("pinned: %s", got)
	}

	// a limit of the one that is current: what it goes on with is under the mark, too
	if res := w.report(pool.Selection{}, limited(a[1], 3600)); res.Action != Switch || res.Next.Account.ID != a[2].ID {
		t.Fatalf("%+v", res)
	}
	w.report(pool.Selection{}, used(a[2], "0.97", reset))
	if got := w.current(a[0].Pool); got != a[2].ID {
		t.Errorf("all have reached the mark, and the pool moved to %s", got)
	}

	// back by hand, and it stays
	testenv.Must(t, testenv.Err(account.Use(t.Context(), w.broker().Folder, a[0].Label)))
	testenv.Must(t, testenv.Err(account.ClearHolds(t.Context(), w.broker().Folder, a[1].Label, "")))
	w.report(pool.Selection{}, used(a[0], "0.95", reset))
	if got := next(pool.Selection{}); got != a[0].Label {
		t.Errorf("a person chose %s, and it is %s", a[0].Label, got)
	}
}

// A mark that is set later counts for what is known already, and what status says is what a
// token follows.
func TestMarkThatIsSetLater(t *testing.T) {
	w, a := pooled(t, "ada", "bob")
	w.report(pool.Selection{}, used(a[0], "0.95", time.Now().Add(time.Hour)))
	for _, c := range []struct{ mark, want string }{{"0", a[0].ID}, {"96", a[0].ID}, {"95", a[1].ID}, {"off", a[0].ID}} {
		testenv.Must(t, folder.ConfigSet(t.Context(), w.broker().Folder, "switch_at", c.mark))
		tok, err := w.broker().Token(t.Context(), TokenRequest{})
		testenv.Must(t, err)
		s, err := Status(w.broker().Folder)
		testenv.Must(t, err)
		if tok.Account.ID != c.want || s.Pools[0].Current != c.want {
			t.Errorf("at %s: a token of %s, and status says %s (%s)", c.mark, tok.Account.ID, s.Pools[0].Current, s.Pools[0].Reason)
		}
	}
}
