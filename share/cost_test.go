package share_test

import (
	"fmt"
	"slices"
	"testing"
	"time"

	"github.com/authferry/authferry/keystore"
	"github.com/authferry/authferry/keystore/keystoretest"
	"github.com/authferry/authferry/proofs"
	"github.com/authferry/authferry/share"
	"github.com/authferry/authferry/share/pipe"
	"github.com/authferry/authferry/share/sharetest"
	"github.com/authferry/authferry/testenv"
)

// What a refresh and an adoption ask of the keystore: a keychain answers each call in the time
// of a quarter of a compare-and-swap, so nothing is read twice.
func TestKeystoreCost(t *testing.T) {
	_, a, b, ada := two(t)
	calls := func(m *machine) string {
		f := m.folder()
		var store *keystoretest.Faulty
		f.Faults = func(s keystore.Store) keystore.Store {
			store = keystoretest.NewFaulty(s)
			return store
		}
		testenv.Must(t, refreshWith(m, f, ada.ID))
		count := map[string]int{}
		for _, c := range store.Calls() {
			count[c.Op]++
		}
		return fmt.Sprint(count)
	}
	// The manifest, the four slots, the machine's part in the pool; for a refresh also how big
	// the access token is. Written are the two records, and for a refresh one like them before.
	if got := calls(a); got != "map[read:7 write:3]" {
		t.Errorf("a refresh calls the keystore: %s", got)
	}
	if got := calls(b); got != "map[read:6 write:2]" {
		t.Errorf("an adoption calls the keystore: %s", got)
	}
}

// What a refresh and an adoption ask of the engine, as docs/shared-pools.md counts on. How
// long they take is logged, beside a bare compare-and-swap in the same run: go test -v.
func TestCost(t *testing.T) {
	proofs.Only(t, "it measures")
	c := sharetest.Shared(t) // no other test runs beside this one
	s := newScene(t)
	s.engine = overEtcd
	mine, others := c.Holder(t, "laptop"), c.Holder(t, "desktop")
	alone, a := s.machine("alone"), s.machine("laptop")
	solo, ada := alone.login("solo"), a.login("ada")
	req := a.startRequest()
	req.Endpoints, req.CA, req.Cert, req.Key = c.Endpoints(), string(mine.CA), string(mine.Cert), string(mine.Key)
	testenv.Must(t, testenv.Err(share.Start(t.Context(), a.folder(), a.dial, req)))
	b := a.joined("desktop", pipe.InviteRequest{Cert: string(others.Cert), Key: string(others.Key)})

	connection := share.Connection{Endpoints: c.Endpoints(), CA: string(mine.CA), Cert: string(mine.Cert), Key: keystore.NewSecret(string(mine.Key))}
	warm, err := overEtcd(t.Context(), connection)
	testenv.Must(t, err)
	t.Cleanup(func() { testenv.Check(t, warm.Close()) })
	now, _, err := warm.Swap(t.Context(), "authferry/cost", 0, make([]byte, 3000))
	testenv.Must(t, err)

	took := map[string][]time.Duration{}
	costs := func(what string, do func()) (reads, writes int) {
		reads, writes = c.Requests(t, "Range"), c.Requests(t, "Txn")
		start := time.Now()
		do()
		took[what] = append(took[what], time.Since(start))
		return c.Requests(t, "Range") - reads, c.Requests(t, "Txn") - writes
	}
	for range 5 {
		costs("swap", func() {
			now, _, err = warm.Swap(t.Context(), "authferry/cost", now.Version, make([]byte, 3000))
			testenv.Must(t, err)
		})
		costs("swap over a new connection", func() {
			e, err := overEtcd(t.Context(), connection)
			testenv.Must(t, err)
			now, _, err = e.Swap(t.Context(), "authferry/cost", now.Version, make([]byte, 3000))
			testenv.Must(t, err)
			testenv.Must(t, e.Close())
		})
		costs("refresh, not shared", func() { testenv.Must(t, alone.refresh(solo.ID)) })
		if reads, writes := costs("refresh", func() { testenv.Must(t, a.refresh(ada.ID)) }); reads != 1 || writes != 3 {
			t.Errorf("a refresh costs %d reads and %d writes", reads, writes)
		}
		if reads, writes := costs("adoption", func() { testenv.Must(t, b.refresh(ada.ID)) }); reads != 1 || writes != 0 {
			t.Errorf("an adoption costs %d reads and %d writes", reads, writes)
		}
		a, b = b, a
	}
	best := func(what string) time.Duration { return slices.Min(took[what]) }
	t.Logf("at best a swap takes %v, over a new connection %v; a refresh %v, not shared %v; an adoption %v", best("swap"), best("swap over a new connection"), best("refresh"), best("refresh, not shared"), best("adoption"))
	t.Logf("in swaps: a refresh %.1f more than one that isn't shared; an adoption %.1f",
		float64(best("refresh")-best("refresh, not shared"))/float64(best("swap")), float64(best("adoption"))/float64(best("swap")))
}
