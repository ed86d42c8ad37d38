package takeover

import (
	"cmp"
	"context"
	"slices"

	"github.com/authferry/authferry/broker/folder"
	"github.com/authferry/authferry/broker/index"
	"github.com/authferry/authferry/broker/takeover/source"
)

// Holding says where another program also has an account's login, without secrets.
type Holding struct {
	Source, Title string // the program's: for commands, and for people
	Path          string
	APIKey        bool // the login is an API key
	ClientNeeded  bool // the import needs the id of the client that it was issued to
}

// Shared finds the accounts of f whose login another program's file has too, by their ids.
// It doesn't open the keystore.
func Shared(ctx context.Context, f *folder.Folder) map[string]Holding {
	found := map[string]Holding{}
	for _, s := range source.All() {
		for _, path := range s.Present() {
			t, err := newTakeover(ctx, f, Request{Source: s, Path: path}, true)
			if err != nil {
				continue
			}
			for _, c := range t.candidates {
				if id := cmp.Or(c.held, c.whole); id != "" {
					found[id] = Holding{Source: s.Name, Title: s.Title, Path: path, APIKey: !c.login.APIKey.Empty(), ClientNeeded: c.next != nil}
				}
			}
		}
	}
	return found
}

// StillIn reports whether the file that the account was taken from still has a login of its
// provider. The other program may have refreshed it since.
func StillIn(ctx context.Context, f *folder.Folder, a *index.Account) bool {
	return !f.Strange(a.Shared) && slices.ContainsFunc(source.All(), func(s source.Source) bool {
		t, err := newTakeover(ctx, f, Request{Source: s, Path: a.Shared}, true)
		return err == nil && slices.ContainsFunc(t.candidates, func(c *candidate) bool { return c.n.Provider.Name == a.Provider })
	})
}
