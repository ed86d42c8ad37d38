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
	// Release ends what Renew and Others need; nil: nothing.
	Release func()
}

func (s *Seat) close() {
	_ = s.Engine.Close()
	if s.Release != nil {
		s.Release()
	}
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
func (p *Peers) Claim(ctx context.Context, have *rotation.Stored, l *folder.Rotation, w rotation.Wish) (rotation.Claimed, error) {
	t, err := p.turn(ctx, &local{have.Opened, l, have.Account, have.Grant}, w)
	if err != nil {
		return nil, err
	}
	c, err := t.claim(ctx)
	if c == nil || err != nil {
		t.seat.close()
		return nil, err
	}
	*have = rotation.Stored{Opened: t.o, Account: t.account, Grant: t.mine}
	return c, nil
}

// local is an account as this machine's folder has it, under its rotation lock.
type local struct {
	o       *folder.Opened
	l       *folder.Rotation
	account *index.Account
	mine    *record.Grant // the newest that this machine has; nil: none
}

// turn is what one rotator does about one account.
type turn struct {
	*local
	*remote
	notes *notes // of the two
	wish  rotation.Wish

	watched watched // the newest look at an earlier generation
	others  []Other // once they were asked for
	wanted  bool    // the holders were asked for a new token

	announced announcement
	resend    *resend // what this machine's claim is for; nil: it isn't one
}

// watched is a moment at which a generation was seen to be the newest.
type watched struct {
	gen  int
	at   time.Time
	boot record.Boot
}

// turn connects what this machine has of an account to its record at the engine.
func (p *Peers) turn(ctx context.Context, here *local, w rotation.Wish) (*turn, error) {
	id := ""
	switch {
	case here.mine != nil: // the keystore decides
		id = here.mine.Share
	case here.account.Share != nil:
		id = here.account.Share.Pool
	}
	if id == "" {
		return nil, fault.Errorf(fault.Fenced, "account %s is in no shared pool, by its keystore, although the index says so; nothing was sent", here.label()).ItsOwn().Try(fault.Remedy{Do: fault.ShareDoctor})
	}
	seat, err := p.Open(ctx, here.o, id)
	if err != nil {
		return nil, err
	}
	there := &remote{seat: seat, id: here.l.Account, quoted: here.label(), key: Key(seat.Prefix, seat.Pool, "acc", here.l.Account)}
	if s := here.o.Index.SharedPool(seat.Pool); s != nil {
		there.restored = s.Engine == index.EngineRestored
		seat.Revision = max(seat.Revision, s.Revision)
	}
	return &turn{local: here, remote: there, notes: &notes{here, there}, wish: w}, nil
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
func (h *local) reread(ctx context.Context) error {
	idx, err := h.o.Folder.Read()
	if err != nil {
		return err
	}
	if h.account, err = folder.Living(idx, h.l.Account); err != nil {
		return err
	}
	if h.o, err = h.o.Folder.Open(idx); err != nil {
		return err
	}
	stored, err := h.o.Grants(ctx, h.l.Account)
	if err != nil {
		return err
	}
	h.mine = stored.Best
	return nil
}

// label is the account's, for errors.
func (h *local) label() string { return fault.Quote(h.account.Label) }

// change changes the account's entry in the index.
func (h *local) change(ctx context.Context, d index.Durability, edit func(*index.Index, *index.Account)) error {
	return h.o.Folder.Change(ctx, d, h.l.Account, func(idx *index.Index, a *index.Account) {
		edit(idx, a)
		h.account, h.o.Index = a, idx
	})
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
		case t.wish.Background || time.Now().After(deadline) || sighted(t.notes.sight()) > stalled:
			return nil, waits
		}
		t.watched = watched{t.rec.Gen, time.Now(), record.BootNow()}
		t.wait(ctx, pause)
		if ctx.Err() != nil {
			return nil, fault.Errorf(fault.Cancelled, "interrupted; nothing was sent").Because(ctx.Err())
		}
	}
}

// served reports whether the folder has what is wished for.
func (t *turn) served() bool {
	a := t.account
	return a.Generation > t.wish.Beyond && a.AccessSlot != "" && !pool.SeemsOver(a, time.Now())
}

// look reads the account's record.
func (t *turn) look(ctx context.Context) error {
	began := newWatch()
	if err := t.read(ctx); err != nil {
		return t.explain(ctx, err)
	}
	if s := t.account.Share; s != nil && s.Pool == t.seat.Pool && t.rec.Gen < s.Generation {
		t.restored = true // it had a later one, as this machine has seen
	}
	t.announced.see(t.rec, began)
	return nil
}

// explain is the error for one of remote's, which it notes in the index if it is the engine's.
func (t *turn) explain(ctx context.Context, cause error) error {
	if _, ours := asFault(cause); ours {
		return cause
	}
	err := t.failure(ctx, cause)
	switch {
	case err.Code == fault.EngineRestored:
		t.restored = true
		t.notes.engine(ctx, index.EngineRestored)
	case err.Code == fault.EngineUnreachable:
		t.notes.engine(ctx, index.EngineUnreachable)
		t.notes.backOff(ctx)
	case errors.Is(cause, engine.ErrRefused) && err.Code == fault.NotAMember:
		t.notes.engine(ctx, index.EngineRefused)
	}
	return err
}

// failure is the error for one of remote's.
func (t *turn) failure(ctx context.Context, cause error) *fault.Error {
	if e, ours := asFault(cause); ours {
		return e
	}
	switch {
	case errors.Is(cause, seal.ErrOver), errors.Is(cause, errAbsent) && t.mine != nil && t.mine.PoolGeneration > 0:
		return t.forgotten()
	case errors.Is(cause, errAbsent):
		return fault.Errorf(fault.NotAMember, "account %s is not in its shared pool; nothing was sent", t.label()).ItsOwn().Try(fault.Remedy{Do: fault.ShareDoctor})
	case ctx.Err() != nil:
		return fault.Errorf(fault.Cancelled, "interrupted; nothing was sent").Because(ctx.Err())
	case errors.Is(cause, engine.ErrRefused):
		return fault.Errorf(fault.NotAMember, "account %s: the engine of its shared pool refuses this machine, which was removed, or whose certificate isn't valid; nothing was sent", t.label()).
			Because(cause).Try(fault.Remedy{Do: fault.ShareDoctor})
	}
	last := "and it has not answered before"
	if s := t.o.Index.SharedPool(t.seat.Pool); s != nil && !s.SeenAt.IsZero() {
		last = "its last answer came " + pool.AtTime(s.SeenAt, time.Now())
	}
	return fault.Errorf(fault.EngineUnreachable, "account %s: the engine of the shared pool can't be reached; %s; the login is kept", t.label(), last).
		Because(cause).Try(fault.Remedy{Do: fault.ShareStatus})
}

// forgotten is the error for an engine that has an older state than this machine has seen.
func (t *turn) forgotten() *fault.Error {
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
