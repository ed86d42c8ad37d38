package oauth

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"net/url"
	"reflect"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"golang.org/x/net/dns/dnsmessage"

	"github.com/authferry/authferry/keystore"
	"github.com/authferry/authferry/testenv"
)

// place is a server of documents, which it keeps in a map and asks for by path. An
// MCP server is at /mcp: it answers 401 with the challenge that stands there.
type place struct {
	url   string
	mu    sync.Mutex
	pages map[string]string
	seen  []*http.Request
	sent  []string // bodies
}

func newPlace(t *testing.T, pages map[string]string) *place {
	t.Helper()
	p := &place{pages: pages}
	s := httptest.NewServer(p)
	t.Cleanup(s.Close)
	p.url = s.URL
	return p
}

func (p *place) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	body, _ := io.ReadAll(r.Body)
	p.mu.Lock()
	p.seen, p.sent = append(p.seen, r), append(p.sent, string(body))
	page, ok := p.pages[r.URL.RequestURI()]
	p.mu.Unlock()
	page = strings.ReplaceAll(page, "{self}", p.url)
	to, moved := strings.CutPrefix(page, "-> ")
	switch {
	case !ok:
		http.NotFound(w, r)
	case moved:
		http.Redirect(w, r, to, http.StatusTemporaryRedirect)
	case strings.HasPrefix(page, "{"):
		_, _ = io.WriteString(w, page)
	case page == "open":
		w.WriteHeader(http.StatusOK)
	default:
		w.Header().Set("WWW-Authenticate", page)
		w.WriteHeader(http.StatusUnauthorized)
	}
}

func (p *place) asked() (paths []string) {
	p.mu.Lock()
	defer p.mu.Unlock()
	for _, r := range p.seen {
		paths = append(paths, r.Method+" "+r.URL.RequestURI())
	}
	return paths
}

const (
	atMCP   = "/.well-known/oauth-protected-resource/mcp"
	goodMCP = `{"resource":"{self}/mcp","resource_name":"Docs","authorization_servers":["{self}"],"scopes_supported":["read","write"]}`
	goodAS  = `{"issuer":"{self}","authorization_endpoint":"{self}/authorize","token_endpoint":"{self}/token","registration_endpoint":"{self}/register","code_challenge_methods_supported":["plain","S256"]}`
	saying  = `Bearer resource_metadata="{self}/meta"`
)

// with is goodAS with other members.
func with(members string) string { return strings.TrimSuffix(goodAS, "}") + "," + members + "}" }

func TestFindRemote(t *testing.T) {
	for _, test := range []struct {
		name    string
		pages   map[string]string
		issuer  string // path
		scopes  []string
		asked   []string
		address string
	}{
		{"as the challenge says", map[string]string{"/mcp": saying, "/meta": goodMCP, plainPath: goodAS}, "", []string{"read", "write"},
			[]string{"POST /mcp", "GET /meta", "GET " + plainPath}, "/mcp"},
		{"well known", map[string]string{"/mcp": "Bearer", atMCP: goodMCP, plainPath: goodAS}, "", []string{"read", "write"},
			[]string{"POST /mcp", "GET " + atMCP, "GET " + plainPath}, "/mcp"},
		{"well known, of the host", map[string]string{"/mcp": "Bearer", "/.well-known/oauth-protected-resource": goodMCP, openIDPath: goodAS}, "", []string{"read", "write"},
			[]string{"POST /mcp", "GET " + atMCP, "GET /.well-known/oauth-protected-resource", "GET " + plainPath, "GET " + openIDPath}, "/mcp"},
		{"the challenge's scopes", map[string]string{"/mcp": saying + `, scope="one two"`, "/meta": goodMCP, plainPath: goodAS}, "", []string{"one", "two"}, nil, "/mcp"},
		{"no scopes", map[string]string{"/mcp": saying, "/meta": `{"resource":"{self}","authorization_servers":["{self}"]}`, plainPath: goodAS}, "", nil, nil, "/mcp"},
		{"offline_access where the authorization server has it", map[string]string{"/mcp": saying + `, scope="one"`, "/meta": goodMCP, plainPath: with(`"scopes_supported":["openid","offline_access"]`)}, "", []string{"one", "offline_access"}, nil, "/mcp"},
		{"never openid", map[string]string{"/mcp": saying, "/meta": `{"resource":"{self}","authorization_servers":["{self}"]}`, openIDPath: with(`"scopes_supported":["openid","profile"]`)}, "", nil, nil, "/mcp"},
		{"an issuer with a path", map[string]string{"/mcp": "Bearer", atMCP: strings.Replace(goodMCP, `["{self}"]`, `["{self}/t"]`, 1), "/t" + openIDPath: strings.Replace(goodAS, `"{self}"`, `"{self}/t"`, 1)}, "/t", []string{"read", "write"},
			[]string{"POST /mcp", "GET " + atMCP, "GET " + plainPath + "/t", "GET " + openIDPath + "/t", "GET /t" + openIDPath}, "/mcp"},
		{"a slash at the issuer's end", map[string]string{"/mcp": "Bearer", atMCP: strings.Replace(goodMCP, `["{self}"]`, `["{self}/"]`, 1), plainPath: strings.Replace(goodAS, `"{self}"`, `"{self}/"`, 1)}, "/", []string{"read", "write"}, nil, "/mcp"},
		{"of 2025-03-26", map[string]string{"/mcp": "Bearer", plainPath: goodAS}, "", nil, nil, "/mcp"},
		{"a query", map[string]string{"/mcp?x=1": "Bearer", atMCP + "?x=1": goodMCP, plainPath: goodAS}, "", []string{"read", "write"}, nil, "/mcp?x=1"},
		{"a token is wanted from some methods on", map[string]string{"/mcp": "open", atMCP: goodMCP, plainPath: goodAS}, "", []string{"read", "write"}, nil, "/mcp"},
		{"metadata at another server is not asked", map[string]string{"/mcp": `Bearer resource_metadata="https://127.0.0.2:1/meta"`, atMCP: goodMCP, plainPath: goodAS}, "", []string{"read", "write"},
			[]string{"POST /mcp", "GET " + atMCP, "GET " + plainPath}, "/mcp"},
		{"moved on the same server", map[string]string{"/mcp": "Bearer", atMCP: "-> /moved", "/moved": goodMCP, plainPath: goodAS}, "", []string{"read", "write"}, nil, "/mcp"},
	} {
		s := newPlace(t, test.pages)
		r, err := (&Client{Version: "1"}).FindRemote(t.Context(), s.url+test.address, "")
		if err != nil {
			t.Errorf("%s: %v, after %q", test.name, err, s.asked())
			continue
		}
		if r.Provider.Issuer != s.url+test.issuer || !reflect.DeepEqual(r.Scopes, test.scopes) || !r.CanRegister() || r.Provider.TokenEndpoint != s.url+"/token" || !Covers(r.Resource, r.Address) {
			t.Errorf("%s: %+v", test.name, r)
		}
		if test.asked != nil && !slices.Equal(s.asked(), test.asked) {
			t.Errorf("%s: %q was asked", test.name, s.asked())
		}
		p := r.Provider
		p.Name = "x"
		if err := p.Validate(); err != nil {
			t.Errorf("%s: %v", test.name, err)
		}
		for _, req := range s.seen {
			if req.Header.Get("Authorization") != "" || req.Header.Get("Cookie") != "" {
				t.Errorf("%s: %s %s carries a credential", test.name, req.Method, req.URL)
			}
		}
	}
}

// The server names another issuer than one that a person expects, and the other way round.
func TestFindRemoteChoosesIssuer(t *testing.T) {
	two := strings.Replace(goodMCP, `["{self}"]`, `["{self}/evil","{self}"]`, 1)
	s := newPlace(t, map[string]string{"/mcp": "Bearer", atMCP: two, plainPath: goodAS})
	r, err := (&Client{}).FindRemote(t.Context(), s.url+"/mcp", s.url)
	if err != nil || r.Provider.Issuer != s.url || len(r.Issuers) != 2 {
		t.Errorf("%+v %v", r, err)
	}
	_, err = (&Client{}).FindRemote(t.Context(), s.url+"/mcp", s.url+"/")
	if e, ok := errors.AsType[*NotTrustedError](err); !ok || len(e.Issuers) != 2 {
		t.Errorf("an issuer that differs by a slash: %v", err)
	}
}

func TestFindRemoteRefuses(t *testing.T) {
	is := func(target error) func(error) bool { return func(err error) bool { return errors.Is(err, target) } }
	wrong := func(err error) bool { _, ok := errors.AsType[*WrongResourceError](err); return ok }
	says := func(text string) func(error) bool {
		return func(err error) bool { return strings.Contains(err.Error(), text) }
	}
	good := func(resource, server string) map[string]string {
		return map[string]string{"/mcp": "Bearer", atMCP: resource, plainPath: server}
	}
	for _, test := range []struct {
		name  string
		pages map[string]string
		want  func(error) bool
	}{
		{"another server's resource", good(strings.Replace(goodMCP, "{self}/mcp", "https://mail.example.com/mcp", 1), goodAS), wrong},
		{"a sibling's resource", good(strings.Replace(goodMCP, "{self}/mcp", "{self}/other", 1), goodAS), wrong},
		{"a longer resource", good(strings.Replace(goodMCP, "{self}/mcp", "{self}/mcp/deeper", 1), goodAS), wrong},
		{"half a segment", good(strings.Replace(goodMCP, "{self}/mcp", "{self}/mc", 1), goodAS), wrong},
		{"another issuer's document", good(goodMCP, strings.Replace(goodAS, `"{self}"`, `"https://accounts.example.com"`, 1)), isIssuerError},
		{"an issuer but for a slash", good(goodMCP, strings.Replace(goodAS, `"{self}"`, `"{self}/"`, 1)), isIssuerError},
		{"no PKCE", good(goodMCP, strings.Replace(goodAS, `,"code_challenge_methods_supported":["plain","S256"]`, "", 1)), is(ErrNoPKCE)},
		{"plain PKCE alone", good(goodMCP, strings.Replace(goodAS, `,"S256"`, "", 1)), is(ErrNoPKCE)},
		{"no token endpoint", good(goodMCP, strings.Replace(goodAS, "token_endpoint", "x", 1)), says("token_endpoint")},
		{"nowhere to log in", good(goodMCP, strings.Replace(goodAS, "authorization_endpoint", "x", 1)), says("authorization_endpoint")},
		{"a script to log in at", good(goodMCP, strings.Replace(goodAS, "{self}/authorize", "javascript:alert(1)", 1)), says("authorization_endpoint")},
		{"plain http to log in at", good(goodMCP, strings.Replace(goodAS, "{self}/authorize", "http://id.example.com/", 1)), says("authorization_endpoint")},
		{"a user in an endpoint", good(goodMCP, strings.Replace(goodAS, "{self}/token", "https://me:hush@id.example.com/token", 1)), says("token_endpoint")},
		{"a fragment in an endpoint", good(goodMCP, strings.Replace(goodAS, "{self}/token", "{self}/token#x", 1)), says("token_endpoint")},
		{"an issuer that is no URL", good(strings.Replace(goodMCP, `["{self}"]`, `["javascript:alert(1)"]`, 1), goodAS), says("issuer")},
		{"an issuer with a query", good(strings.Replace(goodMCP, `["{self}"]`, `["{self}?x=1"]`, 1), goodAS), says("query")},
		{"metadata that moved to another server", map[string]string{"/mcp": "Bearer", atMCP: "-> https://127.0.0.2:1/", plainPath: goodAS}, nil},
		{"a server's metadata in a circle", good(goodMCP, "-> "+plainPath), says("redirects")},
		{"circles everywhere", map[string]string{"/mcp": saying, "/meta": "-> /meta", atMCP: "-> " + atMCP, "/.well-known/oauth-protected-resource": "-> /.well-known/oauth-protected-resource"}, is(errTooMany)},
		{"too big", good(goodMCP, with(`"x":"`+strings.Repeat("x", maxBody)+`"`)), says("too big")},
		{"no login", map[string]string{"/mcp": "open"}, is(ErrOpen)},
		{"no metadata", map[string]string{"/mcp": "Bearer"}, is(ErrNoMetadata)},
	} {
		s := newPlace(t, test.pages)
		r, err := (&Client{}).FindRemote(t.Context(), s.url+"/mcp", "")
		if test.want == nil { // the well-known place of 2025-03-26 is left
			if err != nil || len(r.Issuers) != 1 || r.Issuers[0] != s.url {
				t.Errorf("%s: %+v %v", test.name, r, err)
			}
			continue
		}
		if _, ok := errors.AsType[*Error](err); !ok || !test.want(err) || strings.Contains(err.Error(), "hush") || len(err.Error()) > 600 {
			t.Errorf("%s: %v", test.name, err)
		}
		if n := len(s.asked()); n > maxRequests {
			t.Errorf("%s: %d requests", test.name, n)
		}
	}
	for _, address := range []string{"http://example.com/mcp", "https://me:hush@example.com/mcp", "https://example.com/mcp#x", "example.com", "", "https://example.com/a/../b"} {
		if _, err := (&Client{}).FindRemote(t.Context(), address, ""); err == nil || strings.Contains(err.Error(), "hush") {
			t.Errorf("%q: %v", address, err)
		}
	}
}

// A server that nobody vouches for must not lead to those that only this machine can
// reach: neither by an address in a document, nor by a name.
func TestExplorationStaysFar(t *testing.T) {
	near := map[string]reach{
		"127.0.0.1": local, "::1": local, "::ffff:127.0.0.1": local, "10.1.2.3": private, "192.168.0.1": private, "172.16.0.1": private,
		"100.64.0.1": private, "fd00::1": private, "64:ff9b::7f00:1": local, "64:ff9b::a00:1": private, "93.184.215.14": public, "2606:2800::1": public,
	}
	for ip, want := range near {
		if got, err := reachOf(netip.MustParseAddr(ip)); got != want || err != nil {
			t.Errorf("%s: %v %v", ip, got, err)
		}
	}
	for _, ip := range []string{"169.254.169.254", "fe80::1", "fe80::1%eth0", "::ffff:169.254.169.254", "64:ff9b::a9fe:a9fe", "0.0.0.0", "::", "224.0.0.1", "ff02::1"} {
		if _, err := reachOf(netip.MustParseAddr(ip)); !errors.Is(err, errNobody) {
			t.Errorf("%s: %v", ip, err)
		}
	}
	for limit := public; limit <= local; limit++ {
		for ip, at := range near {
			x := &exploration{known: true, limit: limit}
			if err := x.dialed(t.Context(), "tcp", net.JoinHostPort(ip, "443"), nil); (err == nil) != (at <= limit) {
				t.Errorf("from %d to %s: %v", limit, ip, err)
			}
		}
	}
	for raw, want := range map[string]reach{"https://localhost./": local, "https://x.LOCALHOST/": local, "https://[::1]/": local, "https://10.0.0.1/": private, "https://example.com/": public} {
		u, err := url.Parse(raw)
		if got, _ := nameReach(u); err != nil || got != want {
			t.Errorf("%s: %v", raw, got)
		}
	}
}

// resolver asks a DNS server whose answers for a name change from look to look.
func resolver(t *testing.T, answers map[string][]string) *net.Resolver {
	t.Helper()
	c, err := net.ListenPacket("udp", "127.0.0.1:0")
	testenv.Must(t, err)
	t.Cleanup(func() { _ = c.Close() })
	looked := map[string]int{}
	go func() {
		buffer := make([]byte, 1500)
		for {
			n, from, err := c.ReadFrom(buffer)
			if err != nil {
				return
			}
			var m dnsmessage.Message
			if m.Unpack(buffer[:n]) != nil || len(m.Questions) != 1 {
				continue
			}
			m.Response, m.Authoritative, m.Additionals = true, true, nil
			name := m.Questions[0].Name.String()
			if list := answers[name]; len(list) > 0 && m.Questions[0].Type == dnsmessage.TypeA {
				ip := netip.MustParseAddr(list[min(looked[name], len(list)-1)])
				looked[name]++
				m.Answers = []dnsmessage.Resource{{
					Header: dnsmessage.ResourceHeader{Name: m.Questions[0].Name, Type: dnsmessage.TypeA, Class: dnsmessage.ClassINET, TTL: 0},
					Body:   &dnsmessage.AResource{A: ip.As4()},
				}}
			}
			if packed, err := m.Pack(); err == nil {
				_, _ = c.WriteTo(packed, from)
			}
		}
	}()
	return &net.Resolver{PreferGo: true, Dial: func(ctx context.Context, _, _ string) (net.Conn, error) {
		return new(net.Dialer).DialContext(ctx, "udp", c.LocalAddr().String())
	}}
}

// A name that is looked at first and leads elsewhere afterwards gains nothing: the
// address is judged as the connection is made.
func TestNameThatChanges(t *testing.T) {
	s := newPlace(t, map[string]string{"/": goodAS})
	_, port, err := net.SplitHostPort(strings.TrimPrefix(s.url, "http://"))
	testenv.Must(t, err)
	for _, limit := range []reach{public, private} {
		c := &Client{resolver: resolver(t, map[string][]string{"rebind.example.": {"127.0.0.1"}}), within: &exploration{known: true, limit: limit}}
		_, err = c.get(t.Context(), "http://rebind.example:"+port+"/")
		if !errors.Is(err, errNear) {
			t.Errorf("from %d: %v", limit, err)
		}
	}
	if len(s.asked()) != 0 {
		t.Errorf("%q was asked", s.asked())
	}
	c := &Client{resolver: resolver(t, map[string][]string{"here.example.": {"127.0.0.1"}}), within: &exploration{}}
	if _, err := c.get(t.Context(), "http://here.example:"+port+"/"); err != nil || !c.within.known || c.within.limit != local {
		t.Errorf("the server itself: %v, known %v, %d", err, c.within.known, c.within.limit)
	}
}

// A login at a public server is for a token endpoint that stays public: its refresh token
// doesn't leave for a private network, or for this machine, by a name that leads there now;
// nor does the token with which its registration is deleted.
func TestRefreshStaysFar(t *testing.T) {
	s := newPlace(t, map[string]string{"/token": `{"access_token":"t","token_type":"Bearer"}`})
	_, port, err := net.SplitHostPort(strings.TrimPrefix(s.url, "http://"))
	testenv.Must(t, err)
	for reached, refused := range map[string]bool{"public": true, "private": true, "local": false, "": false} {
		c := (&Client{resolver: resolver(t, map[string][]string{"localhost.": {"127.0.0.1"}})}).For(Service{Reach: reached})
		announced := false
		_, err := c.Refresh(t.Context(), Endpoint{TokenEndpoint: "http://localhost:" + port + "/token"}, keystore.NewSecret("hush"), func() error { announced = true; return nil })
		failed, _ := errors.AsType[*Error](err)
		if gone := (&Client{resolver: c.resolver}).Unregister(t.Context(), &Registration{URI: "http://localhost:" + port + "/register/c", Token: keystore.NewSecret("hush"), Reach: reached}); errors.Is(gone, errNear) != refused {
			t.Errorf("the deletion of a registration, from %q: %v", reached, gone)
		}
		if refused && (!errors.Is(err, errNear) || failed.Class != Unsent || announced) || !refused && errors.Is(err, errNear) {
			t.Errorf("from %q: %v, announced %v", reached, err, announced)
		}
	}
	for near, name := range map[reach]string{public: "public", private: "private", local: "local"} {
		if got := (&Remote{client: &Client{within: &exploration{known: true, limit: near}}}).Reach(); got != name {
			t.Errorf("%d is %q", near, got)
		}
	}
	if got := (&Remote{client: &Client{within: &exploration{}}}).Reach(); got != "" {
		t.Errorf("what isn't known is %q", got)
	}
}

// Behind a proxy, which looks names up itself, an address in a document is all there
// is to go by.
func TestExplorationThroughProxy(t *testing.T) {
	proxy, err := url.Parse("http://127.0.0.1:1")
	testenv.Must(t, err)
	c := &Client{proxy: func(*http.Request) (*url.URL, error) { return proxy, nil }, within: &exploration{known: true, limit: public}}
	for _, at := range []string{"https://169.254.169.254/", "https://10.0.0.1/", "https://localhost./"} {
		if _, err := c.get(t.Context(), at); !errors.Is(err, errNear) && !errors.Is(err, errNobody) {
			t.Errorf("%s: %v", at, err)
		}
	}
}

func TestExplorationEnds(t *testing.T) {
	if exploreTime > 30*time.Second || documentTime > 10*time.Second || maxRequests > 12 {
		t.Error("a search takes longer than SECURITY.md says")
	}
	s := newPlace(t, nil)
	c := (&Client{}).exploring()
	for range maxRequests {
		_, _ = c.get(t.Context(), s.url)
	}
	if _, err := c.get(t.Context(), s.url); !errors.Is(err, errTooMany) || len(s.asked()) != maxRequests {
		t.Errorf("%v after %d requests", err, len(s.asked()))
	}
	if _, err := c.settled().get(t.Context(), s.url); errors.Is(err, errTooMany) {
		t.Error("what comes after the search is counted, too")
	}
}

// found is a server whose authorization server answers /register with that.
func found(t *testing.T, answer string) (*Remote, *place) {
	t.Helper()
	s := newPlace(t, map[string]string{"/mcp": "Bearer", atMCP: goodMCP, plainPath: goodAS, "/register": answer})
	r, err := (&Client{}).FindRemote(t.Context(), s.url+"/mcp", "")
	testenv.Must(t, err)
	return r, s
}

const redirectHere = "http://127.0.0.1:4711/callback"

func TestRegister(t *testing.T) {
	r, s := found(t, `{"client_id":"c1","redirect_uris":["`+redirectHere+`"],"registration_client_uri":"{self}/register/c1","registration_access_token":"rt"}`)
	reg, err := r.Register(t.Context(), redirectHere)
	testenv.Must(t, err)
	want := &Registration{Issuer: s.url, Resource: s.url + "/mcp", ClientID: "c1", RedirectURI: redirectHere, AuthStyle: AuthNone, At: reg.At,
		URI: s.url + "/register/c1", Token: keystore.NewSecret("rt"), Reach: "local"}
	if !reflect.DeepEqual(reg, want) {
		t.Errorf("%+v", reg)
	}
	sent := s.sent[len(s.sent)-1]
	for _, part := range []string{`"application_type":"native"`, `"refresh_token"`, `"` + redirectHere + `"`, `"token_endpoint_auth_method":"none"`} {
		if !strings.Contains(sent, part) {
			t.Errorf("%s is missing in %s", part, sent)
		}
	}
}

func TestRegistrationAnswers(t *testing.T) {
	now := time.Unix(1_800_000_000, 0)
	for _, test := range []struct{ name, body, asked, style, bad string }{
		{"public", `{"client_id":"c"}`, "none", AuthNone, ""},
		{"a secret that is used", `{"client_id":"c","client_secret":"s","token_endpoint_auth_method":"client_secret_basic"}`, "none", AuthHeader, ""},
		{"a secret that nobody asked for", `{"client_id":"c","client_secret":"s"}`, "none", AuthNone, ""},
		{"a secret for ever", `{"client_id":"c","client_secret":"s","client_secret_expires_at":0}`, "client_secret_post", AuthParams, ""},
		{"a secret for a while", `{"client_id":"c","client_secret":"s","client_secret_expires_at":1800000100}`, "client_secret_post", AuthParams, ""},
		{"a secret that is over", `{"client_id":"c","client_secret":"s","client_secret_expires_at":1800000000}`, "client_secret_post", "", "already expired"},
		{"a secret that is missing", `{"client_id":"c"}`, "client_secret_post", "", "no client secret"},
		{"a kind that isn't here", `{"client_id":"c","token_endpoint_auth_method":"private_key_jwt"}`, "none", "", "authentication"},
		{"another redirect", `{"client_id":"c","redirect_uris":["https://evil.example/"]}`, "none", "", "another redirect URI"},
		{"no list of redirects", `{"client_id":"c","redirect_uris":"` + redirectHere + `"}`, "none", "", "another redirect URI"},
		{"no client", `{"client_secret":"s"}`, "none", "", "no client id"},
		{"an odd client", `{"client_id":"c\u0007"}`, "none", "", "odd characters"},
		{"a long client", `{"client_id":"` + strings.Repeat("c", maxClientID+1) + `"}`, "none", "", "too long"},
		{"an odd secret", `{"client_id":"c","client_secret":"s\n"}`, "none", "", "odd characters"},
		{"no JSON", `client_id=c`, "none", "", "neither JSON"},
	} {
		reg, err := parseRegistration([]byte(test.body), redirectHere, test.asked, now)
		if test.bad != "" {
			if err == nil || !strings.Contains(err.Error(), test.bad) {
				t.Errorf("%s: %+v %v", test.name, reg, err)
			}
			continue
		}
		if err != nil || reg.AuthStyle != test.style {
			t.Errorf("%s: %+v %v", test.name, reg, err)
		}
	}
}

func TestRegisterRefuses(t *testing.T) {
	for _, test := range []struct{ name, answer, want string }{
		{"moved", "-> https://127.0.0.2:1/register", "redirects"},
		{"denied", "Bearer", "HTTP 401"},
		{"too big", `{"client_id":"c","x":"` + strings.Repeat("x", maxRegistration) + `"}`, "too big"},
	} {
		r, s := found(t, test.answer)
		before := len(s.asked())
		_, err := r.Register(t.Context(), redirectHere)
		if _, ok := errors.AsType[*RegistrationError](err); !ok || !strings.Contains(err.Error(), test.want) {
			t.Errorf("%s: %v", test.name, err)
		}
		if n := len(s.asked()) - before; n != 1 {
			t.Errorf("%s: %d requests", test.name, n)
		}
	}
	// What manages the registration stays at the server that made it.
	r, _ := found(t, `{"client_id":"c","registration_client_uri":"https://evil.example/c","registration_access_token":"rt"}`)
	if reg, err := r.Register(t.Context(), redirectHere); err != nil || reg.URI != "" || !reg.Token.Empty() {
		t.Errorf("%+v %v", reg, err)
	}
}

func TestUnregister(t *testing.T) {
	for _, test := range []struct {
		status int
		good   bool
	}{{204, true}, {200, true}, {404, true}, {401, true}, {403, false}, {405, false}, {500, false}, {302, false}} {
		var got []string
		s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			got = append(got, fmt.Sprint(r.Method, " ", r.Header.Get("Authorization")))
			w.Header().Set("Location", "/elsewhere")
			w.WriteHeader(test.status)
		}))
		t.Cleanup(s.Close)
		err := (&Client{}).Unregister(t.Context(), &Registration{URI: s.URL, Token: keystore.NewSecret("rt")})
		if (err == nil) != test.good || len(got) != 1 || got[0] != "DELETE Bearer rt" {
			t.Errorf("%d: %v, %q", test.status, err, got)
		}
	}
}

func FuzzRegistration(f *testing.F) {
	f.Add([]byte(`{"client_id":"c","client_secret":"s","client_secret_expires_at":1e300,"redirect_uris":["http://127.0.0.1:4711/callback"],"registration_client_uri":"https://x/","registration_access_token":"t"}`))
	f.Add([]byte(`{"client_id":"c","client_secret_expires_at":"-5"}`))
	f.Fuzz(func(t *testing.T, body []byte) {
		reg, err := parseRegistration(body, redirectHere, "none", time.Now())
		if err != nil {
			return
		}
		if reg.ClientID == "" || len(reg.ClientID) > maxClientID || printable(reg.ClientID) != nil || printable(reg.Secret.Reveal()) != nil {
			t.Errorf("%+v", reg)
		}
		if reg.URI != "" && (CheckURL(reg.URI) != nil || CheckAccessToken(reg.Token.Reveal()) != nil) {
			t.Errorf("a place that no token may go to: %q", reg.URI)
		}
	})
}

func FuzzServerMetadata(f *testing.F) {
	f.Add([]byte(strings.ReplaceAll(with(`"scopes_supported":"openid","token_endpoint_auth_methods_supported":["none"]`), "{self}", "https://id.example")))
	f.Add([]byte(`{"issuer":"https://id.example","authorization_endpoint":"javascript:x","token_endpoint":{}}`))
	f.Fuzz(func(t *testing.T, body []byte) {
		m := parseMetadata(body)
		if m == nil || m.of("https://id.example") != nil {
			return
		}
		p := m.provider(false)
		if p.checkRemote(false) != nil {
			return
		}
		for _, at := range []string{p.AuthorizationEndpoint, p.TokenEndpoint, p.RevocationEndpoint} {
			if u, err := url.Parse(at); at != "" && (err != nil || u.Scheme != "https" || loopback(u.Hostname())) {
				t.Errorf("a login would go to %q", at)
			}
		}
	})
}
