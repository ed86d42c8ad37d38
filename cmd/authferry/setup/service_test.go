package setup

import (
	"bytes"
	"encoding/xml"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"testing"

	"github.com/authferry/authferry/testenv"
)

var byProxy = Choice{Provider: "anthropic", Proxy: "http://127.0.0.1:8417"}

// A client's set-up for serve and its other one take each other's place, and whatever
// came after what, undoing leaves the file as it was, to the byte.
func TestProxyThereAndBack(t *testing.T) {
	elsewhere := Choice{Provider: "acme", Proxy: "http://[::1]:9000"}
	for _, name := range []string{"claude-code", "codex"} {
		for i, text := range append([]string{"no file"}, files[name]...) {
			for style, written := range styles {
				t.Run(fmt.Sprint(name, "/", i, "/", style), func(t *testing.T) {
					t.Parallel()
					c, m := client(t, name), machine(t)
					all, err := c.Files(m, choice)
					testenv.Must(t, err)
					path := all[0].Path
					var before []byte
					if i > 0 {
						before = []byte(written(text))
						write(t, path, string(before))
					}
					var plain []byte
					for _, step := range []Choice{choice, byProxy, elsewhere, choice, byProxy} {
						put(t, c, m, step, false)
						state(t, c, m, Current)
						if got := c.Proxy(m); got != step.Proxy {
							t.Errorf("proxy %q, want %q", got, step.Proxy)
						}
						if again := put(t, c, m, step, false); len(again) > 0 {
							t.Errorf("the second time changed:\n%s", again[0].Diff())
						}
						now, err := os.ReadFile(path)
						testenv.Must(t, err)
						if step.Proxy == "" && plain != nil && !bytes.Equal(plain, now) {
							t.Errorf("after a proxy it is\n%s\nwas\n%s", now, plain)
						} else if step.Proxy == "" {
							plain = now
						}
						if step.Proxy != "" && (!bytes.Contains(now, []byte("proxy-key")) || bytes.Contains(now, []byte("api-key"))) {
							t.Errorf("with a proxy it is\n%s", now)
						}
					}
					put(t, c, m, Choice{}, true)
					state(t, c, m, Absent)
					if now, err := read(path, ""); err != nil || !same(now, before) {
						t.Errorf("%v:\n%q\nwas:\n%q", err, now, before)
					}
				})
			}
		}
	}
}

// What would win over the proxy is no setting to put it beside: a real key would be sent
// in the place of the proxy's.
func TestProxyRefusals(t *testing.T) {
	for _, name := range []string{"ANTHROPIC_BASE_URL", "ANTHROPIC_AUTH_TOKEN", "ANTHROPIC_API_KEY", "CLAUDE_CODE_OAUTH_TOKEN"} {
		c, m := client(t, "claude-code"), machine(t)
		path := filepath.Join(m.Home, ".claude", "settings.json")
		text := `{"env": {"` + name + `": "canary"}}`
		write(t, path, text)
		_, err := c.Plan(m, byProxy, false)
		r, ok := errors.AsType[*Refusal](err)
		if !ok || !strings.Contains(r.Why, "already has "+name) || strings.Contains(r.Why+r.Edit, "canary") {
			t.Errorf("%s: %v", name, err)
		}
		if now, _ := os.ReadFile(path); string(now) != text {
			t.Errorf("the file is %s", now)
		}
	}
	// A base URL that somebody changed is theirs.
	c, m := client(t, "claude-code"), machine(t)
	put(t, c, m, byProxy, false)
	path := filepath.Join(m.Home, ".claude", "settings.json")
	now, err := os.ReadFile(path)
	testenv.Must(t, err)
	write(t, path, strings.Replace(string(now), "http://127.0.0.1:8417/anthropic", "https://mine.example", 1))
	state(t, c, m, Outdated)
	put(t, c, m, Choice{}, true)
	if now, _ := os.ReadFile(path); !bytes.Contains(now, []byte("https://mine.example")) || bytes.Contains(now, []byte("apiKeyHelper")) {
		t.Errorf("it is %s", now)
	}
}

// service is a machine of that system, in whose paths is what has to be quoted.
func service(t *testing.T, system string, env ...string) Machine {
	t.Helper()
	m := machine(t, env...)
	m.OS = system
	m.LookPath = func(program string) (string, error) { return "/bin/" + program, nil }
	odd := filepath.Join(m.Home, "a b%h$x<&", "authferry")
	if runtime.GOOS == "windows" {
		odd = filepath.Join(m.Home, "a b", "authferry.exe")
	}
	write(t, odd, "#!/bin/sh\n")
	m.Binary = odd
	return m
}

var serviceChoice = Choice{Provider: "anthropic", Pool: "my work", Listen: "127.0.0.1:9000"}

// Setting serve up makes files of its own, takes them away again, and never touches
// somebody else's.
func TestServiceThereAndBack(t *testing.T) {
	for _, system := range []string{"linux", "darwin"} {
		if runtime.GOOS == "windows" && system == "linux" {
			continue // it has no links
		}
		t.Run(system, func(t *testing.T) {
			c, m := client(t, "serve"), service(t, system)
			all, err := c.Files(m, Choice{})
			testenv.Must(t, err)
			state(t, c, m, Absent)
			if changes := put(t, c, m, serviceChoice, false); len(changes) != len(all) {
				t.Errorf("%d changes, want %d", len(changes), len(all))
			}
			state(t, c, m, Current)
			if got := c.Proxy(m); got != "http://127.0.0.1:9000" {
				t.Errorf("it listens at %s", got)
			}
			if again := put(t, c, m, serviceChoice, false); len(again) > 0 {
				t.Errorf("the second time changed:\n%s", again[0].Diff())
			}
			moved := m
			moved.Binary += "-2"
			state(t, c, moved, Outdated)
			put(t, c, moved, Choice{}, false)
			state(t, c, moved, Current)
			if got := c.Proxy(m); got != "http://"+DefaultListen {
				t.Errorf("it listens at %s", got)
			}
			if got := put(t, c, m, Choice{}, true); len(got) != len(all) {
				t.Errorf("%d changes, want %d", len(got), len(all))
			}
			state(t, c, m, Absent)
			for _, f := range all {
				if _, err := os.Lstat(f.Path); err == nil {
					t.Errorf("%s is left", f.Path)
				}
			}
			write(t, all[0].Path, "[Unit]\n")
			_, err = c.Plan(m, serviceChoice, false)
			if _, ok := errors.AsType[*Refusal](err); !ok {
				t.Errorf("somebody else's: %v", err)
			}
			if got := put(t, c, m, Choice{}, true); len(got) > 0 {
				t.Errorf("somebody else's was changed:\n%s", got[0].Diff())
			}
			if len(c.Next(m, serviceChoice)) == 0 || len(c.After(m)) == 0 {
				t.Error("nothing is said of what comes next")
			}
		})
	}
	none := service(t, "linux")
	none.LookPath = func(string) (string, error) { return "", exec.ErrNotFound }
	if _, err := client(t, "serve").Plan(none, Choice{}, false); err == nil || !strings.Contains(err.Error(), "no systemd") {
		t.Errorf("without systemd: %v", err)
	}
}

// systemd has nothing against the units, and reads the words as they were meant.
func TestUnits(t *testing.T) {
	analyze, err := exec.LookPath("systemd-analyze")
	if err != nil || runtime.GOOS != "linux" {
		t.Skip("needs systemd-analyze: apt-get install systemd")
	}
	for _, choice := range []Choice{{}, serviceChoice, {Listen: "unix:/run/user/1/a b%"}} {
		m := service(t, "linux", "AUTHFERRY_DIR=/a b/\"c\"%d", "AUTHFERRY_KEYSTORE=file")
		testenv.Must(t, os.Chmod(m.Binary, 0o700))
		put(t, client(t, "serve"), m, choice, false)
		cmd := exec.CommandContext(t.Context(), analyze, "--user", "--man=no", "verify", filepath.Join(unitDir(m), socketUnit), filepath.Join(unitDir(m), serviceUnit))
		cmd.Env = append(os.Environ(), "XDG_RUNTIME_DIR="+t.TempDir(), "HOME="+m.Home)
		if out, err := cmd.CombinedOutput(); err != nil || bytes.Contains(out, []byte("authferry")) {
			t.Errorf("%v\n%s", err, out)
		}
	}
}

// The agent is the property list that launchd reads.
func TestAgent(t *testing.T) {
	m := service(t, "darwin", "AUTHFERRY_DIR="+filepath.Join(t.TempDir(), "a<b"))
	text := agent(m, serviceChoice)
	var words []string
	d := xml.NewDecoder(bytes.NewReader(text))
	for {
		tok, err := d.Token()
		if err == io.EOF {
			break
		}
		if err != nil {
			t.Fatalf("%v\n%s", err, text)
		}
		if chars, ok := tok.(xml.CharData); ok && strings.TrimSpace(string(chars)) != "" {
			words = append(words, string(chars))
		}
	}
	i := slices.Index(words, "ProgramArguments")
	want := []string{"ProgramArguments", m.Binary, "serve", "anthropic", "--pool", "my work", "--listen", "127.0.0.1:9000", "EnvironmentVariables", "AUTHFERRY_DIR"}
	if i < 0 || len(words) < i+len(want) || !slices.Equal(words[i:i+len(want)], want) {
		t.Errorf("%q", words)
	}
	if lint, err := exec.LookPath("plutil"); err == nil {
		path := filepath.Join(t.TempDir(), "x.plist")
		write(t, path, string(text))
		if out, err := exec.CommandContext(t.Context(), lint, "-lint", path).CombinedOutput(); err != nil {
			t.Errorf("%v\n%s", err, out)
		}
	}
}

// On Windows a person gets the commands.
func TestTask(t *testing.T) {
	m := machine(t)
	m.OS, m.Binary = "windows", `C:\Program Files\authferry.exe`
	lines := client(t, "serve").Next(m, serviceChoice)
	want := `schtasks /Create /F /SC ONLOGON /TN authferry /TR "\"C:\Program Files\authferry.exe\" serve anthropic --pool \"my work\" --listen 127.0.0.1:9000"`
	if len(lines) != 2 || !strings.HasSuffix(lines[0], want) {
		t.Errorf("%q", lines)
	}
}
