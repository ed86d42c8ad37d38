package oauth

import (
	"net/url"
	"reflect"
	"testing"
)

func TestCovers(t *testing.T) {
	for _, test := range []struct {
		resource, address string
		want              bool
	}{
		{"https://a.example/mcp", "https://a.example/mcp", true},
		{"https://a.example/mcp", "https://a.example/mcp/", true},
		{"https://a.example/mcp/", "https://a.example/mcp", true},
		{"https://a.example/mcp", "https://A.example:443/mcp/more?tools=x", true},
		{"https://a.example", "https://a.example/mcp", true},
		{"https://a.example/", "https://a.example", true},
		{"http://127.0.0.1:1/mcp", "http://127.0.0.1:1/mcp", true},
		{"https://a.example/mcp?x=1", "https://a.example/mcp?x=1", true},

		{"https://a.example/mcp", "https://a.example/mcp2", false},
		{"https://a.example/a/mcp", "https://a.example/b/mcp", false},
		{"https://a.example/mcp", "https://a.example", false},
		{"https://a.example/mcp", "http://a.example/mcp", false},
		{"https://a.example/mcp", "https://a.example:8443/mcp", false},
		{"https://a.example/mcp", "https://b.example/mcp", false},
		{"https://a.example/mcp", "https://a.example.evil.example/mcp", false},
		{"https://a.example/mcp", "https://a.example@evil.example/mcp", false},
		{"https://a.example/mcp?x=1", "https://a.example/mcp?x=2", false},
		{"https://a.example/mcp", "https://a.example/mcp/../other", false},
		{"https://a.example/mcp", "https://a.example/mcp/%2e%2e/other", false},
		{"https://a.example/mcp", "https://a.example/mcp%2f..%2fother", false},
		{"https://a.example/mcp", `https://a.example/mcp/%5c..`, false},
		{"https://a.example/mcp", "https://a.example//mcp", false},
		{"https://a.example/mcp", "https://a.example/mcp;x", false},
		{"https://a.example/mcp#x", "https://a.example/mcp", false},
		{"urn:mcp", "https://a.example/mcp", false},
		{"", "https://a.example/mcp", false},
	} {
		if got := Covers(test.resource, test.address); got != test.want {
			t.Errorf("%s covers %s: %v", test.resource, test.address, got)
		}
	}
}

func TestResourcePlaces(t *testing.T) {
	const at = "https://a.example/.well-known/oauth-protected-resource"
	for address, want := range map[string][]string{
		"https://a.example":             {at},
		"https://a.example/":            {at},
		"https://a.example/mcp":         {at + "/mcp", at},
		"https://a.example/b/mcp/":      {at + "/b/mcp", at},
		"https://a.example/mcp?tools=x": {at + "/mcp?tools=x", at},
	} {
		u, err := url.Parse(address)
		if got := resourcePlaces(u); err != nil || !reflect.DeepEqual(got, want) {
			t.Errorf("%s: %q", address, got)
		}
	}
}

func TestParseResource(t *testing.T) {
	for _, test := range []struct {
		body string
		want *resourceMetadata
	}{
		{`{"resource":"https://a.example/mcp","resource_name":"A","authorization_servers":["https://id.example"],"scopes_supported":["b","a","b"]}`,
			&resourceMetadata{"https://a.example/mcp", "A", []string{"https://id.example"}, []string{"b", "a"}}},
		{`{"resource":"https://a.example/mcp","resource_name":7,"authorization_servers":"https://id.example","scopes_supported":["a b","\u0001"]}`,
			&resourceMetadata{"https://a.example/mcp", "", nil, []string{"a", "b"}}},
		{`{"authorization_servers":["https://id.example"]}`, nil},
		{`{"resource":["https://a.example/mcp"]}`, nil},
		{`{"resource":"https://a.exa`, nil},
		{`<html>`, nil},
		{``, nil},
	} {
		if got := parseResource([]byte(test.body)); !reflect.DeepEqual(got, test.want) {
			t.Errorf("%s: %+v", test.body, got)
		}
	}
}

func FuzzResource(f *testing.F) {
	f.Add([]byte(`{"resource":"https://a.example/mcp","authorization_servers":["x"],"scopes_supported":"a b"}`), "https://a.example/mcp")
	f.Add([]byte(`{"resource":"https://a.example/../"}`), "https://a.example/mcp")
	f.Fuzz(func(t *testing.T, body []byte, address string) {
		doc := parseResource(body)
		if doc == nil {
			return
		}
		for _, s := range doc.Scopes {
			if checkScope(s) != nil {
				t.Errorf("%q is no scope", s)
			}
		}
		if Covers(doc.Resource, address) && !sameOrigin(doc.Resource, address) {
			t.Errorf("%q covers %q of another server", doc.Resource, address)
		}
	})
}
