package oauth

import (
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"reflect"
	"strings"
	"testing"

	"github.com/authferry/authferry/broker/brokertest"
	"github.com/authferry/authferry/testenv"
)

func TestDiscover(t *testing.T) {
	s := brokertest.New(t, brokertest.Config{})
	got, err := (&Client{}).Discover(t.Context(), s.URL)
	testenv.Must(t, err)
	want := Provider{
		Issuer: s.URL, AuthorizationEndpoint: s.URL + "/authorize", TokenEndpoint: s.URL + "/token", DeviceAuthorizationEndpoint: s.URL + "/device_authorization",
		RevocationEndpoint: s.URL + "/revoke", UserinfoEndpoint: s.URL + "/userinfo", AuthStyle: AuthNone, IssParameter: true, IdentityFrom: IdentityFromIDToken, Scopes: got.Scopes,
		AuthorizeParams: map[string]string{"prompt": "consent"}, // because of offline_access
	}
	if !reflect.DeepEqual(got, want) || len(got.Scopes) == 0 || got.Scopes[0] != "openid" {
		t.Errorf("got  %+v\nwant %+v", got, want)
	}
	got.Name = "sim"
	testenv.Check(t, got.Validate())
	testenv.Must(t, s.Configure(func(c *brokertest.Config) { c.Chosen = "bob@example.com" }))
	if got, err := (&Client{}).Discover(t.Context(), s.URL); err != nil || !got.SelectAccount {
		t.Errorf("its prompt_values_supported were not heeded: %+v, %v", got, err)
	}
}

// site answers paths with documents; "{self}" in them is its URL.
func site(t *testing.T, pages map[string]string) (url string, asked *[]string) {
	t.Helper()
	asked = new([]string)
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		*asked = append(*asked, r.URL.Path)
		page, ok := pages[r.URL.Path]
		page = strings.ReplaceAll(page, "{self}", "http://"+r.Host)
		switch to, moved := strings.CutPrefix(page, "-> "); {
		case !ok:
			http.NotFound(w, r)
		case moved:
			http.Redirect(w, r, to, http.StatusFound)
		default:
			_, _ = w.Write([]byte(page))
		}
	}))
	t.Cleanup(s.Close)
	return s.URL, asked
}

const openIDPath, plainPath = "/.well-known/openid-configuration", "/.well-known/oauth-authorization-server"

func TestDiscoverPlaces(t *testing.T) {
	for _, test := range []struct {
		name, path string
		pages      map[string]string
		token      string // path of the token endpoint that is found
		identity   string
	}{
		{"OpenID Connect", "", map[string]string{openIDPath: `{"issuer":"{self}","token_endpoint":"{self}/a"}`, plainPath: `{"issuer":"{self}","token_endpoint":"{self}/b"}`}, "/a", IdentityFromIDToken},
		{"RFC 8414", "", map[string]string{plainPath: `{"issuer":"{self}","token_endpoint":"{self}/b"}`}, "/b", ""},
		{"a web page first", "", map[string]string{openIDPath: "<html>", plainPath: `{"issuer":"{self}","token_endpoint":"{self}/b"}`}, "/b", ""},
		{"with a path", "/tenant", map[string]string{"/tenant" + openIDPath: `{"issuer":"{self}/tenant","token_endpoint":"{self}/a"}`}, "/a", IdentityFromIDToken},
		{"with a path, RFC 8414", "/tenant", map[string]string{plainPath + "/tenant": `{"issuer":"{self}/tenant","token_endpoint":"{self}/b"}`}, "/b", ""},
		{"with a slash", "/tenant/", map[string]string{"/tenant" + openIDPath: `{"issuer":"{self}/tenant/","token_endpoint":"{self}/a"}`}, "/a", IdentityFromIDToken},
		{"moved on the same server", "", map[string]string{openIDPath: "-> /moved", "/moved": `{"issuer":"{self}","token_endpoint":"{self}/a"}`}, "/a", IdentityFromIDToken},
		{"with a path, inserted", "/tenant", map[string]string{openIDPath + "/tenant": `{"issuer":"{self}/tenant","token_endpoint":"{self}/a"}`}, "/a", IdentityFromIDToken},
		{"with a path, RFC 8414, appended", "/tenant", map[string]string{"/tenant" + plainPath: `{"issuer":"{self}/tenant","token_endpoint":"{self}/b"}`}, "/b", ""},
		{"another one's first", "/tenant", map[string]string{"/tenant" + openIDPath: `{"issuer":"{self}","token_endpoint":"{self}/x"}`, plainPath + "/tenant": `{"issuer":"{self}/tenant","token_endpoint":"{self}/b"}`}, "/b", ""},
		{"RFC 8414 with openid", "", map[string]string{plainPath: `{"issuer":"{self}","token_endpoint":"{self}/b","scopes_supported":["openid"]}`}, "/b", IdentityFromIDToken},
		{"byte order mark", "", map[string]string{openIDPath: "\ufeff" + `{"issuer":"{self}","token_endpoint":"{self}/a"}`}, "/a", IdentityFromIDToken},
	} {
		url, _ := site(t, test.pages)
		p, err := (&Client{}).Discover(t.Context(), url+test.path)
		if err != nil || p.TokenEndpoint != url+test.token || p.IdentityFrom != test.identity || p.Issuer != url+test.path {
			t.Errorf("%s: %+v %v", test.name, p, err)
		}
	}
}

func TestDiscoverRefuses(t *testing.T) {
	elsewhere, askedElsewhere := site(t, map[string]string{openIDPath: `{"issuer":"{self}","token_endpoint":"{self}/a"}`})
	for _, test := range []struct{ name, page, want string }{
		{"another issuer", `{"issuer":"https://evil.example","token_endpoint":"{self}/a"}`, `issuer "https://evil.example"`},
		{"the issuer with a slash", `{"issuer":"{self}/","token_endpoint":"{self}/a"}`, "if that is right, use it as --issuer"},
		{"no issuer", `{"token_endpoint":"{self}/a"}`, "no discovery document"},
		{"no token endpoint", `{"issuer":"{self}"}`, "token_endpoint"},
		{"plain http", `{"issuer":"{self}","token_endpoint":"http://example.com/t"}`, "token_endpoint: neither https"},
		{"odd revocation endpoint", `{"issuer":"{self}","token_endpoint":"{self}/a","revocation_endpoint":"ftp://x/"}`, "revocation_endpoint"},
		{"moved to another server", "-> " + elsewhere + openIDPath, "redirects to another server"},
		{"moved in a circle", "-> " + openIDPath, "redirects"},
		{"too big", `{"issuer":"{self}","token_endpoint":"{self}/a","x":"` + strings.Repeat("x", maxBody) + `"}`, "too big"},
		{"no JSON", `{"issuer":"{self}"`, "no discovery document"},
		{"a long issuer", `{"issuer":"` + strings.Repeat("x", 5000) + `","token_endpoint":"{self}/a"}`, "…"},
	} {
		url, _ := site(t, map[string]string{openIDPath: test.page})
		p, err := (&Client{}).Discover(t.Context(), url)
		if _, ok := errors.AsType[*Error](err); !ok || !strings.Contains(err.Error(), test.want) || !reflect.DeepEqual(p, Provider{}) {
			t.Errorf("%s: %v", test.name, err)
		}
	}
	if len(*askedElsewhere) != 0 {
		t.Errorf("another server was asked for %q", *askedElsewhere)
	}
	for _, issuer := range []string{"http://example.com", "https://example.com?x=1", "https://me:hush@example.com", "example.com", "", "https://example.com#x"} {
		if _, err := (&Client{Transport: func() http.RoundTripper {
			return roundTrip(func(r *http.Request) (*http.Response, error) {
				t.Errorf("%s was asked", r.URL)
				return nil, http.ErrServerClosed
			})
		}}).Discover(t.Context(), issuer); err == nil || strings.Contains(err.Error(), "hush") {
			t.Errorf("%q: %v", issuer, err)
		}
	}
}

// A document from the network must not point at servers of this machine.
func TestDiscoverPointsNowhereLocal(t *testing.T) {
	const issuer = "https://id.example.com"
	for endpoint, good := range map[string]bool{"https://tokens.example.net/t": true, "http://127.0.0.1:8080/t": false, "https://localhost/t": false, "https://[::1]/t": false} {
		c := &Client{Transport: func() http.RoundTripper {
			return roundTrip(func(*http.Request) (*http.Response, error) {
				w := httptest.NewRecorder()
				_, _ = fmt.Fprintf(w, `{"issuer":%q,"token_endpoint":%q}`, issuer, endpoint)
				return w.Result(), nil
			})
		}}
		if _, err := c.Discover(t.Context(), issuer); (err == nil) != good {
			t.Errorf("%s: %v", endpoint, err)
		}
	}
}

func TestDiscoverAuthStyles(t *testing.T) {
	for methods, want := range map[string]string{
		// A missing list means Basic, but LinkedIn has none and takes the body alone.
		``: "", `[]`: "", `["client_secret_basic"]`: AuthHeader, `["client_secret_basic","client_secret_post"]`: "",
		`["client_secret_post","none"]`: AuthParams,
		`["none"]`:                      AuthNone, `["none","client_secret_basic"]`: AuthHeader, `["private_key_jwt"]`: "",
	} {
		var m metadata
		if methods != "" {
			testenv.Must(t, json.Unmarshal([]byte(methods), &m.AuthMethods))
		}
		if got := m.provider(true).AuthStyle; got != want {
			t.Errorf("%s: %q, want %q", methods, got, want)
		}
	}
}

func TestDiscoverOffline(t *testing.T) {
	s := httptest.NewServer(http.NotFoundHandler())
	url := s.URL
	if _, err := (&Client{}).Discover(t.Context(), url); err == nil {
		t.Error("a server without a document was accepted")
	}
	s.Close()
	_, err := (&Client{}).Discover(t.Context(), url)
	if e, _ := errors.AsType[*Error](err); e == nil || e.Class != Unsent {
		t.Errorf("%v", err)
	}
}

// The issuer that is kept is the document's own, where the address of the document was
// given, or what Microsoft has in place of a tenant.
func TestDiscoverIssuers(t *testing.T) {
	const doc = `{"issuer":"{self}%s","token_endpoint":"{self}/t"}`
	for _, test := range []struct{ asked, at, issuer, want string }{
		{openIDPath, openIDPath, "", ""},
		{openIDPath + "/", openIDPath, "", ""},
		{openIDPath, openIDPath, "/", "/"}, // Auth0
		{plainPath, plainPath, "", ""},
		{"/tenant" + openIDPath, "/tenant" + openIDPath, "/tenant", "/tenant"},
		{"/tenant" + openIDPath, "/tenant" + openIDPath, "/tenant/", "/tenant/"},
		{plainPath + "/tenant", plainPath + "/tenant", "/tenant", "/tenant"},
		{openIDPath + "/tenant", openIDPath + "/tenant", "/tenant", "/tenant"},
		{openIDPath + "?p=policy", openIDPath, "", ""}, // Azure AD B2C
		{"/common/v2.0", "/common/v2.0" + openIDPath, "/{tenantid}/v2.0", "/{tenantid}/v2.0"},
		{"/organizations/v2.0", "/organizations/v2.0" + openIDPath, "/{tenantid}/v2.0", "/{tenantid}/v2.0"},
		{"/common/v2.0" + openIDPath, "/common/v2.0" + openIDPath, "/{tenantid}/v2.0", "/{tenantid}/v2.0"},
		{openIDPath, openIDPath, "/other", "refused"},
		{openIDPath, openIDPath, ".evil.example", "refused"},
		{"/contoso/v2.0", "/contoso/v2.0" + openIDPath, "/{tenantid}/v2.0", "refused"}, // one tenant's login is not everybody's
		{"/common/v2.0", "/common/v2.0" + openIDPath, "/{tenantid}/v1.0", "refused"},
		{"/common/v2.0", "/common/v2.0" + openIDPath, "/contoso/v2.0", "refused"},
	} {
		url, _ := site(t, map[string]string{test.at: fmt.Sprintf(doc, test.issuer)})
		p, err := (&Client{}).Discover(t.Context(), url+test.asked)
		if test.want == "refused" {
			wrong, _ := errors.AsType[*IssuerError](err)
			if ask := url + test.issuer; wrong == nil || wrong.Issuer != ask || wrong.Ask != "" && wrong.Ask != ask || strings.Contains(ask, "evil") && wrong.Ask != "" {
				t.Errorf("%s: %v", test.asked, err)
			}
			if wrong != nil && (wrong.Ask != "") != (wrong.Found.TokenEndpoint == url+"/t") {
				t.Errorf("%s: %+v", test.asked, wrong.Found)
			}
			continue
		}
		if p.Name = "x"; err != nil || p.Issuer != url+test.want || p.Validate() != nil {
			t.Errorf("%s: %q, %v", test.asked, p.Issuer, err)
		}
	}
}

// One member that is not as it should be does not make the rest unreadable.
func TestDiscoverOddMembers(t *testing.T) {
	for member, want := range map[string]Provider{
		`"scopes_supported":"openid email"`:                                             {Scopes: []string{"openid", "email"}},
		`"scopes_supported":null`:                                                       {},
		`"scopes_supported":[]`:                                                         {},
		`"scopes_supported":["email",7]`:                                                {},
		`"scopes_supported":{"a":1}`:                                                    {},
		`"authorization_response_iss_parameter_supported":"true"`:                       {IssParameter: true},
		`"authorization_response_iss_parameter_supported":"false"`:                      {},
		`"authorization_response_iss_parameter_supported":1`:                            {},
		`"revocation_endpoint":false`:                                                   {},
		`"revocation_endpoint":null,"userinfo_endpoint":[],"authorization_endpoint":{}`: {},
		`"device_authorization_endpoint":""`:                                            {},
		`"token_endpoint_auth_methods_supported":"client_secret_post"`:                  {AuthStyle: AuthParams},
		`"token_endpoint_auth_methods_supported":["none",null]`:                         {AuthStyle: AuthNone},
		`"token_endpoint_auth_methods_supported":"private_key_jwt client_secret_post"`:  {AuthStyle: AuthParams},
		`"x":NaN`: {Issuer: "none"},
	} {
		url, _ := site(t, map[string]string{openIDPath: `{"issuer":"{self}","token_endpoint":"{self}/t",` + member + `}`})
		got, err := (&Client{}).Discover(t.Context(), url)
		if want.Issuer == "none" {
			if err == nil {
				t.Errorf("%s was read", member)
			}
			continue
		}
		want.Issuer, want.TokenEndpoint, want.IdentityFrom = url, url+"/t", IdentityFromIDToken
		if want.Scopes == nil {
			want.Scopes = []string{"openid"}
		}
		if err != nil || !reflect.DeepEqual(got, want) {
			t.Errorf("%s: %v\ngot  %+v\nwant %+v", member, err, got, want)
		}
	}
}
