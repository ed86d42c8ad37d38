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
	"github.com/authferry/authferry/share/engine"
	"github.com/authferry/authferry/share/seal"
)

// The times of the protocol. Each is counted by one machine's own clock. Only tests change
// them.
var (
	// engineCall is how long one call of the engine may take.
	engineCall = 5 * time.Second
	// sendWithin is how long after its fence was armed a machine may begin to send (D).
	sendWithin = 10 * time.Second
	// claimLasts is how long a claim of another machine that doesn't announce is respected.
	claimLasts = 10 * time.Second
	// sendingLasts is how long what a passing machine announced is respected (T): until it
	// must have sent, has waited for its answer, and could have published it.
	sendingLasts = sendWithin + rotation.SharedPatience + 20*time.Second
	// graceLasts is T where the provider takes a refresh token again for leastGrace or longer.
	graceLasts = 20 * time.Second
	leastGrace = 30 * time.Second
	// stalled is how long after an announcement of another machine nobody waits for it any
	// more.
	stalled = rotation.SharedPatience + 20*time.Second
	// oldest is how long ago an access token may have ended for a machine that has never
	// seen it alive to believe that its grant is the newest, unless its life was longer.
	oldest = time.Hour
)

// Seat is this machine in one shared pool.
type Seat struct {
	Pool    string // id of the shared pool
	Prefix  string // of its keys in the engine
	Machine string // id
	Role    seal.Role
	Passing bool
	Keys    seal.Ring
	// Cluster and Revision are what the engine must not fall behind; empty: unknown.
	Cluster  string
	Revision int64
	Engine   engine.Engine
	// Renew fetches keys of a later epoch.
	Renew func(context.Context) (seal.Ring, error)
	// Others are the other machines by id; holders only if so asked. It reads the roster.
	Others func(ctx context.Context) ([]Other, error)
}

// Other is another machine of a pool.
type Other struct {
	ID, Name string
	Holder   bool
}

// Peers are the other machines of the folder's shared pools, for rotation.
type Peers struct {
	// Open opens this machine's seat in a pool. Errors are *fault.Error.
	Open func(ctx context.Context, o *folder.Opened, pool string) (*Seat, error)
}

// Claim implements rotation.Peers.
func (p *Peers) Claim(ctx context.Context, o *folder.Opened, l *folder.Rotation, w rotation.Wish) (rotation.Claimed, error) {
	t, err := p.turn(ctx, o, l, w)
	if err != nil {
		return nil, err
	}
	c, err := t.claim(ctx)
	if c == nil || err != nil {
		_ = t.seat.Engine.Close()
		return nil, err
	}
	return c, nil
}

// turn is what one rotator does about one account.
type turn struct {
	seat    *Seat
	o       *folder.Opened
	l       *folder.Rotation
	wish    rotation.Wish
	account *index.Account
	mine    *record.Grant // the newest that this machine has; nil: none

	key      string
	entry    engine.Entry
	id       engine.Identity
	rec      *seal.Record // as in entry
	restored bool         // the engine has forgotten something
	quiet    bool         // the index is another goroutine's
	watched  watched      // the newest look at an earlier generation
	others   []Other      // once they were asked for
	wanted   bool         // the holders were asked for a new token

	announced announcement
	resend    *resend // what this machine's claim is for; nil: it isn't one
}

// watched is a moment at which a generation was seen to be the newest.
type watched struct {
	gen  int
	at   time.Time
	boot record.Boot
}

func (p *Peers) turn(ctx context.Context, o *folder.Opened, l *folder.Rotation, w rotation.Wish) (*turn, error) {
	t := &turn{o: o, l: l, wish: w}
	if err := t.reread(ctx); err != nil {
		return nil, err
	}
	id := ""
	switch {
	case t.mine != nil: // the keystore decides
		id = t.mine.Share
	case t.account.Share != nil:
		id = t.account.Share.Pool
	}
	if id == "" {
		return nil, fault.Errorf(fault.Fenced, "account %s is in no shared pool, by its keystore, although the index says so; nothing was sent", t.label()).ItsOwn().Try(fault.Remedy{Do: fault.ShareDoctor})
	}
	var err error
	if t.seat, err = p.Open(ctx, o, id); err != nil {
		return nil, err
	}
	t.key = Key(t.seat.Prefix, t.seat.Pool, "acc", l.Account)
	if s := t.o.Index.SharedPool(t.seat.Pool); s != nil {
		t.restored = s.Engine == index.EngineRestored
		t.seat.Revision = max(t.seat.Revision, s.Revision)
	}
	return t, nil
}

// Key is the name of a value in the engine: of a kind (acc, hold, member, want …), and of
// an id unless the kind has only one.
func Key(prefix, pool, kind, id string) string {
	k := prefix + "/" + pool + "/" + kind
	if id != "" {
		k += "/" + id
	}
	return k
}

// reread reads what the folder has of the account now.
func (t *turn) reread(ctx context.Context) error {
	idx, err := t.o.Folder.Read()
	if err != nil {
		return err
	}
	if t.account, err = folder.Living(idx, t.l.Account); err != nil {
		return err
	}
	if t.o, err = t.o.Folder.Open(idx); err != nil {
		return err
	}
	stored, err := t.o.Grants(ctx, t.l.Account)
	if err != nil {
		return err
	}
	t.mine = stored.Best
	return nil
}

// claim makes this machine the one that may rotate. Nil without an error: the account has
// what is wished for.
func (t *turn) claim(ctx context.Context) (*claimed, error) {
	deadline := time.Now().Add(max(t.o.Folder.HTTPTimeout-2*time.Second, time.Second))
	for pause := firstPause; ; pause = min(2*pause, longestPause) {
		if err := t.reconcile(ctx); err != nil && !t.served() {
			return nil, err
		} else if err != nil {
			return nil, nil //nolint:nilerr // what is wished for is here
		}
		if t.served() {
			return nil, nil
		}
		c, waits, err := t.step(ctx)
		switch {
		case c != nil || err != nil:
			return c, err
		case waits == nil: // something has changed: look again
			pause = firstPause
			continue
		case t.wish.Background || time.Now().After(deadline) || t.sighted() > stalled:
			return nil, waits
		}
		t.watched = watched{t.rec.Gen, time.Now(), record.BootNow()}
		t.wait(ctx, pause)
		if ctx.Err() != nil {
			return nil, fault.Errorf(fault.Cancelled, "interrupted; nothing was sent").Because(ctx.Err())
		}
	}
}

const firstPause, longestPause = 50 * time.Millisecond, time.Second

// wait returns when the account's record has changed, or after a while.
func (t *turn) wait(ctx context.Context, pause time.Duration) {
	rest := time.NewTimer(pause)
	defer rest.Stop()
	brief, cancel := context.WithTimeout(ctx, pause)
	defer cancel()
	if t.seat.Engine.Changed(brief, t.key, t.id.Revision) == nil {
		select { // an engine that can't tell must not be asked without end
		case <-rest.C:
		case <-time.After(10 * time.Millisecond):
		case <-ctx.Done():
		}
		return
	}
	select {
	case <-rest.C:
	case <-ctx.Done():
	}
}

// served reports whether the folder has what is wished for.
func (t *turn) served() bool {
	a := t.account
	return a.Generation > t.wish.Beyond && a.AccessSlot != "" && !pool.SeemsOver(a, time.Now())
}

// look reads the account's record.
func (t *turn) look(ctx context.Context) error {
	call, cancel := context.WithTimeout(ctx, engineCall)
	defer cancel()
	began := newWatch()
	entry, id, err := t.seat.Engine.Get(call, t.key)
	if err != nil {
		return t.unreachable(ctx, err)
	}
	t.entry, t.id = entry, id
	if t.seat.Cluster != "" && id.Cluster != t.seat.Cluster || id.Revision < t.seat.Revision {
		t.restored = true
	}
	if err := t.open(ctx); err != nil {
		return err
	}
	if s := t.account.Share; s != nil && s.Pool == t.seat.Pool && t.rec.Gen < s.Generation {
		t.restored = true // it had a later one, as this machine has seen
	}
	t.announced.see(t.rec, began)
	return nil
}

// open reads the record in t.entry.
func (t *turn) open(ctx context.Context) (err error) {
	if t.entry.Version == 0 {
		if t.mine != nil && t.mine.PoolGeneration > 0 {
			t.restored = true
			return t.forgotten(ctx)
		}
		return fault.Errorf(fault.NotAMember, "account %s is not in its shared pool; nothing was sent", t.label()).ItsOwn().Try(fault.Remedy{Do: fault.ShareDoctor})
	}
	t.rec, err = seal.Open(t.seat.Keys, t.seat.Pool, t.l.Account, t.entry.Value)
	// Older keys than the newest are believed only while a removal goes on.
	old := err == nil && t.rec.Epoch < t.seat.Keys.Newest().Epoch
	if (old || errors.Is(err, seal.ErrKeys)) && t.seat.Renew != nil {
		ring, renewed := t.seat.Renew(ctx)
		if renewed != nil {
			return renewed
		}
		t.seat.Keys = ring
		t.rec, err = seal.Open(ring, t.seat.Pool, t.l.Account, t.entry.Value)
	}
	switch {
	case errors.Is(err, seal.ErrNewer):
		return fault.Errorf(fault.IndexTooNew, "the shared pool has been used by a newer authferry; nothing was sent").Try(fault.Remedy{Do: fault.ShowVersion})
	case errors.Is(err, seal.ErrOver):
		t.restored = true
		return t.forgotten(ctx)
	case errors.Is(err, seal.ErrKeys):
		return fault.Errorf(fault.NotAMember, "this machine is no longer a member of the shared pool; nothing was sent").Try(fault.Remedy{Do: fault.ShareJoin})
	case err == nil && t.rec.Public.Removing:
		return fault.Errorf(fault.NotAMember, "account %s was taken out of its shared pool; nothing was sent", t.label()).ItsOwn().Try(fault.Remedy{Do: fault.ShareStatus})
	case err != nil:
		return fault.Errorf(fault.Fenced, "what the engine has of account %s is not what a machine of the pool has stored; nothing was sent", t.label()).ItsOwn().
			Because(err).Try(fault.Remedy{Do: fault.ShareDoctor})
	}
	return nil
}

func (t *turn) label() string { return fault.Quote(t.account.Label) }

// swap replaces the record by next. won false without an error: another machine was first,
// or the outcome is unknown and nothing shows that it was done; t has what is there now.
func (t *turn) swap(ctx context.Context, next *seal.Record) (won bool, err error) {
	value, err := next.Encode(t.seat.Keys)
	if err != nil {
		return false, fault.Errorf(fault.Internal, "the record of account %s can't be stored", t.label()).Because(err)
	}
	call, cancel := context.WithTimeout(ctx, engineCall)
	defer cancel()
	now, won, err := t.seat.Engine.Swap(call, t.key, t.entry.Version, value)
	if err != nil {
		return false, err
	}
	t.entry = now
	if won {
		t.rec = next
		return true, nil
	}
	return false, t.open(ctx)
}

// unreachable is the error for an engine that gave no answer.
func (t *turn) unreachable(ctx context.Context, cause error) error {
	if ctx.Err() != nil {
		return fault.Errorf(fault.Cancelled, "interrupted; nothing was sent").Because(ctx.Err())
	}
	if errors.Is(cause, engine.ErrRefused) {
		t.noteEngine(ctx, index.EngineRefused)
		return fault.Errorf(fault.NotAMember, "account %s: the engine of its shared pool refuses this machine, which was removed, or whose certificate isn't valid; nothing was sent", t.label()).
			Because(cause).Try(fault.Remedy{Do: fault.ShareDoctor})
	}
	last := "and it has not answered before"
	if s := t.o.Index.SharedPool(t.seat.Pool); s != nil && !s.SeenAt.IsZero() {
		last = "its last answer came " + pool.AtTime(s.SeenAt, time.Now())
	}
	t.noteEngine(ctx, index.EngineUnreachable)
	t.backOff(ctx)
	e := fault.Errorf(fault.EngineUnreachable, "account %s: the engine of the shared pool can't be reached; %s; the login is kept", t.label(), last)
	return e.Because(cause).Try(fault.Remedy{Do: fault.ShareStatus})
}

// forgotten is the error for an engine that has an older state than this machine has seen.
func (t *turn) forgotten(ctx context.Context) error {
	t.noteEngine(ctx, index.EngineRestored)
	return fault.Errorf(fault.EngineRestored, "account %s: the engine of the shared pool has forgotten something, as after restoring a backup; nothing was sent", t.label()).
		Try(fault.Remedy{Do: fault.ShareDoctor})
}

// waiting is the error while another machine has the account.
func (t *turn) waiting(ctx context.Context, machine string) *fault.Error {
	name := t.name(ctx, machine)
	since := time.Now()
	if s := t.account.Share; s != nil && !s.Since.IsZero() {
		since = s.Since
	}
	e := fault.Errorf(fault.WaitingForMachine, "account %s is being refreshed by %s, since %s; only that machine knows whether the provider has answered", t.label(), name, sinceWords(since)).ItsOwn()
	return e.Try(fault.Remedy{Do: fault.ShareRecover, Account: pool.Reference(t.o.Index, t.account)}, fault.Remedy{Do: fault.ShareStatus})
}

func sinceWords(at time.Time) string { return pool.AtTime(at, time.Now())[len("at "):] }

// name is what people call a machine, in an error.
func (t *turn) name(ctx context.Context, machine string) string {
	switch called := t.called(ctx, machine); {
	case machine == t.seat.Machine:
		return "this machine, in an earlier state"
	case called == machine:
		return "machine " + machine
	default:
		return "machine " + fault.Quote(called)
	}
}

// called is the name of a machine; its id, if the name isn't known.
func (t *turn) called(ctx context.Context, machine string) string {
	if machine == t.seat.Machine {
		if s := t.o.Index.SharedPool(t.seat.Pool); s != nil {
			return s.Machine
		}
		return machine
	}
	if t.others == nil && t.seat.Others != nil {
		call, cancel := context.WithTimeout(ctx, engineCall)
		defer cancel()
		t.others, _ = t.seat.Others(call) // the id will do
	}
	for _, o := range t.others {
		if o.ID == machine {
			return o.Name
		}
	}
	return machine
}
