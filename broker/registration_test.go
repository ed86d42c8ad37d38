package broker

import (
	"encoding/json"
	"net"
	"net/url"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/authferry/authferry/broker/account"
	"github.com/authferry/authferry/broker/brokertest"
	"github.com/authferry/authferry/broker/doctor"
	"github.com/authferry/authferry/broker/fault"
	"github.com/authferry/authferry/broker/folder"
	"github.com/authferry/authferry/broker/lock"
	"github.com/authferry/authferry/broker/oauth"
	"github.com/authferry/authferry/broker/pool"
	"github.com/authferry/authferry/broker/record"
	"github.com/authferry/authferry/testenv"
)

// loginRemote logs in to the server's remote MCP server.
func loginRemote(w *world, req account.RemoteRequest) (*account.LoggedIn, error) {
	w.t.Helper()
	b := w.broker()
	req.Address, req.Provider = w.server.URL+"/mcp", "docs"
	r, err := account.FindRemote(w.t.Context(), b.Folder, req)
	if err != nil {
		return nil, err
	}
	return account.Login(w.t.Context(), b.Folder, account.LoginRequest{Provider: r.Provider, Label: req.Label, Renew: req.Renew, Remote: r, Timeout: time.Minute}, w.browser().person())
}

func (w *world) mustRemote(req account.RemoteRequest) *account.LoggedIn {
	w.t.Helper()
	done, err := loginRemote(w, req)
	testenv.Must(w.t, err)
	noSecretInFiles(w)
	return done
}

// registeredClient is the folder, the entry of the server and the record of its client.
func registeredClient(w *world) (*folder.Opened, oauth.Provider, record.ClientSecret) {
	w.t.Helper()
	b := w.broker()
	idx, err := b.Folder.Read()
	testenv.Must(w.t, err)
	o, err := b.Folder.OpenForChange(w.t.Context(), idx)
	testenv.Must(w.t, err)
	p, err := b.Folder.Provider("docs")
	testenv.Must(w.t, err)
	cs, err := o.Store.ClientSecret(w.t.Context(), p.Endpoint())
	testenv.Must(w.t, err)
	if cs.Registered == nil {
		w.t.Fatalf("%+v", cs)
	}
	return o, p, cs
}

func storedClient(w *world) record.ClientSecret {
	_, _, cs := registeredClient(w)
	return cs
}

// alterClient changes what is stored of the client's registration.
func alterClient(w *world, change func(*record.Registered)) {
	w.t.Helper()
	o, p, cs := registeredClient(w)
	change(cs.Registered)
	testenv.Must(w.t, o.SetClient(w.t.Context(), p.Endpoint(), cs))
}

// A registration is made once, and again only where its port is taken, its secret is
// about to end, or a person says so: never twice in a minute.
func TestRegistrationIsReused(t *testing.T) {
	w := newWorldAlone(t, brokertest.Config{MCP: &brokertest.MCP{Registrations: brokertest.Registrations{Secret: true}}})
	first := w.mustRemote(account.RemoteRequest{})
	w.mustRemote(account.RemoteRequest{Renew: first.Account.Label})
	w.mustRemote(account.RemoteRequest{Label: "Second"})
	if n := w.server.Ledger().Registrations; n != 1 {
		t.Fatalf("%d registrations for three logins", n)
	}

	// Another program has the port, as another login that is under way would.
	was := storedClient(w)
	u, err := url.Parse(was.Registered.RedirectURI)
	testenv.Must(t, err)
	other, err := net.Listen("tcp", u.Host)
	testenv.Must(t, err)
	_, err = loginRemote(w, account.RemoteRequest{Label: "Third"})
	if fault.CodeOf(err) != fault.ProviderRefused || !strings.Contains(err.Error(), "less than a minute ago") {
		t.Errorf("a second registration at once: %v", err)
	}
	minutesAgo := func(r *record.Registered) { r.At = time.Now().Add(-2 * time.Minute) }
	alterClient(w, minutesAgo)
	w.mustRemote(account.RemoteRequest{Label: "Third"})
	_ = other.Close()
	if now := storedClient(w); now.ClientID == was.ClientID || now.Registered.RedirectURI == was.Registered.RedirectURI {
		t.Errorf("the client of a port that is taken was used: %q", now.Registered.RedirectURI)
	}

	// The logins of the older client are refreshed with its own secret.
	testenv.Check(t, testenv.Err(w.broker().Refresh(t.Context(), first.Account.ID)))

	alterClient(w, func(r *record.Registered) { minutesAgo(r); r.SecretExpiresAt = time.Now().Add(time.Second) })
	w.mustRemote(account.RemoteRequest{Label: "Fourth"})
	if n := w.server.Ledger().Registrations; n != 3 {
		t.Errorf("%d registrations, want 3", n)
	}
	for _, moved := range []func(*record.Registered){
		func(r *record.Registered) { minutesAgo(r); r.Issuer = "https://elsewhere.example" },
		func(r *record.Registered) { minutesAgo(r); r.Resource = w.server.URL + "/at/other/mcp" },
	} {
		alterClient(w, moved)
		before := storedClient(w).ClientID
		w.mustRemote(account.RemoteRequest{Renew: "Fourth"})
		if storedClient(w).ClientID == before {
			t.Error("a client of another issuer, or for another resource, was used")
		}
	}
}

// A person who turned a login down is left alone for a while, by every program, and doctor
// says so. A login by hand needs no patience.
func TestPersonIsLeftAlone(t *testing.T) {
	w := newWorldAlone(t, brokertest.Config{MCP: &brokertest.MCP{}})
	id := w.mustRemote(account.RemoteRequest{}).Account.ID
	user := "ada@example.com"
	w.server.Revoke(user)
	w.server.ExpireAccess(user)
	if _, err := w.broker().Refresh(t.Context(), id); fault.CodeOf(err) != fault.LoginNeeded {
		t.Fatal(err)
	}
	asked := 0
	renew := func() error {
		person := w.browser().person()
		open := person.Open
		person.Open = func(address string) { asked++; open(address) }
		return account.Renew(t.Context(), w.broker().Folder, "docs", id, nil, person)
	}
	testenv.Must(t, w.server.Configure(func(c *brokertest.Config) { c.Consent = brokertest.Deny }))
	if err := renew(); fault.CodeOf(err) != fault.LoginFailed || asked != 1 {
		t.Errorf("asked %d times: %v", asked, err)
	}
	testenv.Must(t, w.server.Configure(func(c *brokertest.Config) { c.Consent = brokertest.Approve }))
	if err := renew(); fault.CodeOf(err) != fault.LoginNeeded || asked != 1 {
		t.Errorf("asked %d times: %v", asked, err)
	}
	w.doctor(false, doctor.Warning, "nobody finished the login that an MCP bridge asked for, and none is asked for again before ")
	path := lock.Login(id).In(w.dir) + ".holder"
	text, err := os.ReadFile(path)
	testenv.Must(t, err)
	var holder map[string]any
	testenv.Must(t, json.Unmarshal(text, &holder))
	holder["started_at"] = time.Now().Add(-11 * time.Minute)
	text, err = json.Marshal(holder)
	testenv.Must(t, err)
	testenv.Must(t, os.WriteFile(path, text, 0o600))
	testenv.Must(t, renew())
	if asked != 2 {
		t.Errorf("asked %d times", asked)
	}
	w.healthy()
}

// What a record says is used, and nothing else: a login is for the server that a person
// logged in to, by the address and by the name that it has for itself.
func TestRemoteIsPinned(t *testing.T) {
	w := newWorldAlone(t, brokertest.Config{MCP: &brokertest.MCP{Scopes: []string{"read"}}})
	done := w.mustRemote(account.RemoteRequest{})
	o, _, _ := registeredClient(w)
	b := w.broker()
	stored, err := o.Grants(t.Context(), done.Account.ID)
	testenv.Must(t, err)
	g := stored.Best
	want := oauth.Service{Address: w.server.URL + "/mcp", Name: "Test server", Registration: oauth.RegistrationDynamic,
		RedirectURI: storedClient(w).Registered.RedirectURI, Asked: []string{"read", "offline_access"}}
	if g.Endpoint.Resource != w.server.URL+"/mcp" || g.Endpoint.Issuer != w.server.URL || len(g.Origins) != 0 || len(g.API.Paths) != 0 ||
		g.Service.Address != want.Address || g.Service.Name != want.Name || g.Service.Registration != want.Registration ||
		g.Service.RedirectURI != want.RedirectURI || strings.Join(g.Service.Asked, " ") != strings.Join(want.Asked, " ") {
		t.Errorf("%+v", g)
	}
	if r := storedClient(w).Registration(); r.Reach != g.Service.Reach || r.Reach != "local" {
		t.Errorf("the registration was made at a server that is %q, the login at one that is %q", r.Reach, g.Service.Reach)
	}
	tok, err := b.Token(t.Context(), TokenRequest{Selection: pool.Selection{Provider: "docs"}})
	if err != nil || tok.Resource != w.server.URL+"/mcp" || len(tok.Origins) != 0 {
		t.Errorf("%+v %v", tok, err)
	}
	if _, err := b.Token(t.Context(), TokenRequest{Selection: pool.Selection{Provider: "docs"}, Origin: w.server.URL}); fault.CodeOf(err) != fault.Fenced {
		t.Errorf("a helper of another kind got the token: %v", err)
	}
}

// A client that was registered is no secret that a migration may forget, nor a leftover.
func TestRegistrationMoves(t *testing.T) {
	w := newWorldAlone(t, brokertest.Config{})
	w.mustRemote(account.RemoteRequest{})
	o, _, _ := registeredClient(w)
	keys, err := o.Clients(t.Context())
	if err != nil || len(keys) != 1 {
		t.Errorf("%q %v", keys, err)
	}
}
