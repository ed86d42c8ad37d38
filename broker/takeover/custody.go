package takeover

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"sync/atomic"

	"github.com/authferry/authferry/broker/account"
	"github.com/authferry/authferry/broker/fault"
	"github.com/authferry/authferry/broker/folder"
	"github.com/authferry/authferry/broker/index"
	"github.com/authferry/authferry/broker/lock"
	"github.com/authferry/authferry/broker/pool"
	"github.com/authferry/authferry/broker/record"
	"github.com/authferry/authferry/broker/takeover/source"
)

// Run stores the logins of another program's file as accounts and removes them from the
// file, unless they are to be kept there. Each login is stored, read back and in the index
// before the entry is removed, and only if the file has not changed. So at every instant a
// login is in at least one place, and running it again continues where it stopped. Nothing
// is refreshed.
//
// If an entry can't be removed after all, both programs have that login, and Warn is
// called. Errors: as from Plan; Fenced if another import took an entry at the same moment,
// so that two stores have its login; Usage if a login could not be refreshed here and there
// is no other one; and those of Add. What was taken before an error stays taken, and is in
// the Outcome returned with it.
func Run(ctx context.Context, f *folder.Folder, req Request) (*Outcome, error) {
	t, err := newTakeover(ctx, f, req, false)
	if err != nil {
		return nil, err
	}
	if err := t.refusal(); err != nil {
		return nil, err
	}
	if t.file.OpenTo != "" {
		f.Warn(fmt.Sprintf("%s can be read by %s, so its logins may have leaked: to be safe, log in again to each", t.file.Path, t.file.OpenTo))
	}
	if !t.busy() {
		return t.outcome(), nil
	}
	if err := f.Make(); err != nil {
		return nil, err
	}
	lock, err := f.Lock(ctx, lock.Import)
	if err != nil {
		return nil, err
	}
	defer lock.Release()
	// Another process may have taken them while this one waited for the lock.
	if t, err = newTakeover(ctx, f, req, false); err != nil {
		return nil, err
	}
	if !req.Keep && req.Path != "" {
		if err := t.file.Removable(); err != nil {
			return nil, fault.Errorf(fault.Internal, "nothing could be taken out of %s, so nothing was changed", req.Path).
				Try(fault.Remedy{Do: fault.Import, Name: req.Source.Name, Path: t.unusualPath(), How: fault.Keeping}).Because(err)
		}
	}
	return t.do(ctx)
}

// busy reports whether there is anything to do.
func (t *takeover) busy() bool {
	return slices.ContainsFunc(t.candidates, func(c *candidate) bool { return c.reason == "" || c.held != "" || c.twin })
}

// refusal is the error if only logins are left that could not be refreshed here.
func (t *takeover) refusal() error {
	var refused *candidate
	for _, c := range t.candidates {
		if c.reason == "" || c.held != "" {
			return nil
		}
		if c.alien && c.next != nil && refused == nil {
			refused = c
		}
	}
	if refused == nil {
		return nil
	}
	return fault.Errorf(fault.Usage, "the login %s of %s can't be taken: %s (%s); nothing was changed",
		fault.Quote(refused.login.Entry), t.req.Source.Title, refused.reason, refused.n.Provider.TokenAdvice()).Try(*refused.next)
}

func (t *takeover) do(ctx context.Context) (*Outcome, error) {
	o := t.outcome()
	var failed error
	var at atomic.Int32
	defer t.f.Progress(folder.Step{Doing: func() string {
		return fmt.Sprintf("taking over the logins of %s, %d of %d", t.req.Source.Title, at.Load(), len(t.candidates))
	}})()
	for _, c := range t.candidates {
		at.Add(1)
		if c.reason != "" {
			continue
		}
		// From here on an interrupt waits, because it would leave the login half taken.
		a, err := t.keep(context.WithoutCancel(ctx), c)
		if errors.Is(err, account.ErrSameIdentity) || fault.CodeOf(err) == fault.LabelTaken {
			o.Skipped = append(o.Skipped, Skipped{Skipped: source.Skipped{Entry: c.login.Entry, Reason: err.Error()}})
			continue
		}
		if failed = err; failed != nil {
			break
		}
		c.held = a.ID
		o.Accounts = append(o.Accounts, *a)
		if failed = ctx.Err(); failed != nil {
			failed = fault.Errorf(fault.Cancelled, "interrupted; what was taken so far stays taken")
			break
		}
	}
	ctx = context.WithoutCancel(ctx)
	if err := t.carryOver(ctx, o); failed == nil {
		failed = err
	}
	if t.req.Keep {
		return o, errors.Join(failed, t.share(ctx, t.held(), t.file.Path))
	}
	if err := t.release(ctx, o); failed == nil {
		failed = err
	}
	return o, failed
}

// keep makes the account, or adds the missing part to the one that has a part of the login.
func (t *takeover) keep(ctx context.Context, c *candidate) (*index.Account, error) {
	if c.whole != "" {
		return account.Replace(ctx, t.f, c.whole, c.n)
	}
	return account.Adopt(ctx, t.f, c.n)
}

// carryOver makes current what was current in the other program, and turns off failover if
// it was off there, unless an account here is older than this import.
func (t *takeover) carryOver(ctx context.Context, o *Outcome) error {
	if len(o.Accounts) == 0 {
		return nil
	}
	for _, c := range t.candidates {
		if pool, _, _ := t.idx.FindPool(c.n.Provider.Name); c.login.Current && c.reason == "" && c.held != "" && len(t.idx.Members(pool)) == 0 {
			if err := t.f.Change(ctx, index.Durable, c.held, func(idx *index.Index, a *index.Account) {
				if !a.Disabled {
					idx.Use(a)
				}
			}); err != nil && fault.CodeOf(err) != fault.NoAccount {
				return err
			}
		}
	}
	switch on := t.file.Failover; {
	case on == nil || *on == t.f.Config().Failover:
	case len(t.idx.Accounts) == 0 && !*on:
		t.f.Warn("failover is off, as it was in "+t.file.Path, fault.Remedy{Do: fault.SetSetting, Name: "failover", Value: "true"})
		return folder.ConfigSet(ctx, t.f, "failover", "false")
	default:
		t.f.Warn(fmt.Sprintf("failover was %[2]s in %[1]s; here it is not", t.file.Path, onOff(*on)), fault.Remedy{Do: fault.SetSetting, Name: "failover", Value: strconv.FormatBool(*on)})
	}
	return nil
}

func onOff(on bool) string {
	if on {
		return "on"
	}
	return "off"
}

// release removes from the file what the keystore is proven to have.
func (t *takeover) release(ctx context.Context, o *Outcome) error {
	var going []source.Login
	var ids []string
	stored := map[string]bool{} // providers and fingerprints
	key := func(c *candidate) string { return c.login.Provider + " " + record.Fingerprint(c.login.Secret()) }
	for _, c := range t.candidates {
		if c.held == "" {
			continue
		}
		if err := t.confirm(ctx, c); err != nil {
			t.f.Warn(fmt.Sprintf("login %s stays in %s: %v", fault.Quote(c.login.Entry), t.file.Path, err))
			continue
		}
		going, ids = append(going, c.login), append(ids, c.held)
		stored[key(c)] = true
	}
	for _, c := range t.candidates {
		if c.twin && stored[key(c)] {
			going = append(going, c.login)
		}
	}
	if len(going) == 0 {
		return nil
	}
	if err := t.remove(ctx, going); err != nil {
		gone := t.gone(ctx, ids)
		if len(gone) < len(ids) {
			t.f.Warn(fmt.Sprintf("the logins are here, and %s still has them too (%v); the program that refreshes first logs the other out",
				t.file.Path, err), o.Finish)
		}
		if err := t.share(ctx, ids, t.file.Path); err != nil {
			return err
		}
		return t.outrun(gone)
	}
	o.Removed = len(going)
	return t.share(ctx, ids, "")
}

// gone lists those accounts whose entry was removed from the file by another process since
// it was read.
func (t *takeover) gone(ctx context.Context, ids []string) (gone []string) {
	now, err := openFile(ctx, t.f, t.req)
	if err != nil && fault.CodeOf(err) != fault.NoAccount {
		return nil
	}
	for _, c := range t.candidates {
		if c.held == "" || !slices.Contains(ids, c.held) {
			continue
		}
		there := now != nil && (slices.ContainsFunc(now.Logins, func(l source.Login) bool {
			return l.Entry == c.login.Entry && l.Provider == c.login.Provider || l.Secret().Equal(c.login.Secret())
		}) || slices.ContainsFunc(now.Skipped, func(s source.Skipped) bool { return s.Entry == c.login.Entry }))
		if !there {
			gone = append(gone, c.held)
		}
	}
	return gone
}

// outrun is the error if another import took the logins of these accounts too: another
// store may have them now.
func (t *takeover) outrun(ids []string) error {
	if len(ids) == 0 {
		return nil
	}
	idx, err := t.f.ReadOrEmpty()
	if err != nil {
		return err
	}
	var names []string
	var next []fault.Remedy
	for _, id := range ids {
		if a := idx.Account(id); a != nil {
			names, next = append(names, fault.Quote(a.Label)), append(next, fault.Remedy{Do: fault.RemoveHere, Account: pool.Reference(idx, a)})
		}
	}
	if names == nil {
		return nil
	}
	return fault.Errorf(fault.Fenced, "another import, or %s itself, took the login of %s out of %s at the same moment; it is here too, and two can't own one login. If another AUTHFERRY_DIR has it, remove it here", t.req.Source.Title, strings.Join(names, ", "), t.file.Path).
		Try(next...)
}

func (t *takeover) remove(ctx context.Context, going []source.Login) error {
	if t.req.Path == "" {
		return t.removeItem(ctx, going)
	}
	linked, err := t.file.Remove(going)
	if linked {
		t.f.Warn(t.file.Path + " had another name (a hard link), under which its old content can still be read; delete that as well")
	}
	return err
}

// removeItem deletes a keychain item if it has nothing else in it. Otherwise it stays,
// because authferry doesn't write other programs' items.
func (t *takeover) removeItem(ctx context.Context, going []source.Login) error {
	if left, _ := t.file.Without(going); strings.Trim(string(left), " \t\r\n{}") != "" {
		return errors.New("the item holds more than the login; log out there")
	}
	now, err := openFile(ctx, t.f, t.req)
	if err != nil {
		return err
	}
	if !now.Same(t.file) {
		return source.ErrChanged
	}
	item, _ := foreignItem(t.req.Source)
	ctx, cancel := context.WithTimeout(ctx, t.f.KeychainTimeout)
	defer cancel()
	return item.Delete(ctx)
}

// confirm reads the candidate's login back: the index names it, and the keystore has it, or
// what it was refreshed to. The index alone is not believed.
func (t *takeover) confirm(ctx context.Context, c *candidate) error {
	idx, err := t.f.Read()
	if err != nil {
		return err
	}
	a := idx.Account(c.held)
	if a == nil || a.Removing {
		return fault.Errorf(fault.NoAccount, "the account was removed meanwhile")
	}
	o, err := t.f.Open(idx)
	if err != nil {
		return err
	}
	stored, err := o.Grants(ctx, a.ID)
	switch {
	case err != nil:
		return err
	case stored.Best == nil:
		return fault.Errorf(fault.KeystoreDenied, "the keystore does not have it")
	}
	secret := c.login.Secret()
	if stored.Best.Secret().Equal(secret) || !stored.Best.Secret().Empty() && slices.Contains(stored.Best.Spent, record.Fingerprint(secret)) {
		return nil
	}
	acc, _, err := o.Store.AccessOf(ctx, a.ID, stored.Best.Generation)
	if err == nil && (acc == nil || !acc.AccessToken.Equal(secret)) {
		err = fault.Errorf(fault.KeystoreDenied, "the keystore has another one")
	}
	return err
}

// held lists the accounts that have a login of the file now.
func (t *takeover) held() (ids []string) {
	for _, c := range t.candidates {
		if c.held != "" {
			ids = append(ids, c.held)
		}
	}
	return ids
}

// share records that another program's file (where) has the logins of these accounts too;
// with where empty, that it no longer has.
func (t *takeover) share(ctx context.Context, ids []string, where string) error {
	idx, err := t.f.ReadOrEmpty()
	if err != nil {
		return err
	}
	differs := func(a *index.Account) bool {
		return a != nil && a.Shared != where && (where != "" || slices.Contains(t.names, a.Shared))
	}
	if !slices.ContainsFunc(ids, func(id string) bool { return differs(idx.Account(id)) }) {
		return nil
	}
	return t.f.Update(ctx, index.Durable, func(i *index.Index) error {
		for _, id := range ids {
			if a := i.Account(id); differs(a) {
				a.Shared = where
			}
		}
		return nil
	})
}

// Found is another program's file with logins that are not here yet.
type Found struct {
	Source source.Source
	Path   string
	Logins []Login
	Advice []Advice // for those that can't be refreshed here
}

// Refreshable reports whether a login of the provider (of any, if it is "") can be taken
// over and refreshed here.
func (f Found) Refreshable(provider string) bool {
	return slices.ContainsFunc(f.Logins, func(l Login) bool { return !l.alien && (provider == "" || l.Provider == provider) })
}

// Importable looks in every usual place. It accesses neither network nor keystore, and
// skips files that can't be read.
func Importable(ctx context.Context, f *folder.Folder) []Found {
	var all []Found
	for _, s := range source.All() {
		for _, path := range s.Present() {
			t, err := newTakeover(ctx, f, Request{Source: s, Path: path}, true)
			if err != nil {
				continue
			}
			for _, c := range t.candidates {
				switch {
				case c.whole != "":
					c.reason = "a part of it is here"
				case c.alien && c.next != nil:
					c.reason = "" // what is missing can be given by a flag
				}
			}
			if o := t.outcome(); o.Logins != nil {
				all = append(all, Found{s, path, o.Logins, o.Advice})
			}
		}
	}
	return all
}
