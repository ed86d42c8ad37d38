package share

import (
	"context"
	"errors"
	"time"

	"github.com/authferry/authferry/broker/fault"
	"github.com/authferry/authferry/broker/folder"
	"github.com/authferry/authferry/broker/index"
	"github.com/authferry/authferry/broker/pool"
	"github.com/authferry/authferry/broker/record"
	"github.com/authferry/authferry/broker/rotation"
	"github.com/authferry/authferry/share/pipe"
	"github.com/authferry/authferry/share/seal"
)

const (
	// lookAnyway is how often Serve looks although nothing has changed: wants count once
	// their time has come, and a watch may miss something.
	lookAnyway = 30 * time.Second
	// retryFirst and retryMost are how long Serve waits for an engine that is away.
	retryFirst, retryMost = time.Second, time.Minute
)

// Serve watches a pool, or all that this machine shares, until ctx ends: new tokens and
// holds of other machines are taken over at once, and on a machine that holds the logins,
// consumers get the new tokens that they want. Nothing relies on it. tell is called for what happens. Errors:
// NotAMember, and those of keystore and index; not that an engine is away.
func Serve(ctx context.Context, f *folder.Folder, dial Dialer, req pipe.PoolRequest, tell func(pipe.ServeEvent) error) error {
	var ids []string
	if err := each(ctx, f, req.Pool, func(id string) error {
		ids = append(ids, id)
		return nil
	}); err != nil {
		return err
	}
	if len(ids) == 0 {
		return fault.Errorf(fault.NotAMember, "no pool of this machine is shared with others").Try(fault.Remedy{Do: fault.ShareStart}, fault.Remedy{Do: fault.ShareJoin})
	}
	ctx, stop := context.WithCancel(ctx)
	defer stop()
	ended := make(chan error, len(ids))
	for _, id := range ids {
		w := &watcher{folder: folder.New(f.Options), dial: dial, id: id, tell: tell, known: map[string]int{}, refused: map[string]int{}}
		go func() { ended <- w.run(ctx) }()
	}
	var first error
	for range ids {
		err := <-ended
		if first == nil {
			first = err
		}
		stop()
	}
	return first
}

// watcher watches one pool.
type watcher struct {
	folder *folder.Folder
	dial   Dialer
	id     string // of the pool
	name   string // its name here
	tell   func(pipe.ServeEvent) error

	away    bool
	tries   time.Duration  // how long to wait before the next try
	known   map[string]int // by account: the pool's generation that the folder has
	refused map[string]int // and the one whose refusal was heeded
}

func (w *watcher) run(ctx context.Context) error {
	for {
		err := w.watch(ctx)
		if ctx.Err() != nil {
			return nil //nolint:nilerr // it was stopped
		}
		if code := fault.CodeOf(err); code != fault.EngineUnreachable && code != fault.EngineRestored {
			return err
		}
		if !w.away {
			w.away, w.tries = true, retryFirst
			if err := w.event("lost", ""); err != nil {
				return err
			}
		}
		pause := time.NewTimer(w.tries)
		w.tries = min(2*w.tries, retryMost)
		select {
		case <-pause.C:
		case <-ctx.Done():
			pause.Stop()
			return nil
		}
	}
}

func (w *watcher) event(what, label string) error {
	return w.tell(pipe.ServeEvent{Event: what, Pool: w.name, Account: label})
}

// watch returns when the engine is away, or this machine isn't in the pool any more.
func (w *watcher) watch(ctx context.Context) error {
	p, err := open(ctx, w.folder, w.dial, w.id)
	if p == nil {
		return err
	}
	defer p.close()
	w.name = p.Local
	if err == nil {
		err = p.unrestored()
	}
	if err != nil {
		return err
	}
	what := "watching"
	if w.away {
		what = "back"
	}
	if err := w.event(what, ""); err != nil {
		return err
	}
	w.away = false
	kinds := []string{"acc"}
	if p.Role == seal.Holder {
		kinds = append(kinds, "want", "meta", "invite")
	}
	var looked, exchanged int64
	for limits := false; ; {
		if !limits { // more than these has changed
			if err := p.members.look(ctx); err != nil {
				return err
			}
			looked = p.id.Revision
			if err := w.catchUp(ctx, p); err != nil {
				return err
			}
		}
		exchanged = p.id.Revision
		if err := p.limits.exchange(ctx, spread); err != nil {
			return err
		}
		if limits = w.wait(ctx, p, kinds, looked, exchanged); ctx.Err() != nil {
			return ctx.Err()
		}
	}
}

// wait returns when one of the kinds of keys has changed since p looked, or what was told of
// limits since they were exchanged, or after a while. It reports whether it was limits.
// Whoever watches looks in any case.
func (w *watcher) wait(ctx context.Context, p *party, kinds []string, looked, exchanged int64) (limits bool) {
	ctx, cancel := context.WithTimeout(ctx, lookAnyway)
	defer cancel()
	changed := make(chan bool, len(kinds)+1)
	watch := func(kind string, after int64, limits bool) {
		if p.engine.Changed(ctx, p.key(kind, ""), after) != nil {
			<-ctx.Done() // it can't watch, so it looks now and then
		}
		changed <- limits
	}
	go watch("hold", exchanged, true)
	for _, kind := range kinds {
		go watch(kind, looked, false)
	}
	limits = <-changed
	return limits && ctx.Err() == nil
}

// catchUp takes over what others have published, and heeds wants.
func (w *watcher) catchUp(ctx context.Context, p *party) error {
	if err := p.unrestored(); err != nil {
		return err
	}
	wants := map[string]*Want{}
	if p.Role == seal.Holder {
		if err := p.members.settle(ctx); err != nil {
			return err
		}
		found, err := p.all(ctx, "want")
		if err != nil {
			return err
		}
		for id, e := range found {
			wants[id] = ParseWant(e.Value)
		}
	}
	good, _, err := p.accounts.sync(ctx)
	if err != nil {
		return err
	}
	if err := p.note(ctx); err != nil {
		return err
	}
	if err := p.reread(); err != nil {
		return err
	}
	for id, r := range good {
		a := p.o.Index.Account(id)
		if a == nil || a.Removing || a.Share == nil || r.State == seal.Dead {
			continue
		}
		if w.known[id] != r.Gen {
			stored, err := p.o.Grants(ctx, id)
			if err != nil {
				return err
			}
			if stored.Best == nil || stored.Best.PoolGeneration < r.Gen {
				if done, err := w.renew(ctx, a, rotation.Wish{Beyond: a.Generation}, "adopted"); err != nil {
					return err
				} else if !done {
					continue
				}
			}
			w.known[id] = r.Gen
		}
		want := wants[id]
		if want == nil || want.Gen != r.Gen || r.State != seal.Idle {
			continue
		}
		wish := rotation.Wish{Beyond: a.Generation, Rejected: want.Rejected}
		if want.Rejected {
			if w.refused[id] == r.Gen {
				continue
			}
			w.refused[id] = r.Gen
		} else if acc, err := p.o.Folder.Access(ctx, p.o.Index, a); err != nil {
			return err
		} else if acc != nil && acc.Judge(time.Now(), pool.DefaultMinTTL, p.o.Index.Store) < record.Soft {
			continue // its time hasn't come
		}
		if _, err := w.renew(ctx, a, wish, "refreshed"); err != nil {
			return err
		}
	}
	return p.reread()
}

// renew has the account's rotator do it. That it can't now is no error: its waiting is noted
// where everybody sees it.
func (w *watcher) renew(ctx context.Context, a *index.Account, wish rotation.Wish, what string) (done bool, err error) {
	err = rotation.Renew(ctx, w.folder, a, wish)
	if e, ok := errors.AsType[*fault.Error](err); ok && !e.Code.ForNow() && e.Code != fault.LoginNeeded && e.Code != fault.LockTimeout && e.Code != fault.NoAccount {
		return false, err
	}
	if err != nil {
		w.folder.Log.Info("not refreshed", "account", a.ID, "why", err)
		return false, nil
	}
	return true, w.event(what, a.Label)
}
