package serve

import (
	"os"
	"strings"
	"testing"

	"github.com/authferry/authferry/testenv"
)

func TestSteers(t *testing.T) {
	t.Parallel()
	for _, name := range []string{
		"X-Forwarded-Host", "x_forwarded_host", "X-ForwardedHost", "X-Original-Url", "X-Rewrite-Url", "X-Http-Method-Override", "X-Real-Ip", "Via", "X-Upstream", "X-Vhost",
		"Helicone-Target-Url", "Helicone-Openai-Api-Base", "X-Openai-Baseurl", "X-Portkey-Provider", "X-Portkey-Config", "Destination", "L5d-Dst-Override", "X-Backend", "Origin",
	} {
		if !steers(name) {
			t.Errorf("%s goes up", name)
		}
	}
	for _, name := range []string{
		"Content-Type", "User-Agent", "Accept-Encoding", "Anthropic-Version", "Anthropic-Beta", "Anthropic-Dangerous-Direct-Browser-Access", "X-App", "X-Stainless-Runtime-Version",
		"X-Stainless-Timeout", "X-Claude-Code-Session-Id", "Openai-Organization", "Openai-Beta", "Originator", "Session_id", "Conversation_id", "X-Client-Request-Id", "Version",
		"X-Codex-Turn-Metadata", "X-Goog-Api-Client", "X-Server-Timeout", "Idempotency-Key", "X-Title", "Referer", "Traceparent", "Priority",
	} {
		if steers(name) {
			t.Errorf("%s is dropped", name)
		}
	}
}

// The proxy and the OpenCode plugin drop the same headers.
func TestThePluginHasTheSameWords(t *testing.T) {
	t.Parallel()
	source, err := os.ReadFile("../cmd/authferry/opencode/plugin.js")
	testenv.Must(t, err)
	for _, list := range []string{"(" + strings.Join(steeringWords, "|") + ")([^a-z]|$)", "`|" + strings.Join(steeringParts, "|") + "`"} {
		if !strings.Contains(string(source), list) {
			t.Errorf("the plugin has another list than %s", list)
		}
	}
}
