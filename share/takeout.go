package share

import (
	"context"

	"github.com/authferry/authferry/broker/fault"
	"github.com/authferry/authferry/broker/folder"
	"github.com/authferry/authferry/broker/oauth"
	"github.com/authferry/authferry/broker/pool"
	"github.com/authferry/authferry/keystore"
	"github.com/authferry/authferry/share/pipe"
	"github.com/authferry/authferry/share/seal"
)

// TakeOut takes an account out of its shared pool: it is this machine's own then, and the
// others delete it when they next look. What they have read of it stays known to them.
// Errors: NoAccount, NotAMember (this machine isn't a holder), WaitingForMachine and Fenced
// (a refresh that may have been sent), and those of engine, keystore and index.
func TakeOut(ctx context.Context, f *folder.Folder, dial Dialer, req pipe.TakeOutRequest) (*pipe.TakeOutResult, error) {
	p, a, err := openForAccount(ctx, f, dial, req.Account, fault.ShareStatus)
	if err != nil {
		return nil, err
	}
	defer p.close()
	e, err := p.get(ctx, p.key("acc", a.ID))
	if err != nil {
		return nil, err
	}
	if r, err := p.records.open(a.ID, e); err == nil && r.Public.Removing {
		err = p.accounts.taken(ctx, a, r) // it was interrupted
		if err != nil {
			return nil, err
		}
	} else if err := p.accounts.takeOut(ctx, a.ID); err != nil {
		return nil, err
	}
	return &pipe.TakeOutResult{Pool: p.Local, Account: pipe.Account{ID: a.ID, Label: a.Label, Provider: a.Provider}}, p.note(ctx)
}

func (p *accounts) takeOut(ctx context.Context, id string) error {
	t, done, err := p.turn(ctx, id)
	if err != nil {
		return err
	}
	defer done()
	if err := t.reconcile(ctx); err != nil {
		return err
	}
	if t.restored {
		return t.forgotten()
	}
	if r := t.rec; r.State == seal.Sending && r.Claim.Machine == p.Machine {
		return fault.Errorf(fault.Fenced, "account %s: a refresh may have been sent, and its outcome is unknown", t.label()).
			Try(fault.Remedy{Do: fault.Refresh, Account: pool.Reference(t.o.Index, t.account)}, fault.Remedy{Do: fault.Again})
	} else if r.State == seal.Sending {
		return t.waiting(ctx, r.Claim.Machine)
	}
	// What stays at the engine says that it is gone, and has nothing that could be used.
	g := *t.mine
	g.RefreshToken, g.APIKey, g.Proof, g.TokenFingerprint, g.ClientSecret = keystore.Secret{}, keystore.Secret{}, oauth.Proof{}, "", false
	g.Mark = t.rec.FP
	c := seal.Contents{Pool: p.Pool, Account: id, Gen: t.rec.Gen + 1, Grant: &g, Public: t.rec.Public}
	c.Public.Removing, c.Public.Keeper = true, p.Machine
	next, err := t.seal(c)
	if err != nil {
		return err
	}
	won, err := t.swap(ctx, next)
	if err != nil || !won {
		return t.explain(ctx, errOr(err))
	}
	_ = p.change(ctx, p.key("hold", id), func([]byte) ([]byte, error) { return nil, nil }) // what is left is over in its time
	folder.Reached("S31")
	return p.unshare(ctx, t.l, t.account, t.mine)
}
