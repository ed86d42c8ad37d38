package broker

import (
	"context"

	"github.com/authferry/authferry/broker/fault"
	"github.com/authferry/authferry/broker/folder"
	"github.com/authferry/authferry/broker/index"
	"github.com/authferry/authferry/broker/pool"
)

// Options says where a folder is and how long its caller waits; see folder.Options.
type Options = folder.Options

// Broker hands out tokens of the accounts in one folder. It has only its options and is
// cheap to make. Any number of processes may use the same folder; a Broker itself is for
// one goroutine (for more, see Keeper).
type Broker struct {
	Folder *folder.Folder // whose accounts they are
}

// New makes a Broker. It accesses neither disk nor keystore.
func New(opt Options) *Broker { return &Broker{Folder: folder.New(opt)} }

// rules are those of its folder.
func (b *Broker) rules() pool.Rules { return pool.RulesOf(b.Folder) }

// Keeper is a Broker for a program that keeps running and wants a token for each request.
// It is safe for concurrent use. It caches the index while the file is unchanged, and the
// access token of each account's newest generation. It caches no choice: what another
// process writes counts from the next call on.
type Keeper struct {
	opt Options
}

// NewKeeper makes a Keeper. It accesses neither disk nor keystore.
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

// broker makes a Broker for one call, because a Broker is for one goroutine.
func (k *Keeper) broker() *Broker { return New(k.opt) }

// inMemory is for a keystore that was locked or disappeared when a was wanted. It passes
// over each account of the pool whose token isn't cached, and reports whether one is left,
// which needs no keystore.
func (b *Broker) inMemory(idx *index.Index, poolName string, a *index.Account, failure error, passed *pool.Passings) (left bool) {
	switch fault.CodeOf(failure) {
	case fault.KeystoreLocked, fault.KeystoreUnavailable, fault.KeystoreDenied, fault.KeystoreTimeout:
	default:
		return false
	}
	for _, other := range idx.Members(poolName) {
		switch {
		case passed.Of(other.ID) != nil:
		case other.ID != a.ID && b.Folder.Memory.Has(idx, other):
			left = true
		default:
			*passed = append(*passed, pool.Passing{ID: other.ID, Err: failure})
		}
	}
	return left
}

// ExecEnv returns the names of the variables in which programs of the account's provider
// expect its token. Errors: Usage if none is known, or if the user's own providers can't be
// read.
func ExecEnv(f *folder.Folder, a *index.Account) ([]string, error) {
	ps, err := f.Providers()
	if err != nil {
		return nil, err
	}
	p, ok := ps.Get(a.Provider)
	if !ok {
		return nil, fault.Errorf(fault.Usage, "provider %s isn't known on this machine, so name the variable", a.Provider).Try(fault.Remedy{Do: fault.Again, Name: "env", Value: "NAME"})
	}
	names := p.Env
	if a.Kind == index.KindAPIKey {
		names = p.KeyEnv()
	}
	if len(names) == 0 {
		return nil, fault.Errorf(fault.Usage, "provider %s sets no variable for its token", a.Provider).Try(fault.Remedy{Do: fault.Again, Name: "env", Value: "NAME"})
	}
	return names, nil
}
