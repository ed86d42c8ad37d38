package serve

import (
	"encoding/json"
	"log/slog"
	"net/http"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"testing"

	"github.com/authferry/authferry/testenv"
)

// known are the bugs that users of other proxies of this kind reported, in the order in
// which they were collected, with the tests that each one would fail here, or the reason
// why there is none.
var known = []struct {
	bug, where string // owner/repo#number
	tests      []string
	reason     string
}{
	{"a stream is not failed over", "tombii/better-ccflare#114, snipeship/ccflare#60", []string{"TestStreamFailover"}, ""},
	{"a 200 stream that begins with a failure counts as a success", "KarpelesLab/teamclaude#391, Wei-Shaw/sub2api#5111, farion1231/cc-switch#7425", []string{"TestStreamFailover", "TestStreamsInAnyPieces"}, ""},
	{"failover after content: two beginnings in one answer", "Wei-Shaw/sub2api#1007", []string{"TestLimitAfterContent", "FuzzStream"}, ""},
	{"a client leaves and the model goes on, or every account is walked through", "tombii/better-ccflare#360, bman654/clodex#183, QuantumNous/new-api#4185", []string{"TestClientLeaves", "TestLeftStream"}, ""},
	{"a client that cancels holds the account", "router-for-me/CLIProxyAPI#4819", []string{"TestClientLeaves"}, ""},
	{"a hold outlives the real reset until a restart", "router-for-me/CLIProxyAPI#5277, #4724, #5639, KarpelesLab/teamclaude#77", []string{"TestHoldsAreBounded", "TestProbe", "TestKeeperSeesWhatOthersWrite"}, ""},
	{"a 429 without a time is five hours", "tombii/better-ccflare#192, #196, Wei-Shaw/claude-relay-service#1204", []string{"TestFailover", "TestProvenHoldsAreNeverShortened"}, ""},
	{"a 429 about the model holds the account", "KarpelesLab/teamclaude#307", nil, "without a word about the model it can't be told apart: the account is left for a guessed minute, and a limit that names the model holds only that"},
	{"an account's 403 reaches a client that drops its login for it", "KarpelesLab/teamclaude#149", []string{"TestStrangeClients"}, ""},
	{"dot segments and double slashes lead to another path with a token", "KarpelesLab/teamclaude#305", []string{"TestDoor", "FuzzPlainPath"}, ""},
	{"an error of an upgraded socket ends the process", "KarpelesLab/teamclaude#148", nil, "no socket is upgraded"},
	{"a limit is shown while others are free; all spent is a 503", "Soju06/codex-lb#385, #1246", []string{"TestFailover", "TestNothingIsFree"}, ""},
	{"a time-out of the proxy's own outlives the clients; nothing is logged", "tombii/better-ccflare#348", []string{"TestClientLeaves", "TestAbandonedIsLogged"}, ""},
	{"a WebSocket stays with the spent account", "router-for-me/CLIProxyAPI#2230, #5270, #4536", []string{"TestDoor", "TestAIClientsCodexWebSocket"}, ""},
	{"compressed requests are read as JSON", "sozercan/vekil#6, farion1231/cc-switch#3817, james-6-23/codex2api#388", []string{"TestCompressedRequest"}, ""},
	{"Content-Encoding is kept after decoding, or lost", "qualixar/superlocalmemory#79, farion1231/cc-switch#3901", []string{"TestStreamsThatAreNotRead", "TestCanaries"}, ""},
	{"streams of /v1/messages and 429 are outside of failover; a loop where nothing is left", "BerriAI/litellm#24004, #22296, #26015", []string{"TestStreamFailover", "TestAllAreLimited"}, ""},
	{"a session keeps a held account", "Wei-Shaw/claude-relay-service#1007", []string{"TestSessionStays"}, ""},
	{"a stream without [DONE], or an empty one, holds every account", "router-for-me/CLIProxyAPI#5283, #2189", []string{"TestStreamWithoutEnd", "TestSilence"}, ""},
	{"DNS rebinding; Host by its beginning", "headroomlabs-ai/headroom#605, NousResearch/hermes-agent#21939, open-mercato/cezar#467, get-bb/bb#1530", []string{"TestDoor"}, ""},
	{"pings of the proxy's own end long turns", "Soju06/codex-lb#674", nil, "there are no WebSockets, and nothing is added to a stream"},
	{"a WebSocket that is refused slowly", "openai/codex#19821, coder/coder#26565", []string{"TestDoor", "TestAIClientsCodexWebSocket"}, ""},
	{"a shared proxy ends with who started it, or never", "headroomlabs-ai/headroom#804, #3199, #3202, #615", []string{"TestRunEnds", "TestRunKilled", "TestRunsKilledUnderLoad"}, ""},
	{"a dead address is left in a settings file", "headroomlabs-ai/headroom#1768", []string{"TestProxiedArguments", "TestRunEnds"}, ""},
	{"conversations of a background service go past the proxy", "headroomlabs-ai/headroom#951", nil, "they don't come from the command that is run: docs/run.md says so"},
	{"the proxy's memory says spent while the file says free; a CODEX_HOME of its own hangs", "codex-multi-auth#479, #647", []string{"TestOthersDecide", "TestKeeperSeesWhatOthersWrite", "TestProxiedEnvironment"}, ""},
}

// Each known bug has its test, or its reason.
func TestKnownBugs(t *testing.T) {
	t.Parallel()
	var there []string
	for _, pattern := range []string{"*_test.go", "../broker/*_test.go", "../broker/*/*_test.go", "../cmd/authferry/*_test.go", "../cmd/authferry/helper/*_test.go"} {
		files, err := filepath.Glob(pattern)
		if err != nil || len(files) == 0 {
			t.Fatal(pattern, err)
		}
		for _, f := range files {
			source, err := os.ReadFile(f)
			testenv.Must(t, err)
			for _, name := range regexp.MustCompile(`(?m)^func ((Test|Fuzz)\w+)\(`).FindAllSubmatch(source, -1) {
				there = append(there, string(name[1]))
			}
		}
	}
	for i, bug := range known {
		if (len(bug.tests) == 0) == (bug.reason == "") {
			t.Errorf("%d, %s: either tests or a reason", i+1, bug.bug)
		}
		for _, name := range bug.tests {
			if !slices.Contains(there, name) {
				t.Errorf("%d, %s: there is no %s", i+1, bug.bug, name)
			}
		}
	}
}

// A request that is compressed goes up as it came, and fails over like any other; what
// is in it isn't looked for.
func TestCompressedRequest(t *testing.T) {
	t.Parallel()
	w := newWorld(t, "ada", "bob").open()
	body := "\x28\xb5\x2f\xfd\x04\x00{\"model\":\"m-1\",\"previous_response_id\":\"r\"}\x00\xff"
	w.api.will(limits(429, map[string]string{"Retry-After": "3600"}, "", "ada"))
	res := w.post(responsesPath, body, "Content-Encoding", "zstd")
	if res.body != "ok bob" || w.api.asked() != "ada bob" || w.holds("ada") != "* retry-after" {
		t.Errorf("%d %q after %q; held %q", res.status, res.body, w.api.asked(), w.holds("ada"))
	}
	for _, s := range w.api.all() {
		if string(s.body) != body || s.header.Get("Content-Encoding") != "zstd" {
			t.Errorf("%s got %q, %v", s.who, s.body, s.header)
		}
	}
}

// The log tells a request that its client left from one that was answered.
func TestAbandonedIsLogged(t *testing.T) {
	t.Parallel()
	w := newWorld(t, "ada")
	logged := make(lines, 1)
	w.opt.Log = slog.New(slog.NewJSONHandler(logged, nil))
	w.open()
	arrived := make(chan bool)
	w.api.will(func(_ http.ResponseWriter, r *http.Request) {
		close(arrived)
		<-r.Context().Done()
	})
	r := w.request(http.MethodPost, messagesPath, aModel)
	ctx, leave := contextOf(r)
	done := make(chan got)
	go func() { done <- w.do(r.WithContext(ctx)) }()
	<-arrived
	leave()
	<-done
	text := <-logged
	var line struct {
		Level     string
		Abandoned bool
		Account   string
		Attempts  int
	}
	if err := json.Unmarshal([]byte(text), &line); err != nil || line.Level != "WARN" || !line.Abandoned || line.Account != "ada" || line.Attempts != 1 {
		t.Errorf("%v: %s", err, text)
	}
}

// lines hands on what is written.
type lines chan string

func (l lines) Write(data []byte) (int, error) {
	l <- string(data)
	return len(data), nil
}
