package keystore_test

import (
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/authferry/authferry/keystore"
	ks "github.com/authferry/authferry/keystore/keystoretest"
	"github.com/authferry/authferry/proofs"
	"github.com/authferry/authferry/testenv"
)

// What go-keyring does on macOS, over a program that stands in for Apple's there: these
// tests, built as for a Mac, run once more.
func TestMacOS(t *testing.T) {
	t.Parallel()
	state := os.Getenv("SECURITY_STATE")
	if os.Getenv(inside) == "" || state == "" {
		proofs.Only(t, "go-keyring is built anew, and each of many calls is a process")
		mac := ks.NewMac(t, "..")
		tests := filepath.Join(t.TempDir(), "keystore.test")
		mac.Build(t, tests, "-c", "./keystore")
		cmd := exec.CommandContext(t.Context(), tests, "-test.run=^TestMacOS$", "-test.v")
		cmd.Env = append(append(os.Environ(), mac.Env...), inside+"=1")
		if out, err := cmd.CombinedOutput(); err != nil || !strings.Contains(string(out), "--- PASS: TestMacOS/conforms/delete") {
			t.Errorf("%v\n%s", err, out)
		}
		return
	}
	if b := keystore.OpenKeychain().Backend(); b != "macOS Keychain" {
		t.Fatalf("the keychain is %s", b)
	}
	t.Run("conforms", func(t *testing.T) { ks.Run(t, func(testing.TB) keystore.Store { return keystore.OpenKeychain() }) })
	t.Run("faults", func(t *testing.T) { macFaults(t, state, []string{"new", long}) })
	t.Run("locked", func(t *testing.T) { macLocked(t) })
	t.Run("processes", func(t *testing.T) { macProcesses(t, state) })
}

// Each fault meets every call.
func macFaults(t *testing.T, state string, values []string) {
	for _, tt := range []struct {
		fault            string
		get, set, delete error // nil: success
		timeout          time.Duration
	}{
		{fault: "prompt", get: keystore.ErrTimeout, set: keystore.ErrTimeout, delete: keystore.ErrTimeout, timeout: shortly},
		{fault: "dismissed", get: keystore.ErrDenied, set: keystore.ErrDenied, delete: keystore.ErrDenied},
		{fault: "wrong-password", get: keystore.ErrDenied, set: keystore.ErrDenied, delete: keystore.ErrDenied},
		{fault: "read-only", set: keystore.ErrDenied, delete: keystore.ErrDenied},
		{fault: "full", set: keystore.ErrDenied, delete: keystore.ErrDenied},
		{fault: "unavailable", get: keystore.ErrUnavailable, set: keystore.ErrUnavailable, delete: keystore.ErrUnavailable},
		{fault: "gone", get: keystore.ErrUnavailable, set: keystore.ErrUnavailable, delete: keystore.ErrUnavailable},
		{fault: "killed", get: keystore.ErrUnavailable, set: keystore.ErrUnavailable, delete: keystore.ErrUnavailable},
		// Apple's tool finds nothing then, and says no more than that.
		{fault: "no-default", get: keystore.ErrNotFound, set: keystore.ErrUnavailable},
		{fault: "truncated", set: keystore.ErrDenied},
		{fault: "emptied", set: keystore.ErrDenied},
		{fault: "lost", delete: keystore.ErrDenied},
		{fault: "slow"},
		{fault: "german"},
	} {
		t.Run(tt.fault, func(t *testing.T) {
			for _, value := range values {
				c := newClient(t, "keychain", nil)
				c.set(item, value)
				ks.BreakMac(t, state, tt.fault)
				for _, call := range []struct {
					request
					want error
				}{
					{request{Op: "get", Name: item}, tt.get},
					{request{Op: "set", Name: item, Value: value + " and more"}, tt.set},
					{request{Op: "delete", Name: item}, tt.delete},
				} {
					if call.want != nil {
						call.Timeout = tt.timeout
					}
					if tt.timeout != 0 { // the last one is still waiting
						c = newClient(t, "keychain", nil)
					}
					c.wantCause(call.request, call.want)
				}
				ks.BreakMac(t, state, "")
				c = newClient(t, "keychain", nil)
				c.set(item, "whole again")
				c.want(item, "whole again")
				c.wantCause(request{Op: "delete", Name: item}, nil)
				c.wantCause(request{Op: "get", Name: item}, keystore.ErrNotFound)
			}
		})
	}
	t.Run("lost at first", func(t *testing.T) {
		ks.BreakMac(t, state, "lost")
		defer ks.BreakMac(t, state, "")
		newClient(t, "keychain", nil).wantCause(request{Op: "set", Name: item, Value: "new"}, keystore.ErrDenied)
	})
}

// As over SSH: items are found, and not opened.
func macLocked(t *testing.T) {
	security := func(args ...string) {
		t.Helper()
		if out, err := exec.CommandContext(t.Context(), filepath.Join(os.Getenv("SECURITY_PATH"), "security"), args...).CombinedOutput(); err != nil {
			t.Fatalf("%v\n%s", err, out)
		}
	}
	c := newClient(t, "keychain", nil)
	c.set(item, "value")
	security("lock-keychain")
	for _, op := range []string{"get", "set", "delete"} {
		c.wantCause(request{Op: op, Name: item, Value: "new"}, keystore.ErrLocked)
	}
	c.wantCause(request{Op: "set", Name: "store/other", Value: "new"}, keystore.ErrLocked)
	security("unlock-keychain", "-p", "")
	c.want(item, "value")
	c.wantCause(request{Op: "delete", Name: item}, nil)
}

// No argument list has a secret, and no process waits for input that doesn't come, as
// the library leaves one behind when a value is too big for it.
func macProcesses(t *testing.T, state string) {
	log := filepath.Join(state, "log")
	testenv.Must(t, os.Remove(log))
	c := newClient(t, "keychain", nil)
	for _, size := range []int{1, 1999, 2001, 2990, 3010, 4097, keystore.MaxSize + 1} {
		var cause error
		if size > keystore.MaxSize {
			cause = keystore.ErrTooBig
		}
		c.wantCause(request{Op: "set", Name: strings.Repeat("n", 200), Value: strings.Repeat("s", size)}, cause)
	}
	content, err := os.ReadFile(log)
	testenv.Must(t, err)
	if found := regexp.MustCompile(`.*(base64|sss).*`).Find(content); found != nil {
		t.Errorf("in an argument list: %s", found)
	}
	if begun, ended := strings.Count(string(content), `["-i"]`), strings.Count(string(content), " ends\n"); begun == 0 || ended*2 != strings.Count(string(content), "\n") {
		t.Errorf("%d processes with input; not all that began have ended:\n%s", begun, content)
	}
}
