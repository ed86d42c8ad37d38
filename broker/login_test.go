package broker

import (
	"context"
	"errors"
	"io"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/authferry/authferry/broker/account"
	"github.com/authferry/authferry/broker/brokertest"
	"github.com/authferry/authferry/broker/fault"
	"github.com/authferry/authferry/broker/folder"
	"github.com/authferry/authferry/broker/index"
	"github.com/authferry/authferry/broker/oauth"
	"github.com/authferry/authferry/broker/pool"
	"github.com/authferry/authferry/keystore"
	"github.com/authferry/authferry/testenv"
)

const ada, bob = "ada@example.com", "bob@example.com"

// knows adds the server as provider sim, by discovery, changed as the test wants.
func (w *world) knows(change func(*oauth.Provider)) {
	w.t.Helper()
	b := w.broker()
	p, err := account.Discover(w.t.Context(), b.Folder, w.server.URL)
	testenv.Must(w.t, err)
	p.Name, p.ClientID, p.APIOrigins = "sim", "authferry-sim", []string{w.server.URL}
	if change != nil {
		change(&p)
	}
	testenv.Must(w.t, folder.AddProvider(w.t.Context(), b.Folder, p, keystore.Secret{}))
}

// browser is a person whose browser follows every redirect, and who pastes the
// address at which it ends.
type browser struct {
	w     *world
	pages chan string // what the browser shows at the end
	at    chan string // its address
}

func (w *world) browser() *browser {
	return &browser{w, make(chan string, 1), make(chan string, 1)}
}

func (br *browser) person() account.Person {
	return account.Person{
		Open: func(address string) {
			go func() {
				res, err := (&http.Client{}).Get(address)
				if err != nil {
					br.at <- err.(*url.Error).URL // nothing listens there
					br.pages <- ""
					return
				}
				defer res.Body.Close()
				page, _ := io.ReadAll(res.Body)
				br.at <- res.Request.URL.String()
				br.pages <- string(page)
			}()
		},
		Paste: func(ctx context.Context) (string, error) {
			select {
			case address := <-br.at:
				return address, nil
			case <-ctx.Done():
				return "", context.Cause(ctx)
			}
		},
		Enter: func(d *oauth.Device) {
			testenv.Check(br.w.t, br.w.server.DecideDevice(d.UserCode, ada))
		},
	}
}

// login logs in as user, and the server's API takes what comes of it.
func (w *world) login(user string, req account.LoginRequest) (*account.LoggedIn, error) {
	w.t.Helper()
	testenv.Must(w.t, w.server.Configure(func(c *brokertest.Config) { c.SignedIn = user }))
	req.Provider = "sim"
	return account.Login(w.t.Context(), w.broker().Folder, req, w.browser().person())
}

func (w *world) mustLogin(user string, req account.LoginRequest) *account.LoggedIn {
	w.t.Helper()
	done, err := w.login(user, req)
	if err != nil {
		w.t.Fatalf("%v", err)
	}
	tok, err := w.broker().Token(w.t.Context(), TokenRequest{Selection: pool.Selection{Account: done.Account.ID}})
	if err != nil || !w.good(tok.AccessToken.Reveal()) {
		w.t.Fatalf("the token of the new login is no good: %v", err)
	}
	noSecretInFiles(w)
	return done
}

func (w *world) accounts() []index.Account {
	w.t.Helper()
	idx, err := w.broker().Folder.ReadOrEmpty()
	testenv.Must(w.t, err)
	return idx.Accounts
}

func TestLogin(t *testing.T) {
	w := newWorld(t, brokertest.Config{TokenFields: func(string) map[string]any { return map[string]any{"refresh_token_expires_in": 86400} }})
	w.knows(nil)
	done := w.mustLogin(ada, account.LoginRequest{})
	a := done.Account
	if done.Renewed || a.Label != ada || a.Identity != ada || a.Subject != brokertest.Subject(ada) || a.Issuer != w.server.URL || a.Kind != index.KindOAuth ||
		a.Pool != "sim" || a.Generation != 1 || time.Until(a.RefreshExpiresAt) < 23*time.Hour {
		t.Errorf("%+v", done)
	}
	other := w.mustLogin(bob, account.LoginRequest{Label: "Work", Pool: "work"})
	if other.Account.Label != "Work" || other.Account.Pool != "work" || other.Account.ID == a.ID {
		t.Errorf("%+v", other)
	}

	// The same person again: one account, its label, its rank, a new grant.
	again := w.mustLogin(ada, account.LoginRequest{Label: "Another"})
	if !again.Renewed || again.Account.ID != a.ID || again.Account.Label != ada || again.Account.Generation != 2 || len(w.accounts()) != 2 {
		t.Errorf("%+v", again)
	}
	if _, err := w.login(ada, account.LoginRequest{Pool: "work"}); fault.CodeOf(err) != fault.Fenced {
		t.Errorf("renewal into another pool: %v", err)
	}
	if _, err := w.login(ada, account.LoginRequest{Label: "Work"}); err != nil {
		t.Errorf("a label of another, for a login that has one: %v", err)
	}
	if _, err := w.login(bob, account.LoginRequest{Renew: ada}); fault.CodeOf(err) != fault.LoginFailed || !strings.Contains(err.Error(), `that of account "Work"`) {
		t.Errorf("--renew as another user: %v", err)
	}
	w.mustLogin(ada, account.LoginRequest{Renew: a.ID})
	w.refreshes(a.ID)
	w.refreshes(other.Account.ID)
	w.clean()
}

// refreshes wants the login of an account to work.
func (w *world) refreshes(id string) {
	w.t.Helper()
	before := w.account(id).Generation
	acc, err := w.broker().Refresh(w.t.Context(), id)
	if err != nil || acc.Generation != before+1 {
		w.t.Errorf("refresh of %s: %v", id, err)
	}
}

// clean wants the manifest to list the accounts of the index and nothing else.
func (w *world) clean() {
	w.t.Helper()
	b := w.broker()
	idx, err := b.Folder.ReadOrEmpty()
	if err != nil || idx.Store == "" {
		return
	}
	m, err := open(w.t, b).Store.Manifest(w.t.Context())
	if err != nil || len(m.Accounts) != len(idx.Accounts) {
		w.t.Errorf("the manifest lists %v, %v; there are %d accounts", m.Accounts, err, len(idx.Accounts))
	}
}

// An account whose identity nobody told keeps its name to itself; --renew is the
// way in, and from then on the identity is known.
func TestLoginForImported(t *testing.T) {
	w := newWorld(t, brokertest.Config{})
	w.knows(nil)
	old := w.add(ada, time.Hour)
	_, err := w.login(ada, account.LoginRequest{Label: old.Label})
	if e, ok := errors.AsType[*fault.Error](err); !ok || e.Code != fault.LabelTaken || len(e.Next) == 0 || e.Next[0].Account == "" {
		t.Errorf("%v", err)
	}
	if n := w.server.Ledger().Authorizations; n != 0 {
		t.Errorf("somebody was asked to log in for nothing, %d times", n)
	}
	w.server.Revoke(ada)
	if _, err := w.broker().Refresh(t.Context(), old.ID); fault.CodeOf(err) != fault.LoginNeeded {
		t.Fatalf("%v", err)
	}
	done := w.mustLogin(ada, account.LoginRequest{Renew: old.Label})
	if done.Account.ID != old.ID || done.Account.Subject == "" || pool.StateOf(&done.Account, time.Now()) != pool.Valid {
		t.Errorf("%+v", done)
	}
	w.refreshes(old.ID)
	if again := w.mustLogin(ada, account.LoginRequest{}); again.Account.ID != old.ID {
		t.Error("the identity was not kept")
	}
}

// A refused, denied, late or spoiled login changes nothing, and the old one works.
func TestLoginFailures(t *testing.T) {
	for name, row := range map[string]struct {
		arrange func(*world)
		req     account.LoginRequest
		want    fault.Code
		says    string
	}{
		"denied":           {func(w *world) { w.set(func(c *brokertest.Config) { c.Consent = brokertest.Deny }) }, account.LoginRequest{}, fault.LoginFailed, "denied"},
		"denied by paste":  {func(w *world) { w.set(func(c *brokertest.Config) { c.Consent = brokertest.Deny }) }, account.LoginRequest{Flow: account.FlowPaste}, fault.LoginFailed, "denied"},
		"nobody comes":     {func(w *world) { w.set(func(c *brokertest.Config) { c.Consent = brokertest.Ask }) }, account.LoginRequest{Timeout: 50 * time.Millisecond}, fault.LoginFailed, "within 50ms"},
		"exchange refused": {func(w *world) { w.fault("error-rfc") }, account.LoginRequest{}, fault.LoginFailed, "refused the code"},
		"exchange fails":   {func(w *world) { w.fault("500") }, account.LoginRequest{}, fault.LoginFailed, "no usable answer"},
		"answer lost":      {func(w *world) { w.fault("drop-after") }, account.LoginRequest{}, fault.LoginFailed, "no usable answer"},
		"client refused":   {func(w *world) { w.fault("invalid-client") }, account.LoginRequest{}, fault.LoginFailed, "invalid_client"},
		"somebody else":    {func(w *world) { w.fault("subject-changed") }, account.LoginRequest{Renew: "Me"}, fault.LoginFailed, "is \"ada@example.com\", and this login is"},
		"unknown account":  {func(*world) {}, account.LoginRequest{Renew: "nobody"}, fault.NoAccount, ""},
		"unusable label":   {func(*world) {}, account.LoginRequest{Label: "a/b"}, fault.Usage, "label"},
		"label of another": {func(w *world) { w.set(func(c *brokertest.Config) { c.SignedIn = bob }) }, account.LoginRequest{Label: "me"}, fault.LabelTaken, "taken"},
		"no such flow":     {func(w *world) { w.knows(func(p *oauth.Provider) { p.DeviceAuthorizationEndpoint = "" }) }, account.LoginRequest{Flow: account.FlowDevice}, fault.Usage, "can't be logged in to by device"},
		"only API keys":    {func(w *world) { w.knows(func(p *oauth.Provider) { p.TokenEndpoint = "" }) }, account.LoginRequest{}, fault.Usage, "only API keys"},
		"no client id":     {func(w *world) { w.knows(func(p *oauth.Provider) { p.ClientID = "" }) }, account.LoginRequest{}, fault.Usage, "client id"},
		"keystore refuses": {func(w *world) {
			_ = os.Rename(filepath.Join(w.dir, "vault"), filepath.Join(w.dir, "away"))
			_ = os.WriteFile(filepath.Join(w.dir, "vault"), nil, 0o600)
		}, account.LoginRequest{}, "", ""},
		// Port 1: that of a closed server may be another one's by now.
		"server not there": {func(w *world) {
			w.knows(func(p *oauth.Provider) { p.DeviceAuthorizationEndpoint = "http://127.0.0.1:1/device" })
		}, account.LoginRequest{Flow: account.FlowDevice}, fault.ProviderUnreachable, "could not be asked"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			w := newWorld(t, brokertest.Config{})
			w.knows(nil)
			old := w.mustLogin(ada, account.LoginRequest{Label: "Me"}).Account
			row.arrange(w)
			req := row.req
			req.Provider = "sim"
			br := w.browser()
			_, err := account.Login(t.Context(), w.broker().Folder, req, br.person())
			if err == nil || row.want != "" && fault.CodeOf(err) != row.want || !strings.Contains(err.Error(), row.says) {
				t.Errorf("%s: %v", fault.CodeOf(err), err)
			}
			if name == "denied" {
				if page := <-br.pages; !strings.Contains(page, "The login was denied") || !strings.Contains(page, string(fault.Again)) {
					t.Errorf("the page: %s", page)
				}
			}
			if name == "keystore refuses" {
				_ = os.Remove(filepath.Join(w.dir, "vault"))
				_ = os.Rename(filepath.Join(w.dir, "away"), filepath.Join(w.dir, "vault"))
			}
			if now := w.account(old.ID); now.Generation != 1 || now.Fingerprint != old.Fingerprint || len(w.accounts()) != 1 {
				t.Errorf("something was changed: %+v", now)
			}
			w.clean()
			w.refreshes(old.ID)
		})
	}
}

func (w *world) set(change func(*brokertest.Config)) {
	w.t.Helper()
	testenv.Must(w.t, w.server.Configure(change))
}

func (w *world) fault(name string) {
	f := brokertest.Faults()[name]
	w.server.Inject(f)
}

func TestPasteLogin(t *testing.T) {
	w := newWorld(t, brokertest.Config{})
	w.knows(nil)
	if a := w.mustLogin(ada, account.LoginRequest{Flow: account.FlowPaste}).Account; a.Identity != ada {
		t.Errorf("%+v", a) // from the browser's bar: nothing listens there
	}
	w.knows(func(p *oauth.Provider) { p.PasteRedirectURI = w.server.URL + "/code" })
	lines := []string{"", "nonsense", "code=x&state=guess"}
	br := w.browser()
	who := br.person()
	who.Paste = func(ctx context.Context) (string, error) {
		if len(lines) == 1 {
			return br.person().Paste(ctx)
		}
		line := lines[0]
		lines = lines[1:]
		return line, nil
	}
	if done, err := account.Login(t.Context(), w.broker().Folder, account.LoginRequest{Provider: "sim", Flow: account.FlowPaste}, who); err != nil || !done.Renewed {
		t.Errorf("the third line is good: %v", err)
	}
	who.Paste = func(context.Context) (string, error) { return "", io.EOF }
	if _, err := account.Login(t.Context(), w.broker().Folder, account.LoginRequest{Provider: "sim", Flow: account.FlowPaste}, who); fault.CodeOf(err) != fault.LoginFailed {
		t.Errorf("%v", err)
	}
	w.clean()
}

func TestDeviceLogin(t *testing.T) {
	w := newWorld(t, brokertest.Config{Consent: brokertest.Ask, DeviceInterval: time.Second})
	w.knows(nil)
	if a := w.mustLogin(ada, account.LoginRequest{Flow: account.FlowDevice}).Account; a.Identity != ada {
		t.Errorf("%+v", a)
	}
	w.clean()
}

func TestAPIKey(t *testing.T) {
	w := newWorld(t, brokertest.Config{})
	w.knows(func(p *oauth.Provider) { p.APIKeyHeaders = []string{"x-api-key: {token}"} })
	key := func(s string) keystore.Secret { return keystore.NewSecret(s) }
	req := account.LoginRequest{Provider: "sim", Label: "Key"}
	done, err := account.LoginKey(t.Context(), w.broker().Folder, req, key(w.server.IssueKey(ada)))
	if err != nil || done.Account.Kind != index.KindAPIKey || done.Account.Generation != 1 || pool.StateOf(&done.Account, time.Now()) != pool.Valid {
		t.Fatalf("%+v, %v", done, err)
	}
	tok, err := w.broker().Token(t.Context(), TokenRequest{})
	if err != nil || len(tok.Headers) != 1 || tok.Headers[0].Name != "x-api-key" || tok.Origins[0] != w.server.URL {
		t.Fatalf("%+v, %v", tok, err)
	}
	if !w.good(tok.Headers[0].Value.Reveal()) {
		t.Error("the API refuses the key")
	}
	noSecretInFiles(w)
	for name, again := range map[string]account.LoginRequest{"the same label": req, "the same key": {Provider: "sim", Label: "Other"}} {
		if _, err := account.LoginKey(t.Context(), w.broker().Folder, again, tok.AccessToken); fault.CodeOf(err) != fault.LabelTaken {
			t.Errorf("%s: %v", name, err)
		}
	}
	testenv.Must(t, w.broker().Folder.Update(t.Context(), index.Fast, func(idx *index.Index) error {
		for _, source := range []string{pool.RefusedSource, pool.RejectedSource} { // who said so doesn't matter to the next key
			idx.Account(done.Account.ID).Holds = append(idx.Account(done.Account.ID).Holds, index.Hold{Scope: "*", Source: source, Until: time.Now().Add(time.Hour)})
		}
		return nil
	}))
	next := w.server.IssueKey(ada)
	done, err = account.LoginKey(t.Context(), w.broker().Folder, account.LoginRequest{Provider: "sim", Renew: "Key"}, key(next))
	if err != nil || !done.Renewed || done.Account.ID != tok.Account.ID {
		t.Fatalf("%+v, %v", done, err)
	}
	if tok, err = w.broker().Token(t.Context(), TokenRequest{}); err != nil || tok.AccessToken.Reveal() != next {
		t.Errorf("the new key: %v", err)
	}
	for name, bad := range map[string]struct {
		req account.LoginRequest
		key string
	}{"no label": {account.LoginRequest{Provider: "sim"}, "k"}, "no key": {req, ""}, "two lines": {req, "a\nb"}} {
		if _, err := account.LoginKey(t.Context(), w.broker().Folder, bad.req, key(bad.key)); fault.CodeOf(err) != fault.Usage {
			t.Errorf("%s: %v", name, err)
		}
	}
	if _, err := w.login(ada, account.LoginRequest{Renew: "Key"}); fault.CodeOf(err) != fault.Usage {
		t.Errorf("a login in the place of a key: %v", err)
	}
}

// Two terminals log the same person in at once: one account comes of it.
func TestConcurrentLogins(t *testing.T) {
	w := newWorld(t, brokertest.Config{})
	w.knows(nil)
	var wg sync.WaitGroup
	for range 4 {
		wg.Go(func() {
			testenv.Check(t, testenv.Err(account.Login(t.Context(), w.broker().Folder, account.LoginRequest{Provider: "sim"}, w.browser().person())))
		})
	}
	wg.Wait()
	all := w.accounts()
	if len(all) != 1 || all[0].Generation != 4 {
		t.Fatalf("%+v", all)
	}
	w.refreshes(all[0].ID)
	w.clean()
}

// Whoever edits providers.toml after a login moves no secret of it.
func TestLoginPins(t *testing.T) {
	w := newWorld(t, brokertest.Config{})
	w.knows(nil)
	a := w.mustLogin(ada, account.LoginRequest{}).Account
	w.knows(func(p *oauth.Provider) {
		p.TokenEndpoint, p.RevocationEndpoint, p.APIOrigins = w.server.OtherURL()+"/token", w.server.OtherURL()+"/revoke", []string{w.server.OtherURL()}
	})
	w.refreshes(a.ID)
	tok, err := w.broker().Token(t.Context(), TokenRequest{})
	if err != nil || tok.Origins[0] != w.server.URL {
		t.Errorf("%v %v", tok.Origins, err)
	}
	if done, err := account.Remove(t.Context(), w.broker().Folder, a.ID, account.RevokeOwn); err != nil || !done.Revoked {
		t.Errorf("%+v %v", done, err)
	}
	l := w.server.Ledger()
	if l.Elsewhere != 0 || l.Revoked() != 1 {
		t.Errorf("%d requests elsewhere, %d revoked", l.Elsewhere, l.Revoked())
	}
	w.clean()
}
