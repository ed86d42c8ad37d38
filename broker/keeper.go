package broker

import (
	"context"

	"github.com/authferry/authferry/broker/fault"
	"github.com/authferry/authferry/broker/folder"
	"github.com/authferry/authferry/broker/index"
	"github.com/authferry/authferry/broker/pool"
)

// Keeper is a Broker for a program that stays and asks for every request of its own:
// any number of goroutines may use it. It keeps the index while the file is
// unchanged, and the access token of each account's newest generation, in memory. It
// keeps no choice: what another process wrote counts from the next call on.
type Keeper struct {
	opt Options
}

// NewKeeper makes a Keeper. It touches neither disk nor keystore.
func NewKeeper(opt Options) *Keeper {
	opt.Memory = &folder.Memory{}
	return &Keeper{opt}
}

// Token is Broker.Token. A hit costs a stat of the index.
func (k *Keeper) Token(ctx context.Context, req TokenRequest) (*Token, error) {
	return k.broker().Token(ctx, req)
}

// Report is Broker.Report.
func (k *Keeper) Report(ctx context.Context, s pool.Selection, r ReportRequest) (*ReportResult, error) {
	return k.broker().Report(ctx, s, r)
}

// broker is one for one call: a Broker is not for several goroutines.
func (k *Keeper) broker() *Broker { return New(k.opt) }

// inMemory passes over, for a keystore that was locked or went away while a was wanted,
// each account of the pool whose token isn't in memory. It reports whether one is left: that
// needs no keystore.
func (b *Broker) inMemory(idx *index.Index, poolName string, a *index.Account, failure error, passed *pool.Passings) (left bool) {
	switch fault.CodeOf(failure) {
	case fault.KeystoreLocked, fault.KeystoreUnavailable, fault.KeystoreDenied, fault.KeystoreTimeout:
	default:
		return false
	}
	for _, other := range idx.Members(poolName) {
		switch {
		case passed.Of(other.ID) != nil:
		case other.ID != a.ID && b.Memory.Has(idx, other):
			left = true
		default:
			*passed = append(*passed, pool.Passing{ID: other.ID, Err: failure})
		}
	}
	return left
}
