package main

import (
	"bufio"
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"time"
)

// private names the folder of the session that this program runs in.
const private = "BENCH_PRIVATE"

// privately runs this program again under a session bus and HOME of its own.
func privately() error {
	for _, need := range []string{"dbus-run-session", "gnome-keyring-daemon", "secret-tool"} {
		if _, err := exec.LookPath(need); err != nil {
			return fmt.Errorf("needs %s: apt-get install dbus gnome-keyring libsecret-tools", need)
		}
	}
	home, err := os.MkdirTemp("", "authferry-bench-")
	if err != nil {
		return err
	}
	defer os.RemoveAll(home)
	self, err := os.Executable()
	if err != nil {
		return err
	}
	// Before HOME changes, so that Go's caches are used.
	if err := build(home); err != nil {
		return err
	}
	script := `printf bench | gnome-keyring-daemon --unlock --components=secrets >/dev/null 2>&1; shift; exec "$@"`
	args := append([]string{"--", "bash", "-c", script, "bash", "--", self}, os.Args[1:]...)
	cmd := exec.CommandContext(ctx, "dbus-run-session", args...)
	cmd.Env = append(os.Environ(), private+"="+home, "HOME="+home, "XDG_RUNTIME_DIR="+home, "XDG_DATA_HOME="+home+"/data",
		"XDG_CONFIG_HOME="+home+"/config", "AUTHFERRY_DIR="+home+"/folder", "DISPLAY=", "WAYLAND_DISPLAY=", "AUTHFERRY_KEYSTORE=",
		"AUTHFERRY_ACCOUNT=", "AUTHFERRY_POOL=", "AUTHFERRY_LOCK_TIMEOUT=2m", "AUTHFERRY_KEYCHAIN_TIMEOUT=2m")
	cmd.Stdout, cmd.Stderr = os.Stdout, os.Stderr
	return cmd.Run()
}

type bench struct {
	home  string
	quick bool
	sim   *exec.Cmd
	url   string
}

func (b *bench) close() {
	_ = b.sim.Process.Kill()
	_ = b.sim.Wait()
}

func (b *bench) path(name string) string { return filepath.Join(b.home, name) }

// rounds is how often to do something: n times, and in a quick run a few times.
func (b *bench) rounds(n int) int {
	if b.quick {
		return max(n/15, 1)
	}
	return n
}

func (b *bench) authferry(args ...string) ([]byte, error) { return b.authferryIn(nil, "", args...) }

// authferryIn runs authferry with more in its environment, and with this stdin.
func (b *bench) authferryIn(env []string, stdin string, args ...string) ([]byte, error) {
	cmd := exec.CommandContext(ctx, b.path("authferry"), args...)
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

// prepare starts the simulator and puts one account into the keyring.
func prepare(quick bool) (*bench, error) {
	b := &bench{home: os.Getenv(private), quick: quick}
	b.sim = exec.CommandContext(ctx, b.path("authferry-sim"), "serve", "--rotation", "strict", "--ttl", "1h", "--latency", latency.String())
	out, err := b.sim.StdoutPipe()
	if err != nil {
		return nil, err
	}
	if err := b.sim.Start(); err != nil {
		return nil, err
	}
	lines := bufio.NewScanner(out)
	for b.url == "" && lines.Scan() {
		if i := strings.Index(lines.Text(), "http://127.0.0.1:"); i >= 0 {
			b.url = strings.TrimRight(strings.Fields(lines.Text()[i:])[0], "/.,")
		}
	}
	if b.url == "" {
		return b, errors.New("the simulator printed no URL")
	}
	go func() {
		for lines.Scan() {
		}
	}()
	if err := errors.Join(storeBare(), b.addProvider(nil)); err != nil {
		return b, err
	}
	return b, b.addAccount(nil, "bench", 3600)
}

func (b *bench) addProvider(env []string) error {
	_, err := b.authferryIn(env, "", "provider", "add", "sim", "--issuer", b.url, "--client-id", "authferry-sim", "--api-origin", b.url)
	return err
}

func (b *bench) addAccount(env []string, label string, expiresIn int) error {
	var g map[string]any
	if err := b.control(`{"issue":"`+label+`"}`, &g); err != nil {
		return err
	}
	g["expires_in"] = expiresIn
	doc, err := json.Marshal(g)
	if err != nil {
		return err
	}
	_, err = b.authferryIn(env, string(doc), "import", "grant", "sim", "--label", label)
	return err
}

// latency is how long the simulator's token endpoint takes.
const latency = 100 * time.Millisecond

func (b *bench) setLatency(d time.Duration) error {
	return b.control(`{"latency":"`+d.String()+`"}`, new(any))
}

// requests is how many token requests the server has seen.
func (b *bench) requests() (int, error) {
	var ledger struct {
		TokenRequests int `json:"token_requests"`
	}
	err := b.control("", &ledger)
	return ledger.TokenRequests, err
}

// control gives the simulator an order and reads its answer; without an order,
// its ledger.
func (b *bench) control(order string, answer any) error {
	method := http.MethodPost
	if order == "" {
		method = http.MethodGet
	}
	req, err := http.NewRequestWithContext(ctx, method, b.url+"/_control", strings.NewReader(order))
	if err != nil {
		return err
	}
	res, err := (&http.Client{Timeout: 10 * time.Second}).Do(req)
	if err != nil {
		return err
	}
	defer func() { _ = res.Body.Close() }()
	if res.StatusCode != http.StatusOK {
		return fmt.Errorf("the simulator refused %s", order)
	}
	return json.NewDecoder(res.Body).Decode(answer)
}
