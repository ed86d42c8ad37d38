package share

import (
	"context"
	"encoding/json"
	"errors"
	"time"

	"github.com/authferry/authferry/broker/fault"
	"github.com/authferry/authferry/broker/index"
	"github.com/authferry/authferry/broker/pool"
	"github.com/authferry/authferry/broker/record"
	"github.com/authferry/authferry/share/engine"
)

// Want is what a consumer writes to ask the holders for a new access token. It is not
// secret, and as any machine may write it, it is no more than a request.
type Want struct {
	V        int    `json:"v"`
	Gen      int    `json:"gen"` // the pool's generation that is to be replaced
	Machine  string `json:"machine"`
	Rejected bool   `json:"rejected,omitempty"` // the API refuses its token
}

// wantEvery is how often a consumer may ask for a new token because one was refused.
const wantEvery = 30 * time.Second

// ParseWant reads a Want; nil: it isn't one.
func ParseWant(value []byte) *Want {
	var w Want
	if json.Unmarshal(value, &w) != nil || w.V != 1 || w.Gen < 1 || !index.ValidCount(w.Gen) {
		return nil
	}
	return &w
}

// want asks the holders for a new access token, unless one has asked already. It returns
// the error with which to wait for it.
func (t *turn) want(ctx context.Context) (waits, err error) {
	now := time.Now()
	e := fault.Errorf(fault.WaitingForMachine, "account %s: no machine that holds its login has refreshed it yet; this machine gets access tokens only", t.label()).
		ItsOwn().Try(fault.Remedy{Do: fault.ShareServe}, fault.Remedy{Do: fault.Again})
	a := t.account
	if t.wish.Rejected {
		if a.RejectedAt.Before(now.Add(record.ClockTolerance)) && now.Sub(a.RejectedAt) < wantEvery && !t.wanted {
			e.RetryAt = a.RejectedAt.Add(wantEvery)
			return e, nil
		}
	} else if !t.wish.Background && pool.Lives(a, now) && !pool.Refused(a) {
		return e, nil // it is only a wish for a longer life
	}
	if t.wanted {
		return e, nil
	}
	key := Key(t.seat.Prefix, t.seat.Pool, "want", t.l.Account)
	call, cancel := context.WithTimeout(ctx, engineCall)
	defer cancel()
	entry, _, err := t.seat.Engine.Get(call, key)
	if err != nil {
		return nil, t.explain(ctx, err)
	}
	t.wanted = true
	if w := ParseWant(entry.Value); w == nil || w.Gen != t.rec.Gen || t.wish.Rejected && !w.Rejected {
		value, err := json.Marshal(Want{V: 1, Gen: t.rec.Gen, Machine: t.seat.Machine, Rejected: t.wish.Rejected})
		if err != nil {
			return nil, err
		}
		if _, _, err := t.seat.Engine.Swap(call, key, entry.Version, value); err != nil && !errors.Is(err, engine.ErrUnknown) {
			return nil, t.explain(ctx, err)
		}
	}
	if t.wish.Rejected {
		err = t.change(ctx, index.Fast, func(_ *index.Index, a *index.Account) { a.RejectedAt = now.UTC() })
	}
	return e, err
}
