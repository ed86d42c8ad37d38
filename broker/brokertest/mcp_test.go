package brokertest

import (
	"io"
	"net/http"
	"net/url"
	"strings"
	"testing"

	"github.com/authferry/authferry/testenv"
)

// mcpClient registers, logs in and calls the way that RFC 7591, 8707 and 9728 have it.
type mcpClient struct {
	*Server
	t *testing.T
}

func (c mcpClient) post(path, bearer, contentType, body string) (status int, header http.Header, text string) {
	c.t.Helper()
	req, err := http.NewRequestWithContext(c.t.Context(), http.MethodPost, c.URL+path, strings.NewReader(body))
	testenv.Must(c.t, err)
	req.Header.Set("Content-Type", contentType)
	if bearer != "" {
		req.Header.Set("Authorization", "Bearer "+bearer)
	}
	res, err := c.Client().Do(req)
	testenv.Must(c.t, err)
	defer res.Body.Close()
	data, err := io.ReadAll(res.Body)
	testenv.Must(c.t, err)
	return res.StatusCode, res.Header, string(data)
}

func (c mcpClient) code(id, redirect, resource, scope string) string {
	c.t.Helper()
	q := url.Values{"client_id": {id}, "redirect_uri": {redirect}, "resource": {resource}, "scope": {scope}, "response_type": {"code"},
		"code_challenge_method": {"S256"}, "code_challenge": {challenge("v")}}
	res, err := c.Client().Get(c.URL + "/authorize?" + q.Encode())
	testenv.Must(c.t, err)
	defer res.Body.Close()
	to, err := url.Parse(res.Header.Get("Location"))
	testenv.Must(c.t, err)
	return to.Query().Get("code")
}

func textMember(t *testing.T, text, name string) string {
	t.Helper()
	_, rest, ok := strings.Cut(text, `"`+name+`":"`)
	if !ok {
		t.Fatalf("no %s in %s", name, text)
	}
	value, _, _ := strings.Cut(rest, `"`)
	return value
}

func TestMCP(t *testing.T) {
	const redirect, form, call = "http://127.0.0.1:4711/callback", "application/x-www-form-urlencoded", `{"jsonrpc":"2.0","id":1,"method":"tools/call"}`
	c := mcpClient{New(t, Config{MCP: &MCP{CallScopes: []string{"call"}}}), t}
	status, header, _ := c.post("/mcp", "", "application/json", call)
	if status != 401 || !strings.Contains(header.Get("WWW-Authenticate"), c.URL+resourceMetadata+"/mcp") {
		t.Errorf("%d %v", status, header)
	}
	status, _, made := c.post("/register", "", "application/json", `{"redirect_uris":["`+redirect+`"],"application_type":"native","grant_types":["refresh_token"]}`)
	if status != 201 {
		t.Fatalf("%d %s", status, made)
	}
	id := textMember(t, made, "client_id")
	if c.code(id, "http://127.0.0.1:4712/callback", c.URL+"/mcp", "call") != "" || c.code("nobody", redirect, c.URL+"/mcp", "call") != "" {
		t.Error("another port, or another client, got a code")
	}
	redeem := func(code, more string) (int, string) {
		status, _, text := c.post("/token", "", form, "grant_type=authorization_code&code_verifier=v&client_id="+id+"&redirect_uri="+url.QueryEscape(redirect)+"&code="+code+more)
		return status, text
	}
	resource := "&resource=" + url.QueryEscape(c.URL+"/mcp")
	for name, more := range map[string]string{"none": "", "another": resource + "2", "two": resource + resource} {
		if status, text := redeem(c.code(id, redirect, c.URL+"/mcp", "call"), more); status != 400 || !strings.Contains(text, "invalid_target") {
			t.Errorf("resource %s: %d %s", name, status, text)
		}
	}
	status, tokens := redeem(c.code(id, redirect, c.URL+"/mcp", "call"), resource)
	if status != 200 {
		t.Fatalf("%d %s", status, tokens)
	}
	access, refresh := textMember(t, tokens, "access_token"), textMember(t, tokens, "refresh_token")
	if status, _, text := c.post("/mcp", access, "application/json", call); status != 200 || !strings.Contains(text, "ada@example.com") {
		t.Errorf("%d %s", status, text)
	}
	if status, _, _ := c.post("/at/other/mcp", access, "application/json", call); status != 401 {
		t.Errorf("the token of one server is good at the next: %d", status)
	}
	if status, _, text := c.post("/token", "", form, "grant_type=refresh_token&client_id="+id+"&refresh_token="+refresh); status != 400 || !strings.Contains(text, "invalid_target") {
		t.Errorf("a refresh without the resource: %d %s", status, text)
	}
	if status, _, text := c.post("/token", "", form, "grant_type=refresh_token&client_id="+id+"&refresh_token="+refresh+resource); status != 200 {
		t.Errorf("%d %s", status, text)
	}
	_, other := redeem(c.code(id, redirect, c.URL+"/mcp", "read"), resource)
	status, header, _ = c.post("/mcp", textMember(t, other, "access_token"), "application/json", call)
	if status != 403 || !strings.Contains(header.Get("WWW-Authenticate"), `error="insufficient_scope", scope="call"`) {
		t.Errorf("%d %v", status, header)
	}
	c.ExpireAccess("ada@example.com")
	if status, _, _ := c.post("/mcp", access, "application/json", call); status != 401 {
		t.Errorf("a token that is over: %d", status)
	}
	c.Forget()
	if status, _, text := c.post("/token", "", form, "grant_type=refresh_token&client_id="+id+"&refresh_token="+refresh+resource); status != 401 || !strings.Contains(text, "invalid_client") {
		t.Errorf("a client that is gone: %d %s", status, text)
	}
	if l := c.Ledger(); l.Registrations != 1 || l.Unregistrations != 0 {
		t.Errorf("%+v", l.Counts)
	}
}
