package main

import (
	"bytes"
	"context"
	"encoding/json"
	"io"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/authferry/authferry/broker/brokertest"
	"github.com/authferry/authferry/proofs"
	"github.com/authferry/authferry/testenv"
)

// TestMain lets the test binary stand for a program that refreshes without
// asking anyone, and for the client that the demo runs.
func TestMain(m *testing.M) {
	if len(os.Args) == 2 && os.Args[1] == "client" {
		os.Exit(run(context.Background(), os.Args[1:], newScreen(os.Stdout), newScreen(os.Stderr)))
	}
	if os.Getenv("SIM_TEST_NAIVE") == "1" {
		os.Exit(naive(os.Args[1:]))
	}
	os.Exit(testenv.Alone(m).Run())
}

// naive does what programs do that share a login file: each refreshes by
// itself when it needs a token.
func naive(args []string) int {
	file := func(name string) string { return os.Getenv("AUTHFERRY_DIR") + "." + name }
	switch args[0] {
	case "provider":
		if os.WriteFile(file("url"), []byte(args[4]), 0o600) != nil {
			return 1
		}
	case "import":
		grant, _ := io.ReadAll(os.Stdin)
		if os.WriteFile(file(args[4]), grant, 0o600) != nil {
			return 1
		}
	case "token":
		issuer, _ := os.ReadFile(file("url"))
		stored, _ := os.ReadFile(file(args[2]))
		var g brokertest.Grant
		if json.Unmarshal(stored, &g) != nil {
			return 1
		}
		resp, err := http.PostForm(string(issuer)+"/token", url.Values{
			"grant_type": {"refresh_token"}, "client_id": {"authferry-sim"}, "refresh_token": {g.RefreshToken},
		})
		if err != nil {
			return 1
		}
		defer resp.Body.Close()
		answer, _ := io.ReadAll(resp.Body)
		if resp.StatusCode != http.StatusOK || os.WriteFile(file(args[2]), answer, 0o600) != nil {
			return 4
		}
		_, _ = os.Stdout.Write(answer)
	}
	return 0
}

func piped() (*screen, *bytes.Buffer) {
	var b bytes.Buffer
	return &screen{Writer: &b, width: 60}, &b
}

// private makes temporary files land where the test can look for leftovers.
func private(t *testing.T) string {
	t.Helper()
	dir := t.TempDir()
	t.Setenv("TMPDIR", dir)
	t.Setenv("TMP", dir)
	return dir
}

func nothingLeft(t *testing.T, dir string) {
	t.Helper()
	left, err := filepath.Glob(filepath.Join(dir, "authferry-demo-*"))
	if err != nil || len(left) > 0 {
		t.Errorf("left behind: %v %v", left, err)
	}
}

// The demo must be able to fail: a program that refreshes by itself loses the
// login, and the demo says so.
func TestDemoCatchesANaiveProgram(t *testing.T) {
	dir := private(t)
	self, err := os.Executable()
	testenv.Must(t, err)
	t.Setenv("SIM_TEST_NAIVE", "1")
	out, text := piped()
	if code := run(t.Context(), []string{"demo", "--authferry", self, "--callers", "6", "--kill", "2"}, out, out); code != 1 {
		t.Errorf("exit code %d\n%s", code, text)
	}
	for _, want := range []string{"FAILED", "Not all of the", "a login was lost", "a refresh token was used twice"} {
		if !strings.Contains(text.String(), want) {
			t.Errorf("the demo does not say %q:\n%s", want, text)
		}
	}
	nothingLeft(t, dir)
}

func TestDemo(t *testing.T) {
	proofs.Only(t, "the demo with the built program")
	dir := private(t)
	out, text := piped()
	if code := run(t.Context(), []string{"demo"}, out, out); code != 0 {
		t.Fatalf("exit code %d\n%s", code, text)
	}
	if !strings.Contains(text.String(), "claims held") || strings.Contains(text.String(), "FAILED") {
		t.Errorf("the demo says:\n%s", text)
	}
	for line := range strings.Lines(text.String()) {
		if n := len([]rune(strings.TrimRight(line, "\n"))); n > 60 && !strings.Contains(line, dir) {
			t.Errorf("%d columns: %s", n, line)
		}
	}
	if strings.Contains(text.String(), "\x1b") || strings.Contains(text.String(), "afat_") || strings.Contains(text.String(), "afrt_") {
		t.Errorf("colours or tokens in a pipe:\n%s", text)
	}
	nothingLeft(t, dir)
}

// An interrupt at any moment leaves nothing behind.
func TestDemoInterrupted(t *testing.T) {
	dir := private(t)
	self, err := os.Executable()
	testenv.Must(t, err)
	t.Setenv("SIM_TEST_NAIVE", "1")
	for _, at := range []string{"authferry demo", "Act 1"} {
		ctx, cancel := context.WithCancel(t.Context())
		out := &screen{Writer: trigger{at, cancel}, width: 60}
		if code := run(ctx, []string{"demo", "--authferry", self, "--callers", "3", "--kill", "1"}, out, out); code != 130 {
			t.Errorf("interrupted at %q: exit code %d", at, code)
		}
		cancel()
		nothingLeft(t, dir)
	}
}

// trigger calls then as soon as its text is written.
type trigger struct {
	text string
	then func()
}

func (w trigger) Write(b []byte) (int, error) {
	if bytes.Contains(b, []byte(w.text)) {
		w.then()
	}
	return len(b), nil
}

func TestServe(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	r, w := io.Pipe()
	code := make(chan int)
	go func() {
		out := &screen{Writer: w, width: 76}
		code <- run(ctx, []string{"serve", "--rotation", "rotate", "--users", "eve@example.com", "--consent", "approve"}, out, out)
		_ = w.Close()
	}()
	var text bytes.Buffer
	buffer := make([]byte, 4096)
	for !strings.Contains(text.String(), "Ctrl-C") {
		n, err := r.Read(buffer)
		testenv.Must(t, err)
		text.Write(buffer[:n])
	}
	_, rest, ok := strings.Cut(text.String(), "--issuer ")
	issuer, _, found := strings.Cut(rest, " ")
	if !ok || !found {
		t.Fatalf("no issuer in:\n%s", text.String())
	}
	resp, err := http.Post(issuer+"/_control", "application/json", strings.NewReader(`{"issue":"eve@example.com"}`))
	testenv.Must(t, err)
	var g brokertest.Grant
	err = json.NewDecoder(resp.Body).Decode(&g)
	_ = resp.Body.Close()
	if err != nil || g.ExpiresIn != 30 || g.RefreshToken == "" {
		t.Errorf("grant: %v, %d s", err, g.ExpiresIn)
	}
	cancel()
	go func() { _, _ = io.Copy(io.Discard, r) }()
	if c := <-code; c != 130 {
		t.Errorf("exit code %d", c)
	}
}

func TestUsage(t *testing.T) {
	for _, c := range []struct {
		args []string
		code int
	}{
		{[]string{"--help"}, 0},
		{[]string{"serve", "--help"}, 0},
		{nil, 80},
		{[]string{"nonsense"}, 80},
		{[]string{"demo", "--callers", "3", "--kill", "3"}, 80},
		{[]string{"serve", "--consent", "maybe"}, 80},
		{[]string{"serve", "--rotation", "sideways"}, 1},
		{[]string{"serve", "--addr", "0.0.0.0:0"}, 1},
		{[]string{"serve", "--quota", "3", "--dialect", "klingon"}, 1},
	} {
		out, text := piped()
		if code := run(t.Context(), c.args, out, out); code != c.code {
			t.Errorf("%v: exit code %d, want %d\n%s", c.args, code, c.code, text)
		}
	}
}

func TestWrap(t *testing.T) {
	for width := range 80 {
		text := "one refresh token is sent once, and again only as a recorded recovery: schlüssel"
		lines := wrap(text, width)
		if strings.Join(lines, " ") != text {
			t.Fatalf("width %d lost words: %q", width, lines)
		}
		for _, l := range lines {
			if len([]rune(l)) > width && strings.Contains(l, " ") {
				t.Errorf("width %d: %q", width, l)
			}
		}
	}
}
