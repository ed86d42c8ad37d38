package share

import (
	"cmp"
	"context"
	"slices"
	"time"

	"github.com/authferry/authferry/broker/fault"
	"github.com/authferry/authferry/broker/folder"
	"github.com/authferry/authferry/broker/index"
	"github.com/authferry/authferry/broker/pool"
	"github.com/authferry/authferry/share/engine"
	"github.com/authferry/authferry/share/pipe"
	"github.com/authferry/authferry/share/seal"
)

// Set tells the machines of a shared pool what a person has set of an account here: its
// label, whether it is disabled, or the order of the pool's accounts. What was set last
// counts. Errors: NoAccount, NotAMember (this machine isn't a holder), EngineRestored, and
// those of engine, keystore and index; then it is set here alone.
func Set(ctx context.Context, f *folder.Folder, dial Dialer, req pipe.SetRequest) (*pipe.SetResult, error) {
	p, a, err := openForAccount(ctx, f, dial, req.Account, fault.ShareStatus)
	if err != nil {
		return nil, err
	}
	defer p.close()
	if err := p.reread(); err != nil {
		return nil, err
	}
	for _, one := range shared(p.o.Index, p.Pool) {
		if one.ID != a.ID && req.Setting != pipe.Rank {
			continue
		}
		if err := p.records.set(ctx, one, req.Setting); err != nil {
			return nil, err
		}
	}
	change, err := p.limits.nameChange(ctx, a.ID)
	if err != nil {
		return nil, err
	}
	good, _, err := p.records.read(ctx)
	if err != nil {
		return nil, err
	}
	return &pipe.SetResult{}, p.records.heed(ctx, good, map[string]string{a.ID: change})
}

// set puts one setting of an account into its record.
func (p *records) set(ctx context.Context, a *index.Account, setting string) error {
	return p.change(ctx, p.key("acc", a.ID), func(now []byte) ([]byte, error) {
		if now == nil {
			p.restored = true
			return nil, p.unrestored()
		}
		r, err := p.open(a.ID, engine.Entry{Value: now})
		if err != nil {
			return nil, err
		}
		public := r.Public
		switch setting {
		case pipe.Label:
			public.Label = a.Label
		case pipe.Rank:
			public.Rank = a.Rank
		case pipe.Disabled:
			public.Disabled = a.Disabled
		}
		if public == r.Public || public.Removing {
			return now, nil
		}
		next, err := r.WithPublic(p.Keys, public)
		if err != nil {
			return nil, p.unbelievable("account "+a.ID, err)
		}
		return next.Encode(p.Keys)
	})
}

// nameChange gives the newest change of an account's settings a name, where machines look
// for limits, so that those that are in use read the record soon.
func (p *limits) nameChange(ctx context.Context, id string) (string, error) {
	name := newEntry()
	for range changeTries {
		docs, err := p.learn(ctx)
		if err != nil {
			return "", err
		}
		next := &seal.Holds{}
		if doc := docs[id].doc; doc != nil {
			*next = *doc
		}
		if next.Settings == name {
			return name, nil // written, and never answered
		}
		next.Settings = name
		if won, err := p.write(ctx, id, docs[id].version, next); won || err != nil {
			return name, err
		}
	}
	return "", p.engineFault(ctx, engine.ErrUnreachable)
}

// newSettings reads the accounts' records if there was a change of settings that this
// machine doesn't know.
func (p *limits) newSettings(ctx context.Context, docs map[string]document) error {
	unknown := map[string]string{}
	for _, a := range shared(p.o.Index, p.Pool) {
		if doc := docs[a.ID].doc; doc != nil && doc.Settings != "" && (a.Share.Settings == nil || a.Share.Settings.Change != doc.Settings) {
			unknown[a.ID] = doc.Settings
		}
	}
	if len(unknown) == 0 {
		return nil
	}
	good, _, err := p.records.read(ctx)
	if err == nil {
		err = p.unrestored()
	}
	if err != nil {
		return err
	}
	return p.records.heed(ctx, good, unknown)
}

// settingsOf is what a record says of settings.
func settingsOf(p seal.Public) *index.Settings {
	return &index.Settings{Label: p.Label, Rank: p.Rank, Disabled: p.Disabled}
}

// heed does here what was set on other machines since this one last looked. changes are the
// names of the newest, by account, where they are known.
func (p *records) heed(ctx context.Context, good map[string]*seal.Record, changes map[string]string) error {
	news := func(a *index.Account) *index.Settings {
		r := good[a.ID]
		if r == nil || r.Public.Removing || a.Share == nil || a.Share.Pool != p.Pool || a.Removing {
			return nil
		}
		next := settingsOf(r.Public)
		was := a.Share.Settings
		if was != nil {
			next.Change, next.Extra = was.Change, was.Extra
		}
		next.Change = cmp.Or(changes[a.ID], next.Change)
		if was != nil && was.Change == next.Change && was.Label == next.Label && was.Rank == next.Rank && was.Disabled == next.Disabled {
			return nil
		}
		return next
	}
	if !slices.ContainsFunc(shared(p.o.Index, p.Pool), func(a *index.Account) bool { return news(a) != nil }) {
		return nil
	}
	rules := pool.RulesOf(p.o.Folder)
	return p.o.Folder.Update(ctx, index.Fast, func(idx *index.Index) error {
		moved := false
		for i := range idx.Accounts {
			a := &idx.Accounts[i]
			next := news(a)
			if next == nil {
				continue
			}
			was := index.Settings{Label: a.Label, Rank: -1, Disabled: a.Disabled}
			if a.Share.Settings != nil {
				was = *a.Share.Settings
			}
			s := *a.Share
			s.Settings, a.Share = next, &s
			if next.Label != was.Label {
				relabel(idx, a, next.Label)
			}
			if next.Disabled != was.Disabled {
				rules.MoveOn(idx, a, time.Now(), func() { a.Disabled = next.Disabled })
			}
			moved = moved || next.Rank != was.Rank
		}
		if moved {
			reorder(idx.Members(p.Local))
		}
		p.o.Index = idx
		return nil
	})
}

// relabel gives an account the label that it has elsewhere, unless another one has it here.
func relabel(idx *index.Index, a *index.Account, label string) {
	label, err := index.CheckLabel(label)
	taken := slices.ContainsFunc(idx.Labelled(a.Provider, label), func(o *index.Account) bool { return o.ID != a.ID })
	if err == nil && !taken {
		a.Label = label
	}
}

// reorder puts the shared accounts of a pool into the order that they have elsewhere. The
// others stay in their places.
func reorder(members []*index.Account) {
	var places []int
	var shared []*index.Account
	for i, a := range members {
		if a.Share != nil && a.Share.Settings != nil {
			places, shared = append(places, i), append(shared, a)
		}
	}
	slices.SortStableFunc(shared, func(a, b *index.Account) int { return cmp.Compare(a.Share.Settings.Rank, b.Share.Settings.Rank) })
	for i, place := range places {
		members[place] = shared[i]
	}
	pool.Rank(members)
}
