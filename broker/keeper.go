package broker

import (
	"context"
	"io/fs"
	"os"
	"sync"
	"time"

	"github.com/authferry/authferry/broker/index"
	"github.com/authferry/authferry/broker/record"
)

// Keeper is a Broker for a program that stays and asks for every request of its own:
// any number of goroutines may use it. It keeps the index while the file is
// unchanged, and the access token of each account's newest generation, in memory. It
// keeps no choice: what another process wrote counts from the next call on.
type Keeper struct {
	opt  Options
	kept kept
}

// NewKeeper makes a Keeper. It touches neither disk nor keystore.
func NewKeeper(opt Options) *Keeper { return &Keeper{opt: opt} }

// Token is Broker.Token. A hit costs a stat of the index.
func (k *Keeper) Token(ctx context.Context, req TokenRequest) (*Token, error) {
	return k.broker().Token(ctx, req)
}

// Report is Broker.Report.
func (k *Keeper) Report(ctx context.Context, s Selection, r ReportRequest) (*ReportResult, error) {
	return k.broker().Report(ctx, s, r)
}

// broker is one for one call: a Broker is not for several goroutines.
func (k *Keeper) broker() *Broker {
	b := New(k.opt)
	b.kept = &k.kept
	return b
}

// kept is what a Keeper has in memory. A nil one keeps nothing.
type kept struct {
	mu     sync.Mutex
	file   fs.FileInfo // of the index; nil: none that can be told from a newer one
	idx    *index.Index
	tokens map[string]keptToken // by account id
}

// keptToken is an account's access record, or the grant of an API key.
type keptToken struct {
	store  string // the index's, and the keystore's kind
	access *record.Access
	grant  *record.Grant
}

// settledAge is how old a file has to be for its time to tell it from the next
// version: clocks of file systems tick slowly, and a file's number is used again.
const settledAge = 100 * time.Millisecond

// index is f.Read, or what it returned while the file is the same. Nobody changes
// what is returned.
func (k *kept) index(f *index.File) (*index.Index, error) {
	if k == nil {
		return f.Read()
	}
	k.mu.Lock()
	defer k.mu.Unlock()
	now, err := f.Stat()
	if err == nil && k.file != nil && os.SameFile(now, k.file) && now.ModTime().Equal(k.file.ModTime()) && now.Size() == k.file.Size() {
		return k.idx, nil
	}
	k.file, k.idx = nil, nil
	idx, readErr := f.Read()
	if readErr != nil {
		return nil, readErr
	}
	if err == nil && time.Since(now.ModTime()) > settledAge {
		k.file, k.idx = now, idx
	}
	for id, t := range k.tokens {
		if a := idx.Account(id); a == nil || a.Removing || t.store != storeOf(idx) {
			delete(k.tokens, id)
		}
	}
	return idx, nil
}

func storeOf(idx *index.Index) string { return idx.Keystore + "/" + idx.Store }

// access returns a's record if it is the one that idx speaks of.
func (k *kept) access(idx *index.Index, a *index.Account) *record.Access {
	if t := k.token(idx, a); t.access != nil && t.access.Generation == a.Generation {
		return t.access
	}
	return nil
}

// key is access for an API key.
func (k *kept) key(idx *index.Index, a *index.Account) *record.Grant {
	if t := k.token(idx, a); t.grant != nil && t.grant.Generation == a.Generation {
		return t.grant
	}
	return nil
}

// has reports that the keystore need not be opened for a.
func (k *kept) has(idx *index.Index, a *index.Account) bool {
	return k.access(idx, a) != nil || k.key(idx, a) != nil
}

func (k *kept) token(idx *index.Index, a *index.Account) keptToken {
	if k == nil {
		return keptToken{}
	}
	k.mu.Lock()
	defer k.mu.Unlock()
	if t := k.tokens[a.ID]; t.store == storeOf(idx) {
		return t
	}
	return keptToken{}
}

// keep remembers what the keystore said: acc or g.
func (k *kept) keep(idx *index.Index, a *index.Account, acc *record.Access, g *record.Grant) {
	if k == nil {
		return
	}
	k.mu.Lock()
	defer k.mu.Unlock()
	if k.tokens == nil {
		k.tokens = map[string]keptToken{}
	}
	k.tokens[a.ID] = keptToken{storeOf(idx), acc, g}
}
