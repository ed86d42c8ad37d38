package pool

import (
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"pgregory.net/rapid"

	"github.com/authferry/authferry/broker/fault"
	"github.com/authferry/authferry/broker/index"
)

var testNow = time.Date(2026, 11, 23, 12, 0, 0, 0, time.UTC)

// drawIndex is a pool of accounts in any state, and a second pool that must
// never be chosen from.
func drawIndex(t *rapid.T) *index.Index {
	idx := &index.Index{Pools: map[string]index.Pool{"p": {Provider: "sim"}, "fenced": {Provider: "sim"}}}
	n := rapid.IntRange(0, 6).Draw(t, "accounts")
	for i := range n + 2 {
		a := index.Account{ID: fmt.Sprintf("acc_%016d", i), Label: fmt.Sprint("label ", i), Provider: "sim", Pool: "p", Kind: index.KindOAuth,
			Rank: rapid.IntRange(1, 4).Draw(t, "rank"), Fingerprint: "f", AccessSlot: "a", ExpiresAt: testNow.Add(time.Hour), AddedAt: testNow}
		if i >= n {
			a.Pool = "fenced"
		}
		a.Disabled = rapid.IntRange(0, 4).Draw(t, "disabled") == 0
		a.Removing = rapid.IntRange(0, 8).Draw(t, "removing") == 0
		if rapid.IntRange(0, 3).Draw(t, "dead") == 0 {
			a.Dead = "f"
		}
		if rapid.Bool().Draw(t, "expired") {
			a.ExpiresAt = testNow.Add(-time.Minute)
		}
		for range rapid.IntRange(0, 2).Draw(t, "holds") {
			a.Holds = append(a.Holds, index.Hold{Scope: rapid.SampledFrom([]string{"*", "model:x", "model:y"}).Draw(t, "scope"),
				Until: testNow.Add(time.Duration(rapid.IntRange(-60, 60).Draw(t, "until")) * time.Minute)})
		}
		idx.Accounts = append(idx.Accounts, a)
	}
	if n > 0 && rapid.Bool().Draw(t, "has current") {
		p := idx.Pools["p"]
		p.Current = idx.Accounts[rapid.IntRange(0, n-1).Draw(t, "current")].ID
		idx.Pools["p"] = p
	}
	return idx
}

// Never a held, disabled, removed or foreign account; one that needs a login
// only when nothing else is free; always a free one if there is one; and the
// current one stays as long as it is free.
func TestChooseProperties(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		idx := drawIndex(t)
		scope := rapid.SampledFrom([]string{"", "model:x"}).Draw(t, "request scope")
		sel := Selected{Pool: "p", Scope: scope}
		free := map[string]bool{}
		for _, a := range idx.Members("p") {
			if !a.Disabled && !heldUntil(a, scope, testNow).After(testNow) && !WantsLogin(a, testNow) {
				free[a.ID] = true
			}
		}
		got := Choose(idx, sel, nil, testNow)
		switch {
		case got.Account == nil:
			if len(free) > 0 {
				t.Fatalf("%d accounts are free and none was chosen: %v", len(free), got.Err)
			}
			if fault.CodeOf(got.Err) == fault.Internal {
				t.Fatalf("no reason: %v", got.Err)
			}
			if e := got.Err.(*fault.Error); e.Code == fault.AllHeld && !e.RetryAt.After(testNow) {
				t.Fatalf("all held until %v, which is over", e.RetryAt)
			}
		case got.Account.Pool != "p":
			t.Fatal("the fence did not hold")
		case free[got.Account.ID]:
			if cur := idx.Pools["p"].Current; free[cur] && got.Account.ID != cur {
				t.Fatal("left the current account though it is free")
			}
		case len(free) > 0:
			t.Fatal("chose an account that is not free though another one is")
		case got.Account.Disabled || got.Account.Removing || heldUntil(got.Account, scope, testNow).After(testNow) || !Lives(got.Account, testNow):
			t.Fatalf("chose %+v", got.Account)
		}
	})
}

// A pinned account is used or nothing is.
func TestChoosePinned(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		idx := drawIndex(t)
		a := rapid.SampledFrom(idx.Accounts).Draw(t, "pinned")
		got := Choose(idx, Selected{Pool: a.Pool, Prefer: a.ID, Pinned: true}, nil, testNow)
		if got.Account != nil && got.Account.ID != a.ID {
			t.Fatal("another account than the pinned one")
		}
		if got.Account != nil && (a.Disabled || a.Removing || heldUntil(&a, "", testNow).After(testNow)) {
			t.Fatal("a pinned account that is not to be used was used")
		}
	})
}

// What status says of a pool is what a token of that pool would follow, also
// where somebody's edit made another pool's account the current one.
func TestChooseInAPart(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		idx := drawIndex(t)
		if rapid.Bool().Draw(t, "misplaced") {
			idx.Pools["p"] = index.Pool{Provider: "sim", Current: rapid.SampledFrom(idx.Accounts).Draw(t, "elsewhere").ID}
		}
		parts := ByPool(idx)
		for _, pool := range idx.PoolsOf("") {
			for _, sel := range []Selected{{Pool: pool}, {Pool: pool, soonest: true}, {Pool: pool, Prefer: idx.Pools[pool].Current, Pinned: true}} {
				whole, part := Choose(idx, sel, nil, testNow), Choose(parts[pool], sel, nil, testNow)
				if (whole.Account == nil) != (part.Account == nil) || whole.Account != nil && whole.Account.ID != part.Account.ID ||
					whole.Reason != part.Reason || fmt.Sprint(whole.Err) != fmt.Sprint(part.Err) {
					t.Fatalf("%+v: of the whole %+v, of the part %+v", sel, whole, part)
				}
			}
		}
	})
}

func BenchmarkChoose(b *testing.B) {
	for _, n := range []int{1, 10, 1000} {
		idx := &index.Index{Pools: map[string]index.Pool{"p": {Provider: "sim"}}}
		for i := range n {
			idx.Accounts = append(idx.Accounts, index.Account{ID: fmt.Sprintf("acc_%016d", i), Pool: "p", Kind: index.KindOAuth, Rank: i + 1, Fingerprint: "f",
				Holds: []index.Hold{{Scope: "*", Until: testNow.Add(time.Minute)}}})
		}
		b.Run(fmt.Sprint(n), func(b *testing.B) {
			for b.Loop() {
				Choose(idx, Selected{Pool: "p"}, nil, testNow)
			}
		})
	}
}

// A token that the API refused is told from a limit, whoever reported it and however the
// account is asked for.
func TestRefusedOrLimited(t *testing.T) {
	limit, status, rejected := index.Hold{Source: "retry-after", Proven: true}, index.Hold{Source: RefusedSource}, index.Hold{Source: RejectedSource}
	for _, test := range []struct {
		a, b    index.Hold
		refused bool
		says    string
	}{
		{status, status, true, `the API refuses the tokens of pool "p"; "a" is tried again after `},
		{status, rejected, true, `the API refuses the tokens of pool "p"; "a" is tried again after `},
		{limit, limit, false, `no account of pool "p" is free before `},
		{limit, rejected, false, `("a": the API asked to wait); the API refuses the token of "b"`},
		{rejected, limit, false, `("a": refused by the API)`},
	} {
		idx := &index.Index{Pools: map[string]index.Pool{"p": {Provider: "sim"}}}
		for i, h := range []index.Hold{test.a, test.b} {
			h.Scope, h.Until = HeldForScope, testNow.Add(time.Duration(i+1)*time.Minute)
			idx.Accounts = append(idx.Accounts, index.Account{ID: fmt.Sprint("acc_", i), Label: string(rune('a' + i)), Provider: "sim", Pool: "p",
				Kind: index.KindAPIKey, Holds: []index.Hold{h}})
		}
		for pinned, want := range map[bool]bool{false: test.refused, true: IsRefusal(test.a.Source)} {
			err := Choose(idx, Selected{Pool: "p", Prefer: "acc_0", Pinned: pinned}, nil, testNow).Err
			e, ok := errors.AsType[*fault.Error](err)
			if !ok || e.Code != fault.AllHeld || e.Refused != want || !pinned && !strings.Contains(e.Message, test.says) {
				t.Errorf("%s and %s, pinned %v: %+v", test.a.Source, test.b.Source, pinned, err)
			}
			if want && e.Next[0].Do != fault.Login {
				t.Errorf("%s and %s, pinned %v: the first remedy is %+v", test.a.Source, test.b.Source, pinned, e.Next[0])
			}
		}
	}
}
