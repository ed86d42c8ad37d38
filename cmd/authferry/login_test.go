package main

import (
	"bufio"
	"bytes"
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/rogpeppe/go-internal/testscript"
	"rsc.io/qr"

	"github.com/authferry/authferry/broker/brokertest"
	"github.com/authferry/authferry/broker/brokertest/oidc"
	"github.com/authferry/authferry/broker/index"
	"github.com/authferry/authferry/keystore/keystoretest"
	"github.com/authferry/authferry/testenv"
)

// machine is one on which authferry is installed, each command a process of its
// own.
type machine struct {
	t   *testing.T
	dir string
	env []string
}

// newMachine has a real gnome-keyring.
func newMachine(t *testing.T) *machine {
	t.Helper()
	k := keystoretest.GnomeKeyring(t)
	dir := filepath.Join(t.TempDir(), "authferry")
	return &machine{t, dir, append(slices.Clone(k.Env), "AUTHFERRY_DIR="+dir, "AUTHFERRY_KEYCHAIN_TIMEOUT=1m", "BROWSER=person", "NO_COLOR=1")}
}

// fileMachine has the file keystore.
func fileMachine(t *testing.T) *machine {
	t.Helper()
	dir := filepath.Join(t.TempDir(), "authferry")
	home := t.TempDir()
	m := &machine{t, dir, []string{"HOME=" + home, "USERPROFILE=" + home, "XDG_CONFIG_HOME=", "XDG_DATA_HOME=", "TF_CLI_CONFIG_FILE=", "AUTHFERRY_DIR=" + dir, "BROWSER=person", "NO_COLOR=1", "AUTHFERRY_KEY_FILE=" + filepath.Join(t.TempDir(), "key.txt")}}
	m.must("keystore", "init", "--key-file", filepath.Join(t.TempDir(), "key.txt"))
	m.env = slices.DeleteFunc(m.env, func(e string) bool { return strings.HasPrefix(e, "AUTHFERRY_KEY_FILE=") })
	return m
}

func (m *machine) command(args ...string) *exec.Cmd {
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	m.t.Cleanup(cancel)
	own := program(m.t)
	cmd := exec.CommandContext(ctx, own, args...)
	cmd.Env = slices.Concat(os.Environ(), []string{"PATH=" + filepath.Dir(own) + string(filepath.ListSeparator) + os.Getenv("PATH")}, m.env)
	cmd.WaitDelay = time.Second
	return cmd
}

func (m *machine) run(args ...string) (stdout, stderr string, code int) {
	m.t.Helper()
	cmd := m.command(args...)
	var out, errs bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &errs
	_ = cmd.Run()
	return out.String(), errs.String(), cmd.ProcessState.ExitCode()
}

func (m *machine) must(args ...string) string {
	m.t.Helper()
	out, errs, code := m.run(args...)
	if code != 0 {
		m.t.Fatalf("authferry %s: exit code %d\n%s%s", strings.Join(args, " "), code, out, errs)
	}
	return out
}

// account is the document at the end of login --json.
func (m *machine) account(out string) (doc struct {
	Account struct {
		ID, Label, Identity string
		Generation          int
	}
	Renewed bool
}) {
	m.t.Helper()
	lines := strings.Split(strings.TrimSpace(out), "\n")
	if err := json.Unmarshal([]byte(lines[len(lines)-1]), &doc); err != nil {
		m.t.Fatalf("%v: %s", err, out)
	}
	return doc
}

// person is a browser and who sits before it: it opens the address, logs in and
// agrees. It chats on stdout, as browsers do.
func person() {
	fmt.Println("[1234:5678:ERROR:gpu] hello")
	if _, _, err := oidc.Visit(os.Args[1], cmp.Or(os.Getenv("PERSON"), "ada")); err != nil {
		if failed, ok := errors.AsType[*url.Error](err); ok {
			err = failed.Err // the address has a code in it, and nobody is to see one
		}
		fmt.Fprintln(os.Stderr, "person:", err)
		os.Exit(1)
	}
}

// configure MEMBER VALUE changes the server: signed_in, chosen, consent, device_interval or
// refresh_token_expires_in.
func configure(ts *testscript.TestScript, _ bool, args []string) {
	s := ts.Value(serverKey{}).(*brokertest.Server)
	ts.Check(s.Configure(func(c *brokertest.Config) {
		switch args[0] {
		case "signed_in":
			c.SignedIn = args[1]
			if !slices.Contains(c.Users, args[1]) {
				c.Users = append(c.Users, args[1])
			}
		case "chosen":
			c.Chosen = args[1]
		case "consent":
			c.Consent = brokertest.Consent(args[1])
		case "refresh_token_expires_in":
			seconds, err := strconv.Atoi(args[1])
			ts.Check(err)
			c.TokenFields = func(string) map[string]any { return map[string]any{"refresh_token_expires_in": seconds} }
		case "device_interval":
			d, err := time.ParseDuration(args[1])
			ts.Check(err)
			c.DeviceInterval = d
		default:
			ts.Fatalf("unknown: configure %s", args[0])
		}
	}))
}

// The whole way with a server that nobody here wrote, and a real keyring: login,
// the same person again, somebody else, refresh, remove.
func TestLoginAtRealServer(t *testing.T) {
	t.Parallel()
	m := newMachine(t)
	as := oidc.Start(t)
	m.must("provider", "add", "real", "--issuer", as.URL, "--client-id", oidc.ClientID, "--api-origin", as.URL)
	first := m.account(m.must("login", "real", "--json"))
	if first.Account.Identity != "ada@example.com" || first.Renewed {
		t.Errorf("%+v", first)
	}
	token := strings.TrimSpace(m.must("token"))
	if got := as.Subject(t, token); got != "ada" {
		t.Errorf("the token is of %q", got)
	}
	if n := as.Counters(t).Choices; n != 0 {
		t.Errorf("the first login asked for a choice of accounts %d times", n)
	}
	again := m.account(m.must("login", "real", "--json"))
	if !again.Renewed || again.Account.ID != first.Account.ID || again.Account.Generation != 2 {
		t.Errorf("%+v", again)
	}
	if n := as.Counters(t).Choices; n == 0 {
		t.Error("the server wasn't asked for a choice of accounts")
	}

	m.env = append(m.env, "PERSON=bob")
	if out, errs, code := m.run("login", "real", "--renew", first.Account.ID); code != exitLogin || !strings.Contains(errs, "nothing was changed") {
		t.Errorf("--renew as another user: %d\n%s%s", code, out, errs)
	}
	m.must("refresh", first.Account.ID)
	device := m.command("login", "real", "--flow", "device", "--json", "--label", "Bob")
	out, err := device.StdoutPipe()
	testenv.Must(t, err)
	testenv.Must(t, device.Start())
	lines := bufio.NewScanner(out)
	lines.Scan()
	var code struct {
		Complete string `json:"verification_uri_complete"`
	}
	testenv.Must(t, json.Unmarshal(lines.Bytes(), &code))
	oidc.SignIn(t, code.Complete, "bob")
	lines.Scan()
	bob := m.account(lines.Text())
	if err := device.Wait(); err != nil || bob.Account.Label != "Bob" || bob.Account.Identity != "bob@example.com" {
		t.Errorf("%+v, %v", bob, err)
	}

	before := as.Counters(t)
	m.must("remove", "Bob", "--yes")
	if n := as.Counters(t).Revoked - before.Revoked; n != 1 {
		t.Errorf("%d logins revoked, want 1", n)
	}
	m.must("refresh", first.Account.ID)
	m.must("remove", first.Account.ID, "--yes")
	// Nothing is left, in the folder or in the keyring.
	if out := m.must("doctor"); strings.Contains(out, "acc_") || strings.Contains(out, "fail") {
		t.Errorf("%s", out)
	}
	find := exec.Command("secret-tool", "search", "--all", "service", "authferry")
	find.Env = append(os.Environ(), m.env...)
	if _, err := exec.LookPath("secret-tool"); err == nil {
		if left, _ := find.CombinedOutput(); strings.Contains(string(left), "username") {
			t.Errorf("left in the keyring:\n%s", left)
		}
	}
	err = filepath.WalkDir(m.dir, func(path string, e os.DirEntry, err error) error {
		if err != nil || e.IsDir() {
			return err
		}
		data, err := os.ReadFile(path)
		if strings.Contains(string(data), "bob@") || strings.Contains(path, bob.Account.ID) && !strings.Contains(path, "locks") {
			if filepath.Ext(path) != ".bak" {
				t.Errorf("%s still knows the account", path)
			}
		}
		return err
	})
	testenv.Check(t, err)
}

// The paste flow in all its forms, through a pipe: what a person copies from the
// last page.
func TestPasteForms(t *testing.T) {
	t.Parallel()
	s := brokertest.New(t, brokertest.Config{})
	m := fileMachine(t)
	m.must("provider", "add", "sim", "--issuer", s.URL, "--client-id", "authferry-sim", "--redirect-uri", s.URL+"/code")
	for name, form := range map[string]struct {
		paste func(address string) string
		code  int
	}{
		"code and state": {func(a string) string { q := query(t, a); return q["code"] + "#" + q["state"] }, 0},
		"whole URL":      {func(a string) string { return "  " + a + " " }, 0},
		"query":          {func(a string) string { _, q, _ := strings.Cut(a, "?"); return q }, 0},
		"with the mark":  {func(a string) string { i := strings.IndexByte(a, '?'); return a[i:] }, 0},
		"bare code":      {func(a string) string { return query(t, a)["code"] }, exitLogin},
		"another state":  {func(a string) string { return query(t, a)["code"] + "#guess" }, exitLogin},
		"another page":   {func(a string) string { return strings.Replace(a, "127.0.0.1", "evil.example", 1) }, exitLogin},
	} {
		t.Run(name, func(t *testing.T) {
			cmd := m.command("login", "sim", "--flow", "paste", "--no-browser")
			stdin, err := cmd.StdinPipe()
			testenv.Must(t, err)
			stderr, err := cmd.StderrPipe()
			testenv.Must(t, err)
			testenv.Must(t, cmd.Start())
			said := bufio.NewReader(stderr)
			address := urlIn(t, said)
			res, err := http.Get(address)
			testenv.Must(t, err)
			_ = res.Body.Close()
			before := s.Ledger().TokenRequests
			fmt.Fprintln(stdin, form.paste(res.Request.URL.String()))
			_ = stdin.Close()
			rest, _ := io.ReadAll(said)
			_ = cmd.Wait()
			if got := cmd.ProcessState.ExitCode(); got != form.code {
				t.Errorf("exit code %d, want %d\n%s", got, form.code, rest)
			}
			if n := s.Ledger().TokenRequests - before; (n == 1) != (form.code == 0) {
				t.Errorf("%d exchanges", n)
			}
			if strings.Contains(string(rest), "afac_") {
				t.Errorf("the code is on stderr: %s", rest)
			}
		})
	}
}

func query(t *testing.T, address string) map[string]string {
	t.Helper()
	req, err := http.NewRequest(http.MethodGet, address, nil)
	testenv.Must(t, err)
	q := map[string]string{}
	for name, v := range req.URL.Query() {
		q[name] = v[0]
	}
	return q
}

// urlIn reads up to the line that is an address and nothing else.
func urlIn(t *testing.T, r *bufio.Reader) string {
	t.Helper()
	for {
		line, err := r.ReadString('\n')
		if err != nil {
			t.Fatalf("no address came: %v", err)
		}
		if strings.HasPrefix(line, "http") {
			return strings.TrimSpace(line)
		}
	}
}

// Ctrl-C while the person is away, and at the paste prompt: exit code 130, and
// nothing half done.
func TestInterruptedLogin(t *testing.T) {
	t.Parallel()
	if runtime.GOOS == "windows" {
		t.Skip("needs Unix: a signal that one process sends another")
	}
	s := brokertest.New(t, brokertest.Config{Consent: brokertest.Ask})
	m := fileMachine(t)
	m.must("provider", "add", "sim", "--issuer", s.URL, "--client-id", "authferry-sim")
	for _, flow := range []string{"browser", "paste", "device"} {
		cmd := m.command("login", "sim", "--flow", flow, "--no-browser")
		testenv.Must(t, testenv.Err(cmd.StdinPipe()))
		stderr, err := cmd.StderrPipe()
		testenv.Must(t, err)
		testenv.Must(t, cmd.Start())
		said := bufio.NewReader(stderr)
		urlIn(t, said)
		testenv.Must(t, cmd.Process.Signal(os.Interrupt))
		rest, _ := io.ReadAll(said)
		_ = cmd.Wait()
		if got := cmd.ProcessState.ExitCode(); got != exitInterrupt || !strings.Contains(string(rest), "nothing was changed") {
			t.Errorf("%s: exit code %d\n%s", flow, got, rest)
		}
		if idx, err := index.At(m.dir).Read(); err != nil || len(idx.Accounts) != 0 {
			t.Errorf("%s: %v", flow, err)
		}
	}
	if out := m.must("doctor"); strings.Contains(out, "warning") || strings.Contains(out, "acc_") {
		t.Errorf("left behind: %s", out)
	}
}

// Hostile texts reach neither the terminal nor the page as they are.
func TestHostileAnswer(t *testing.T) {
	t.Parallel()
	s := brokertest.New(t, brokertest.Config{})
	m := fileMachine(t)
	m.must("provider", "add", "sim", "--issuer", s.URL, "--client-id", "authferry-sim")
	cmd := m.command("login", "sim", "--no-browser")
	stderr, err := cmd.StderrPipe()
	testenv.Must(t, err)
	testenv.Must(t, cmd.Start())
	said := bufio.NewReader(stderr)
	q := query(t, urlIn(t, said))
	const hostile = "%1b%5B2J%0aauthferry:+error:+fake%3Cscript%3Ealert(1)%3C/script%3E"
	res, err := http.Get(q["redirect_uri"] + "?error=server_error&error_description=" + hostile + "&iss=" + s.URL + "&state=" + q["state"])
	testenv.Must(t, err)
	page, _ := io.ReadAll(res.Body)
	_ = res.Body.Close()
	rest, _ := io.ReadAll(said)
	_ = cmd.Wait()
	if strings.Contains(string(page), "<script") || !strings.Contains(string(page), "&lt;script") {
		t.Errorf("the page: %s", page)
	}
	if strings.Contains(string(rest), "\x1b") || strings.Contains(string(rest), "\nauthferry: error: fake") || !strings.Contains(string(rest), "server_error") {
		t.Errorf("the terminal: %q", rest)
	}
}

func TestWebPage(t *testing.T) {
	for address, want := range map[string]bool{
		"https://as.example/authorize?x=1": true, "http://127.0.0.1:4/x": true, "http://[::1]:4/": true, "http://localhost/": true,
		"http://as.example/": false, "file:///etc/passwd": false, "javascript:alert(1)": false, "-version": false, "": false,
		"https://": false, "https://u:p@as.example/": false, "https://as.example/ --x": false, "https://as.example/\x1b": false, "ms-settings:": false,
	} {
		if got := isWebPage(address); got != want {
			t.Errorf("%q: %v", address, got)
		}
	}
}

// Every module of the code is where a camera looks for it.
func TestQR(t *testing.T) {
	code, err := qr.Encode("https://as.example/device?user_code=BCDF-GHJK", qr.L)
	testenv.Must(t, err)
	lines := strings.Split(strings.TrimSuffix(drawQR(code), "\n"), "\n")
	for y := range code.Size {
		row := []rune(strings.TrimSuffix(strings.TrimPrefix(lines[(y+qrQuiet)/2], "\x1b[30;107m"), "\x1b[0m"))
		for x := range code.Size {
			half := map[bool]rune{true: '▀', false: '▄'}[(y+qrQuiet)%2 == 0]
			if got := row[x+qrQuiet] == '█' || row[x+qrQuiet] == half; got != code.Black(x, y) {
				t.Fatalf("module %d, %d is drawn as %q", x, y, row[x+qrQuiet])
			}
		}
	}
}
