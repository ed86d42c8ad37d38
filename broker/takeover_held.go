package broker

import (
	"cmp"
	"context"
	"slices"

	"github.com/authferry/authferry/broker/doctor"
	"github.com/authferry/authferry/broker/folder"
	"github.com/authferry/authferry/broker/index"
	"github.com/authferry/authferry/broker/migrate"
)

// Shared finds the accounts of f whose login another program's file has too, by their
// ids. The keystore stays closed.
func Shared(ctx context.Context, f *folder.Folder) map[string]doctor.Holding {
	found := map[string]doctor.Holding{}
	for _, s := range migrate.Sources() {
		for _, path := range s.Present() {
			t, err := New(f.Options).newTakeover(ctx, TakeoverRequest{Source: s, Path: path}, true)
			if err != nil {
				continue
			}
			for _, c := range t.candidates {
				if id := cmp.Or(c.held, c.whole); id != "" {
					found[id] = doctor.Holding{Source: s.Name, Title: s.Title, Path: path, APIKey: !c.login.APIKey.Empty(), ClientNeeded: c.next != nil}
				}
			}
		}
	}
	return found
}

// StillIn reports whether the file that the account was taken from, and left in,
// has a login of its provider yet: the other program may have refreshed it since.
func StillIn(ctx context.Context, f *folder.Folder, a *index.Account) bool {
	return !f.Strange(a.Shared) && slices.ContainsFunc(migrate.Sources(), func(s migrate.Source) bool {
		t, err := New(f.Options).newTakeover(ctx, TakeoverRequest{Source: s, Path: a.Shared}, true)
		return err == nil && slices.ContainsFunc(t.candidates, func(c *candidate) bool { return c.n.Provider.Name == a.Provider })
	})
}

// ForDoctor is what doctor asks for of other programs' files.
var ForDoctor = doctor.Above{Shared: Shared, StillIn: StillIn}
