package share

import (
	"context"
	"errors"
	"slices"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/authferry/authferry/broker/fault"
	"github.com/authferry/authferry/broker/folder"
	"github.com/authferry/authferry/broker/index"
	"github.com/authferry/authferry/broker/rotation"
	"github.com/authferry/authferry/rawtext"
	"github.com/authferry/authferry/share/pipe"
	"github.com/authferry/authferry/share/seal"
)

// Remove takes a machine out of a pool, or withdraws a ticket. The pool gets new keys, which
// only those who stay get; every record is sealed anew; and every account that was readable
// is refreshed once, so that what the machine has is spent. What can't be spent is in the
// result. After a crash or an error, or as long as something is left, it goes on when it is
// called again. Errors: NotAMember (this machine isn't a holder), NoAccount (no such
// machine), Usage (this machine), and those of engine and keystore.
func Remove(ctx context.Context, f *folder.Folder, dial Dialer, req pipe.RemoveRequest) (*pipe.RemoveResult, error) {
	p, err := openAsHolder(ctx, f, dial, req.Pool)
	if err != nil {
		return nil, err
	}
	defer p.close()
	gone, err := p.members.leaving(req.Machine)
	if err != nil {
		return nil, err
	}
	if gone.id != "" {
		if err := p.shutOut(ctx, gone); err != nil {
			return nil, err
		}
	}
	if err := p.records.reseal(ctx); err != nil {
		return nil, err
	}
	done := &pipe.RemoveResult{Machine: gone.name, Rotated: []pipe.Account{}, Pending: []pipe.Account{}, Replace: []pipe.Account{}}
	if gone.user != "" {
		done.Revoke = []string{revoke(gone.user)}
	}
	if err := p.spend(ctx, gone.name, done); err != nil {
		return nil, err
	}
	return done, p.note(ctx)
}

// revoke is the engine's command that ends a user's access to it.
func revoke(user string) string { return "etcdctl user delete " + oneWord(user) }

// oneWord is text as one word of a shell: a user's name comes from the list of machines, which
// the removed machine could change as well.
func oneWord(text string) string {
	if !strings.HasPrefix(text, "-") && !strings.ContainsFunc(text, func(r rune) bool {
		return (r < 'a' || r > 'z') && (r < 'A' || r > 'Z') && (r < '0' || r > '9') && !strings.ContainsRune("-._@:/", r)
	}) {
		return text
	}
	text = strings.Map(func(r rune) rune {
		if rawtext.Steers(r) {
			return utf8.RuneError
		}
		return r
	}, text)
	return "-- '" + strings.ReplaceAll(text, "'", `'\''`) + "'"
}

// leaver is a machine or a ticket on its way out.
type leaver struct {
	id       string // empty: it is out already
	name     string
	user     string // of the engine
	role     seal.Role
	withKeys bool
}

// leaving finds who is to be removed.
func (p *members) leaving(name string) (leaver, error) {
	r := &p.meta.Roster
	if m := r.Named(name); m != nil {
		if m.ID == p.Machine {
			return leaver{}, fault.Errorf(fault.Usage, "this is machine %s itself", fault.Quote(m.Name)).Try(fault.Remedy{Do: fault.ShareLeave, Pool: p.Local})
		}
		return leaver{m.ID, m.Name, m.User, m.Role, m.WithKeys}, nil
	}
	if t := r.Ticket(name); t != nil {
		return leaver{t.ID, t.ID, t.User, t.Role, t.WithKeys}, nil
	}
	if slices.ContainsFunc(r.Exposed, func(e seal.Exposed) bool { return index.EqualLabel(e.Machine, name) }) {
		return leaver{name: name}, nil
	}
	return leaver{}, fault.Errorf(fault.NoAccount, "pool %s has no machine and no ticket %s", fault.Quote(p.Local), fault.Quote(name)).Try(fault.Remedy{Do: fault.ShareMembers, Pool: p.Local})
}

// shutOut takes a machine or a ticket out of the roster, and gives the pool new keys in the
// same step. The new keys are in this machine's keystore, and with the others, before: who
// has the meta must be able to get them.
func (p *party) shutOut(ctx context.Context, gone leaver) error {
	for {
		good, bad, err := p.records.read(ctx)
		if err != nil {
			return err
		}
		for id, err := range bad {
			return fault.Errorf(fault.Fenced, "account %s could not be given new keys; nothing was changed", id).Because(err).Try(fault.Remedy{Do: fault.ShareDoctor, Pool: p.Local})
		}
		if p.Next == nil || p.Next.Epoch != p.members.meta.Epoch+1 {
			k, err := seal.NewKeys(p.members.meta.Epoch + 1)
			if err != nil {
				return err
			}
			p.Next = &k
		}
		if err := p.save(ctx, p.o); err != nil {
			return err
		}
		next := *p.Next
		ring := p.ring()
		for _, m := range p.members.meta.Roster.Machines {
			if m.ID == gone.id {
				continue
			}
			if err := p.members.put(ctx, p.key("member", m.ID), func() ([]byte, error) { return m.Seal(ring, p.Pool) }); err != nil {
				return err
			}
		}
		folder.Reached("S20")
		err = p.members.changeMeta(ctx, func(m *seal.Meta) (bool, error) {
			if !inRoster(&m.Roster, gone.id) {
				return false, nil // another machine was quicker
			}
			if err := m.Advance(ring, next); err != nil {
				return false, err
			}
			expel(&m.Roster, gone, next.Epoch-1, good)
			return true, nil
		})
		if errors.Is(err, seal.ErrKeys) { // another machine removes another one
			if err := p.members.look(ctx); err != nil {
				return err
			}
			continue
		}
		if err != nil {
			return err
		}
		folder.Reached("S21")
		if err := p.members.look(ctx); err != nil { // takes the new keys into use
			return err
		}
		return p.members.settle(ctx)
	}
}

func inRoster(r *seal.Roster, id string) bool { return r.Machine(id) != nil || r.Ticket(id) != nil }

// expel takes a machine or a ticket out of r, with the tickets that it gave out, and notes
// what it could read.
func expel(r *seal.Roster, gone leaver, epoch int, good map[string]*seal.Record) {
	now := time.Now().UTC().Truncate(time.Second)
	r.Machines = slices.DeleteFunc(slices.Clone(r.Machines), func(m seal.Machine) bool { return m.ID == gone.id })
	r.Tickets = slices.DeleteFunc(slices.Clone(r.Tickets), func(t seal.Ticket) bool { return t.ID == gone.id || t.By == gone.id })
	r.Exposed = slices.Clone(r.Exposed)
	for _, rec := range byRank(good) {
		if rec.Public.Removing {
			continue
		}
		holder := gone.role == seal.Holder
		if rec.WithKeys && !holder && !gone.withKeys {
			continue
		}
		r.Exposed = append(r.Exposed, seal.Exposed{
			Account: rec.Account, Gen: rec.Gen, FP: rec.FP, Access: !holder && !rec.WithKeys, Epoch: epoch, Machine: gone.name, At: now,
		})
	}
}

// refreshBeyond refreshes an account until the pool has a newer generation than r's. The
// first time may only bring this machine up to date.
func (p *accounts) refreshBeyond(ctx context.Context, r *seal.Record) error {
	rotator := rotation.Rotator{Folder: p.o.Folder, Peers: NewPeers(p.dial)}
	for range 2 {
		if err := p.reread(); err != nil {
			return err
		}
		a := p.o.Index.Account(r.Account)
		if a == nil {
			return folder.Removed()
		}
		if a.Share != nil && a.Share.Generation > r.Gen {
			return nil
		}
		if err := rotator.Rotate(ctx, r.Account, rotation.Wish{Beyond: a.Generation, Person: true, Since: time.Now()}); err != nil {
			return err
		}
	}
	return nil
}

// spend refreshes what a removed machine could read, and says what is left.
func (p *party) spend(ctx context.Context, machine string, done *pipe.RemoveResult) error {
	var mine []seal.Exposed
	for _, e := range p.members.meta.Roster.Exposed {
		if index.EqualLabel(e.Machine, machine) {
			mine = append(mine, e)
		}
	}
	good, _, err := p.records.read(ctx)
	if err != nil {
		return err
	}
	failed := map[string]error{}
	for _, e := range mine {
		r := good[e.Account]
		if r == nil || e.Over(r) || r.WithKeys || r.Public.Kind == index.KindClient && !e.Access {
			continue
		}
		over := p.o.Folder.Progress(folder.Step{Doing: func() string { return "refreshing account " + fault.Quote(r.Public.Label) }})
		failed[e.Account] = p.accounts.refreshBeyond(ctx, r)
		over()
	}
	if good, _, err = p.records.read(ctx); err != nil {
		return err
	}
	if err := p.reread(); err != nil {
		return err
	}
	for _, e := range mine {
		r := good[e.Account]
		if r == nil {
			continue
		}
		a := pipe.Account{ID: e.Account, Label: r.Public.Label, Provider: r.Public.Provider}
		if here := p.o.Index.Account(e.Account); here != nil {
			a.Label = here.Label
		}
		switch err := failed[e.Account]; {
		case e.Over(r):
			if err == nil {
				done.Rotated = append(done.Rotated, a)
			}
		case r.Public.Kind == index.KindAPIKey:
			a.Reason = "it is an API key"
			done.Replace = append(done.Replace, a)
		case r.WithKeys:
			a.Reason = "it is a long-lived token"
			done.Replace = append(done.Replace, a)
		case r.Public.Kind == index.KindClient:
			a.Reason = "it is a client's own secret or key"
			done.Replace = append(done.Replace, a)
		case err != nil:
			a.Reason = err.Error()
			done.Pending = append(done.Pending, a)
		default:
			a.Reason = "the provider doesn't give a new refresh token; end the login there, and log in again"
			done.Replace = append(done.Replace, a)
		}
	}
	return p.members.changeMeta(ctx, func(m *seal.Meta) (changed bool, err error) {
		m.Roster.Exposed = slices.DeleteFunc(slices.Clone(m.Roster.Exposed), func(e seal.Exposed) bool {
			r := good[e.Account]
			over := r == nil || e.Over(r)
			changed = changed || over
			return over
		})
		return changed, nil
	})
}
