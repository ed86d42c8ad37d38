package helper_test

import (
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/authferry/authferry/broker/brokertest"
	"github.com/authferry/authferry/testenv"
)

// crates serves a sparse index with one crate; everything in it needs a token.
func crates(t *testing.T) http.Handler {
	t.Helper()
	crate := tarball(t, map[string]string{
		"ferrycrate-1.0.0/Cargo.toml": "[package]\nname = \"ferrycrate\"\nversion = \"1.0.0\"\nedition = \"2021\"\n",
		"ferrycrate-1.0.0/src/lib.rs": "",
	})
	sum := sha256.Sum256(crate)
	mux := http.NewServeMux()
	mux.HandleFunc("/index/config.json", func(w http.ResponseWriter, r *http.Request) {
		_ = json.NewEncoder(w).Encode(map[string]any{"dl": "https://" + r.Host + "/dl", "api": "https://" + r.Host, "auth-required": true})
	})
	mux.HandleFunc("/index/fe/rr/ferrycrate", func(w http.ResponseWriter, _ *http.Request) {
		_ = json.NewEncoder(w).Encode(map[string]any{"name": "ferrycrate", "vers": "1.0.0", "deps": []any{}, "features": map[string]any{},
			"yanked": false, "cksum": hex.EncodeToString(sum[:])})
	})
	mux.HandleFunc("/dl/ferrycrate/1.0.0/download", func(w http.ResponseWriter, _ *http.Request) { _, _ = w.Write(crate) })
	return mux
}

func TestCargoClient(t *testing.T) {
	t.Parallel()
	cargo := client(t, "cargo", "install Rust")
	if err := exec.Command(cargo, "--version").Run(); err != nil {
		t.Skip("needs cargo: rustup has no toolchain for this user")
	}
	s := newScene(t, brokertest.Config{})
	c := newSite(s, true, crates(t))
	c.logIn("ada", "bob")
	toolchains := os.Getenv("RUSTUP_HOME")
	if home, err := os.UserHomeDir(); err == nil && toolchains == "" {
		toolchains = filepath.Join(home, ".rustup")
	}
	run := func(provider string, args ...string) outcome {
		t.Helper()
		dir := t.TempDir()
		for name, content := range map[string]string{
			"Cargo.toml": "[package]\nname = \"app\"\nversion = \"0.1.0\"\nedition = \"2021\"\n\n[dependencies]\nferrycrate = { version = \"1\", registry = \"site\" }\n",
			"src/lib.rs": "",
			".cargo/config.toml": "[registries.site]\nindex = \"sparse+" + c.URL + "/index/\"\ncredential-provider = [" + provider + "]\n" +
				"[http]\ncainfo = " + strconv.Quote(filepath.ToSlash(c.certificate())) + "\n[net]\nretry = 1\n",
		} {
			testenv.Must(t, os.MkdirAll(filepath.Dir(filepath.Join(dir, name)), 0o700))
			testenv.Must(t, os.WriteFile(filepath.Join(dir, name), []byte(content), 0o600))
		}
		return s.with(dir, []string{"CARGO_HOME=" + t.TempDir(), "RUSTUP_HOME=" + toolchains, "CARGO_TERM_COLOR=never", "CARGO_HTTP_PROXY="}, cargo, args...)
	}
	words := func(words ...string) string {
		quoted := []string{strconv.Quote(c.s.named("authferry"))}
		for _, w := range words {
			quoted = append(quoted, strconv.Quote(w))
		}
		return strings.Join(quoted, ", ")
	}
	for _, provider := range []string{words(), words("helper", "cargo"), words("helper", "cargo", "--account", "ada"), words("helper", "cargo", "--pool", "sim")} {
		c.forget()
		if got := run(provider, "fetch"); got.Code != 0 {
			t.Fatalf("%s: %d\n%s\n%q", provider, got.Code, got.Err, c.answers)
		}
		if c.count("200 ada") != 3 || c.count("200 bob") > 0 {
			t.Errorf("%s: %q", provider, c.answers)
		}
	}
	c.wantRefreshes(0)
	ada := words("helper", "cargo", "--account", "ada")

	for _, args := range [][]string{{"login", "--registry", "site"}, {"logout", "--registry", "site"}} {
		if got := run(ada, args...); got.Code == 0 || !strings.Contains(got.Err, "requested operation not supported") {
			t.Errorf("%s: %d\n%s%s", args[0], got.Code, got.Out, got.Err)
		}
	}
	if got := run(words("helper", "cargo", "--account", "nobody"), "fetch"); got.Code == 0 || !strings.Contains(got.Err, `there is no account "nobody"; there are: "ada", "bob"`) {
		t.Errorf("%d\n%s", got.Code, got.Err)
	}

	c.expire()
	if got := run(ada, "fetch"); got.Code == 0 || !strings.Contains(got.Err, "token rejected") {
		t.Errorf("%d\n%s", got.Code, got.Err)
	}
	c.wantRefreshes(0)
	s.Must("", "refresh", "ada")
	if got := run(ada, "fetch"); got.Code != 0 {
		t.Errorf("%d\n%s", got.Code, got.Err)
	}
	c.wantRefreshes(1)

	s.Must(s.Grant("eve", time.Minute), "import", "grant", "sim", "--label", "eve")
	if got := run(words("helper", "cargo", "--account", "eve"), "fetch"); got.Code != 0 || c.count("200 eve") == 0 {
		t.Errorf("%d\n%s", got.Code, got.Err)
	}
	c.wantRefreshes(2)

	// Cargo takes a limit for trouble with the network, and sends the same token again.
	c.forget()
	c.limit("ada", 1, "1")
	if got := run(words("helper", "cargo", "--pool", "sim"), "fetch"); got.Code != 0 || c.count("429") != 1 || c.count("200 ada") != 3 || s.Held() != "" {
		t.Errorf("%d, %q, held: %s\n%s", got.Code, c.answers, s.Held(), got.Err)
	}
}
