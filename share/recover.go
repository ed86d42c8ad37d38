package share

import (
	"context"

	"github.com/authferry/authferry/broker/fault"
	"github.com/authferry/authferry/broker/folder"
	"github.com/authferry/authferry/broker/pool"
	"github.com/authferry/authferry/share/pipe"
	"github.com/authferry/authferry/share/seal"
)

// Recover names the machine that announced a refresh of an account and hasn't come back.
// With that claim in the request, confirmed by a person, it lets another machine refresh the
// account: at a provider that takes a refresh token once, this ends the login if that
// machine got an answer. Nothing else does it, and no timer. Errors: NoAccount, NotAMember,
// Fenced (the claim isn't that one any more), and those of the engine.
func Recover(ctx context.Context, f *folder.Folder, dial Dialer, req pipe.RecoverRequest) (*pipe.RecoverResult, error) {
	p, a, err := openForAccount(ctx, f, dial, req.Account, fault.Refresh)
	if err != nil {
		return nil, err
	}
	defer p.close()
	done := &pipe.RecoverResult{Account: pipe.Account{ID: a.ID, Label: a.Label, Provider: a.Provider}, Since: pool.Seconds(a.Share.Since)}
	err = p.change(ctx, p.key("acc", a.ID), func(now []byte) ([]byte, error) {
		done.Machine, done.Claim, done.Recovered = "", "", false
		if now == nil {
			p.restored = true
			return nil, p.unrestored()
		}
		r, err := seal.Open(p.Keys, p.Pool, a.ID, now)
		if err != nil {
			return nil, p.unbelievable("account "+fault.Quote(a.Label), err)
		}
		if r.State != seal.Sending {
			done.Recovered = true // nobody is waited for
			return now, nil
		}
		done.Machine, done.Claim = p.members.nameOf(r.Claim.Machine), r.Claim.Nonce
		if done.Recovered = !r.Claim.Announced && r.Claim.Passing; done.Recovered || req.Claim == "" {
			return now, nil
		}
		if req.Claim != r.Claim.Nonce {
			return nil, fault.Errorf(fault.Fenced, "account %s is being refreshed by another machine or another time than was confirmed; nothing was changed", fault.Quote(a.Label)).
				Try(fault.Remedy{Do: fault.ShareRecover, Account: pool.Reference(p.o.Index, a)})
		}
		// As if that machine had said that it no longer waits for the answer.
		open := *r.Claim
		open.Announced, open.Passing, open.Attempt = false, true, open.Attempt+1
		r.Claim = &open
		done.Recovered = true
		return r.Encode(p.Keys)
	})
	if err != nil {
		return nil, err
	}
	return done, p.note(ctx)
}
