package takeover

import (
	"cmp"
	"context"
	"errors"
	"io/fs"
	"slices"
	"strings"

	"github.com/authferry/authferry/broker/fault"
	"github.com/authferry/authferry/broker/folder"
	"github.com/authferry/authferry/broker/index"
	"github.com/authferry/authferry/broker/record"
	"github.com/authferry/authferry/broker/takeover/source"
	"github.com/authferry/authferry/keystore"
)

// openFile reads the file or the keychain item that holds the logins.
func openFile(ctx context.Context, f *folder.Folder, req Request) (*source.File, error) {
	if req.Path != "" {
		file, err := source.Open(req.Source, req.Path)
		return file, fileError(err, req)
	}
	item, ok := foreignItem(req.Source)
	if !ok {
		return nil, fileError(fs.ErrNotExist, req)
	}
	ctx, cancel := context.WithTimeout(ctx, f.KeychainTimeout)
	defer cancel()
	v, err := item.Get(ctx)
	if errors.Is(err, keystore.ErrNotFound) {
		return nil, fileError(fs.ErrNotExist, req)
	}
	if err != nil {
		return nil, record.Fault(err)
	}
	file, err := source.Parse(req.Source, "the keychain item "+item.Service, []byte(v.Reveal()))
	return file, fileError(err, req)
}

func foreignItem(s source.Source) (keystore.Foreign, bool) {
	service, account, ok := s.Item()
	return keystore.Foreign{Service: service, Account: account}, ok
}

func fileError(err error, req Request) error {
	if err == nil {
		return nil
	}
	if bad, ok := errors.AsType[*source.BadFileError](err); ok {
		return fault.Errorf(fault.Usage, "nothing can be taken over from %s: %s; nothing was changed", bad.Path, bad.Reason)
	}
	if errors.Is(err, fs.ErrNotExist) {
		where := req.Path
		if where == "" {
			where = strings.Join(req.Source.Places(), " or ")
		}
		return fault.Errorf(fault.NoAccount, "there are no logins of %s here: no file %s", req.Source.Title, where).
			Try(fault.Remedy{Do: fault.Import, Name: req.Source.Name, Path: "PATH"})
	}
	return fault.Errorf(fault.Internal, "the logins of %s can't be read; nothing was changed", req.Source.Title).Because(err)
}

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
	return !folder.Strange(f, a.Shared) && slices.ContainsFunc(source.All(), func(s source.Source) bool {
		t, err := newTakeover(ctx, f, Request{Source: s, Path: a.Shared}, true)
		return err == nil && slices.ContainsFunc(t.candidates, func(c *candidate) bool { return c.n.Provider.Name == a.Provider })
	})
}
