package opencode_test

import (
	"bytes"
	"context"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"testing"
	"time"

	"github.com/authferry/authferry/cmd/authferry/authferrytest"
	"github.com/authferry/authferry/testenv"
)

// OpenCode itself starts and lists what it has: as before after --keep, and after
// --move what was not taken.
func TestOpenCodeAfterImport(t *testing.T) {
	program := openCodeProgram(t)
	s := newScene(t)
	home := filepath.Join(s.Root, "home")
	file := filepath.Join(home, ".local", "share", "opencode", "auth.json")
	const before = `{
  "anthropic": {"type": "oauth", "refresh": "canary-refresh", "access": "canary-access", "expires": 4102358400000},
  "openai": {"type": "api", "key": "canary-key"},
  "openrouter": {"type": "api", "key": "stays"}
}`
	testenv.Must(t, os.MkdirAll(filepath.Dir(file), 0o700))
	testenv.Must(t, os.WriteFile(file, []byte(before), 0o600))
	has := func(want ...string) {
		t.Helper()
		if got := credentials(t, program, home); !slices.Equal(got, want) {
			t.Errorf("OpenCode lists %q, want %q", got, want)
		}
	}
	has("Anthropic oauth", "OpenAI api", "OpenRouter api")
	s.Must("", "import", "opencode", "--keep", "--client-id", "mine")
	has("Anthropic oauth", "OpenAI api", "OpenRouter api")
	s.Must("", "import", "opencode", "--move")
	has("OpenRouter api")
	if got, err := os.ReadFile(file); err != nil || string(got) != "{\n  \"openrouter\": {\"type\": \"api\", \"key\": \"stays\"}\n}" {
		t.Errorf("%v: %s", err, got)
	}
	testenv.Check(t, authferrytest.Leaked([]string{"canary"}, s.Root))
	s.Must("", "provider", "add", "openrouter", "--token-endpoint", s.Server.URL+"/token")
	s.Must("", "import", "opencode", "--move")
	has()
}

var (
	colours    = regexp.MustCompile("\x1b\\[[0-9;]*m")
	credential = regexp.MustCompile(`(?m)^●  (.*\S)\s*$`)
)

// credentials are what `opencode auth list` shows.
func credentials(t *testing.T, program, home string) []string {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 2*time.Minute)
	defer cancel()
	cmd := exec.CommandContext(ctx, program, "auth", "list")
	cmd.Dir = home
	cmd.Env = []string{
		"HOME=" + home, "PATH=" + os.Getenv("PATH"), "XDG_CONFIG_HOME=" + filepath.Join(home, ".config"), "XDG_DATA_HOME=" + filepath.Join(home, ".local", "share"),
		"XDG_STATE_HOME=" + filepath.Join(home, ".local", "state"), "XDG_CACHE_HOME=" + filepath.Join(home, ".cache"),
		"OPENCODE_DISABLE_MODELS_FETCH=1", "OPENCODE_DISABLE_AUTOUPDATE=1", "OPENCODE_DISABLE_DEFAULT_PLUGINS=1", "OPENCODE_DISABLE_LSP_DOWNLOAD=1", "OPENCODE_DISABLE_EXTERNAL_SKILLS=1",
	}
	out, err := cmd.CombinedOutput()
	if err != nil {
		t.Fatalf("opencode auth list: %v\n%s", err, out)
	}
	out = colours.ReplaceAll(out, nil)
	if !bytes.Contains(out, []byte("Credentials")) {
		t.Fatalf("opencode auth list: %s", out)
	}
	var found []string
	for _, m := range credential.FindAllSubmatch(out, -1) {
		found = append(found, string(m[1]))
	}
	return found
}
