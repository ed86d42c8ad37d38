package main

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"
)

// The ways to a model API.
const (
	straight   = "straight"
	reverse    = "httputil.ReverseProxy"
	proxied    = "authferry run"
	teamclaude = "teamclaude"
)

// teamclaudeFolder names where teamclaude is: what npm installed, or a clone. It is
// measured only there, since it is somebody else's program and not among the tools.
const teamclaudeFolder = "BENCH_TEAMCLAUDE"

// way is one way to a model API.
type way struct {
	name, url, key string
	client         *http.Client
	cmd            *exec.Cmd // nil: nothing is in between
	stdin          io.Closer
}

// close ends what is in between.
func (w *way) close() {
	w.client.CloseIdleConnections()
	if w.cmd != nil {
		_ = w.stdin.Close()
		if w.name == teamclaude {
			_ = w.cmd.Process.Kill()
		}
		_ = w.cmd.Wait()
	}
}

func newWay(name, url, key string) *way {
	return &way{name: name, url: url, key: key, client: &http.Client{Transport: &http.Transport{DisableCompression: true, MaxIdleConnsPerHost: 1024}}}
}

// launch starts a program that prints its URL and key.
func launch(name string, env []string, args ...string) (*way, error) {
	w := newWay(name, "", "")
	w.cmd = command(args)
	w.cmd.Env = append(os.Environ(), env...)
	w.cmd.Stderr = os.Stderr
	stdin, err := w.cmd.StdinPipe()
	if err != nil {
		return nil, err
	}
	out, err := w.cmd.StdoutPipe()
	if err != nil {
		return nil, err
	}
	if err := w.cmd.Start(); err != nil {
		return nil, fmt.Errorf("%s: %w", name, err)
	}
	w.stdin = stdin
	if _, err := fmt.Fscanln(bufio.NewReader(out), &w.url, &w.key); err != nil {
		return nil, fmt.Errorf("%s printed no URL: %w", name, err)
	}
	return w, nil
}

// keyFolder is a folder of its own with API keys of that API, as an environment.
func (b *bench) keyFolder(api string) ([]string, error) {
	dir, err := os.MkdirTemp(b.home, "keys-")
	if err != nil {
		return nil, err
	}
	env := []string{"AUTHFERRY_DIR=" + filepath.Join(dir, "folder")}
	if _, err := b.authferry(env, "", "provider", "add", "anthropic", "--from", "anthropic", "--api-origin", api); err != nil {
		return nil, err
	}
	for _, label := range []string{"one", "two"} {
		if _, err := b.authferry(env, "key-of-"+label, "login", "anthropic", "--api-key-stdin", "--label", label); err != nil {
			return nil, err
		}
	}
	return env, nil
}

// throughRun is a proxy of authferry run, whose command lives until its input ends.
func (b *bench) throughRun(env []string) (*way, error) {
	return launch(proxied, env, b.path("authferry"), "run", "anthropic", "--", "sh", "-c", `echo "$AUTHFERRY_PROXY_URL $AUTHFERRY_PROXY_KEY"; exec cat`)
}

// throughTeamclaude is nil where nobody said where it is.
func (b *bench) throughTeamclaude(api string) (*way, error) {
	folder := os.Getenv(teamclaudeFolder)
	if folder == "" {
		fmt.Fprintf(os.Stderr, "bench: without teamclaude: put it into a folder, with npm or as a clone, and name that in %s\n", teamclaudeFolder)
		return nil, nil //nolint:nilnil // it is left out
	}
	l, err := net.Listen("tcp", "127.0.0.1:0") //nolint:noctx // for a free port
	if err != nil {
		return nil, err
	}
	port := l.Addr().(*net.TCPAddr).Port
	_ = l.Close()
	config := b.path("teamclaude.json")
	text, err := json.Marshal(map[string]any{
		"proxy": map[string]any{"port": port, "apiKey": "the-key"}, "upstream": api,
		"accounts": []any{map[string]string{"name": "one", "type": "apikey", "apiKey": "key-of-one"}, map[string]string{"name": "two", "type": "apikey", "apiKey": "key-of-two"}},
	})
	if err := errors.Join(err, os.WriteFile(config, text, 0o600)); err != nil {
		return nil, err
	}
	w := newWay(teamclaude, fmt.Sprintf("http://127.0.0.1:%d", port), "the-key")
	w.cmd = command([]string{"node", filepath.Join(folder, "src", "index.js"), "server", "--headless"})
	w.cmd.Env = append(os.Environ(), "TEAMCLAUDE_CONFIG="+config, "TEAMCLAUDE_DISABLE_AUTOUPDATE=1")
	if w.stdin, err = w.cmd.StdinPipe(); err != nil {
		return nil, err
	}
	if err := w.cmd.Start(); err != nil {
		return nil, err
	}
	for range 100 {
		time.Sleep(100 * time.Millisecond)
		if s, _, err := w.open(ctx, prompt("", 1)); err == nil {
			_, err = s.rest()
			return w, err
		}
	}
	w.close()
	return nil, errors.New("teamclaude doesn't answer")
}

// ways are all of them, to one API.
func (b *bench) ways() (all []*way, end func(), err error) {
	api := modelAPI()
	end = func() {
		for _, w := range all {
			w.close()
		}
		api.CloseClientConnections()
		api.Close()
	}
	defer func() {
		if err != nil {
			end()
		}
	}()
	all = append(all, newWay(straight, api.URL, "key"))
	env, err := b.keyFolder(api.URL)
	if err != nil {
		return nil, end, err
	}
	for _, start := range []func() (*way, error){
		func() (*way, error) { return launch(reverse, nil, b.path("reverse"), api.URL) },
		func() (*way, error) { return b.throughRun(env) },
		func() (*way, error) { return b.throughTeamclaude(api.URL) },
	} {
		w, err := start()
		if err != nil {
			return all, end, err
		}
		if w != nil {
			all = append(all, w)
		}
	}
	return all, end, nil
}

// busy is the CPU time that the process in between has had.
func (w *way) busy() (sum time.Duration) {
	if w.cmd == nil {
		return 0
	}
	tasks, _ := filepath.Glob(fmt.Sprintf("/proc/%d/task/*/schedstat", w.cmd.Process.Pid))
	for _, task := range tasks {
		if data, err := os.ReadFile(task); err == nil { // #nosec G304 -- of /proc
			first, _, _ := strings.Cut(string(data), " ")
			n, _ := strconv.ParseInt(first, 10, 64)
			sum += time.Duration(n)
		}
	}
	return sum
}

// first is a row: the time to the first content of an answer to a body of that size.
func (w *way) first(name, of string, size int) row {
	body := prompt("", size)
	if w.cmd == nil {
		of = ""
	}
	return row{name: name, of: of, sample: func() (run, error) {
		before := w.busy()
		s, took, err := w.open(ctx, body)
		if err != nil {
			return run{}, err
		}
		if _, err := s.rest(); err != nil {
			return run{}, err
		}
		return run{wall: took, cpu: w.busy() - before}, nil
	}}
}

// proxy measures what a proxy adds to one request.
func (b *bench) proxy() (*table, error) {
	all, end, err := b.ways()
	if err != nil {
		return nil, err
	}
	defer end()
	t := &table{text: "The time to the first content of a streamed answer, over kept connections, by the size of the request; CPU time of the process in between."}
	sizes := []struct {
		name string
		size int
		most float64 // that may be added, ms
	}{{"90 KB", 90 << 10, 1}, {"1 MB", 1 << 20, 5}}
	for _, s := range sizes {
		for _, w := range all {
			t.add(w.first(s.name+" "+w.name, s.name+" "+straight, s.size))
		}
	}
	if err := b.alternate(t, 400, 30*time.Second); err != nil {
		return nil, err
	}
	for _, s := range sizes {
		added := func(q quantiles, way string, share float64) float64 {
			return q(s.name+" "+way, share, wall) - q(s.name+" "+straight, share, wall)
		}
		t.goal("added to the first content, "+s.name, "≤", s.most, "ms", t.estimate(func(q quantiles) float64 { return added(q, proxied, 0.5) }))
		if s.size == 90<<10 {
			t.goal("added at the 95th percentile, "+s.name, "≤", 5, "ms", t.estimate(func(q quantiles) float64 { return added(q, proxied, 0.95) }))
		}
		if slices.ContainsFunc(all, func(w *way) bool { return w.name == teamclaude }) {
			t.goal("of what teamclaude adds, "+s.name, "≤", 0.5, "×", t.estimate(func(q quantiles) float64 { return added(q, proxied, 0.5) / added(q, teamclaude, 0.5) }))
		}
	}
	return t, nil
}

// lag is a row: of so many paced streams at once, the 95th percentile of how late a chunk
// comes.
func (w *way) lag(of string, n int) row {
	body := prompt("paced", 90<<10)
	if w.cmd == nil {
		of = ""
	}
	return row{name: w.name, of: of, sample: func() (run, error) {
		before := w.busy()
		var mu sync.Mutex
		var late []run
		err := w.many(ctx, n, n, body, func(s *stream) error {
			all, err := s.rest()
			mu.Lock()
			defer mu.Unlock()
			for _, d := range all {
				late = append(late, run{wall: d})
			}
			return err
		})
		if err != nil {
			return run{}, err
		}
		p95 := quantile(late, 0.95, wall)
		return run{wall: time.Duration(p95 * float64(time.Millisecond)), cpu: w.busy() - before}, nil
	}}
}

// streams measures what a proxy adds to many streams, and what it keeps of them.
func (b *bench) streams() (*table, error) {
	all, end, err := b.ways()
	if err != nil {
		return nil, err
	}
	defer end()
	const n, idle = 64, 1000
	t := &table{text: fmt.Sprintf("%d streams at once, a chunk every %v: how late a chunk comes, the 95th percentile of each round; CPU time of a whole round in the process in between.", n, pace)}
	for _, w := range all {
		t.add(w.lag(straight, n))
	}
	if err := b.alternate(t, 10, 90*time.Second); err != nil {
		return nil, err
	}
	t.goal("added to a chunk, 95th percentile", "≤", 5, "ms", t.estimate(func(q quantiles) float64 { return q(proxied, 0.5, wall) - q(straight, 0.5, wall) }))
	for _, w := range all {
		switch w.name {
		case reverse, teamclaude:
			t.text += fmt.Sprintf(" Peak memory of %s: %s MB.", w.name, figure(memory(w.cmd, "VmHWM")))
		case proxied:
			t.goal("peak memory, 64 streams", "≤", 40, "MB", exactly(memory(w.cmd, "VmHWM")))
		}
	}
	kept, err := b.idle(idle)
	if err != nil {
		return nil, err
	}
	t.goal(fmt.Sprintf("memory, %d idle streams", idle), "≤", 100, "MB", exactly(kept))
	t.text += fmt.Sprintf(" That no socket is left of %d idle streams once their clients are gone is a condition of the table.", idle)
	return t, nil
}

// idle is the memory that a fresh proxy has with n streams that say nothing, in MB. It
// fails where a socket of them is left after their clients have gone.
func (b *bench) idle(n int) (float64, error) {
	api := modelAPI()
	defer api.Close()
	env, err := b.keyFolder(api.URL)
	if err != nil {
		return 0, err
	}
	w, err := b.throughRun(env)
	if err != nil {
		return 0, err
	}
	defer w.close()
	ctx, leave := context.WithCancel(ctx)
	defer leave()
	before := w.sockets()
	if err := w.many(ctx, n, 32, prompt("idle", 90<<10), func(*stream) error { return nil }); err != nil {
		return 0, err
	}
	time.Sleep(8 * time.Second) // it gives memory back when no request has begun for a while
	kept := memory(w.cmd, "VmRSS")
	leave()
	w.client.CloseIdleConnections()
	left := 0
	for range 100 {
		if left = w.sockets() - before; left <= 0 {
			return kept, nil
		}
		time.Sleep(100 * time.Millisecond)
	}
	return kept, fmt.Errorf("%d sockets are left of %d streams", left, n)
}

// memory is a line of the process's status, in MB.
func memory(cmd *exec.Cmd, what string) float64 {
	data, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", cmd.Process.Pid))
	if err != nil {
		return 0
	}
	_, rest, _ := strings.Cut(string(data), what+":")
	var kb float64
	_, _ = fmt.Sscan(rest, &kb)
	return kb / 1024
}

// sockets is how many of TCP the process has.
func (w *way) sockets() (n int) {
	table, _ := os.ReadFile(fmt.Sprintf("/proc/%d/net/tcp", w.cmd.Process.Pid))
	open, _ := filepath.Glob(fmt.Sprintf("/proc/%d/fd/*", w.cmd.Process.Pid))
	for _, fd := range open {
		to, _ := os.Readlink(fd)
		if inode, found := strings.CutPrefix(strings.TrimSuffix(to, "]"), "socket:["); found && strings.Contains(string(table), " "+inode+" ") {
			n++
		}
	}
	return n
}

// start measures what run adds to the start of a command.
func (b *bench) start() (*table, error) {
	t := &table{text: "A command that does nothing, beside a stored token."}
	const started = "authferry run -- true"
	t.add(b.program(started, "", b.path("authferry"), "run", "sim", "--", "true").against(ours), b.token(ours, "--account", "bench"))
	if err := b.alternate(t, 200, 15*time.Second); err != nil {
		return nil, err
	}
	t.goal(started+", of a token", "≤", 3, "×", t.ratio(started, ours, wall))
	return t, nil
}
