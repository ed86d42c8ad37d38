package main

import (
	"bytes"
	"encoding/json"
	"io"
	"net/http"
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

// A loop of 200 requests, each with processes of its own, against an API that
// limits three accounts over and over, ends without a person: an account is left
// at its limit and not before, nothing is held for longer than the API said, and
// where all are held the loop waits.
func TestLoopOfRequestsNeedsNobody(t *testing.T) {
	proofs.Only(t, "two loops of 200 requests, each with processes of its own")
	total, quota := 200, 10
	if runtime.GOOS == "windows" { // there starting a process takes its time
		total, quota = 40, 4
	}
	for _, dialect := range []brokertest.Dialect{brokertest.DialectAnthropic, brokertest.DialectCodex} {
		t.Run(string(dialect), func(t *testing.T) {
			t.Parallel()
			users := []string{"ada", "bob", "cat"}
			l := &loop{t: t, dir: t.TempDir(), server: brokertest.New(t, brokertest.Config{Users: users})}
			began := time.Now()
			l.populate(users)
			// Where processes take their time, a short window would end before its
			// quota is spent.
			pace := time.Since(began) / time.Duration(len(users)+2)
			window := min(max(4*time.Second, time.Duration(4*quota)*pace), 50*time.Second)
			testenv.Must(t, l.server.Configure(func(c *brokertest.Config) {
				c.Quota = brokertest.Quota{Requests: quota, Window: window, Dialect: dialect}
			}))
			l.run(total, window)

			sum, refused := 0, 0
			for _, u := range users {
				sum, refused = sum+l.answered[u], refused+l.limited[u]
			}
			if refused == 0 {
				t.Error("no limit was met")
			}
			if sum != total {
				t.Errorf("%d requests were answered, want %d", sum, total)
			}
			for _, n := range l.streaks {
				// None at all: the API states whole seconds, cut off, and the window
				// had a moment to go.
				if n != 0 && n < quota {
					t.Errorf("an account was refused after %d requests, and its quota is %d", n, quota)
				}
			}
			if got := l.server.Ledger(); got.Revoked() != 0 || len(got.Reuse) != 0 {
				t.Error("a login was lost")
			}
			t.Logf("answered %v, refused %v, waited %d times, window %v", l.answered, l.limited, l.waited, window)
		})
	}
}

type loop struct {
	t      *testing.T
	dir    string
	server *brokertest.Server

	answered, limited map[string]int
	streaks           []int // answered by an account between two refusals
	waited            int
}

// populate makes an account of each user.
func (l *loop) populate(users []string) {
	l.t.Helper()
	l.authferry("", "keystore", "init", "--key-file", filepath.Join(l.dir, "key"))
	l.authferry("", "provider", "add", "sim", "--issuer", l.server.URL, "--client-id", "authferry-sim", "--api-origin", l.server.URL)
	for _, u := range users {
		grant, err := json.Marshal(l.server.Issue(u))
		testenv.Must(l.t, err)
		l.authferry(string(grant), "import", "grant", "sim", "--label", u)
	}
}

func (l *loop) command(stdin string, args ...string) *exec.Cmd {
	cmd := exec.CommandContext(l.t.Context(), program(l.t), args...)
	cmd.Env = append(os.Environ(), "AUTHFERRY_DIR="+filepath.Join(l.dir, "d"), "HOME="+l.dir)
	cmd.Stdin = strings.NewReader(stdin)
	return cmd
}

func (l *loop) authferry(stdin string, args ...string) []byte {
	l.t.Helper()
	cmd := l.command(stdin, args...)
	var errs bytes.Buffer
	cmd.Stderr = &errs
	out, err := cmd.Output()
	if err != nil {
		l.t.Fatalf("authferry %v: %v: %s", args, err, errs.String())
	}
	return out
}

func (l *loop) run(total int, longest time.Duration) {
	l.t.Helper()
	l.answered, l.limited = map[string]int{}, map[string]int{}
	streak := map[string]int{}
	var use tokenDoc
	token := func() {
		var d tokenDoc
		l.decode(l.authferry("", "token", "sim", "--json", "--wait", "--max-wait", "1m"), &d)
		use = d
	}
	for sent := 0; sent < total; {
		token()
		for again := true; again; {
			status, header, body := l.call(use.AccessToken)
			name := use.Account.Label
			report, err := json.Marshal(map[string]any{"lease": use.Lease, "status": status, "headers": header, "body": body})
			testenv.Must(l.t, err)
			if status == http.StatusOK {
				l.answered[name]++
				streak[name]++
				sent++
				if sent%10 == 0 { // successes carry usage
					l.authferry(string(report), "report")
				}
				break
			}
			l.limited[name]++
			var v verdictDoc
			l.decode(l.authferry(string(report), "report", "--next"), &v)
			if v.Hold != nil {
				l.streaks = append(l.streaks, streak[name])
				streak[name] = 0
				// The API states whole seconds, and what is shown is rounded up to them.
				if until := time.Now().Add(longest + 2*time.Second); v.Hold.Until.After(until) || !v.Hold.Proven {
					l.t.Fatalf("held until %v, the window ends before %v", v.Hold.Until, until)
				}
			}
			switch v.Action {
			case "switch":
				use = *v.Next
			case "retry":
				time.Sleep(time.Duration(v.RetryAfterMS) * time.Millisecond)
			case "wait":
				l.waited++
				again = false
			default:
				l.t.Fatalf("a %d means %s", status, v.Action)
			}
		}
	}
}

func (l *loop) decode(data []byte, document any) {
	l.t.Helper()
	if err := json.Unmarshal(data, document); err != nil {
		l.t.Fatalf("%v in %s", err, data)
	}
}

func (l *loop) call(token string) (status int, header http.Header, body string) {
	l.t.Helper()
	req, err := http.NewRequestWithContext(l.t.Context(), http.MethodGet, l.server.URL+"/api/work", nil)
	testenv.Must(l.t, err)
	req.Header.Set("Authorization", "Bearer "+token)
	res, err := l.server.Client().Do(req)
	testenv.Must(l.t, err)
	defer res.Body.Close()
	data, err := io.ReadAll(res.Body)
	testenv.Must(l.t, err)
	return res.StatusCode, res.Header, string(data)
}
