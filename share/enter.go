package share

import (
	"context"

	"github.com/authferry/authferry/broker/folder"
	"github.com/authferry/authferry/broker/index"
	"github.com/authferry/authferry/share/pipe"
)

// Enter tells the other machines what was done here with the accounts of a shared pool: one
// that was added to it is shared from now on, and one with a new login gets it everywhere.
// Errors: NotAMember (this machine isn't a holder), Fenced (an account that can't be
// shared), and those of engine, keystore and index.
func Enter(ctx context.Context, f *folder.Folder, dial Dialer, req pipe.PoolRequest) (*pipe.EnterResult, error) {
	p, err := openAsHolder(ctx, f, dial, req.Pool)
	if err != nil {
		return nil, err
	}
	defer p.close()
	if err := p.reread(); err != nil {
		return nil, err
	}
	done := &pipe.EnterResult{Pool: p.Local, Entered: []pipe.Account{}}
	var added, known []index.Account
	for _, a := range p.o.Index.Members(p.Local) {
		if a.Share == nil || a.Share.State == "" {
			added = append(added, *a)
		} else {
			known = append(known, *a)
		}
	}
	for _, a := range added {
		if err := p.enter(ctx, a.ID); err != nil {
			return done, err
		}
		done.Entered = append(done.Entered, pipe.Account{ID: a.ID, Label: a.Label, Provider: a.Provider})
	}
	for _, a := range known {
		if err := p.reconcile(ctx, a.ID); err != nil {
			return done, err
		}
	}
	return done, p.note(ctx)
}
