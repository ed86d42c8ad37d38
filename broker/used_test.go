package broker

import (
	"errors"
	"testing"
	"time"

	"github.com/authferry/authferry/broker/account"
	"github.com/authferry/authferry/broker/fault"
	"github.com/authferry/authferry/broker/index"
	"github.com/authferry/authferry/broker/pool"
	"github.com/authferry/authferry/testenv"
)

// Whom a person is told of is whom a program gets, in whatever way it is selected, and
// where the program gets nobody the person is told the same.
func TestUsedIsWhoGetsTheToken(t *testing.T) {
	w, a := spread(t) // ada; bob and cat in pool work; dan of other
	b := w.broker()
	here, bound := t.TempDir(), t.TempDir()
	testenv.Must(t, testenv.Err(account.Bind(t.Context(), b.Folder, bound, "", "work")))
	testenv.Must(t, testenv.Err(account.Bind(t.Context(), b.Folder, bound, "dan", "")))
	testenv.Must(t, testenv.Err(account.AddHold(t.Context(), b.Folder, "bob", "", time.Hour)))
	pinned := map[string]bool{} // accounts that were named although they can't be used
	compared, refused := 0, map[fault.Code]int{}
	for _, s := range selections(here, bound) {
		u, err := b.Used(s)
		tok, tokenErr := b.Token(t.Context(), TokenRequest{Selection: s})
		switch {
		case err != nil:
			if fault.CodeOf(err) != fault.CodeOf(tokenErr) || err.Error() != tokenErr.Error() {
				t.Errorf("%+v: %v, and the token: %v", s, err, tokenErr)
			}
			refused[fault.CodeOf(err)]++
		case tokenErr != nil:
			if !u.Named || fault.CodeOf(tokenErr) != fault.AllHeld {
				t.Errorf("%+v: %s, and no token: %v", s, u.Account.Label, tokenErr)
			}
			pinned[u.Account.Label] = true
		default:
			if u.Account.ID != tok.Account.ID || u.Provider != tok.Account.Provider || u.Pool != tok.Account.Pool {
				t.Errorf("%+v: %+v, and the token of %s", s, u, tok.Account.Label)
			}
			compared++
		}
		if err == nil && (u.By == pool.ByBinding) != (u.BoundAt != "") {
			t.Errorf("%+v: by %s at %q", s, u.By, u.BoundAt)
		}
	}
	if len(pinned) != 1 || !pinned["bob"] || compared < 40 {
		t.Errorf("%v named although held, %d compared", pinned, compared)
	}
	for _, code := range []fault.Code{fault.Fenced, fault.NoAccount, fault.Ambiguous, fault.Usage} {
		if refused[code] == 0 {
			t.Errorf("no selection was %s: %v", code, refused)
		}
	}
	all, err := b.UsedOfEach(pool.Selection{Dir: bound})
	if err != nil || len(all) != 2 || all[0].Account.ID != a[3].ID || !all[0].Named || all[1].Account.ID != a[2].ID || all[1].By != pool.ByBinding || all[1].Named {
		t.Errorf("%+v, %v", all, err)
	}
	if _, err := b.UsedOfEach(pool.Selection{DirUnknown: true}); fault.CodeOf(err) != fault.Fenced {
		t.Errorf("nowhere: %v", err)
	}
}

// selections are many ways of saying which account is meant.
func selections(dirs ...string) (all []pool.Selection) {
	for _, dir := range dirs {
		for _, provider := range []string{"", "sim", "other"} {
			for _, name := range []string{"", "ada", "bob", "dan", "2"} {
				for _, poolName := range []string{"", "work", "nowhere"} {
					for _, env := range [][2]string{{}, {"cat"}, {"", "sim"}, {"", "work"}} {
						all = append(all, pool.Selection{Dir: dir, Provider: provider, Account: name, Pool: poolName, EnvAccount: env[0], EnvPool: env[1]})
					}
				}
			}
		}
	}
	return all
}

// The numbers of the list are those by which its accounts are found.
func TestNumbered(t *testing.T) {
	w, _ := spread(t)
	b := w.broker()
	all, err := List(b.Folder)
	testenv.Must(t, err)
	var order []string
	for i, v := range all {
		got, err := Numbered(b.Folder, i+1)
		if err != nil || got.ID != v.ID {
			t.Errorf("%d is %s, %v, want %s", i+1, got.Label, err, v.Label)
		}
		order = append(order, v.Provider+"/"+v.Pool+"/"+v.Label)
	}
	equal(t, order, "other/other/dan", "sim/sim/ada", "sim/work/bob", "sim/work/cat")
	for _, n := range []int{-1, 0, 5} {
		if _, err := Numbered(b.Folder, n); fault.CodeOf(err) != fault.NoAccount {
			t.Errorf("%d: %v", n, err)
		}
	}
}

// For a mistyped label the one that was meant is a hint, if there is only one.
func TestMistypedLabel(t *testing.T) {
	t.Parallel()
	idx := &index.Index{Pools: map[string]index.Pool{"sim": {Provider: "sim"}}}
	for _, label := range []string{"Personal", "Work", "Work2", "ab", "Büro"} {
		idx.Accounts = append(idx.Accounts, index.Account{ID: index.NewID(), Label: label, Provider: "sim", Pool: "sim"})
	}
	for typed, want := range map[string]string{
		"persnal": "Personal", "Persoanl": "Personal", "Personnel": "Personal", "Perso": "", "Wrk": "Work", "buro": "Büro", "ac": "", "Work1": "", "": "",
	} {
		_, err := pool.FindAccount(idx, typed, "")
		e, _ := errors.AsType[*fault.Error](err)
		got := ""
		if e != nil && len(e.Next) > 0 && e.Next[0].Do == fault.Instead {
			got = e.Next[0].Account
		}
		if e == nil || e.Code != fault.NoAccount || got != want {
			t.Errorf("%q: %v, %q, want %q", typed, err, got, want)
		}
	}
}
