package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"slices"
	"strconv"
	"strings"
	"time"
	"unicode"

	"github.com/rogpeppe/go-internal/testscript"

	"github.com/authferry/authferry/broker/brokertest"
	"github.com/authferry/authferry/broker/lock"
	"github.com/authferry/authferry/cmd/authferry/authferrytest"
	"github.com/authferry/authferry/docs/schema"
	"github.com/authferry/authferry/proofs"
)

// The commands that the scripts have besides testscript's own.

// runs is ts.Exec, and holds each JSON document that authferry prints to its schema.
func runs(ts *testscript.TestScript, command string, args []string) error {
	err := ts.Exec(command, args...)
	if own := habits(args); command == "authferry" && schema.Asked(own) {
		ts.Check(schema.Check(own, ts.ReadFile("stdout")))
	}
	return err
}

// exits CODE COMMAND ARGS… runs a command once (stdin as set by `stdin FILE`)
// and wants that exit code. What authferry says of a failure has to have the form
// that every failure has.
func exits(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) < 2 {
		ts.Fatalf("usage: exits CODE COMMAND ARGS…")
	}
	code := 0
	if err := runs(ts, args[1], args[2:]); err != nil {
		if _, scanErr := fmt.Sscanf(err.Error(), "exit status %d", &code); scanErr != nil {
			ts.Fatalf("%s: %v", args[1], err)
		}
	}
	if strconv.Itoa(code) != args[0] {
		ts.Fatalf("exit code %d, want %s", code, args[0])
	}
	if code != 0 && args[1] == "authferry" {
		asJSON := asksForJSON(args[2:])
		_, err := failureOf(errorPart(args[2:], ts.ReadFile("stdout"), asJSON), ts.ReadFile("stderr"), asJSON)
		ts.Check(err)
	}
}

// fails CODE ERROR authferry ARGS… runs it with --json, and with the proofs without it
// first. It wants that exit code, and ERROR as the code in the document, which is what
// stdout holds then.
func fails(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) < 3 {
		ts.Fatalf("usage: fails CODE ERROR authferry ARGS…")
	}
	if proofs.On() {
		exits(ts, false, slices.Concat(args[:1], args[2:]))
	}
	exits(ts, false, slices.Concat(args[:1], args[2:], []string{"--json"}))
	f, err := failureOf(errorPart(slices.Concat(args[3:], []string{"--json"}), ts.ReadFile("stdout"), true), ts.ReadFile("stderr"), true)
	ts.Check(err)
	if string(f.Error.Code) != args[1] {
		ts.Fatalf("error code %s, want %s", f.Error.Code, args[1])
	}
}

// errorPart is what a failing command's stdout says of the failure: login prints a
// document a line, and doctor what it found.
func errorPart(args []string, stdout string, asJSON bool) string {
	switch {
	case len(args) == 0:
	case (args[0] == "doctor" || strings.HasPrefix(strings.Join(args, " "), "share doctor")) && !asJSON:
		return ""
	case (args[0] == "login" || args[0] == "add") && asJSON:
		stdout = strings.TrimSuffix(stdout, "\n")
		return stdout[strings.LastIndexByte(stdout, '\n')+1:]
	}
	return stdout
}

// failureOf holds what a failing command printed to the form of every failure:
// one line of error and those of hints at the end of stderr, and on stdout
// the same as a document, or nothing.
func failureOf(stdout, stderr string, asJSON bool) (errorDoc, error) {
	var f errorDoc
	const errorLine, hintLine = "authferry: error: ", "authferry: hint: "
	if strings.Count("\n"+stderr, "\n"+errorLine) != 1 || !strings.HasSuffix(stderr, "\n") {
		return f, errors.New("stderr does not hold one line of error")
	}
	_, said, _ := strings.Cut("\n"+stderr, "\n"+errorLine)
	message, hint, hinted := strings.Cut(strings.TrimSuffix(said, "\n"), "\n")
	if hinted {
		lines := strings.Split(hint, "\n")
		for i, line := range lines {
			var ok bool
			if lines[i], ok = strings.CutPrefix(line, hintLine); !ok {
				return f, errors.New("after the error stands something else than hints")
			}
			if complaint := pasted(lines[i]); complaint != "" {
				return f, fmt.Errorf("the hint %q can't be pasted: %s", lines[i], complaint)
			}
		}
		hint = strings.Join(lines, "\n")
	}
	if word, _, _ := strings.Cut(message, " "); word != strings.ToUpper(word) && unicode.IsUpper(rune(word[0])) || strings.HasSuffix(strings.TrimSuffix(message, "..."), ".") {
		return f, fmt.Errorf("not the form of a message: %q", message)
	}
	if !asJSON {
		if stdout != "" && !strings.HasSuffix(stdout, "not usable\n") {
			return f, errors.New("a failing command wrote to stdout")
		}
		return f, nil
	}
	d := json.NewDecoder(strings.NewReader(stdout))
	d.DisallowUnknownFields()
	if strings.HasPrefix(stdout, `{"kind"`) || strings.HasPrefix(stdout, `{"checks"`) {
		return f, nil // a keystore that is not usable, or what doctor found
	}
	if err := d.Decode(&f); err != nil {
		return f, fmt.Errorf("stdout is not the document of an error: %w", err)
	}
	if _, err := d.Token(); err != io.EOF {
		return f, errors.New("stdout holds more than one document")
	}
	if printable(f.Error.Message) != message || printableLines(f.Error.Hint) != hint {
		return f, fmt.Errorf("stderr says %q, %q and the document %q, %q", message, hint, f.Error.Message, f.Error.Hint)
	}
	if _, known := exitCodes[f.Error.Code]; !known {
		return f, fmt.Errorf("unknown error code %q", f.Error.Code)
	}
	return f, nil
}

// lookUp finds a member of the JSON document on stdout; a path is a.b.0.c, and
// "." is all of it.
func lookUp(ts *testscript.TestScript, path string) (value any, found bool) {
	return lookUpIn(ts, ts.ReadFile("stdout"), path)
}

func lookUpIn(ts *testscript.TestScript, document, path string) (value any, found bool) {
	d := json.NewDecoder(strings.NewReader(document))
	d.UseNumber()
	ts.Check(d.Decode(&value))
	if _, err := d.Token(); err != io.EOF {
		ts.Fatalf("stdout holds more than one document")
	}
	if path == "." {
		return value, true
	}
	for step := range strings.SplitSeq(path, ".") {
		switch d := value.(type) {
		case map[string]any:
			value, found = d[step]
		case []any:
			i, err := strconv.Atoi(step)
			if found = err == nil && i < len(d); found {
				value = d[i]
			}
		default:
			found = false
		}
		if !found {
			return nil, false
		}
	}
	return value, true
}

// field PATH VALUE compares a member of the document on stdout. VALUE "?" only
// wants it to be there; ! field PATH wants it absent.
func field(ts *testscript.TestScript, neg bool, args []string) {
	v, found := lookUp(ts, args[0])
	compare(ts, neg, args, v, found)
}

// lastfield is field for the last of several documents, one a line.
func lastField(ts *testscript.TestScript, neg bool, args []string) {
	stdout := strings.TrimSpace(ts.ReadFile("stdout"))
	v, found := lookUpIn(ts, stdout[strings.LastIndexByte(stdout, '\n')+1:], args[0])
	compare(ts, neg, args, v, found)
}

func compare(ts *testscript.TestScript, neg bool, args []string, v any, found bool) {
	switch {
	case neg && found:
		ts.Fatalf("%s is there: %v", args[0], v)
	case neg:
	case !found:
		ts.Fatalf("%s is missing", args[0])
	case args[1] != "?" && fmt.Sprint(v) != args[1]:
		ts.Fatalf("%s is %v, want %s", args[0], v, args[1])
	}
}

// members PATH NAMES… wants an object with just these members.
func members(ts *testscript.TestScript, _ bool, args []string) {
	v, _ := lookUp(ts, args[0])
	object, ok := v.(map[string]any)
	if !ok {
		ts.Fatalf("%s is not an object", args[0])
	}
	var names []string
	for name := range object {
		names = append(names, name)
	}
	slices.Sort(names)
	wanted := slices.Sorted(slices.Values(args[1:]))
	if !slices.Equal(names, wanted) {
		ts.Fatalf("%s has %v, want %v", args[0], names, wanted)
	}
}

// remember NAME PATH keeps a member of the document in a variable.
func remember(ts *testscript.TestScript, _ bool, args []string) {
	v, found := lookUp(ts, args[1])
	if !found {
		ts.Fatalf("%s is missing", args[1])
	}
	ts.Setenv(args[0], fmt.Sprint(v))
}

// replace FILE OLD NEW edits a file.
func replace(ts *testscript.TestScript, _ bool, args []string) {
	old := ts.ReadFile(args[0])
	if !strings.Contains(old, args[1]) {
		ts.Fatalf("%s does not hold %q", args[0], args[1])
	}
	ts.Check(os.WriteFile(ts.MkAbs(args[0]), []byte(strings.ReplaceAll(old, args[1], args[2])), 0o600))
}

// hold FILE locks a file, as another process would, until the script's end;
// ! hold FILE ends that.
func hold(ts *testscript.TestScript, neg bool, args []string) {
	held := ts.Value(heldKey{}).(map[string]func())
	if neg {
		held[args[0]]()
		return
	}
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	l, err := lock.Acquire(ctx, ts.MkAbs(args[0]))
	ts.Check(err)
	held[args[0]] = l.Release
	ts.Defer(l.Release)
}

type heldKey struct{}

// cptree FROM TO copies a folder.
func cptree(ts *testscript.TestScript, _ bool, args []string) {
	ts.Check(os.CopyFS(ts.MkAbs(args[1]), os.DirFS(ts.MkAbs(args[0]))))
}

// grant FILE USER [TTL [PADDING]] writes a grant as import grant reads it, with an
// access token that is longer than the server's by PADDING bytes.
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
	if len(args) > 3 {
		n, err := strconv.Atoi(args[3])
		ts.Check(err)
		doc["access_token"] = g.AccessToken + strings.Repeat("x", n)
	}
	data, err := json.Marshal(doc)
	ts.Check(err)
	ts.Check(os.WriteFile(ts.MkAbs(args[0]), data, 0o600))
}

// server does one thing to the script's authorization server, or wants something
// of its books:
//
//	requests N | revoked N | elsewhere N                counts; requests waits for them
//	accepts FILE                                        the API takes the token in it
//	fault NAME [TIMES] | fault JSON | heal              misbehave, behave
//	secret SECRET [METHOD] | json                       want this of its clients
//	mcp WORD…                                           as in serveMCP
//	revoke USER | close
func server(ts *testscript.TestScript, neg bool, args []string) {
	s := ts.Value(serverKey{}).(*brokertest.Server)
	l := s.Ledger()
	switch args[0] {
	case "requests":
		n, err := strconv.Atoi(args[1])
		ts.Check(err)
		ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
		defer cancel()
		_ = s.WaitFor(ctx, func(l brokertest.Ledger) bool { return l.TokenRequests >= n }) // what goes on in the background may be slow
		want(ts, "token requests", s.TokenRequests(), args[1])
	case "revoked":
		want(ts, "revoked logins", l.Revoked(), args[1])
	case "elsewhere":
		want(ts, "requests elsewhere", l.Elsewhere, args[1])
	case "accepts":
		if accepts(ts, s, strings.TrimSpace(ts.ReadFile(args[1]))) == neg {
			ts.Fatalf("the API's answer to the token in %s is not as wanted", args[1])
		}
	case "fault":
		f, named := brokertest.Faults()[args[1]]
		switch {
		case !named:
			ts.Check(json.Unmarshal([]byte(strings.Join(args[1:], " ")), &f))
		case len(args) > 2:
			var err error
			f.Times, err = strconv.Atoi(args[2])
			ts.Check(err)
		}
		s.Inject(f)
	case "heal":
		s.ClearFaults()
	case "secret":
		ts.Check(s.Configure(func(c *brokertest.Config) { c.ClientSecret, c.ClientAuth = args[1], strings.Join(args[2:], "") }))
	case "mcp":
		serveMCP(ts, s, args[1:])
	case "json":
		ts.Check(s.Configure(func(c *brokertest.Config) { c.TokenRequest = "json" }))
	case "revoke":
		s.Revoke(args[1])
	case "close":
		s.Close()
	default:
		ts.Fatalf("unknown: server %s", args[0])
	}
}

func accepts(ts *testscript.TestScript, s *brokertest.Server, token string) bool {
	req, err := http.NewRequest(http.MethodGet, s.URL+"/userinfo", http.NoBody)
	ts.Check(err)
	req.Header.Set("Authorization", "Bearer "+token)
	res, err := s.Client().Do(req)
	ts.Check(err)
	_ = res.Body.Close()
	return res.StatusCode == http.StatusOK
}

func want(ts *testscript.TestScript, what string, got int, want string) {
	if strconv.Itoa(got) != want {
		ts.Fatalf("%d %s, want %s", got, what, want)
	}
}

// noleak [WORD…] wants no token of the server, and none of the words, in any file
// of the folder.
func noleak(ts *testscript.TestScript, _ bool, words []string) {
	s := ts.Value(serverKey{}).(*brokertest.Server)
	ts.Check(authferrytest.Leaked(append(words, authferrytest.SecretsOf(s)...), ts.Getenv("AUTHFERRY_DIR")))
}
