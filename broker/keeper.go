package broker

import (
	"context"

	"github.com/authferry/authferry/broker/folder"
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
func (k *Keeper) Report(ctx context.Context, s Selection, r ReportRequest) (*ReportResult, error) {
	return k.broker().Report(ctx, s, r)
}

// broker is one for one call: a Broker is not for several goroutines.
func (k *Keeper) broker() *Broker { return New(k.opt) }
