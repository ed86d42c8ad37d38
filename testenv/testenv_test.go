package testenv

import (
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"testing"
)

type runs func() int

func (r runs) Run() int { return r() }

func TestAlone(t *testing.T) {
	home, bin := t.TempDir(), t.TempDir()
	for _, name := range []string{"terraform-credentials-authferry", "authferry.exe", "authferry", "neighbour", "neighbour.exe"} {
		if err := os.WriteFile(filepath.Join(bin, name), []byte("#!/bin/sh\n"), 0o700); err != nil {
			t.Fatal(err)
		}
	}
	for name, value := range map[string]string{
		"HOME": home, "USERPROFILE": home, "APPDATA": home, "LOCALAPPDATA": home, "PATH": bin + string(filepath.ListSeparator) + os.Getenv("PATH"),
		"AUTHFERRY_KEYSTORE": "keychain", "XDG_CONFIG_HOME": home, "TF_CLI_CONFIG_FILE": home, "https_proxy": "http://127.0.0.1:1", "NO_COLOR": "1", "LANG": "de_DE.UTF-8",
		"CLAUDE_CONFIG_DIR": home, "GOCACHE": os.Getenv("GOCACHE"), "GOMODCACHE": os.Getenv("GOMODCACHE"), "GOPATH": os.Getenv("GOPATH"), "GOENV": "off", "RUSTUP_HOME": home,
		"AUTHFERRY_PROOFS": "1", "TEST_HERDS": "16",
	} {
		t.Setenv(name, value)
	}
	// Alone asks go, which counts its calls in the home, also after it has ended.
	for _, mode := range []string{filepath.Join(home, "go", "telemetry", "mode"), filepath.Join(home, ".config", "go", "telemetry", "mode")} {
		if err := errors.Join(os.MkdirAll(filepath.Dir(mode), 0o700), os.WriteFile(mode, []byte("off"), 0o600)); err != nil {
			t.Fatal(err)
		}
	}
	var own string
	code := Alone(runs(func() int {
		own, _ = os.UserHomeDir()
		if _, err := os.Stat(own); err != nil || own == home {
			t.Errorf("the home is %q: %v", own, err)
		}
		for _, name := range []string{"AUTHFERRY_KEYSTORE", "XDG_CONFIG_HOME", "TF_CLI_CONFIG_FILE", "https_proxy", "NO_COLOR", "LANG", "CLAUDE_CONFIG_DIR"} {
			if value, there := os.LookupEnv(name); there {
				t.Errorf("%s is %q", name, value)
			}
		}
		for name, want := range map[string]string{"AUTHFERRY_PROOFS": "1", "TEST_HERDS": "16", "RUSTUP_HOME": home} {
			if got := os.Getenv(name); got != want {
				t.Errorf("%s is %q, want %q", name, got, want)
			}
		}
		for program, want := range map[string]bool{"neighbour": true, "terraform-credentials-authferry": false, "authferry": false} {
			if path, err := exec.LookPath(program); (err == nil) != want {
				t.Errorf("%s is at %q: %v", program, path, err)
			}
		}
		return 3
	})).Run()
	if _, err := os.Stat(own); code != 3 || !os.IsNotExist(err) {
		t.Errorf("exit code %d, and of the home: %v", code, err)
	}
}
