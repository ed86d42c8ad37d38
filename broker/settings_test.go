package broker

import (
	"errors"
	"fmt"
	"sync"
	"testing"
	"time"

	"github.com/authferry/authferry/broker/brokertest"
	"github.com/authferry/authferry/broker/folder"
	"github.com/authferry/authferry/keystore"
	"github.com/authferry/authferry/testenv"
)

// What several processes set at once is all kept.
func TestSettingsOfManyAtOnce(t *testing.T) {
	w := newWorld(t, brokertest.Config{})
	set := []func(*Broker) error{
		func(b *Broker) error { return folder.ConfigSet(t.Context(), b.Folder, "failover", "false") },
		func(b *Broker) error { return folder.ConfigSet(t.Context(), b.Folder, "strategy", folder.SoonestReset) },
		func(b *Broker) error { return folder.ConfigSet(t.Context(), b.Folder, "throttle_max", "20s") },
		func(b *Broker) error { return folder.ConfigSet(t.Context(), b.Folder, "switch_at", "90") },
		func(b *Broker) error { return folder.ConfigSet(t.Context(), b.Folder, "terms_notice", "false") },
		func(b *Broker) error { return folder.RemoveProvider(t.Context(), b.Folder, "old") },
	}
	old := testProvider(w.server.URL)
	old.Name = "old"
	testenv.Must(t, folder.AddProvider(t.Context(), w.broker().Folder, old, keystore.NewSecret("hush")))
	const many = 12
	for i := range many {
		p := testProvider(w.server.URL)
		p.Name = fmt.Sprintf("p%d", i)
		secret := keystore.Secret{}
		if p.ClientID = p.Name; i%2 == 0 {
			secret = keystore.NewSecret("hush")
		}
		set = append(set, func(b *Broker) error { return folder.AddProvider(t.Context(), b.Folder, p, secret) })
	}
	errs := make([]error, len(set))
	var all sync.WaitGroup
	for i, f := range set {
		b := New(Options{Dir: w.dir})
		all.Go(func() { errs[i] = f(b) })
	}
	all.Wait()
	testenv.Must(t, errors.Join(errs...))
	b := w.broker()
	if got := b.Folder.Config(); got != (folder.Config{Strategy: folder.SoonestReset, SwitchAt: 90, ThrottleMax: 20 * time.Second}) {
		t.Errorf("%+v", got)
	}
	ps, err := b.Folder.Providers()
	testenv.Must(t, err)
	for i := range many {
		p, ok := ps.Get(fmt.Sprintf("p%d", i))
		if has, err := open(t, b).Store.HasClientSecret(t.Context(), p.Endpoint()); !ok || err != nil || has != (i%2 == 0) {
			t.Errorf("p%d: there %v, with a secret %v (%v)", i, ok, has, err)
		}
	}
	if _, ok := ps.Get("old"); ok {
		t.Error("the one that was removed is there")
	}
	if has, err := open(t, b).Store.HasClientSecret(t.Context(), old.Endpoint()); err != nil || has {
		t.Errorf("its secret is there: %v, %v", has, err)
	}
}
