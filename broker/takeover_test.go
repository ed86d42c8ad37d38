package broker

import (
	"encoding/base64"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/authferry/authferry/broker/brokertest"
	"github.com/authferry/authferry/broker/doctor"
	"github.com/authferry/authferry/broker/fault"
	"github.com/authferry/authferry/broker/folder"
	"github.com/authferry/authferry/broker/index"
	"github.com/authferry/authferry/broker/pool"
	"github.com/authferry/authferry/broker/takeover"
	"github.com/authferry/authferry/broker/takeover/source"
	"github.com/authferry/authferry/keystore"
	"github.com/authferry/authferry/keystore/keystoretest"
	"github.com/authferry/authferry/testenv"
)

// newcomer is a world whose user comes from OpenCode, with logins at provider sim.
type newcomer struct {
	*world
	file string
	b    *Broker
	said []string // warnings
	next []fault.Remedy
}

func newNewcomer(t *testing.T, content string) *newcomer {
	t.Helper()
	n := &newcomer{world: newWorld(t, brokertest.Config{}), file: filepath.Join(t.TempDir(), "auth.json")}
	n.write(content)
	n.b = New(Options{Dir: n.dir, LockTimeout: 30 * time.Second, Warn: func(m string, next ...fault.Remedy) { n.said, n.next = append(n.said, m), append(n.next, next...) }})
	testenv.Must(t, folder.AddProvider(t.Context(), n.b.Folder, testProvider(n.server.URL), keystore.Secret{}))
	return n
}

func (n *newcomer) write(content string) {
	n.t.Helper()
	testenv.Must(n.t, os.WriteFile(n.file, []byte(content), 0o600))
}

func (n *newcomer) content() string {
	n.t.Helper()
	data, err := os.ReadFile(n.file)
	testenv.Must(n.t, err)
	return string(data)
}

func (n *newcomer) request(keep bool) takeover.Request {
	program, ok := source.Find("opencode")
	if !ok {
		n.t.Fatal("no source opencode")
	}
	return takeover.Request{Source: program, Path: n.file, Keep: keep}
}

func (n *newcomer) takeOver(keep bool) (*takeover.Outcome, error) {
	n.t.Helper()
	return takeover.Run(n.t.Context(), n.b.Folder, n.request(keep))
}

func (n *newcomer) accounts() []index.Account {
	n.t.Helper()
	idx, err := n.b.Folder.ReadOrEmpty()
	testenv.Must(n.t, err)
	return idx.Accounts
}

// faulty puts faults into the keystore.
func (n *newcomer) faulty(fault func(keystoretest.Call) keystoretest.Fault) {
	n.t.Helper()
	opt := n.b.Folder.Options
	opt.Faults = func(s keystore.Store) keystore.Store {
		f := keystoretest.NewFaulty(s)
		f.Inject(fault)
		return f
	}
	n.b = New(opt)
}

func grantWrite(c keystoretest.Call) bool {
	return c.Op == "write" && strings.Contains(c.Name, "/grant:")
}

func entry(refresh string) string {
	return fmt.Sprintf(`{"type":"oauth","refresh":%q,"access":"access of %s","expires":4102358400000}`, refresh, refresh)
}

// A file that its program writes while the login is stored is left as it is, and
// that there are two owners now is said and remembered.
func TestTakeOverFromAChangingFile(t *testing.T) {
	n := newNewcomer(t, `{"sim":`+entry("r1")+`}`)
	later := `{"sim":` + entry("r1") + `,"new":{"type":"api","key":"k"}}`
	n.faulty(func(c keystoretest.Call) keystoretest.Fault {
		if grantWrite(c) {
			n.write(later)
		}
		return keystoretest.Fault{}
	})
	done, err := n.takeOver(false)
	if err != nil || len(done.Accounts) != 1 || done.Removed != 0 {
		t.Fatalf("%+v, %v", done, err)
	}
	if a := n.accounts(); len(a) != 1 || a[0].Shared != n.file {
		t.Errorf("%+v", a)
	}
	if n.content() != later {
		t.Errorf("the file is now %s", n.content())
	}
	if len(n.said) != 1 || !strings.Contains(n.said[0], "the file changed meanwhile") || !slices.Equal(n.next, []fault.Remedy{{Do: fault.Import, Name: "opencode", Path: n.file}}) {
		t.Errorf("said: %q", n.said)
	}
	if done, err = n.takeOver(false); err != nil || done.Removed != 1 || n.content() != `{"new":{"type":"api","key":"k"}}` {
		t.Errorf("again: %+v, %v: %s", done, err, n.content())
	}
	if a := n.accounts(); len(a) != 1 || a[0].Shared != "" {
		t.Errorf("again: %+v", a)
	}
}

func TestTakeOverWithAFailingKeystore(t *testing.T) {
	two := `{"sim":` + entry("r1") + `,"openai":{"type":"api","key":"k1"}}`
	for name, test := range map[string]struct {
		fault    func(keystoretest.Call) keystoretest.Fault
		code     fault.Code
		accounts int
		left     string
	}{
		"refuses": {func(c keystoretest.Call) keystoretest.Fault {
			if grantWrite(c) {
				return keystoretest.Fault{Cause: keystore.ErrDenied}
			}
			return keystoretest.Fault{}
		}, fault.KeystoreDenied, 0, two},
		"refuses the second": {func() func(keystoretest.Call) keystoretest.Fault {
			writes := 0
			return func(c keystoretest.Call) keystoretest.Fault {
				if grantWrite(c) {
					writes++
				}
				if grantWrite(c) && writes == 2 {
					return keystoretest.Fault{Cause: keystore.ErrLocked}
				}
				return keystoretest.Fault{}
			}
		}(), fault.KeystoreLocked, 1, `{"openai":{"type":"api","key":"k1"}}`},
		"lies": {func(c keystoretest.Call) keystoretest.Fault {
			return keystoretest.Fault{Lose: grantWrite(c)}
		}, "", 2, two},
	} {
		t.Run(name, func(t *testing.T) {
			n := newNewcomer(t, two)
			n.faulty(test.fault)
			_, err := n.takeOver(false)
			if test.code == "" && err != nil || test.code != "" && fault.CodeOf(err) != test.code {
				t.Errorf("%v, want %s", err, test.code)
			}
			if got := n.accounts(); len(got) != test.accounts {
				t.Errorf("%d accounts, want %d", len(got), test.accounts)
			}
			if n.content() != test.left {
				t.Errorf("the file is now %s", n.content())
			}
			if test.accounts == 2 {
				return // a keystore that lies has no remedy
			}
			n.b.Folder.Faults = nil
			n.b = New(n.b.Folder.Options)
			if _, err := n.takeOver(false); err != nil || n.content() != `{}` || len(n.accounts()) != 2 {
				t.Errorf("again: %v: %s, %d accounts", err, n.content(), len(n.accounts()))
			}
		})
	}
}

// Whoever imports at the same time gets the same accounts, each once.
func TestTakeOverAtOnce(t *testing.T) {
	n := newNewcomer(t, `{"sim":`+entry("r1")+`,"openai":{"type":"api","key":"k1"}}`)
	var all sync.WaitGroup
	for range 4 {
		all.Go(func() {
			b := New(Options{Dir: n.dir, LockTimeout: time.Minute})
			testenv.Check(t, testenv.Err(takeover.Run(t.Context(), b.Folder, n.request(false))))
		})
	}
	all.Wait()
	if a := n.accounts(); len(a) != 2 || n.content() != `{}` {
		t.Errorf("%d accounts: %s", len(a), n.content())
	}
}

// Of two stores that take one login at once, the one that comes too late says so.
// Its account counts as shared: removing it does not end the login of the other.
func TestTakeOverIntoTwoStores(t *testing.T) {
	for name, left := range map[string]string{"rewritten": `{"other":{"type":"api","key":"k"}}`, "deleted": ""} {
		t.Run(name, func(t *testing.T) {
			n := newNewcomer(t, `{"sim":`+entry("r1")+`,"other":{"type":"api","key":"k"}}`)
			n.faulty(func(c keystoretest.Call) keystoretest.Fault {
				if !grantWrite(c) {
					return keystoretest.Fault{}
				}
				if n.write(left); left == "" {
					testenv.Check(t, os.Remove(n.file))
				}
				return keystoretest.Fault{}
			})
			done, err := n.takeOver(false)
			e, ok := errors.AsType[*fault.Error](err)
			if !ok || e.Code != fault.Fenced || !slices.Equal(e.Next, []fault.Remedy{{Do: fault.RemoveHere, Account: "sim-1"}}) || done.Removed != 0 {
				t.Fatalf("%+v, %v", done, err)
			}
			if len(n.said) != 0 {
				t.Errorf("said: %q", n.said)
			}
			if a := n.accounts(); len(a) != 1 || a[0].Shared != n.file {
				t.Errorf("%+v", a)
			}
		})
	}
}

// Processes with a store each: one takes the login, and every other one that has
// it as well says so.
func TestTakeOverIntoStoresAtOnce(t *testing.T) {
	for range 5 {
		n := newNewcomer(t, `{"sim":`+entry("r1")+`,"openai":{"type":"api","key":"k1"}}`)
		stores := []*newcomer{n, newNewcomer(t, `{}`), newNewcomer(t, `{}`)}
		outcomes := make([]error, len(stores))
		took := make([]int, len(stores))
		var all sync.WaitGroup
		for i, s := range stores {
			all.Go(func() {
				done, err := takeover.Run(t.Context(), s.b.Folder, n.request(false))
				if outcomes[i] = err; done != nil {
					took[i] = done.Removed
				}
			})
		}
		all.Wait()
		owners := 0
		for i, s := range stores {
			switch has := len(s.accounts()); {
			case took[i] > 0 && has == 2 && outcomes[i] == nil:
				owners++
			case took[i] > 0, has > 0 && fault.CodeOf(outcomes[i]) != fault.Fenced, has == 0 && outcomes[i] != nil:
				t.Errorf("%d accounts, %d entries removed: %v", has, took[i], outcomes[i])
			}
		}
		if owners != 1 || n.content() != `{}` {
			t.Errorf("%d stores own the logins: %s", owners, n.content())
		}
	}
}

// A file is the same one by whatever name it was called.
func TestTakeOverByAnotherName(t *testing.T) {
	if runtime.GOOS == "windows" {
		t.Skip("needs a Unix file mode, and links that anybody may make")
	}
	n := newNewcomer(t, `{"sim":`+entry("r1")+`}`)
	link := filepath.Join(t.TempDir(), "link.json")
	testenv.Must(t, os.Symlink(n.file, link))
	for _, names := range [][2]string{{n.file, link}, {link, n.file}} {
		n.write(`{"sim":` + entry("r1") + `}`)
		req := n.request(true)
		req.Path = names[0]
		testenv.Must(t, testenv.Err(takeover.Run(t.Context(), n.b.Folder, req)))
		if a := n.accounts(); len(a) != 1 || a[0].Shared != names[0] {
			t.Fatalf("kept: %+v", a)
		}
		req.Path, req.Keep = names[1], false
		if done, err := takeover.Run(t.Context(), n.b.Folder, req); err != nil || done.Removed != 1 {
			t.Fatalf("%+v, %v", done, err)
		}
		if a := n.accounts(); len(a) != 1 || a[0].Shared != "" {
			t.Errorf("moved: %+v", a)
		}
	}
}

// A login that was kept and refreshed here since is spent in the other file: sent
// from there it would end both. Moving takes it away and refreshes nothing.
func TestTakeOverOfASpentLogin(t *testing.T) {
	g := newNewcomer(t, `{}`)
	issued := g.server.Issue("ada")
	g.write(fmt.Sprintf(`{"sim":{"type":"oauth","refresh":%q,"access":%q,"expires":1600000000000}}`, issued.RefreshToken, issued.AccessToken))
	done, err := g.takeOver(true)
	if err != nil || len(done.Accounts) != 1 {
		t.Fatalf("%+v, %v", done, err)
	}
	if got := g.ask(); got.err != nil || !g.good(got.token) {
		t.Fatalf("%+v", got)
	}
	requests := g.server.Ledger().TokenRequests
	checks := takeover.Shared(t.Context(), g.b.Folder)
	if len(checks) != 0 {
		t.Errorf("a file that is at no usual place was found: %v", checks)
	}
	done, err = g.takeOver(false)
	if err != nil || done.Removed != 1 || g.content() != `{}` || !strings.Contains(done.Skipped[0].Reason, "which was refreshed since") {
		t.Errorf("%+v, %v: %s", done, err, g.content())
	}
	if l := g.server.Ledger(); l.TokenRequests != requests || len(l.Reuse) > 0 || l.Revoked() > 0 {
		t.Errorf("%d requests, %v", l.TokenRequests, l.Reuse)
	}
	if a := g.accounts(); len(a) != 1 || a[0].Shared != "" {
		t.Errorf("%+v", a)
	}
}

// What a crash left in the keystore becomes the account, and not a second one
// when doctor finds it.
func TestTakeOverAdopts(t *testing.T) {
	n := newNewcomer(t, `{"sim":`+entry("r1")+`}`)
	done, err := n.takeOver(true)
	if err != nil || len(done.Accounts) != 1 {
		t.Fatalf("%+v, %v", done, err)
	}
	testenv.Must(t, n.b.Folder.Update(t.Context(), index.Durable, func(i *index.Index) error {
		i.Accounts, i.Pools = nil, nil
		return nil
	}))
	again, err := n.takeOver(false)
	if err != nil || len(again.Accounts) != 1 || again.Accounts[0].ID != done.Accounts[0].ID || n.content() != `{}` {
		t.Fatalf("%+v, %v", again, err)
	}
	tok, err := n.b.Token(t.Context(), TokenRequest{MinTTL: pool.DefaultMinTTL})
	if err != nil || tok.AccessToken.Reveal() != "access of r1" {
		t.Errorf("%v", err)
	}
	for _, c := range doctor.Examine(t.Context(), n.b.Folder, true) {
		if c.Status != doctor.OK {
			t.Errorf("%+v", c)
		}
	}
	if len(n.accounts()) != 1 {
		t.Errorf("%d accounts", len(n.accounts()))
	}
}

// Whose login it is by the word of its ID token is the account's identity, so that
// the next login of that user renews it; another issuer's word is only a name.
func TestTakeOverIdentity(t *testing.T) {
	codex, _ := source.Find("codex")
	for issuer, subject := range map[string]string{"https://auth.openai.com": "user-1", "https://evil.example": ""} {
		n := newNewcomer(t, "")
		id := "e30." + base64.RawURLEncoding.EncodeToString([]byte(`{"iss":"`+issuer+`","sub":"user-1","email":"me@example.com","https://api.openai.com/auth":{"chatgpt_account_id":"org-1"}}`)) + ".x"
		n.write(`{"tokens":{"id_token":"` + id + `","access_token":"a","refresh_token":"r"}}`)
		done, err := takeover.Run(t.Context(), n.b.Folder, takeover.Request{Source: codex, Path: n.file, ClientID: "mine"})
		if err != nil || len(done.Accounts) != 1 {
			t.Fatalf("%+v, %v", done, err)
		}
		a := done.Accounts[0]
		if a.Subject != subject || a.Identity != "me@example.com" || a.Label != "me@example.com" || a.Issuer != "https://auth.openai.com" {
			t.Errorf("%s: %+v", issuer, a)
		}
		if _, err := os.Stat(n.file); !errors.Is(err, os.ErrNotExist) {
			t.Errorf("%s: the file: %v", issuer, err)
		}
	}
}
