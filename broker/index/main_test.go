package index

import (
	"fmt"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/authferry/authferry/atomicfile"
	"github.com/authferry/authferry/testenv"
)

var roles = testenv.Roles{}

func TestMain(m *testing.M) { roles.Main(m) }

var (
	must     = testenv.Must
	patience = testenv.Patience
)

var noon = time.Date(2026, 11, 23, 12, 0, 0, 0, time.UTC)

func newAccount(label string) Account {
	return Account{ID: NewID(), Label: label, Provider: "anthropic", Pool: "anthropic", Kind: "oauth",
		Rank: 1, Generation: 1, GrantSlot: "a", AccessSlot: "a", AddedAt: noon}
}

// newFile returns an index with one account, its version before and nothing else.
func newFile(t testing.TB) *File {
	t.Helper()
	f := At(t.TempDir())
	fill(t, f, 1)
	return f
}

func fill(t testing.TB, f *File, accounts int) {
	t.Helper()
	must(t, f.Update(patience(t), Fast, func(*Index) error { return nil }))
	must(t, f.Update(patience(t), Fast, func(ix *Index) error {
		for i := range accounts {
			a := newAccount(fmt.Sprintf("account %d", i+1))
			a.Rank = i + 1
			a.Identity, a.Issuer, a.Subject = "me@example.com", "https://auth.example.com", "a8f2c1"
			a.Fingerprint = "0011223344556677"
			a.ExpiresAt, a.ObtainedAt, a.RefreshedAt = noon.Add(time.Hour), noon, noon
			ix.Accounts = append(ix.Accounts, a)
		}
		ix.Pools = map[string]Pool{"anthropic": {Provider: "anthropic", Current: ix.Accounts[0].ID}}
		return nil
	}))
}

// tempFiles returns what writers left in the folder.
func tempFiles(t testing.TB, f *File) []string {
	t.Helper()
	entries, err := os.ReadDir(f.Dir())
	must(t, err)
	var names []string
	for _, e := range entries {
		if strings.HasSuffix(e.Name(), atomicfile.Suffix) {
			names = append(names, e.Name())
		}
	}
	return names
}
