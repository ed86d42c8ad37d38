package oauth

import (
	"net/http"
	"reflect"
	"strings"
	"testing"
)

func TestParseChallenge(t *testing.T) {
	const metadata = "https://mcp.example.com/.well-known/oauth-protected-resource"
	for _, test := range []struct {
		name   string
		fields []string
		want   Challenge
		none   bool
	}{
		{"RFC 9728", []string{`Bearer resource_metadata="` + metadata + `"`}, Challenge{ResourceMetadata: metadata}, false},
		{"scopes", []string{`Bearer error="insufficient_scope", scope="files:read files:write files:read", resource_metadata="` + metadata + `"`},
			Challenge{metadata, []string{"files:read", "files:write"}, InsufficientScope}, false},
		{"any case", []string{`bEARER Scope="a",ERROR=invalid_token`}, Challenge{Scopes: []string{"a"}, Error: "invalid_token"}, false},
		{"spaces around", []string{"Bearer   scope = \"a b\" ,\terror\t=\tx"}, Challenge{Scopes: []string{"a", "b"}, Error: "x"}, false},
		{"alone", []string{"Bearer"}, Challenge{}, false},
		{"behind others", []string{`Basic realm="a, Bearer scope=\"no\"", Negotiate YWJj==, Bearer scope="yes"`}, Challenge{Scopes: []string{"yes"}}, false},
		{"behind a token68", []string{`Negotiate YWJj, Bearer scope="yes"`}, Challenge{Scopes: []string{"yes"}}, false},
		{"in a second field", []string{`Basic realm="x"`, `Bearer scope="yes"`}, Challenge{Scopes: []string{"yes"}}, false},
		{"before another", []string{`Bearer scope="yes", DPoP scope="no", algs="ES256"`}, Challenge{Scopes: []string{"yes"}}, false},
		{"the first of two", []string{`Bearer scope="yes", Bearer scope="no"`}, Challenge{Scopes: []string{"yes"}}, false},
		{"said twice", []string{`Bearer scope="yes", scope="no"`}, Challenge{Scopes: []string{"yes"}}, false},
		{"a quoted comma", []string{`Bearer realm="a, b=\"c\"", scope="yes"`}, Challenge{Scopes: []string{"yes"}}, false},
		{"never closed", []string{`Bearer scope="yes", realm="`}, Challenge{Scopes: []string{"yes"}}, false},
		{"no scopes at all", []string{"Bearer scope=\"\x01 a\\\"b ü\""}, Challenge{}, false},
		{"junk before", []string{`;;; , Bearer scope="yes"`}, Challenge{Scopes: []string{"yes"}}, false},
		{"another scheme", []string{`Basic realm="Bearer"`}, Challenge{}, true},
		{"nothing", nil, Challenge{}, true},
		{"a parameter of nobody's", []string{`scope="a"`}, Challenge{}, true},
	} {
		got, ok := ParseChallenge(http.Header{"Www-Authenticate": test.fields})
		if ok == test.none || !reflect.DeepEqual(got, test.want) {
			t.Errorf("%s: %+v %v", test.name, got, ok)
		}
	}
}

func FuzzChallenge(f *testing.F) {
	for _, seed := range []string{`Bearer scope="a b", error=x`, `Basic a==, Bearer resource_metadata="https://x/"`, `Bearer a="\`, "Bearer =,=,==", `bearer scope="\"`} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, field string) {
		c, ok := ParseChallenge(http.Header{"Www-Authenticate": {field}})
		if ok && !strings.Contains(strings.ToLower(field), "bearer") {
			t.Errorf("a challenge of another scheme: %+v", c)
		}
		for _, s := range c.Scopes {
			if checkScope(s) != nil {
				t.Errorf("%q is no scope", s)
			}
		}
		if len(c.ResourceMetadata)+len(c.Error) > len(field) {
			t.Errorf("more came out than went in: %+v", c)
		}
	})
}
