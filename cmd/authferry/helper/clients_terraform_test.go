package helper_test

import (
	"encoding/json"
	"net/http"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/authferry/authferry/broker/brokertest"
	"github.com/authferry/authferry/cmd/authferry/authferrytest"
	"github.com/authferry/authferry/testenv"
)

func TestTerraformClient(t *testing.T) {
	t.Parallel()
	terraform := client(t, "terraform", "it comes from HashiCorp; OpenTofu has the same protocol")
	if !usesCertificateFile {
		t.Skip("needs a system where SSL_CERT_FILE counts: not Windows or macOS")
	}
	s := newScene(t, brokertest.Config{})
	mux := http.NewServeMux()
	c := newSite(s, true, mux)
	// Terraform looks for services, and fetches the archive, without credentials.
	discovery := http.NewServeMux()
	discovery.HandleFunc("/.well-known/terraform.json", func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", "application/json")
		_, _ = w.Write([]byte(`{"modules.v1":"/v1/modules/"}`))
	})
	module := tarball(t, map[string]string{"main.tf": "output \"sim\" {\n  value = 1\n}\n"})
	discovery.HandleFunc("/m.tar.gz", func(w http.ResponseWriter, _ *http.Request) { _, _ = w.Write(module) })
	discovery.Handle("/", c.Config.Handler)
	c.Config.Handler = discovery
	mux.HandleFunc("/v1/modules/team/net/sim/versions", func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", "application/json")
		_, _ = w.Write([]byte(`{"modules":[{"versions":[{"version":"1.0.0"}]}]}`))
	})
	mux.HandleFunc("/v1/modules/team/net/sim/1.0.0/download", func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("X-Terraform-Get", c.URL+"/m.tar.gz")
		w.WriteHeader(http.StatusNoContent)
	})
	c.logIn("ada", "bob")

	// The program is found by its name in the plugins' folder.
	home := filepath.Join(s.Root, "home")
	plugins := filepath.Join(home, ".terraform.d", "plugins")
	testenv.Must(t, os.MkdirAll(plugins, 0o700))
	name := authferrytest.Exe("terraform-credentials-authferry")
	testenv.Must(t, os.Symlink(c.s.named(name), filepath.Join(plugins, name)))
	get := func(args string) outcome {
		t.Helper()
		dir := t.TempDir()
		testenv.Must(t, os.WriteFile(filepath.Join(dir, "main.tf"), []byte("module \"net\" {\n  source  = \""+c.host()+"/team/net/sim\"\n  version = \"1.0.0\"\n}\n"), 0o600))
		rc := s.Write("terraformrc", "credentials_helper \"authferry\" {\n  args = ["+args+"]\n}\n")
		return s.with(dir, []string{"TF_CLI_CONFIG_FILE=" + rc, "CHECKPOINT_DISABLE=1", "SSL_CERT_FILE=" + c.certificate()}, terraform, "get", "-no-color")
	}
	var ada struct{ ID string }
	testenv.Must(t, json.Unmarshal([]byte(s.Must("", "info", "ada", "--json").Out), &ada))
	at := func(host, name string) string { return strconv.Quote("--at") + ", " + strconv.Quote(host+"="+name) }
	for _, args := range []string{"", strconv.Quote("--account=ada"), at("other.example", "elsewhere") + ", " + at(c.host(), ada.ID), at(c.host(), "sim")} {
		c.forget()
		if got := get(args); got.Code != 0 || c.count("200 ada") != 2 {
			t.Fatalf("%s: %d\n%s%s\n%q", args, got.Code, got.Out, got.Err, c.answers)
		}
	}
	c.wantRefreshes(0)
	c.forget()
	if got := get(at("other.example", ada.ID)); got.Code == 0 || c.count("200") > 0 {
		t.Errorf("a host that isn't among them got in: %q", c.answers)
	}

	c.expire()
	if got := get(""); got.Code == 0 {
		t.Error("terraform got in with a token that is over")
	}
	c.wantRefreshes(0)
	s.Must("", "refresh", "ada")
	if got := get(""); got.Code != 0 {
		t.Errorf("%d\n%s", got.Code, got.Err)
	}
	c.wantRefreshes(1)

	s.Must(s.Grant("eve", time.Minute), "import", "grant", "sim", "--label", "eve")
	if got := get(strconv.Quote("--account=eve")); got.Code != 0 || c.count("200 eve") == 0 {
		t.Errorf("%d\n%s", got.Code, got.Err)
	}
	c.wantRefreshes(2)

	// Terraform waits as long as the server says, and sends the same token again.
	c.forget()
	c.limit("ada", 1, "1")
	if got := get(""); got.Code != 0 || c.count("429") != 1 || c.count("200 bob") > 0 || s.Held() != "" {
		t.Errorf("%d, %q, held: %s\n%s", got.Code, c.answers, s.Held(), got.Err)
	}

	rc := filepath.Join(s.Root, "terraformrc")
	got := s.with(s.Root, []string{"TF_CLI_CONFIG_FILE=" + rc, "CHECKPOINT_DISABLE=1", "SSL_CERT_FILE=" + c.certificate()}, terraform, "logout", "-no-color", c.host())
	if got.Code == 0 || !strings.Contains(strings.Join(strings.Fields(got.Err), " "), "terraform can't end this login; it was kept") {
		t.Errorf("%d\n%s%s", got.Code, got.Out, got.Err)
	}
}
