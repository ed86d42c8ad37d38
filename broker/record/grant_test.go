package record

import (
	"testing"

	"github.com/authferry/authferry/keystore"
)

// A new login is told to the other machines once: not if they have it, nor if they have used
// it since, nor if that can't be seen any more.
func TestToldBy(t *testing.T) {
	refresh := func(s string) Grant { return Grant{RefreshToken: keystore.NewSecret(s), PoolGeneration: 7} }
	mine := refresh("new")
	spent := refresh("newer")
	spent.Follow(&mine)
	later := refresh("latest")
	later.PoolGeneration = 7 + rememberSpent
	long := Grant{TokenFingerprint: "f", PoolGeneration: 7}
	for name, row := range map[string]struct {
		mine, theirs Grant
		want         bool
	}{
		"they have the one before":     {mine, refresh("old"), false},
		"they have it":                 {mine, mine, true},
		"they have refreshed it":       {mine, spent, true},
		"too much has happened":        {mine, later, true},
		"a long-lived token":           {long, Grant{TokenFingerprint: "g"}, false},
		"they have the same":           {long, long, true},
		"nothing that could be spent":  {Grant{}, refresh("old"), true},
		"a login after a token's time": {mine, long, false},
	} {
		if got := row.mine.ToldBy(&row.theirs); got != row.want {
			t.Errorf("%s: %v", name, got)
		}
	}
}
