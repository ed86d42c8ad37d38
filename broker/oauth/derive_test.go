package oauth

import (
	"encoding/json"
	"net/url"
	"path/filepath"
	"reflect"
	"slices"
	"strings"
	"testing"

	"github.com/authferry/authferry/broker/brokertest"
	"github.com/authferry/authferry/testenv"
)

// A second login asks which account is meant, where the server is known to let a person
// choose, and beside what the request says anyway.
func TestChoosing(t *testing.T) {
	for name, row := range map[string]struct {
		p    Provider
		want string
	}{
		"unknown":       {Provider{}, ""},
		"unknown, told": {Provider{AuthorizeParams: map[string]string{"prompt": "consent"}}, "consent"},
		"known":         {Provider{SelectAccount: true}, "select_account"},
		"known, told":   {Provider{SelectAccount: true, AuthorizeParams: map[string]string{"prompt": "login"}}, "login select_account"},
		"told so":       {Provider{SelectAccount: true, AuthorizeParams: map[string]string{"prompt": "select_account consent"}}, "select_account consent"},
		"nobody asked":  {Provider{SelectAccount: true, AuthorizeParams: map[string]string{"prompt": "none"}}, "none"}, // OpenID Connect Core §3.1.2.1: none stands alone
		"google":        {mustGet(t, "google"), "consent select_account"},
		"microsoft":     {mustGet(t, "microsoft"), "select_account"},
		"github":        {mustGet(t, "github"), "select_account"},
		"anthropic":     {mustGet(t, "anthropic"), ""},
		"openai":        {mustGet(t, "openai"), ""},
	} {
		before := row.p.AuthorizeParams["prompt"]
		if got := row.p.Choosing().AuthorizeParams["prompt"]; got != row.want {
			t.Errorf("%s: prompt=%s, want %s", name, got, row.want)
		}
		if row.p.AuthorizeParams["prompt"] != before {
			t.Errorf("%s: the provider was changed", name)
		}
	}
}

// What belongs to a server stays there: of every provider that can be started from,
// no address, host, header or variable comes along to another server, and each key
// that doesn't is named.
func TestDeriveElsewhere(t *testing.T) {
	const mine = "https://id.mine.example"
	bases := append(load(t, filepath.Join(t.TempDir(), "providers.toml")).All(), sample())
	for _, base := range bases {
		for name, named := range map[string]Provider{
			"token endpoint":      {TokenEndpoint: mine + "/token"},
			"issuer":              {Issuer: mine},
			"issuer, same server": {Issuer: mine, TokenEndpoint: base.TokenEndpoint},
			"issuer's subdomain":  {Issuer: strings.Replace(base.Issuer, "://", "://x.", 1)},
			"issuer with a slash": {Issuer: base.Issuer + "/"},
			"authorization":       {AuthorizationEndpoint: mine + "/authorize"},
			"device":              {DeviceAuthorizationEndpoint: mine + "/device"},
			"another port":        {AuthorizationEndpoint: atPort(base.AuthorizationEndpoint, "8443")},
			"another path":        {TokenEndpoint: base.TokenEndpoint + "/2"},
			"everything": {Issuer: mine, AuthorizationEndpoint: mine + "/a", TokenEndpoint: mine + "/t", RevocationEndpoint: mine + "/r", UserinfoEndpoint: mine + "/u",
				Headers: []string{"x: {token}"}, APIOrigins: []string{mine}, Env: []string{"MINE_TOKEN"}},
		} {
			got, left := Derive(named, Provider{}, base)
			was, is, said := reflect.ValueOf(base), reflect.ValueOf(got), reflect.ValueOf(named)
			for i := range is.NumField() {
				key := keyOf(is.Type().Field(i))
				if key == "-" || !said.Field(i).IsZero() {
					continue
				}
				portable := slices.Contains(portableKeys, key) || key == "redirect_uri" && loopbackURL(base.RedirectURI) || slices.Contains(left, "identity_from") && key == "identity_from"
				if !portable && !is.Field(i).IsZero() {
					t.Errorf("%s, another %s: %s came along: %v", base.Name, name, key, is.Field(i))
				}
				if !portable && !was.Field(i).IsZero() && !slices.Contains(left, key) {
					t.Errorf("%s, another %s: nothing says that %s did not come along", base.Name, name, key)
				}
			}
			text, err := json.Marshal(got)
			testenv.Must(t, err)
			own, _ := json.Marshal(named)
			for _, host := range hostsOf(base) {
				if !strings.Contains(string(own), host) && strings.Contains(string(text), host) {
					t.Errorf("%s, another %s: %s", base.Name, name, text)
				}
			}
		}
	}
}

func atPort(raw, port string) string {
	u, err := url.Parse(raw)
	if err != nil {
		return raw
	}
	u.Host = u.Hostname() + ":" + port
	return u.String()
}

// hostsOf are the hosts that p names, but for this machine.
func hostsOf(p Provider) (hosts []string) {
	for _, raw := range append([]string{p.Issuer, p.AuthorizationEndpoint, p.TokenEndpoint, p.DeviceAuthorizationEndpoint, p.RevocationEndpoint,
		p.UserinfoEndpoint, p.PasteRedirectURI, p.TermsURL}, p.APIOrigins...) {
		if u, err := url.Parse(raw); err == nil && u.Hostname() != "" && !loopback(u.Hostname()) {
			hosts = append(hosts, u.Hostname())
		}
	}
	return hosts
}

// At the same server everything comes along but what is named.
func TestDeriveAtHome(t *testing.T) {
	base := sample()
	for name, named := range map[string]Provider{
		"nothing":          {},
		"a client":         {ClientID: "mine", Scopes: []string{"a"}},
		"the same":         {Issuer: base.Issuer, TokenEndpoint: base.TokenEndpoint, AuthorizationEndpoint: base.AuthorizationEndpoint},
		"another page":     {AuthorizationEndpoint: "https://id.example.com/v2/authorize"},
		"a device flow":    {DeviceAuthorizationEndpoint: "http://127.0.0.1:8080/device"},
		"what it is for":   {APIOrigins: []string{"https://mine.example"}, Headers: []string{"x: {token}"}, Env: []string{"MINE_TOKEN"}},
		"where it is told": {UserinfoEndpoint: "https://mine.example/me", RevocationEndpoint: "https://mine.example/revoke"},
	} {
		want := named.or(base, func(string) bool { return true })
		want.Name, want.Source = "", ""
		if got, left := Derive(named, Provider{}, base); left != nil || !reflect.DeepEqual(got, want) {
			t.Errorf("%s: left %v\ngot  %+v\nwant %+v", name, left, got, want)
		}
	}
	microsoft := mustGet(t, "microsoft")
	for issuer, stays := range map[string]bool{
		"https://login.microsoftonline.com/9188040d-6c67-4c5b-b112-36a304b66dad/v2.0": true,
		"https://login.microsoftonline.com/contoso.example/v2.0":                      true,
		"https://login.microsoftonline.com//v2.0":                                     false,
		"https://login.microsoftonline.com/v2.0":                                      false,
		"https://login.microsoftonline.com/a/b/v2.0":                                  false,
		"https://login.microsoftonline.com/a?b/v2.0":                                  false,
		"https://login.microsoftonline.com.evil.example/a/v2.0":                       false,
		"https://login.microsoftonline.us/a/v2.0":                                     false,
	} {
		found := Provider{Issuer: issuer, TokenEndpoint: strings.Replace(microsoft.TokenEndpoint, "common", "a", 1), Scopes: []string{"openid"}, AuthorizeParams: map[string]string{"prompt": "consent"}}
		got, left := Derive(Provider{Issuer: issuer, ClientID: "mine"}, found, microsoft)
		if stays != (left == nil) || stays != (len(got.APIOrigins) > 0) || got.TokenEndpoint != found.TokenEndpoint || got.Issuer != issuer {
			t.Errorf("%s: %v, %+v", issuer, left, got)
		}
	}
}

func mustGet(t *testing.T, name string) Provider {
	t.Helper()
	p, ok := load(t, filepath.Join(t.TempDir(), "providers.toml")).Get(name)
	if !ok {
		t.Fatalf("no provider %s", name)
	}
	return p
}

// Whatever discovery learns is in the provider that is kept.
func TestDeriveKeepsWhatIsFound(t *testing.T) {
	s := brokertest.New(t, brokertest.Config{})
	found, err := (&Client{}).Discover(t.Context(), s.URL)
	testenv.Must(t, err)
	for name, base := range map[string]Provider{"from nothing": {}, "from another server's": mustGet(t, "google"), "from itself": {Issuer: s.URL, TokenEndpoint: found.TokenEndpoint}} {
		got, _ := Derive(Provider{Issuer: s.URL, ClientID: "mine"}, found, base)
		for i, f := range reflect.VisibleFields(reflect.TypeFor[Provider]()) {
			if v := reflect.ValueOf(found).Field(i); !v.IsZero() && !reflect.DeepEqual(reflect.ValueOf(got).Field(i).Interface(), v.Interface()) && f.Name != "AuthorizeParams" {
				t.Errorf("%s: %s is %v, and discovery says %v", name, f.Name, reflect.ValueOf(got).Field(i), v)
			}
		}
		if got.AuthorizeParams["prompt"] != "consent" {
			t.Errorf("%s: %v", name, got.AuthorizeParams)
		}
	}
}

// offline_access takes the person's consent, however the scope got there; but where a
// provider's data has the scope already, it also says what that takes.
func TestDeriveConsent(t *testing.T) {
	for name, row := range map[string]struct {
		named, found, base Provider
		want               string
	}{
		"named":                {Provider{TokenEndpoint: "https://a.example/t", Scopes: []string{"offline_access"}}, Provider{}, Provider{}, "consent"},
		"found":                {Provider{}, Provider{Issuer: "https://a.example", Scopes: []string{"openid", "offline_access"}}, Provider{}, "consent"},
		"found, but not asked": {Provider{Scopes: []string{"openid"}}, Provider{Issuer: "https://a.example", Scopes: []string{"openid", "offline_access"}}, Provider{}, ""},
		"asked, but not found": {Provider{Scopes: []string{"offline_access"}}, Provider{Issuer: "https://a.example"}, Provider{}, "consent"},
		"built in without":     {Provider{ClientID: "mine"}, Provider{}, mustGet(t, "openai"), ""},
		"built in, elsewhere":  {Provider{TokenEndpoint: "https://a.example/t"}, Provider{}, mustGet(t, "openai"), "consent"},
		"built in, new scope":  {Provider{Scopes: []string{"offline_access"}}, Provider{}, mustGet(t, "github"), "consent"},
		"told otherwise":       {Provider{Scopes: []string{"offline_access"}}, Provider{}, Provider{AuthorizeParams: map[string]string{"prompt": "login"}}, "login"},
	} {
		before := row.base.AuthorizeParams["prompt"]
		if got, _ := Derive(row.named, row.found, row.base); got.AuthorizeParams["prompt"] != row.want {
			t.Errorf("%s: prompt=%s", name, got.AuthorizeParams["prompt"])
		}
		if row.base.AuthorizeParams["prompt"] != before {
			t.Errorf("%s: the base was changed", name)
		}
	}
}
