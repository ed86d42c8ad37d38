package broker

import (
	"os"
	"path/filepath"
	"slices"
	"testing"
	"time"

	"github.com/authferry/authferry/broker/account"
	"github.com/authferry/authferry/broker/brokertest"
	"github.com/authferry/authferry/broker/doctor"
	"github.com/authferry/authferry/broker/fault"
	"github.com/authferry/authferry/broker/folder"
	"github.com/authferry/authferry/broker/index"
	"github.com/authferry/authferry/broker/oauth"
	"github.com/authferry/authferry/broker/record"
	"github.com/authferry/authferry/keystore"
	"github.com/authferry/authferry/testenv"
)

// clientOf is a provider whose client is the server's, under another name.
func clientOf(server, name string) oauth.Provider {
	p := testProvider(server)
	p.Name, p.AuthorizationEndpoint = name, server+"/authorize"
	return p
}

// addAt keeps a login of ada's at p.
func addAt(w *world, b *Broker, p oauth.Provider) *index.Account {
	w.t.Helper()
	g := w.server.Issue(ada)
	n := testLogin(w.server.URL, "ada", g.AccessToken, g.RefreshToken, time.Hour)
	n.Provider = p
	a, err := account.Add(w.t.Context(), b.Folder, n)
	testenv.Must(w.t, err)
	return a
}

// hasSecret reports whether the folder's keystore has p's client secret.
func hasSecret(w *world, b *Broker, p oauth.Provider) bool {
	w.t.Helper()
	has, err := open(w.t, b).Store.HasClientSecret(w.t.Context(), p.Endpoint())
	testenv.Must(w.t, err)
	return has
}

// Two providers of one client have one secret: it stays while a login needs it,
// whichever of them that was made with.
func TestSharedClientSecret(t *testing.T) {
	w := newWorld(t, brokertest.Config{ClientSecret: "s"})
	b := w.broker()
	one, two := clientOf(w.server.URL, "one"), clientOf(w.server.URL, "two")
	testenv.Must(t, folder.AddProvider(t.Context(), b.Folder, one, keystore.NewSecret("s")))
	a := addAt(w, b, one)
	testenv.Must(t, folder.AddProvider(t.Context(), b.Folder, two, keystore.NewSecret("s")))
	for _, p := range []oauth.Provider{one, two} {
		testenv.Must(t, folder.RemoveProvider(t.Context(), b.Folder, p.Name))
		if !hasSecret(w, w.broker(), one) {
			t.Fatalf("gone with provider %s", p.Name)
		}
	}
	testenv.Check(t, testenv.Err(b.Refresh(t.Context(), a.ID)))
	// With the last login gone, it goes with the last provider.
	testenv.Must(t, testenv.Err(account.Remove(t.Context(), b.Folder, a.ID, account.RevokeNever)))
	testenv.Must(t, folder.AddProvider(t.Context(), b.Folder, two, keystore.Secret{}))
	testenv.Must(t, folder.RemoveProvider(t.Context(), b.Folder, two.Name))
	if hasSecret(w, w.broker(), two) {
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
		testenv.Must(t, folder.AddProvider(t.Context(), w.broker().Folder, p, keystore.NewSecret("s")))
	}
	addAt(w, w.broker(), gone)
	testenv.Must(t, folder.RemoveProvider(t.Context(), w.broker().Folder, gone.Name))
	b, idx := w.opened()
	testenv.Must(t, raw(t, b).Delete(t.Context(), record.ManifestItem(idx.Store)))
	w.add("bob", time.Hour)
	m, err := open(t, b).Store.Manifest(t.Context())
	if err != nil || len(m.Accounts) != 2 || len(m.Clients) != 2 {
		t.Errorf("%+v, %v", m, err)
	}
}

// A vault with nothing but a client secret is sealed to its key file all the same.
func TestInitOverClientSecret(t *testing.T) {
	w := newWorld(t, brokertest.Config{})
	p := clientOf(w.server.URL, "one")
	testenv.Must(t, folder.AddProvider(t.Context(), w.broker().Folder, p, keystore.NewSecret("s")))
	own, other, none := keyFileOf(w), filepath.Join(t.TempDir(), "other.txt"), filepath.Join(t.TempDir(), "none.txt")
	testenv.Must(t, keystore.InitKeyFile(other))
	for _, key := range []string{other, none} {
		if _, err := folder.InitFileKeystore(t.Context(), w.broker().Folder, key); fault.CodeOf(err) != fault.KeystoreMismatch {
			t.Errorf("%v", err)
		}
	}
	if _, err := os.Lstat(none); err == nil {
		t.Error("a key file was made")
	}
	if _, err := folder.InitFileKeystore(t.Context(), w.broker().Folder, own); err != nil || !hasSecret(w, w.broker(), p) {
		t.Errorf("the same key file again: %v", err)
	}
	// Who has lost the key file can begin anew.
	removeAll(t, filepath.Join(w.dir, "vault"))
	testenv.Check(t, testenv.Err(folder.InitFileKeystore(t.Context(), w.broker().Folder, none)))
}

// One in the keychain stays there until it is moved; the folder has one keystore.
func TestInitBesideClientSecret(t *testing.T) {
	w := newWorld(t, brokertest.Config{})
	_, dir, at := pretendKeychain(t)
	p := clientOf(w.server.URL, "one")
	testenv.Must(t, folder.AddProvider(t.Context(), at(dir).Folder, p, keystore.NewSecret("s")))
	b := at(dir)
	var said []fault.Remedy
	b.Folder.Warn = func(_ string, next ...fault.Remedy) { said = next }
	testenv.Must(t, testenv.Err(folder.InitFileKeystore(t.Context(), b.Folder, filepath.Join(filepath.Dir(dir), "key.txt"))))
	if !hasSecret(w, at(dir), p) || !slices.Equal(said, []fault.Remedy{{Do: fault.MigrateKeystore, Value: "file"}}) {
		t.Errorf("it is lost; the warning's remedies: %v", said)
	}
	if _, err := folder.MigrateKeystore(t.Context(), at(dir).Folder, keystore.File); err != nil || !hasSecret(w, at(dir), p) {
		t.Errorf("afterwards: %v", err)
	}
	if left := itemsOf(t, dir); left != nil {
		t.Errorf("the keychain has %q", left)
	}
}

// doctor tells of an account whose client secret somebody deleted.
func TestDoctorMissesClientSecret(t *testing.T) {
	w := newWorld(t, brokertest.Config{ClientSecret: "s"})
	p := clientOf(w.server.URL, "one")
	testenv.Must(t, folder.AddProvider(t.Context(), w.broker().Folder, p, keystore.NewSecret("s")))
	addAt(w, w.broker(), p)
	w.healthy()
	b, idx := w.opened()
	testenv.Must(t, raw(t, b).Delete(t.Context(), idx.Store+"/client/"+record.ClientKey(p.Endpoint())))
	w.doctor(false, doctor.Fail, "no client secret")
}

// A provider without discovery that takes the client's secret by HTTP Basic alone: the
// login finds out, and every later request does likewise.
func TestLoginByBasic(t *testing.T) {
	w := newWorld(t, brokertest.Config{ClientSecret: "s", ClientAuth: "client_secret_basic"})
	p := testProvider(w.server.URL)
	p.AuthorizationEndpoint = w.server.URL + "/authorize"
	testenv.Must(t, folder.AddProvider(t.Context(), w.broker().Folder, p, keystore.NewSecret("s")))
	a := w.mustLogin(ada, account.LoginRequest{}).Account
	if style := w.stored(a.ID).Endpoint.AuthStyle; style != oauth.AuthHeader {
		t.Errorf("%q", style)
	}
	w.refreshes(a.ID)
	if done, err := account.Remove(t.Context(), w.broker().Folder, a.ID, account.RevokeOwn); err != nil || !done.Revoked {
		t.Errorf("%+v, %v", done, err)
	}
}
