package oauth

import (
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"testing"

	"github.com/authferry/authferry/keystore"
	"github.com/authferry/authferry/testenv"
)

// A pushed request has all that the address would have, and the client's secret only
// where the token endpoint's server is; what comes back is checked.
func TestPush(t *testing.T) {
	for _, row := range []struct {
		name, answer string
		status       int
		elsewhere    bool
		basicOnly    bool
		fails        Class
	}{
		{name: "plain", status: 201, answer: `{"request_uri":"urn:x:1","expires_in":60}`},
		{name: "secret by Basic", status: 201, answer: `{"request_uri":"urn:x:1","expires_in":60}`, basicOnly: true},
		{name: "at another server", status: 201, answer: `{"request_uri":"urn:x:1"}`, elsewhere: true},
		{name: "refused", status: 400, answer: `{"error":"invalid_request","error_description":"hush"}`, fails: Misconfigured},
		{name: "no answer to use", status: 201, answer: `{}`, fails: Unknown},
		{name: "two lines", status: 201, answer: `{"request_uri":"urn:x:1\nhttps://evil.example"}`, fails: Unknown},
		{name: "a page", status: 200, answer: `<html>`, fails: Unknown},
		{name: "redirected", status: 302, answer: ``, fails: Unknown},
		{name: "too long", status: 201, answer: `{"request_uri":"urn:` + strings.Repeat("x", maxRequestURI) + `"}`, fails: Unknown},
	} {
		t.Run(row.name, func(t *testing.T) {
			var form url.Values
			server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
				_ = r.ParseForm()
				if form = r.Form; row.basicOnly && r.Header.Get("Authorization") == "" {
					w.WriteHeader(http.StatusUnauthorized)
					_, _ = io.WriteString(w, `{"error":"invalid_client"}`)
					return
				}
				w.Header().Set("Location", "https://evil.example")
				w.WriteHeader(row.status)
				_, _ = fmt.Fprint(w, row.answer)
			}))
			defer server.Close()
			p := Provider{AuthorizationEndpoint: "https://as.example/authorize?tenant=1", PushedAuthorizationEndpoint: server.URL + "/par", Scopes: []string{"a"}}
			e := Endpoint{ClientID: "me", TokenEndpoint: server.URL + "/token", Resource: "https://mcp.example/", ClientSecret: keystore.NewSecret("hush-secret")}
			if row.elsewhere {
				e.TokenEndpoint = "https://as.example/token"
			}
			a := NewAuthorization(p, e, "http://127.0.0.1:1/callback")
			address, err := (&Client{}).Push(t.Context(), a)
			if row.fails != "" {
				failed, ok := errors.AsType[*Error](err)
				if !ok || failed.Class != row.fails || strings.Contains(err.Error(), "hush") || strings.Contains(err.Error(), "evil") {
					t.Errorf("%q, %v, want %s", address, err, row.fails)
				}
				return
			}
			testenv.Must(t, err)
			if address != "https://as.example/authorize?client_id=me&request_uri=urn%3Ax%3A1&tenant=1" {
				t.Errorf("the address is %s", address)
			}
			if form.Get("state") != a.state || form.Get("code_challenge") == "" || form.Get("redirect_uri") == "" || form.Get("resource") == "" || form.Get("scope") != "a" {
				t.Errorf("pushed was %v", form)
			}
			if got := form.Get("client_secret"); (got != "") == (row.elsewhere || row.basicOnly) {
				t.Errorf("the secret in the body is %q", got)
			}
			if row.basicOnly != (a.AuthStyle() == AuthHeader) {
				t.Errorf("the style is %q", a.AuthStyle())
			}
		})
	}
}
