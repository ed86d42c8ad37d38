package main

import (
	"bytes"
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/authferry/authferry/testenv"
)

// On every system: the command has the token in its environment, and its exit
// code is authferry's.
func TestExecPassesTheTokenAndTheExitCode(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	command := func(stdin string, args ...string) (string, int) {
		cmd := exec.CommandContext(t.Context(), program(t), args...)
		cmd.Env = append(os.Environ(), "AUTHFERRY_DIR="+filepath.Join(dir, "d"), "EXEC_TEST_PRINT=ACME_TOKEN")
		cmd.Stdin = strings.NewReader(stdin)
		var out, errs bytes.Buffer
		cmd.Stdout, cmd.Stderr = &out, &errs
		err := cmd.Run()
		if exit, ok := errors.AsType[*exec.ExitError](err); ok {
			return out.String() + errs.String(), exit.ExitCode()
		}
		testenv.Must(t, err)
		return out.String(), 0
	}
	for _, args := range [][]string{
		{"keystore", "init", "--key-file", filepath.Join(dir, "key")},
		{"provider", "add", "acme", "--authorization-endpoint", "https://acme.example/a", "--token-endpoint", "https://acme.example/t", "--client-id", "c", "--api-origin", "https://api.acme.example", "--env", "ACME_TOKEN"},
		{"import", "grant", "acme", "--label", "Personal"},
	} {
		if out, code := command(`{"access_token":"invented","expires_in":3600}`, args...); code != 0 {
			t.Fatalf("authferry %v: exit code %d: %s", args, code, out)
		}
	}
	for _, test := range []struct {
		args []string
		code int
		want string
	}{
		{[]string{"exec", "--", "printenv-and-exit", "0"}, 0, "invented"},
		{[]string{"exec", "acme", "--", "printenv-and-exit", "7"}, 7, "invented"},
		{[]string{"exec", "--", "printenv-and-exit", "255"}, 255, "invented"},
		{[]string{"exec", "--", "no-such-command-here"}, 127, "can't be run"},
		{[]string{"exec", "--account", "Nobody", "--", "printenv-and-exit", "0"}, 3, "there is no account"},
	} {
		if out, code := command("", test.args...); code != test.code || !strings.Contains(out, test.want) {
			t.Errorf("authferry %v: exit code %d, want %d: %s", test.args, code, test.code, out)
		}
	}
}

// printenvAndExit is a command for exec to run, the same on every system.
func printenvAndExit() {
	code := 0
	for _, c := range os.Args[1] {
		code = code*10 + int(c-'0')
	}
	_, _ = os.Stdout.WriteString(os.Getenv(os.Getenv("EXEC_TEST_PRINT")) + "\n")
	os.Exit(code)
}
