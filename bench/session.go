package main

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"syscall"
	"time"

	"github.com/authferry/authferry/broker/brokertest"
	"github.com/zalando/go-keyring"
)

// private names the folder of the session that this program runs in.
const private = "BENCH_PRIVATE"

// privately runs this program again under a session bus and HOME of its own.
func privately() error {
	home, err := os.MkdirTemp("", "authferry-bench-")
	if err != nil {
		return err
	}
	defer os.RemoveAll(home)
	// Before HOME changes, so that Go's caches are used.
	if err := build(home); err != nil {
		return err
	}
	script := `printf bench | gnome-keyring-daemon --unlock --components=secrets >/dev/null 2>&1 && command -v secret-tool >/dev/null ||
		{ echo "bench: needs gnome-keyring and secret-tool: apt-get install dbus gnome-keyring libsecret-tools" >&2; exit 1; }; exec "$0" "$@"`
	self, err := os.Executable()
	if err != nil {
		return err
	}
	cmd := exec.CommandContext(ctx, "dbus-run-session", append([]string{"--", "bash", "-c", script, self}, os.Args[1:]...)...)
	cmd.Env = append(os.Environ(), private+"="+home, "HOME="+home, "XDG_RUNTIME_DIR="+home, "XDG_DATA_HOME="+home+"/data",
		"XDG_CONFIG_HOME="+home+"/config", "AUTHFERRY_DIR="+home+"/folder", "DISPLAY=", "WAYLAND_DISPLAY=", "AUTHFERRY_KEYSTORE=",
		"AUTHFERRY_ACCOUNT=", "AUTHFERRY_POOL=", "AUTHFERRY_LOCK_TIMEOUT=2m", "AUTHFERRY_KEYCHAIN_TIMEOUT=2m")
	cmd.Stdout, cmd.Stderr = os.Stdout, os.Stderr
	return cmd.Run()
}

type bench struct {
	home   string
	quick  bool
	server *brokertest.Server
}

// latency is how long the server's token endpoint takes.
const latency = 100 * time.Millisecond

// secret is as long as an access record.
var secret = strings.Repeat("x", 600)

// prepare starts a server and puts one account, and the secret that the others read,
// into the keyring.
func prepare(quick bool) (*bench, error) {
	server, err := brokertest.Start(brokertest.Config{Rotation: brokertest.Strict, AccessTTL: time.Hour, Latency: latency})
	if err != nil {
		return nil, err
	}
	b := &bench{home: os.Getenv(private), quick: quick, server: server}
	return b, errors.Join(keyring.Set("authferry-bench", "item", secret), b.addProvider(nil), b.addAccount(nil, "bench", time.Hour))
}

func (b *bench) path(name string) string { return filepath.Join(b.home, name) }

// program is a row that runs a process; want must be in what a first run prints.
func (b *bench) program(name, want string, args ...string) row {
	checked := false
	return row{name: name, sample: func() (run, error) {
		if !checked {
			if out, err := command(args).Output(); err != nil || !bytes.Contains(out, []byte(want)) {
				return run{}, fmt.Errorf("it did not print what it was asked for (%w)", err)
			}
			checked = true
		}
		return once(command(args))
	}}
}

func command(args []string) *exec.Cmd { return exec.CommandContext(ctx, args[0], args[1:]...) }

func once(cmd *exec.Cmd) (run, error) {
	start := time.Now()
	err := cmd.Run()
	r := run{wall: time.Since(start)}
	if err != nil {
		return r, fmt.Errorf("%s: %w", filepath.Base(cmd.Path), err)
	}
	used := cmd.ProcessState.SysUsage().(*syscall.Rusage)
	r.cpu, r.faults = cmd.ProcessState.UserTime()+cmd.ProcessState.SystemTime(), used.Minflt+used.Majflt
	return r, nil
}

// authferry runs authferry with more in its environment, and with this stdin.
func (b *bench) authferry(env []string, stdin string, args ...string) ([]byte, error) {
	cmd := command(append([]string{b.path("authferry")}, args...))
	cmd.Env = append(os.Environ(), env...)
	cmd.Stdin = strings.NewReader(stdin)
	var errs bytes.Buffer
	cmd.Stderr = &errs
	out, err := cmd.Output()
	if err != nil {
		err = fmt.Errorf("authferry %s: %w: %s", args[0], err, errs.String())
	}
	return out, err
}

func (b *bench) addProvider(env []string) error {
	_, err := b.authferry(env, "", "provider", "add", "sim", "--issuer", b.server.URL, "--client-id", "authferry-sim", "--api-origin", b.server.URL)
	return err
}

// addAccount imports a login whose token expires after so long; expired already
// where that is negative.
func (b *bench) addAccount(env []string, label string, expires time.Duration) error {
	g := b.server.Issue(label)
	doc, err := json.Marshal(map[string]any{"access_token": g.AccessToken, "refresh_token": g.RefreshToken, "expires_at": time.Now().Add(expires).Unix()})
	if err != nil {
		return err
	}
	_, err = b.authferry(env, string(doc), "import", "grant", "sim", "--label", label)
	return err
}

// machine says where the figures are from.
func machine() string {
	load, _ := os.ReadFile("/proc/loadavg")
	system, _ := exec.CommandContext(ctx, "sh", "-c", `. /etc/os-release; echo "$PRETTY_NAME, $(gnome-keyring-daemon --version | head -1)"`).Output()
	return fmt.Sprintf("%s: %s, %d processors, %s, load %.4s at the start.", time.Now().Format(time.DateOnly), bytes.TrimSpace(system), runtime.NumCPU(), runtime.Version(), load)
}
