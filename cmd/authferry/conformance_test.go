package main

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"os"
	"os/exec"
	"slices"
	"strings"
	"testing"

	"github.com/authferry/authferry/broker/brokertest"
	"github.com/authferry/authferry/broker/brokertest/mcp"
	"github.com/authferry/authferry/proofs"
)

// The official suite's scenarios for what authferry's login is about, each with the
// number of checks that it makes at least; a scenario that checks nothing shows nothing.
var conformance = map[string]int{
	"auth/metadata-default":                     17,
	"auth/metadata-var1":                        17,
	"auth/metadata-var2":                        17,
	"auth/metadata-var3":                        17,
	"auth/metadata-issuer-mismatch":             3,
	"auth/basic-cimd":                           11,
	"auth/scope-from-www-authenticate":          13,
	"auth/scope-from-scopes-supported":          13,
	"auth/scope-omitted-when-undefined":         13,
	"auth/scope-step-up":                        25,
	"auth/scope-retry-limit":                    11,
	"auth/token-endpoint-auth-basic":            18,
	"auth/token-endpoint-auth-post":             18,
	"auth/token-endpoint-auth-none":             18,
	"auth/pre-registration":                     13,
	"auth/resource-mismatch":                    2,
	"auth/offline-access-scope":                 14,
	"auth/offline-access-not-supported":         13,
	"auth/authorization-server-migration":       27,
	"auth/iss-supported":                        13,
	"auth/iss-not-advertised":                   13,
	"auth/iss-supported-missing":                8,
	"auth/iss-wrong-issuer":                     8,
	"auth/iss-unexpected":                       8,
	"auth/iss-normalized":                       8,
	"auth/client-credentials-jwt":               6,
	"auth/client-credentials-basic":             6,
	"auth/2025-03-26-oauth-metadata-backcompat": 9,
}

// unjudged are the suite's other scenarios, and why they are not about authferry.
var unjudged = map[string]string{
	"auth/2025-03-26-oauth-endpoint-fallback": "servers without any metadata are refused: their endpoints would be guessed",
	"auth/enterprise-managed-authorization":   "a company's login in place of one's own isn't offered",
	"auth/dpop":                               "a token bound to a key is of no use to the programs that get it from authferry",
	"auth/dpop-nonce":                         "as auth/dpop",
	"auth/wif-jwt-bearer":                     "a draft; nothing is stored in such a login",
	"elicitation-sep1034-client-defaults":     "what a client makes of a message, which the bridge passes on as it is",
	"sep-2322-client-request-state":           "as elicitation-sep1034-client-defaults",
	"sep-2640-client-no-prefetch":             "as elicitation-sep1034-client-defaults",
	"sep-2640-client-verify-digest":           "as elicitation-sep1034-client-defaults",
	"sep-2640-client-verify-size":             "as elicitation-sep1034-client-defaults",
	"sep-2640-client-verify-frontmatter":      "as elicitation-sep1034-client-defaults",
}

// Each scenario that the suite has is judged, or there is a reason why not.
func TestConformanceIsWhole(t *testing.T) {
	proofs.Only(t, "asks the official MCP conformance suite for its scenarios")
	known := map[string]int{}
	for scenario := range conformance {
		known[scenario]++
	}
	for scenario := range unjudged {
		known[scenario]++
	}
	for _, c := range transportConformance {
		known[c.scenario] = 1 // in several versions
	}
	for _, scenario := range mcp.Scenarios(t) {
		if known[scenario] != 1 {
			t.Errorf("%s is in %d of the lists", scenario, known[scenario])
		}
		delete(known, scenario)
	}
	if len(known) > 0 {
		t.Errorf("the suite doesn't have %v", known)
	}
}

// TestConformance has the official suite judge what a client sends that gets its tokens
// from authferry: discovery, registration, consent, token requests.
func TestConformance(t *testing.T) {
	proofs.Only(t, "runs the official MCP conformance suite")
	for scenario, least := range conformance {
		t.Run(scenario, func(t *testing.T) {
			s := newScene(t, brokertest.Config{})
			v := mcp.Judge(t, scenario, versionIn(scenario), "mcp-client", s.Env)
			if len(v.Failed) > 0 || len(v.Passed) < least {
				t.Errorf("passed %q, failed %q\n%s", v.Passed, v.Failed, v.Text)
			}
			t.Logf("%d checks: %s", len(v.Passed), strings.Join(slices.Compact(slices.Sorted(slices.Values(v.Passed))), " "))
		})
	}
}

// versionIn is the version of the specification that a scenario is run with.
func versionIn(scenario string) string {
	if strings.HasPrefix(scenario, "auth/2025-03-26") {
		return "2025-03-26"
	}
	return "2026-07-28"
}

// mcpClient is a client of a remote MCP server that leaves its login to authferry, as
// the suite runs it: the server's address is its last argument.
func mcpClient() {
	c := judged{address: os.Args[len(os.Args)-1]}
	if text := os.Getenv("MCP_CONFORMANCE_CONTEXT"); text != "" {
		if err := json.Unmarshal([]byte(text), &c.given); err != nil {
			c.end(err)
		}
	}
	c.end(c.run())
}

type judged struct {
	address string
	given   struct {
		ClientID     string `json:"client_id"`
		ClientSecret string `json:"client_secret"`
		PrivateKey   string `json:"private_key_pem"`
	}
}

func (c judged) end(err error) {
	if err != nil {
		fmt.Fprintln(os.Stderr, "mcp-client:", err)
		os.Exit(1)
	}
	os.Exit(0)
}

// authferry runs the program; a person is at the browser.
func (c judged) authferry(stdin string, args ...string) (string, error) {
	cmd := exec.Command("authferry", args...)
	cmd.Stdin, cmd.Stderr = strings.NewReader(stdin), os.Stderr
	out, err := cmd.Output()
	return string(out), err
}

func (c judged) run() error {
	name := c.address
	login := []string{"login", name, "--name", "judged", "--label", "one"}
	if os.Getenv("MCP_CONFORMANCE_SCENARIO") == "auth/basic-cimd" {
		login = append(login, "--client-id", "https://conformance-test.local/client-metadata.json")
	}
	service := append(login, "--flow", "client", "--client-id", c.given.ClientID)
	switch {
	case c.given.PrivateKey != "":
		if _, err := c.authferry(c.given.PrivateKey, append(service, "--client-key-stdin")...); err != nil {
			return err
		}
		return c.callsUntilDone()
	case strings.HasPrefix(os.Getenv("MCP_CONFORMANCE_SCENARIO"), "auth/client-credentials"):
		if _, err := c.authferry(c.given.ClientSecret+"\n", append(service, "--client-secret-stdin")...); err != nil {
			return err
		}
		return c.callsUntilDone()
	case c.given.ClientID != "":
		if _, err := c.authferry(c.given.ClientSecret+"\n", "provider", "add", "judged", "--mcp", c.address, "--client-id", c.given.ClientID, "--client-secret-stdin"); err != nil {
			return err
		}
	}
	if _, err := c.authferry("", login...); err != nil {
		return err
	}
	return c.callsUntilDone()
}

func (c judged) callsUntilDone() error {
	for range 5 {
		again, err := c.calls()
		if !again || err != nil {
			return err
		}
	}
	return fmt.Errorf("it wants a login again and again")
}

// calls lists the server's tools and calls the first. again: it is worth another try.
func (c judged) calls() (again bool, err error) {
	list, err := c.send("tools/list", map[string]any{})
	if list.again || err != nil {
		return list.again, err
	}
	var tools struct {
		Result struct {
			Tools []struct{ Name string }
		}
	}
	if err := json.Unmarshal(list.body, &tools); err != nil || len(tools.Result.Tools) == 0 {
		return false, err
	}
	called, err := c.send("tools/call", map[string]any{"name": tools.Result.Tools[0].Name, "arguments": map[string]any{}})
	return called.again, err
}

type reply struct {
	body  []byte
	again bool
}

// send makes one request as a client of 2026-07-28 does, and heeds what is said of its
// token.
func (c judged) send(method string, params map[string]any) (reply, error) {
	text, err := c.authferry("", "token", "judged", "--json")
	if err != nil {
		return reply{}, err
	}
	var tok struct {
		Lease   string
		Headers map[string]string
	}
	if err := json.Unmarshal([]byte(text), &tok); err != nil {
		return reply{}, err
	}
	version := versionIn(os.Getenv("MCP_CONFORMANCE_SCENARIO"))
	params["_meta"] = map[string]any{"io.modelcontextprotocol/protocolVersion": version, "io.modelcontextprotocol/clientCapabilities": map[string]any{},
		"io.modelcontextprotocol/clientInfo": map[string]any{"name": "authferry-test", "version": "1"}}
	body, err := json.Marshal(map[string]any{"jsonrpc": "2.0", "id": 1, "method": method, "params": params})
	if err != nil {
		return reply{}, err
	}
	req, err := http.NewRequest(http.MethodPost, c.address, bytes.NewReader(body))
	if err != nil {
		return reply{}, err
	}
	for name, value := range tok.Headers {
		req.Header.Set(name, value)
	}
	req.Header.Set("Content-Type", "application/json")
	req.Header.Set("Accept", "application/json, text/event-stream")
	req.Header.Set("MCP-Protocol-Version", version)
	req.Header.Set("Mcp-Method", method)
	if name, ok := params["name"].(string); ok {
		req.Header.Set("Mcp-Name", name)
	}
	res, err := http.DefaultClient.Do(req)
	if err != nil {
		return reply{}, err
	}
	defer res.Body.Close()
	answer, err := io.ReadAll(res.Body)
	fmt.Fprintf(os.Stderr, "mcp-client: %s: %s %s\n", method, res.Status, answer)
	if err != nil || res.StatusCode < 400 {
		if _, event, ok := bytes.Cut(answer, []byte("data: ")); ok && strings.HasPrefix(res.Header.Get("Content-Type"), "text/event-stream") {
			answer = event
		}
		return reply{body: answer}, err
	}
	again, err := c.report(tok.Lease, res)
	return reply{again: again}, err
}

// report does what authferry says of a refusal: a command that a person would run.
func (c judged) report(lease string, res *http.Response) (again bool, err error) {
	doc, err := json.Marshal(map[string]any{"lease": lease, "status": res.StatusCode, "headers": res.Header})
	if err != nil {
		return false, err
	}
	text, err := c.authferry(string(doc), "report", "judged", "--next")
	if err != nil {
		return false, err
	}
	var verdict struct {
		Action string
		Login  struct{ Hint string }
	}
	if err := json.Unmarshal([]byte(text), &verdict); err != nil {
		return false, err
	}
	switch {
	case verdict.Action == "retry":
		return true, nil
	case verdict.Action == "login" && verdict.Login.Hint != "":
		first, _, _ := strings.Cut(verdict.Login.Hint, "\n")
		_, err = c.authferry("", strings.Fields(first)[1:]...)
		return true, err
	case res.StatusCode == http.StatusUnauthorized:
		return true, c.renew()
	}
	return false, fmt.Errorf("refused with %s, and there is nothing to do", res.Status)
}

// renew logs in again in the old login's place, and agrees to another authorization
// server, as a person who expects one would.
func (c judged) renew() error {
	text, err := c.authferry("", "login", "judged", "--renew", "one", "--json")
	lines := strings.Split(strings.TrimSpace(text), "\n")
	var doc struct {
		Error struct{ Code, Hint string }
	}
	if json.Unmarshal([]byte(lines[len(lines)-1]), &doc) != nil || doc.Error.Code != "fenced" {
		return err
	}
	_, issuer, _ := strings.Cut(doc.Error.Hint, "--issuer ")
	issuer, _, _ = strings.Cut(issuer, " ")
	_, err = c.authferry("", "login", "judged", "--renew", "one", "--issuer", issuer)
	return err
}
