package scripts

import (
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	ks "github.com/authferry/authferry/keystore/keystoretest"
	"github.com/authferry/authferry/proofs"
	"github.com/authferry/authferry/testenv"
)

// What the nightly run tries on a Mac runs here too, so that it is the Mac that fails
// and not the script.
func TestMac(t *testing.T) {
	proofs.Only(t, "builds authferry as for macOS")
	mac := ks.NewMac(t, "..")
	authferry := filepath.Join(t.TempDir(), "authferry")
	mac.Build(t, authferry, "./cmd/authferry")
	for program, says := range map[string]string{"uname": "Darwin", "uuidgen": "a-password"} {
		testenv.Must(t, os.WriteFile(filepath.Join(mac.Path, program), []byte("#!/bin/sh\necho "+says+"\n"), 0o700))
	}
	home := t.TempDir()
	cmd := exec.CommandContext(t.Context(), "bash", filepath.Join("..", ".ci", "keychain"), "bash", filepath.Join("..", ".ci", "mac"), authferry)
	cmd.Env = append(append(os.Environ(), mac.Env...), "HOME="+home, "PATH="+mac.Path+":"+os.Getenv("PATH"))
	out, err := cmd.CombinedOutput()
	if err != nil || strings.Count(string(out), "\nok ") < 9 {
		t.Errorf("%v\n%s", err, out)
	}
	t.Logf("%s", out)
	for _, now := range []struct{ command, want string }{
		{"default-keychain", "login.keychain-db"},
		{"list-keychains", "login.keychain-db"},
	} {
		cmd := exec.CommandContext(t.Context(), filepath.Join(mac.Path, "security"), now.command)
		cmd.Env = append(append(os.Environ(), mac.Env...), "HOME="+home)
		if out, err := cmd.Output(); err != nil || strings.Trim(string(out), " \"\n") != now.want {
			t.Errorf("%s is %s afterwards: %v", now.command, out, err)
		}
	}
}
