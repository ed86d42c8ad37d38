package oauth

import (
	"encoding/base64"
	"encoding/json"
	"fmt"
	"maps"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/authferry/authferry/keystore"
	"github.com/authferry/authferry/testenv"
)

func idToken(t *testing.T, change map[string]any) string {
	t.Helper()
	claims := map[string]any{"iss": "https://as.example", "aud": "me", "sub": "s1", "email": "ada@example.com", "nonce": "N", "exp": time.Now().Add(time.Hour).Unix()}
	maps.Copy(claims, change)
	for name, v := range change {
		if v == nil {
			delete(claims, name)
		}
	}
	body, err := json.Marshal(claims)
	testenv.Must(t, err)
	return "e30." + base64.RawURLEncoding.EncodeToString(body) + ".c2ln"
}

// A server may name itself in more than one way, if the provider's data says so; it is
// one identity all the same.
func TestIssuerAliases(t *testing.T) {
	google := mustGet(t, "google")
	google.ClientID = "me"
	for name, row := range map[string]struct {
		p    Provider
		iss  string
		want string
	}{
		"with scheme":       {google, "https://accounts.google.com", google.Issuer},
		"without":           {google, "accounts.google.com", google.Issuer},
		"plain http":        {google, "http://accounts.google.com", ""},
		"with a slash":      {google, "accounts.google.com/", ""},
		"another":           {google, "accounts.google.com.evil.example", ""},
		"where nobody says": {Provider{Issuer: "https://as.example", ClientID: "me"}, "as.example", ""},
		"the other way":     {Provider{Issuer: "https://as.example", IssuerAliases: []string{"https://as.example/"}, ClientID: "me"}, "https://as.example/", "https://as.example"},
		"without an issuer": {Provider{IssuerAliases: []string{"as.example"}, ClientID: "me"}, "as.example", "as.example"},
	} {
		row.p.IdentityFrom = IdentityFromIDToken
		e := row.p.Endpoint()
		e.UserinfoEndpoint = ""
		tok := &Token{IDToken: keystore.NewSecret(idToken(t, map[string]any{"iss": row.iss})), ArrivedAt: time.Now()}
		id, err := (&Client{}).Identify(t.Context(), row.p, e, tok, "N")
		if (err == nil) != (row.want != "") || id.Issuer != row.want {
			t.Errorf("%s: %+v, %v", name, id, err)
		}
		if got := row.p.IsIssuer(row.iss); got != (row.want != "" && row.p.Issuer != "") {
			t.Errorf("%s: its own %v", name, got)
		}
	}
}

func TestIDTokenClaims(t *testing.T) {
	type m = map[string]any
	for name, row := range map[string]struct {
		change m
		issuer string
		want   string // of the error; empty: good
	}{
		"good":               {m{}, "https://as.example", ""},
		"list of audiences":  {m{"aud": []string{"x", "me"}, "azp": "me"}, "https://as.example", ""},
		"no configured one":  {m{}, "", ""},
		"tenant":             {m{"iss": "https://as.example/T1/v2", "tid": "T1"}, "https://as.example/{tenantid}/v2", ""},
		"another tenant":     {m{"iss": "https://as.example/T1/v2", "tid": "T2"}, "https://as.example/{tenantid}/v2", "another issuer"},
		"tenant and path":    {m{"iss": "https://as.example/v2", "tid": nil}, "https://as.example/{tenantid}/v2", "another issuer"},
		"clock a little off": {m{"exp": time.Now().Add(-5 * time.Minute).Unix()}, "https://as.example", ""},
		"far future":         {m{"exp": 1e300}, "https://as.example", ""},
		"another issuer":     {m{"iss": "https://evil.example"}, "https://as.example", "another issuer"},
		"no issuer":          {m{"iss": nil}, "", "another issuer"},
		"another audience":   {m{"aud": "you"}, "https://as.example", "another client"},
		"no audience":        {m{"aud": nil}, "https://as.example", "another client"},
		"another party":      {m{"azp": "you"}, "https://as.example", "another client"},
		"another nonce":      {m{"nonce": "M"}, "https://as.example", "nonce"},
		"no nonce":           {m{"nonce": nil}, "https://as.example", ""},
		"empty nonce":        {m{"nonce": ""}, "https://as.example", "nonce"},
		"nonce of no text":   {m{"nonce": 7}, "https://as.example", "nonce"},
		"a slash more":       {m{"iss": "https://as.example/"}, "https://as.example", ""},
		"a slash less":       {m{}, "https://as.example/", ""},
		"tenant and a slash": {m{"iss": "https://as.example/T1/", "tid": "T1"}, "https://as.example/{tenantid}", ""},
		"another path":       {m{"iss": "https://as.example/x/"}, "https://as.example", "another issuer"},
		"end as text":        {m{"exp": fmt.Sprint(time.Now().Add(time.Hour).Unix())}, "https://as.example", ""},
		"over, as text":      {m{"exp": fmt.Sprint(time.Now().Add(-time.Hour).Unix())}, "https://as.example", "has expired"},
		"end in words":       {m{"exp": "tomorrow"}, "https://as.example", "has expired"},
		"end NaN":            {m{"exp": "NaN"}, "https://as.example", "has expired"},
		"a list as subject":  {m{"sub": []string{"s1"}}, "https://as.example", "names no user"},
		"nobody":             {m{"sub": ""}, "https://as.example", "names no user"},
		"a blank as subject": {m{"sub": " "}, "https://as.example", "names no user"},
		"null as text":       {m{"sub": "null"}, "https://as.example", "names no user"},
		"over":               {m{"exp": time.Now().Add(-time.Hour).Unix()}, "https://as.example", "has expired"},
		"no end":             {m{"exp": nil}, "https://as.example", "has expired"},
	} {
		e := Endpoint{Issuer: row.issuer, ClientID: "me"}
		id, err := identityOf(idToken(t, row.change), Provider{}, e, "N", time.Now())
		switch {
		case row.want == "" && (err != nil || id.Subject != "s1" || row.issuer != "" && !strings.Contains(row.issuer, "{") && id.Issuer != row.issuer || id.Name != "ada@example.com"):
			t.Errorf("%s: %+v, %v", name, id, err)
		case row.want != "" && (err == nil || !strings.Contains(err.Error(), row.want)):
			t.Errorf("%s: %v", name, err)
		}
	}
	org, err := identityOf(idToken(t, m{"https://api.openai.com/auth": m{"chatgpt_account_id": "team"}}), Provider{}, Endpoint{ClientID: "me"}, "N", time.Now())
	if err != nil || org.Organization != "team" {
		t.Errorf("%+v, %v", org, err)
	}
	number, err := identityOf(idToken(t, m{"sub": 12345}), Provider{}, Endpoint{ClientID: "me"}, "N", time.Now())
	if err != nil || number.Subject != "12345" {
		t.Errorf("%+v, %v", number, err)
	}
	for _, bad := range []string{"", "a.b", "a.b.c", "e30.e30", "e30.!.x", "e30." + base64.RawURLEncoding.EncodeToString([]byte(`{"sub":`)) + ".x"} {
		if _, err := identityOf(bad, Provider{}, Endpoint{}, "", time.Now()); err == nil || bad != "" && strings.Contains(err.Error(), bad) {
			t.Errorf("%q: %v", bad, err)
		}
	}
}

// An encrypted ID token is for its reader alone; userinfo says the same, where there
// is one.
func TestEncryptedIDToken(t *testing.T) {
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { fmt.Fprint(w, `{"sub":"s","email":"a@b"}`) }))
	defer s.Close()
	tok := &Token{AccessToken: keystore.NewSecret("AT"), IDToken: keystore.NewSecret("eyJhbGciOiJSU0EtT0FFUCJ9.a.b.c.d"), ArrivedAt: time.Now()}
	for endpoint, want := range map[string]Identity{"": {}, s.URL: {Issuer: "https://as.example", Subject: "s", Name: "a@b"}} {
		id, err := (&Client{}).Identify(t.Context(), Provider{IdentityFrom: IdentityFromIDToken}, Endpoint{Issuer: "https://as.example", UserinfoEndpoint: endpoint}, tok, "N")
		if err != nil || id != want {
			t.Errorf("%q: %+v, %v", endpoint, id, err)
		}
	}
}

func TestUserinfoForms(t *testing.T) {
	for body, want := range map[string]Identity{
		`{"sub":"s","email":"a@b"}`:                                                     {Subject: "s", Name: "a@b"},
		`{"id":583231,"login":"octocat","email":null}`:                                  {Subject: "583231", Name: "octocat"},
		`{"id":"x9","name":"Ada"}`:                                                      {Subject: "x9", Name: "Ada"},
		`{"account":{"uuid":"u","email":"a@b"},"organization":{"uuid":"o","name":"O"}}`: {Subject: "u", Organization: "o", Name: "a@b"},
		`{"sub":"s","email":"a\u001b[2Jb"}`:                                             {Subject: "s"},
		`{"sub":" ","id":"x9"}`:                                                         {Subject: "x9"},
		`{"sub":"null","account":{"uuid":"\t"},"id":"undefined","login":"octocat"}`:     {Name: "octocat"},
		`{"id":1.5}`: {},
		`{}`:         {},
	} {
		s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			if r.Header.Get("Authorization") != "Bearer AT" {
				t.Error("no token came")
			}
			fmt.Fprint(w, body)
		}))
		tok := &Token{AccessToken: keystore.NewSecret("AT")}
		got, err := (&Client{}).Identify(t.Context(), Provider{IdentityFrom: IdentityFromUserinfo}, Endpoint{UserinfoEndpoint: s.URL}, tok, "")
		if err != nil || got != want {
			t.Errorf("%s: %+v, %v", body, got, err)
		}
		s.Close()
	}
	moved := httptest.NewServer(http.RedirectHandler("https://evil.example", http.StatusTemporaryRedirect))
	defer moved.Close()
	if _, err := (&Client{}).userinfo(t.Context(), Endpoint{UserinfoEndpoint: moved.URL}, &Token{}); err == nil {
		t.Error("a redirect was followed with a token")
	}
	if _, err := (&Client{}).userinfo(t.Context(), Endpoint{UserinfoEndpoint: "http://evil.example"}, &Token{}); classOf(own(err)) != Misconfigured {
		t.Errorf("a token over plain http: %v", err)
	}
}

func TestIdentityFromResponse(t *testing.T) {
	tok := &Token{Account: Party{"u", "a@b"}, Organization: Party{"o", "Org"}}
	e := Endpoint{Issuer: "https://as.example"}
	id, err := (&Client{}).Identify(t.Context(), Provider{IdentityFrom: IdentityFromResponse}, e, tok, "")
	if err != nil || id != (Identity{"https://as.example", "u", "o", "a@b"}) {
		t.Errorf("%+v, %v", id, err)
	}
	if id, err = (&Client{}).Identify(t.Context(), Provider{}, e, tok, ""); err != nil || id != (Identity{}) {
		t.Errorf("%+v, %v", id, err)
	}
}
