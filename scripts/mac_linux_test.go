package scripts

import (
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	ks "github.com/authferry/authferry/keystore/keystoretest"
	"github.com/authferry/authferry/proofs"
)

// What the nightly run tries on a Mac runs here too, so that it is the Mac that fails
// and not the script.
func TestMac(t *testing.T) {
	proofs.Only(t, "builds authferry as for macOS")
	mac := ks.NewMac(t, "..")
	authferry := filepath.Join(t.TempDir(), "authferry")
	mac.Build(t, authferry, "./cmd/authferry")
	home := t.TempDir()
	cmd := exec.CommandContext(t.Context(), "bash", filepath.Join("..", ".ci", "mac"), authferry)
	cmd.Env = append(append(os.Environ(), mac.Env...), "HOME="+home, "PATH="+mac.Path+":"+os.Getenv("PATH"), "AUTHFERRY_TEST_KEYCHAIN_PASSWORD=")
	out, err := cmd.CombinedOutput()
	if err != nil || strings.Count(string(out), "\nok ") < 9 {
		t.Errorf("%v\n%s", err, out)
	}
	t.Logf("%s", out)
}
