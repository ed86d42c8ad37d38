package broker

import (
	"testing"
	"time"

	"github.com/authferry/authferry/broker/brokertest"
	"github.com/authferry/authferry/broker/index"
	"github.com/authferry/authferry/broker/oauth"
	"github.com/authferry/authferry/keystore"
)

// clientOf is a provider whose client is the server's, under another name.
func clientOf(server, name string) oauth.Provider {
	p := testProvider(server)
	p.Name, p.AuthorizationEndpoint = name, server+"/authorize"
	return p
}

// addAt keeps a login of ada's at p.
func (w *world) addAt(b *Broker, p oauth.Provider) *index.Account {
	w.t.Helper()
	g := w.server.Issue(ada)
	n := testLogin(w.server.URL, "ada", g.AccessToken, g.RefreshToken, time.Hour)
	n.Provider = p
	a, err := b.Add(w.t.Context(), n)
	if err != nil {
		w.t.Fatal(err)
	}
	return a
}

// hasSecret reports whether the folder's keystore has p's client secret.
func (w *world) hasSecret(b *Broker, p oauth.Provider) bool {
	w.t.Helper()
	idx, err := b.read()
	if err == nil {
		err = b.open(idx)
	}
	if err != nil {
		w.t.Fatal(err)
	}
	has, err := b.hasClientSecret(w.t.Context(), idx, p.Endpoint())
	if err != nil {
		w.t.Fatal(err)
	}
	return has
}

// Two providers of one client have one secret: it stays while a login needs it,
// whichever of them that was made with.
func TestSharedClientSecret(t *testing.T) {
	w := newWorld(t, brokertest.Config{ClientSecret: "s"})
	b := w.broker()
	one, two := clientOf(w.server.URL, "one"), clientOf(w.server.URL, "two")
	if err := b.AddProvider(t.Context(), one, keystore.NewSecret("s")); err != nil {
		t.Fatal(err)
	}
	a := w.addAt(b, one)
	if err := b.AddProvider(t.Context(), two, keystore.NewSecret("s")); err != nil {
		t.Fatal(err)
	}
	for _, p := range []oauth.Provider{one, two} {
		if err := b.RemoveProvider(t.Context(), p.Name); err != nil {
			t.Fatal(err)
		}
		if !w.hasSecret(w.broker(), one) {
			t.Fatalf("gone with provider %s", p.Name)
		}
	}
	if _, err := b.Refresh(t.Context(), a.ID); err != nil {
		t.Error(err)
	}
	// With the last login gone, it goes with the last provider.
	if _, err := b.Remove(t.Context(), a.ID, RevokeNever); err != nil {
		t.Fatal(err)
	}
	if err := b.AddProvider(t.Context(), two, keystore.Secret{}); err != nil {
		t.Fatal(err)
	}
	if err := b.RemoveProvider(t.Context(), two.Name); err != nil {
		t.Fatal(err)
	}
	if w.hasSecret(w.broker(), two) {
		t.Error("it is still there")
	}
}

// A manifest that was lost names the client secrets again with its next change:
// nothing else leads to them.
func TestManifestFindsClientSecrets(t *testing.T) {
	w := newWorld(t, brokertest.Config{})
	p := clientOf(w.server.URL, "one")
	gone := clientOf(w.server.URL, "gone") // its login is all that is left of it
	gone.ClientID = "other"
	for _, p := range []oauth.Provider{p, gone} {
		if err := w.broker().AddProvider(t.Context(), p, keystore.NewSecret("s")); err != nil {
			t.Fatal(err)
		}
	}
	w.addAt(w.broker(), gone)
	if err := w.broker().RemoveProvider(t.Context(), gone.Name); err != nil {
		t.Fatal(err)
	}
	b, idx := w.opened()
	if err := b.del(t.Context(), manifestItem(idx)); err != nil {
		t.Fatal(err)
	}
	w.add("bob", time.Hour)
	m, err := b.readManifest(t.Context(), idx)
	if err != nil || len(m.Accounts) != 2 || len(m.Clients) != 2 {
		t.Errorf("%+v, %v", m, err)
	}
}
