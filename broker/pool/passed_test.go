package pool

import (
	"errors"
	"testing"
	"time"

	"pgregory.net/rapid"

	"github.com/authferry/authferry/broker/fault"
	"github.com/authferry/authferry/broker/index"
)

// The rule on its own: who was passed over is not chosen while another one is free,
// and one that is due for a refresh not after a trouble that others may share.
func TestChoosePassesOver(t *testing.T) {
	troubles := []*fault.Error{
		fault.Errorf(fault.LoginNeeded, "dead"), fault.Errorf(fault.ProviderRefused, "named").ItsOwn(),
		fault.Errorf(fault.ProviderRefused, "throttled"), fault.Errorf(fault.ProviderUnreachable, "down"), fault.Errorf(fault.LockTimeout, "stuck"),
	}
	rapid.Check(t, func(t *rapid.T) {
		idx := drawIndex(t)
		for i := range idx.Accounts {
			if rapid.IntRange(0, 3).Draw(t, "refused") == 0 {
				idx.Accounts[i].Generation, idx.Accounts[i].RefusedGeneration = 3, 3
			}
		}
		sel := Selected{Pool: "p", soonest: rapid.Bool().Draw(t, "soonest")}
		var passed Passings
		own := true
		for _, a := range idx.Members("p") {
			if rapid.IntRange(0, 2).Draw(t, "passed") == 0 {
				e := *rapid.SampledFrom(troubles).Draw(t, "trouble")
				e.RetryAt = testNow.Add(time.Duration(rapid.IntRange(1, 100).Draw(t, "retry")) * time.Minute)
				passed = append(passed, Passing{a.ID, &e})
				own = own && ownTrouble(&e)
			}
		}
		could := func(a *index.Account) bool {
			return passed.Of(a.ID) == nil && !a.Disabled && !heldUntil(a, "", testNow).After(testNow) && !WantsLogin(a, testNow) && (own || Ready(a, testNow))
		}
		any := false
		for _, a := range idx.Members("p") {
			any = any || could(a)
		}
		c := Choose(idx, sel, passed, testNow)
		switch {
		case any && (c.Account == nil || !could(c.Account) || c.Last):
			t.Fatalf("an account can serve, and it is %+v", c)
		case any && c.AsIs == own:
			t.Fatalf("own %v, as it is %v", own, c.AsIs)
		case !any && c.Account != nil && (!c.Last || !Lives(c.Account, testNow) || c.Account.Disabled || heldUntil(c.Account, "", testNow).After(testNow)):
			t.Fatalf("the last resort is %+v", c.Account)
		case c.Err != nil && fault.CodeOf(c.Err) == fault.Internal:
			t.Fatal(c.Err)
		}
		if e, ok := errors.AsType[*fault.Error](c.Err); ok && e.SomeHeld && e.RetryAt.IsZero() {
			t.Fatal("held, and without a time")
		}
	})
}
