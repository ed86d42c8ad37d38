package main

import (
	"cmp"
	"encoding/json"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/rogpeppe/go-internal/testscript"

	"github.com/authferry/authferry/broker/brokertest"
	"github.com/authferry/authferry/broker/brokertest/oidc"
)

// TestMain makes this test binary the authferry command, for the scripts and
// for the rotators that they cause.
func TestMain(m *testing.M) {
	testscript.Main(m, map[string]func(){"authferry": main, "person": person})
}

// person is a browser and who sits before it: it opens the address, logs in and
// agrees. It chats on stdout, as browsers do.
func person() {
	fmt.Println("[1234:5678:ERROR:gpu] hello")
	if _, _, err := oidc.Visit(os.Args[1], cmp.Or(os.Getenv("PERSON"), "ada")); err != nil {
		fmt.Fprintln(os.Stderr, "person:", err)
		os.Exit(1)
	}
}

// TestScripts runs every command, and every exit code that it can have, as a
// user would. Each script opens with the behaviour that it guards.
func TestScripts(t *testing.T) {
	testscript.Run(t, testscript.Params{
		Dir:                 "testdata",
		RequireExplicitExec: false,
		Setup:               setup,
		Cmds: map[string]func(*testscript.TestScript, bool, []string){
			"configure": configure, "exits": exits, "field": field, "grant": grantFile, "server": server, "noleak": noleak,
		},
	})
}

type serverKey struct{}

// setup gives each script its own HOME, folder, sealed-file keystore and server.
func setup(env *testscript.Env) error {
	s, err := brokertest.Start(brokertest.Config{Rotation: brokertest.Strict})
	if err != nil {
		return err
	}
	env.Defer(s.Close)
	env.Values[serverKey{}] = s
	home := filepath.Join(env.WorkDir, "home")
	for _, dir := range []string{home, filepath.Join(env.WorkDir, "tmp")} {
		if err := os.MkdirAll(dir, 0o700); err != nil {
			return err
		}
	}
	env.Setenv("HOME", home)
	env.Setenv("USERPROFILE", home)
	env.Setenv("SIM", s.URL)
	env.Setenv("OTHER", s.OtherURL())
	env.Setenv("AUTHFERRY_DIR", filepath.Join(env.WorkDir, "authferry"))
	env.Setenv("DBUS_SESSION_BUS_ADDRESS", "unix:path="+filepath.Join(env.WorkDir, "no-bus"))
	env.Setenv("NO_COLOR", "1")
	env.Setenv("BROWSER", "person")
	return nil
}

// exits N CMD ARGS… runs authferry (stdin as set by `stdin FILE`) and wants exit
// code N. What it printed is in the files out and err.
func exits(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) < 2 {
		ts.Fatalf("usage: exits CODE COMMAND ARGS…")
	}
	err := ts.Exec(args[1], args[2:]...)
	code := 0
	if err != nil {
		code = exitCode(err)
	}
	if fmt.Sprint(code) != args[0] {
		ts.Fatalf("exit code %d, want %s\n%s%s", code, args[0], ts.ReadFile("stdout"), ts.ReadFile("stderr"))
	}
}

func exitCode(err error) int {
	var code int
	if _, scanErr := fmt.Sscanf(err.Error(), "exit status %d", &code); scanErr != nil {
		return -1
	}
	return code
}

// configure MEMBER VALUE changes the server: signed_in, consent, device_interval or
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

// field PATH VALUE compares a member of the JSON document on stdout; a path is
// a.b.0.c. Of several documents, one a line, the last counts. VALUE "?" only wants it to be there; ! field PATH wants it absent.
func field(ts *testscript.TestScript, neg bool, args []string) {
	var doc any
	stdout := strings.TrimSpace(ts.ReadFile("stdout"))
	if i := strings.LastIndexByte(stdout, '\n'); i >= 0 && json.Valid([]byte(stdout[i:])) {
		stdout = stdout[i:]
	}
	ts.Check(json.Unmarshal([]byte(stdout), &doc))
	var missing bool
	for _, step := range strings.Split(args[0], ".") {
		switch d := doc.(type) {
		case map[string]any:
			v, ok := d[step]
			missing = missing || !ok
			doc = v
		case []any:
			var i int
			if _, err := fmt.Sscan(step, &i); err != nil || i >= len(d) {
				missing = true
				doc = nil
				continue
			}
			doc = d[i]
		default:
			missing = true
		}
	}
	switch {
	case neg && !missing:
		ts.Fatalf("%s is there: %v", args[0], doc)
	case neg:
	case missing:
		ts.Fatalf("%s is missing in %s", args[0], ts.ReadFile("stdout"))
	case args[1] != "?" && fmt.Sprint(doc) != args[1]:
		ts.Fatalf("%s is %v, want %s", args[0], doc, args[1])
	}
}

// grant FILE USER [TTL] writes a grant as import grant reads it.
func grantFile(ts *testscript.TestScript, _ bool, args []string) {
	s := ts.Value(serverKey{}).(*brokertest.Server)
	g := s.Issue(args[1])
	doc := map[string]any{"access_token": g.AccessToken, "refresh_token": g.RefreshToken, "expires_in": g.ExpiresIn}
	if len(args) > 2 {
		ttl, err := time.ParseDuration(args[2])
		ts.Check(err)
		doc["expires_at"] = time.Now().Add(ttl).Format(time.RFC3339)
		delete(doc, "expires_in")
	}
	data, err := json.Marshal(doc)
	ts.Check(err)
	ts.Check(os.WriteFile(ts.MkAbs(args[0]), data, 0o600))
}

// server requests N | revoked N | accepts FILE | fault JSON | revoke USER
func server(ts *testscript.TestScript, neg bool, args []string) {
	s := ts.Value(serverKey{}).(*brokertest.Server)
	l := s.Ledger()
	switch args[0] {
	case "requests":
		want(ts, "token requests", l.TokenRequests, args[1])
	case "revoked":
		want(ts, "revoked logins", l.Revoked(), args[1])
	case "elsewhere":
		want(ts, "requests elsewhere", l.Elsewhere, args[1])
	case "accepts":
		if accepts(ts, s, strings.TrimSpace(ts.ReadFile(args[1]))) == neg {
			ts.Fatalf("the API's answer to the token in %s is not as wanted", args[1])
		}
	case "fault":
		var f brokertest.Fault
		ts.Check(json.Unmarshal([]byte(strings.Join(args[1:], " ")), &f))
		s.Inject(f)
	case "revoke":
		s.Revoke(args[1])
	default:
		ts.Fatalf("unknown: server %s", args[0])
	}
}

func accepts(ts *testscript.TestScript, s *brokertest.Server, token string) bool {
	req, err := http.NewRequest(http.MethodGet, s.URL+"/userinfo", nil)
	ts.Check(err)
	req.Header.Set("Authorization", "Bearer "+token)
	res, err := s.Client().Do(req)
	ts.Check(err)
	_ = res.Body.Close()
	return res.StatusCode == http.StatusOK
}

func want(ts *testscript.TestScript, what string, got int, want string) {
	if fmt.Sprint(got) != want {
		ts.Fatalf("%d %s, want %s", got, what, want)
	}
}

// noleak fails if a token of the server stands in any file below the script's
// folder, but for the grants that the script wrote itself.
func noleak(ts *testscript.TestScript, _ bool, _ []string) {
	s := ts.Value(serverKey{}).(*brokertest.Server)
	var secrets []string
	for _, f := range s.Ledger().Families {
		for _, t := range f.RefreshTokens {
			secrets = append(secrets, t.Token)
		}
	}
	ts.Check(filepath.WalkDir(ts.Getenv("AUTHFERRY_DIR"), func(path string, d os.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		data, err := os.ReadFile(path)
		if err != nil {
			return err
		}
		for _, secret := range append(secrets, "afat_") {
			if strings.Contains(string(data), secret) {
				ts.Fatalf("%s holds a token", path)
			}
		}
		return nil
	}))
}
