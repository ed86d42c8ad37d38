package main

import (
	"bufio"
	"bytes"
	"encoding/base64"
	"encoding/json"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"testing"
	"time"

	"github.com/authferry/authferry/broker/brokertest"
	"github.com/authferry/authferry/proofs"
	"github.com/authferry/authferry/testenv"
)

// chromium is a browser without a window, by the DevTools protocol over pipes.
type chromium struct {
	t       *testing.T
	in      io.Writer
	out     *bufio.Reader
	session string
	calls   int
}

// profile is a folder for a browser, whose processes write to it a moment longer
// than it lives.
func profile(t *testing.T) string {
	t.Helper()
	dir := filepath.Join(t.TempDir(), "profile")
	t.Cleanup(func() {
		for deadline := time.Now().Add(time.Minute); os.RemoveAll(dir) != nil && time.Now().Before(deadline); {
			time.Sleep(50 * time.Millisecond)
		}
	})
	return dir
}

func startChromium(t *testing.T) *chromium {
	t.Helper()
	program, err := exec.LookPath("chromium")
	if err != nil || runtime.GOOS == "windows" {
		t.Skip("needs chromium: a browser that runs without a display")
	}
	toRead, in, err := os.Pipe()
	testenv.Must(t, err)
	out, toWrite, err := os.Pipe()
	testenv.Must(t, err)
	cmd := exec.CommandContext(t.Context(), program, "--headless", "--no-sandbox", "--disable-gpu", "--user-data-dir="+profile(t), "--remote-debugging-pipe")
	cmd.Env = append(os.Environ(), "TMPDIR="+t.TempDir())
	cmd.ExtraFiles = []*os.File{toRead, toWrite}
	testenv.Must(t, cmd.Start())
	_, _ = toRead.Close(), toWrite.Close()
	b := &chromium{t: t, in: in, out: bufio.NewReader(out)}
	t.Cleanup(func() {
		_ = in.Close() // which ends it
		_ = cmd.Wait()
		_ = out.Close()
	})
	testenv.Must(t, out.SetReadDeadline(time.Now().Add(2*time.Minute)))
	var target struct{ TargetID string }
	b.call("Target.createTarget", map[string]any{"url": "about:blank"}, &target)
	var attached struct{ SessionID string }
	b.call("Target.attachToTarget", map[string]any{"targetId": target.TargetID, "flatten": true}, &attached)
	b.session = attached.SessionID
	return b
}

// call waits for the answer; events are passed over.
func (b *chromium) call(method string, params, result any) {
	b.t.Helper()
	b.calls++
	request := map[string]any{"id": b.calls, "method": method, "params": params}
	if b.session != "" {
		request["sessionId"] = b.session
	}
	data, err := json.Marshal(request)
	testenv.Must(b.t, err)
	testenv.Must(b.t, testenv.Err(b.in.Write(append(data, 0))))
	for {
		data, err := b.out.ReadBytes(0)
		if err != nil {
			b.t.Fatalf("%s: %v", method, err)
		}
		var answer struct {
			ID     int
			Error  json.RawMessage
			Result json.RawMessage
		}
		testenv.Must(b.t, json.Unmarshal(bytes.TrimSuffix(data, []byte{0}), &answer))
		if answer.ID != b.calls {
			continue
		}
		if answer.Error != nil {
			b.t.Fatalf("%s: %s", method, answer.Error)
		}
		if result != nil {
			testenv.Must(b.t, json.Unmarshal(answer.Result, result))
		}
		return
	}
}

// evaluate runs JavaScript in the page.
func (b *chromium) evaluate(expression string, value any) {
	b.t.Helper()
	var got struct {
		Result struct{ Value json.RawMessage }
	}
	b.call("Runtime.evaluate", map[string]any{"expression": expression, "returnByValue": true}, &got)
	if err := json.Unmarshal(got.Result.Value, value); err != nil {
		b.t.Fatalf("%v in %s", err, got.Result.Value)
	}
}

// measure tells how a page stands: what sticks out of the window, and for each
// text its contrast to what is behind it (WCAG 2.2, relative luminance).
const measure = `(() => {
  const channel = (c) => (c /= 255) <= 0.04045 ? c / 12.92 : ((c + 0.055) / 1.055) ** 2.4
  const luminance = (color) => { const [r, g, b] = color.match(/[\d.]+/g).map(Number); return 0.2126 * channel(r) + 0.7152 * channel(g) + 0.0722 * channel(b) }
  const behind = (e) => { for (; e; e = e.parentElement) { const c = getComputedStyle(e).backgroundColor; if (c !== "rgba(0, 0, 0, 0)") return c } return "rgb(255, 255, 255)" }
  const contrast = (color, e) => { const [a, b] = [luminance(color), luminance(behind(e))].sort((x, y) => y - x); return (a + 0.05) / (b + 0.05) }
  const all = [...document.querySelectorAll("main, main *")]
  return {
    title: document.querySelector("h1").textContent,
    back: luminance(behind(document.body)),
    wide: all.filter((e) => { const r = e.getBoundingClientRect(); return r.left < 0 || r.right > innerWidth || e.scrollWidth > e.clientWidth + 1 && e.clientWidth > 0 }).map((e) => e.tagName),
    scrolls: document.documentElement.scrollWidth > innerWidth,
    texts: all.filter((e) => ["H1", "P", "CODE", "FOOTER"].includes(e.tagName)).map((e) => ({ tag: e.tagName, contrast: contrast(getComputedStyle(e).color, e), size: parseFloat(getComputedStyle(e).fontSize) })),
    mark: contrast(getComputedStyle(document.querySelector("svg")).stroke, document.querySelector("main")),
  }
})()`

// The page that ends a login can be read by day and by night, on a desk and on a
// phone, however long the names in it are; with -artifacts the pictures are kept.
func TestPageOnEveryScreen(t *testing.T) {
	t.Parallel()
	proofs.Only(t, "a real browser")
	b := startChromium(t)
	long := strings.Repeat("averylongnamewithoutabreak", 3) + "@example.com"
	s := brokertest.New(t, brokertest.Config{Users: []string{long}})
	m := fileMachine(t)
	m.must("provider", "add", "sim", "--issuer", s.URL, "--client-id", "authferry-sim")
	for _, row := range []struct {
		consent     brokertest.Consent
		title, text string
	}{{brokertest.Approve, "Logged in as " + long, "Logged in as " + long}, {brokertest.Deny, "Not logged in", "The login was denied"}} {
		testenv.Must(t, s.Configure(func(c *brokertest.Config) { c.Consent, c.SignedIn = row.consent, long }))
		cmd := m.command("login", "sim", "--no-browser")
		stderr, err := cmd.StderrPipe()
		testenv.Must(t, err)
		testenv.Must(t, cmd.Start())
		said := bufio.NewReader(stderr)
		b.call("Page.navigate", map[string]any{"url": urlIn(t, said)}, nil)
		_, _ = io.Copy(io.Discard, said)
		_ = cmd.Wait()
		for there := false; !there; time.Sleep(20 * time.Millisecond) {
			b.evaluate(`document.readyState === "complete" && document.querySelector("h1") !== null`, &there)
		}
		var shown string
		if b.evaluate(`document.body.innerText`, &shown); !strings.Contains(shown, row.text) {
			t.Errorf("the page has no %q:\n%s", row.text, shown)
		}
		for _, scheme := range []string{"light", "dark"} {
			for _, width := range []int{360, 1280} {
				name := string(row.consent) + "-" + scheme + "-" + map[int]string{360: "phone", 1280: "desk"}[width]
				t.Run(name, func(t *testing.T) { b.look(t, name, row.title, scheme, width) })
			}
		}
	}
}

func (b *chromium) look(t *testing.T, name, title, scheme string, width int) {
	b.call("Emulation.setDeviceMetricsOverride", map[string]any{"width": width, "height": 740, "deviceScaleFactor": 1, "mobile": width < 600}, nil)
	b.call("Emulation.setEmulatedMedia", map[string]any{"features": []map[string]string{{"name": "prefers-color-scheme", "value": scheme}}}, nil)
	var page struct {
		Title   string
		Back    float64
		Wide    []string
		Scrolls bool
		Texts   []struct {
			Tag            string
			Contrast, Size float64
		}
		Mark float64
	}
	b.evaluate(measure, &page)
	if page.Title != title {
		t.Errorf("the title is %q, want %q", page.Title, title)
	}
	if page.Back > 0.5 != (scheme == "light") {
		t.Errorf("the background's luminance is %.2f", page.Back)
	}
	if page.Scrolls || len(page.Wide) > 0 {
		t.Errorf("wider than the window: %v", page.Wide)
	}
	if len(page.Texts) < 3 {
		t.Errorf("only %d texts", len(page.Texts))
	}
	for _, text := range page.Texts {
		if text.Contrast < 4.5 || text.Size < 12 {
			t.Errorf("%s has a contrast of %.1f and %.1f pixels", text.Tag, text.Contrast, text.Size)
		}
	}
	if page.Mark < 3 {
		t.Errorf("the mark has a contrast of %.1f", page.Mark)
	}
	var shot struct{ Data string }
	b.call("Page.captureScreenshot", map[string]any{"format": "png"}, &shot)
	picture, err := base64.StdEncoding.DecodeString(shot.Data)
	if err != nil || !bytes.HasPrefix(picture, []byte("\x89PNG")) {
		t.Fatalf("no picture of the page: %v", err)
	}
	testenv.Must(t, os.WriteFile(filepath.Join(t.ArtifactDir(), name+".png"), picture, 0o600))
}
