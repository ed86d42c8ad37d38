// Command bench measures authferry against its peers, in one run on one
// machine: go run ./bench. It needs gnome-keyring, dbus and secret-tool, and
// uses a private bus, keyring and HOME; nothing of yours is touched.
package main

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"text/tabwriter"
	"time"
)

// ctx ends nothing: whoever measures waits for the end or presses Ctrl-C.
var ctx = context.Background()

func main() {
	rounds := flag.Int("rounds", 200, "runs of each program, alternating")
	herds := flag.String("herds", "2,16,64,256", "numbers of processes at expiry")
	flag.Parse()
	if err := privately(); err != nil {
		fmt.Fprintln(os.Stderr, "bench:", err)
		os.Exit(1)
	}
	if os.Getenv("BENCH_PRIVATE") == "" {
		return // the private child has done it all
	}
	b, err := prepare()
	if err == nil {
		err = b.hit(*rounds)
	}
	if err == nil {
		err = b.failover(*rounds)
	}
	if err == nil {
		err = b.stampede(*herds)
	}
	if b != nil {
		b.close()
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, "bench:", err)
		os.Exit(1)
	}
}

// privately runs this program again under a session bus and HOME of its own.
func privately() error {
	if os.Getenv("BENCH_PRIVATE") != "" {
		return nil
	}
	for _, need := range []string{"dbus-run-session", "gnome-keyring-daemon", "secret-tool"} {
		if _, err := exec.LookPath(need); err != nil {
			return fmt.Errorf("needs %s: install gnome-keyring, dbus and libsecret-tools", need)
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
	// The programs are built before HOME changes, so that Go's caches are used.
	for out, pkg := range map[string]string{"authferry": "./cmd/authferry", "authferry-sim": "./cmd/authferry-sim", "bare": "bench/bare.go"} {
		build := exec.CommandContext(ctx, "go", "build", "-trimpath", "-o", filepath.Join(home, out), pkg) // #nosec G204
		build.Env = append(os.Environ(), "CGO_ENABLED=0")                                                  // as the released binaries are
		build.Stderr = os.Stderr
		if err := build.Run(); err != nil {
			return fmt.Errorf("go build %s: %w", pkg, err)
		}
	}
	script := `printf bench | gnome-keyring-daemon --unlock --components=secrets >/dev/null 2>&1; shift; exec "$@"`
	args := append([]string{"--", "bash", "-c", script, "bash", "--", self}, os.Args[1:]...)
	cmd := exec.CommandContext(ctx, "dbus-run-session", args...) // #nosec G204
	cmd.Env = append(os.Environ(), "BENCH_PRIVATE="+home, "HOME="+home, "XDG_RUNTIME_DIR="+home, "XDG_DATA_HOME="+home+"/data",
		"XDG_CONFIG_HOME="+home+"/config", "AUTHFERRY_DIR="+home+"/folder", "DISPLAY=", "WAYLAND_DISPLAY=", "AUTHFERRY_KEYSTORE=", "AUTHFERRY_LOCK_TIMEOUT=2m")
	cmd.Stdout, cmd.Stderr = os.Stdout, os.Stderr
	return cmd.Run()
}

type bench struct {
	home string
	sim  *exec.Cmd
	url  string
}

func (b *bench) close() {
	_ = b.sim.Process.Kill()
	_ = b.sim.Wait()
}

func (b *bench) path(name string) string { return filepath.Join(b.home, name) }

func (b *bench) authferry(stdin string, args ...string) ([]byte, error) {
	cmd := exec.CommandContext(ctx, b.path("authferry"), args...) // #nosec G204
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
func prepare() (*bench, error) {
	b := &bench{home: os.Getenv("BENCH_PRIVATE")}
	b.sim = exec.CommandContext(ctx, b.path("authferry-sim"), "serve", "--rotation", "strict", "--ttl", "1h", "--latency", "100ms") // #nosec G204
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
	if _, err := b.authferry("", "provider", "add", "sim", "--issuer", b.url, "--client-id", "authferry-sim", "--api-origin", b.url); err != nil {
		return b, err
	}
	return b, b.addAccount("bench", 3600)
}

func (b *bench) addAccount(label string, expiresIn int) error {
	var g map[string]any
	if err := b.control(`{"issue":"`+label+`"}`, &g); err != nil {
		return err
	}
	g["expires_in"] = expiresIn
	doc, err := json.Marshal(g)
	if err != nil {
		return err
	}
	_, err = b.authferry(string(doc), "import", "grant", "sim", "--label", label)
	return err
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
	return json.NewDecoder(res.Body).Decode(answer)
}

// run is one run of one program.
type run struct {
	wall, cpu time.Duration
	rssKB     int64
}

func once(cmd *exec.Cmd) (run, error) {
	start := time.Now()
	err := cmd.Run()
	r := run{wall: time.Since(start)}
	if err != nil {
		return r, fmt.Errorf("%s: %w", filepath.Base(cmd.Path), err)
	}
	r.cpu = cmd.ProcessState.UserTime() + cmd.ProcessState.SystemTime()
	r.rssKB = peakKB(cmd.ProcessState)
	return r, nil
}

// hit measures the hot path: a valid token out of the keyring.
func (b *bench) hit(rounds int) error {
	doc, err := b.authferry("", "token", "--json")
	if err != nil {
		return err
	}
	// The peers read an item of the same size as the access record.
	item := exec.CommandContext(ctx, "secret-tool", "store", "--label=bench", "service", "authferry-bench", "username", "item")
	item.Stdin = strings.NewReader(strings.Repeat("x", max(len(doc), 500)))
	if err := item.Run(); err != nil {
		return err
	}
	peers := []struct {
		name string
		args []string
	}{
		{"authferry token", []string{b.path("authferry"), "token"}},
		{"secret-tool lookup", []string{"secret-tool", "lookup", "service", "authferry-bench", "username", "item"}},
		{"bare go-keyring Get", []string{b.path("bare")}},
	}
	runs := make([][]run, len(peers))
	for i := range rounds + 5 {
		for p, peer := range peers {
			r, err := once(exec.CommandContext(ctx, peer.args[0], peer.args[1:]...)) // #nosec G204
			if err != nil {
				return err
			}
			if i >= 5 {
				runs[p] = append(runs[p], r)
			}
		}
	}
	fmt.Printf("Hit path, %d alternating runs, real gnome-keyring\n\n", rounds)
	w := tabwriter.NewWriter(os.Stdout, 0, 0, 2, ' ', tabwriter.AlignRight)
	fmt.Fprintln(w, "program\tmedian ms\tp95 ms\tCPU ms\tpeak MB\tauthferry is\t")
	mine := quantile(runs[0], 0.5)
	for p, peer := range peers {
		rss := slices.MaxFunc(runs[p], func(x, y run) int { return int(x.rssKB - y.rssKB) }).rssKB
		median := quantile(runs[p], 0.5)
		fmt.Fprintf(w, "%s\t%.1f\t%.1f\t%.1f\t%.1f\t%.2f ×\t\n", peer.name, ms(median), ms(quantile(runs[p], 0.95)), ms(medianCPU(runs[p])), float64(rss)/1024, float64(mine)/float64(median))
	}
	return w.Flush()
}

// stampede measures many processes at the moment of expiry.
func (b *bench) stampede(herds string) error {
	fmt.Printf("\nAt expiry, the server answers in 100 ms\n\n")
	w := tabwriter.NewWriter(os.Stdout, 0, 0, 2, ' ', tabwriter.AlignRight)
	fmt.Fprintln(w, "processes\ttoken requests\tfirst served ms\tlast served ms\t")
	for f := range strings.SplitSeq(herds, ",") {
		var n int
		if _, err := fmt.Sscan(f, &n); err != nil {
			return err
		}
		label := fmt.Sprintf("herd-%d", n)
		if err := b.addAccount(label, 1); err != nil {
			return err
		}
		time.Sleep(1100 * time.Millisecond)
		before, err := b.requests()
		if err != nil {
			return err
		}
		var wg sync.WaitGroup
		served := make([]run, n)
		failed := make([]error, n)
		start := time.Now()
		for i := range n {
			wg.Go(func() {
				cmd := exec.CommandContext(ctx, b.path("authferry"), "token", "--account", label) // #nosec G204
				failed[i] = cmd.Run()
				served[i].wall = time.Since(start)
			})
		}
		wg.Wait()
		if err := errors.Join(failed...); err != nil {
			return err
		}
		after, err := b.requests()
		if err != nil {
			return err
		}
		fmt.Fprintf(w, "%d\t%d\t%.0f\t%.0f\t\n", n, after-before, ms(quantile(served, 0)), ms(quantile(served, 1)))
	}
	return w.Flush()
}

// requests is how many token requests the server has seen.
func (b *bench) requests() (int, error) {
	var c struct {
		TokenRequests int `json:"token_requests"`
	}
	err := b.control("", &c)
	return c.TokenRequests, err
}

func quantile(runs []run, q float64) time.Duration {
	walls := make([]time.Duration, len(runs))
	for i, r := range runs {
		walls[i] = r.wall
	}
	slices.Sort(walls)
	return walls[min(len(walls)-1, int(q*float64(len(walls))))]
}

func medianCPU(runs []run) time.Duration {
	cpu := make([]time.Duration, len(runs))
	for i, r := range runs {
		cpu[i] = r.cpu
	}
	slices.Sort(cpu)
	return cpu[len(cpu)/2]
}

func ms(d time.Duration) float64 { return float64(d) / float64(time.Millisecond) }
