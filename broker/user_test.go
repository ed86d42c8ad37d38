package broker

import (
	"errors"
	"testing"

	"github.com/authferry/authferry/broker/fault"
	"github.com/authferry/authferry/broker/index"
	"github.com/authferry/authferry/broker/pool"
)

// Who is named gets what is theirs, or nothing: another one's token never.
func TestAsUser(t *testing.T) {
	w := newBindings(t)
	home, work, other := &w.idx.Accounts[0], &w.idx.Accounts[1], &w.idx.Accounts[2]
	home.Identity, work.Identity, other.Subject = "ada@example.com", "ada@work.example.com", "12345"
	job := w.at("job")
	w.bind(job, "p", "work")
	check := func(s pool.Selection, user, want string) {
		t.Helper()
		got, err := w.b.asUser(t.Context(), w.idx, s, user, "")
		switch {
		case want == "" && !errors.Is(err, ErrOtherUser), want != "" && index.ValidID(want) && (err != nil || got.Account != want),
			want != "" && !index.ValidID(want) && string(fault.CodeOf(err)) != want:
			t.Errorf("%q, %+v: %q, %v; want %q", user, s, got.Account, err, want)
		}
	}
	for user, want := range map[string]string{
		"Home": home.ID, "home": home.ID, "ada@example.com": home.ID, "ADA@example.com": home.ID, home.ID: home.ID, "12345": other.ID,
		"ada": "", "nobody": "", "p/Home": "", "1": "", "acc_dddddddddddddddd": "", "\xff": "", "ada@example.com ": "",
	} {
		check(pool.Selection{}, user, want)
	}
	for _, test := range []struct {
		s          pool.Selection
		user, want string
	}{
		{pool.Selection{Account: "Work"}, "Home", ""},
		{pool.Selection{Account: "Work"}, "Work", work.ID},
		{pool.Selection{Account: "Work"}, "ada@work.example.com", work.ID},
		{pool.Selection{Account: "Nobody"}, "Home", "no_account"},
		{pool.Selection{EnvAccount: "Work"}, "Home", ""},
		{pool.Selection{EnvAccount: "Work"}, "Work", work.ID},
		{pool.Selection{EnvAccount: "Work", Pool: "p"}, "Home", home.ID},
		{pool.Selection{Pool: "work"}, "Home", ""},
		{pool.Selection{Pool: "work"}, "Work", work.ID},
		{pool.Selection{EnvPool: "work"}, "Home", ""},
		{pool.Selection{EnvPool: "work"}, "Other", ""},
		{pool.Selection{Provider: "q"}, "Home", ""},
		{pool.Selection{Dir: job}, "Home", ""},
		{pool.Selection{Dir: job}, "Work", work.ID},
		{pool.Selection{Dir: job}, "Other", other.ID},
		{pool.Selection{Dir: job, Pool: "p"}, "Home", home.ID},
		{pool.Selection{DirUnknown: true}, "Home", "fenced"},
		{pool.Selection{DirUnknown: true}, "Other", other.ID},
	} {
		check(test.s, test.user, test.want)
	}
	if _, err := w.b.asUser(t.Context(), w.idx, pool.Selection{DirUnknown: true}, "Home", ""); errors.Is(err, ErrOtherUser) {
		t.Error("an unknown place is no opinion")
	}

	other.Label, other.Identity = "Home", "ada@example.com"
	check(pool.Selection{}, "Home", "ambiguous")
	check(pool.Selection{Pool: "p"}, "Home", home.ID)
	other.Label = "ada@example.com" // a label is before an identity
	check(pool.Selection{}, "ada@example.com", other.ID)
	check(pool.Selection{Pool: "p"}, "ada@example.com", home.ID)
	home.Removing = true
	check(pool.Selection{}, "Home", "")
}
