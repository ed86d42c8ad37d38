package share

import (
	"context"
	"fmt"
	"os"
	"slices"
	"strings"
	"time"

	"github.com/authferry/authferry/broker/fault"
	"github.com/authferry/authferry/share/engine"
	"github.com/authferry/authferry/share/seal"
)

// changeMeta changes the pool's meta. edit may be called any number of times, and reports
// whether it has changed anything.
func (p *members) changeMeta(ctx context.Context, edit func(*seal.Meta) (changed bool, err error)) error {
	return p.change(ctx, p.key("meta", ""), func(now []byte) ([]byte, error) {
		m, err := p.openMeta(ctx, now)
		if err != nil {
			return nil, err
		}
		changed, err := edit(m)
		if err != nil {
			return nil, err
		}
		p.meta = m
		if !changed {
			return now, nil
		}
		next, err := m.Encode(p.ring())
		if err != nil {
			return nil, p.unbelievable("the list of its machines", err)
		}
		return next, nil
	})
}

// settle enters machines that joined since into the roster, drops tickets that are over,
// and hands keys to machines that lack them. Only a holder can.
func (p *members) settle(ctx context.Context) error {
	invites, err := p.all(ctx, "invite")
	if err != nil {
		return err
	}
	answered, over := map[string]*seal.Answer{}, map[string]bool{}
	now := time.Now()
	for _, t := range p.meta.Roster.Tickets {
		e, there := invites[t.ID]
		switch a, err := seal.OpenAnswer(p.Keys, p.Pool, t, e.Value); {
		case there && err == nil && a != nil:
			answered[t.ID] = a
		case now.After(t.ExpiresAt):
			over[t.ID] = true
		}
	}
	if len(answered)+len(over) > 0 {
		// An invitation that is over goes first, so that nobody joins by it meanwhile.
		for id := range over {
			if err := p.drop(ctx, p.key("invite", id), invites[id]); err != nil {
				return err
			}
		}
		if err := p.changeMeta(ctx, func(m *seal.Meta) (changed bool, err error) {
			for id, a := range answered {
				if t := m.Roster.Ticket(id); t != nil {
					changed = true
					admit(&m.Roster, *t, *a, now)
				}
			}
			m.Roster.Tickets = slices.DeleteFunc(m.Roster.Tickets, func(t seal.Ticket) bool {
				gone := over[t.ID] || answered[t.ID] != nil
				changed = changed || gone
				return gone
			})
			return changed, nil
		}); err != nil {
			return err
		}
	}
	return p.handOut(ctx)
}

// expire withdraws tickets that are over, as far as this machine has heard of them: whoever
// has one could still open what the engine keeps for it.
func (p *members) expire(ctx context.Context) error {
	if p.Role != seal.Holder {
		return nil
	}
	seen, err := seal.OpenMeta(p.Keys, p.Pool, p.Meta)
	now := time.Now()
	if err != nil || !slices.ContainsFunc(seen.Roster.Tickets, func(t seal.Ticket) bool { return now.After(t.ExpiresAt) }) {
		return nil //nolint:nilerr // what this machine can't read now, a command will
	}
	if err := p.look(ctx); err != nil {
		return err
	}
	if err := p.unrestored(); err != nil {
		return err
	}
	return p.settle(ctx)
}

// admit enters the machine that answered a ticket.
func admit(r *seal.Roster, t seal.Ticket, a seal.Answer, now time.Time) {
	if r.Machine(a.Machine) != nil {
		return
	}
	r.Machines = append(r.Machines, seal.Machine{
		ID: a.Machine, Name: freeName(r, a.Name), Role: t.Role, Passing: t.Passing, WithKeys: t.WithKeys,
		Recipient: a.Recipient, User: t.User, Since: now.UTC().Truncate(time.Second),
	})
}

// drop deletes a value, unless it has changed: then somebody has to look again.
func (p *members) drop(ctx context.Context, key string, e engine.Entry) error {
	if e.Version == 0 {
		return nil
	}
	_, _, err := p.swap(ctx, key, e.Version, nil)
	return err
}

// handOut sees to it that each machine of the roster, and each open ticket, can get the
// newest keys, and nobody else.
func (p *members) handOut(ctx context.Context) error {
	members, err := p.all(ctx, "member")
	if err != nil {
		return err
	}
	invites, err := p.all(ctx, "invite")
	if err != nil {
		return err
	}
	// The roster names them before they are made, so it has to be read after them.
	if err := p.look(ctx); err != nil {
		return err
	}
	newest := p.meta.Chain[len(p.meta.Chain)-1]
	for _, m := range p.meta.Roster.Machines {
		if seal.HandedOver(members[m.ID].Value, "member", p.Pool, m.ID, newest) {
			continue
		}
		if err := p.put(ctx, p.key("member", m.ID), func() ([]byte, error) { return m.Seal(p.Keys, p.Pool) }); err != nil {
			return err
		}
	}
	for id, e := range members {
		if p.meta.Roster.Machine(id) == nil {
			if err := p.drop(ctx, p.key("member", id), e); err != nil {
				return err
			}
		}
	}
	for id, e := range invites {
		if p.meta.Roster.Ticket(id) == nil {
			if err := p.drop(ctx, p.key("invite", id), e); err != nil {
				return err
			}
		}
	}
	for _, t := range p.meta.Roster.Tickets {
		e, there := invites[t.ID]
		if !there || seal.HandedOver(e.Value, "invite", p.Pool, t.ID, newest) || seal.Answered(e.Value) {
			continue
		}
		value, err := t.Seal(p.Keys, p.Pool)
		if err != nil {
			return p.unbelievable("an invitation", err)
		}
		if _, _, err := p.swap(ctx, e.Key, e.Version, value); err != nil { // lost: it was answered meanwhile
			return err
		}
	}
	return nil
}

// put makes a value that is sealed anew each time.
func (p *members) put(ctx context.Context, key string, make func() ([]byte, error)) error {
	value, err := make()
	if err != nil {
		return p.unbelievable("a value", err)
	}
	return p.change(ctx, key, func([]byte) ([]byte, error) { return value, nil })
}

// expose notes that a removed machine could read r, which was refreshed after its removal
// with keys that it still had.
func (p *members) expose(ctx context.Context, r *seal.Record) error {
	unnoted := func(e seal.Exposed) bool { return e.Account == r.Account && e.Epoch >= r.Epoch && e.Gen < r.Gen }
	if !slices.ContainsFunc(p.meta.Roster.Exposed, unnoted) {
		return nil
	}
	return p.changeMeta(ctx, func(m *seal.Meta) (changed bool, err error) {
		for i, e := range m.Roster.Exposed {
			if unnoted(e) {
				m.Roster.Exposed[i].Gen, m.Roster.Exposed[i].FP, changed = r.Gen, r.FP, true
			}
		}
		return changed, nil
	})
}

// machineName is what this machine is called in a pool: what a person says, or else its
// host name, with a number if that is taken.
func machineName(asked string, r *seal.Roster) (string, error) {
	if asked != "" {
		if !seal.CheckName(asked) {
			return "", fault.Errorf(fault.Usage, "a machine's name has 1 to 64 letters, digits and signs, without spaces and slashes")
		}
		if r != nil && r.Named(asked) != nil {
			return "", fault.Errorf(fault.LabelTaken, "the pool has a machine %s already", fault.Quote(asked)).Try(fault.Remedy{Do: fault.Again, Name: "machine", Value: "NAME"})
		}
		return asked, nil
	}
	host, _ := os.Hostname()
	host, _, _ = strings.Cut(host, ".")
	name := strings.Map(func(c rune) rune {
		if c <= ' ' || c > '~' || c == '/' {
			return -1
		}
		return c
	}, host)
	name = strings.TrimLeft(name[:min(len(name), 48)], "-")
	if !seal.CheckName(name) {
		name = "machine"
	}
	if r == nil {
		return name, nil
	}
	return freeName(r, name), nil
}

// freeName is name, with a number behind it if a machine of the roster has it.
func freeName(r *seal.Roster, name string) string {
	for i := 1; ; i++ {
		free := name
		if i > 1 {
			free = fmt.Sprintf("%s-%d", name, i)
		}
		if r.Named(free) == nil {
			return free
		}
	}
}
