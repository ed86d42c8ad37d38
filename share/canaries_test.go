package share_test

import (
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/authferry/authferry/broker/account"
	"github.com/authferry/authferry/broker/index"
	"github.com/authferry/authferry/broker/pool"
	"github.com/authferry/authferry/broker/ratelimit"
	"github.com/authferry/authferry/share"
	"github.com/authferry/authferry/share/pipe"
	"github.com/authferry/authferry/share/sharetest"
	"github.com/authferry/authferry/testenv"
)

// canaries are the secrets that a test has met, by what they are.
type canaries map[string]string

// meet takes note of everything secret that a machine has now: tokens and API keys of its
// accounts, its own keys and those of the pool.
func (c canaries) meet(m *machine, pool string) {
	m.t.Helper()
	o := m.open()
	for _, a := range m.index().Members("work") {
		c.add(m.t, m.name+"'s token", m.token(a.ID))
		if refresh := m.refreshToken(a.ID); refresh != "" {
			c.add(m.t, m.name+"'s refresh token", refresh)
		}
	}
	secret, err := o.Store.Share(m.t.Context(), pool)
	testenv.Must(m.t, err)
	var item any
	testenv.Must(m.t, json.Unmarshal([]byte(secret.Reveal()), &item))
	if c.leaves(m.t, m.name, item) == 0 {
		m.t.Errorf("%s has no keys", m.name)
	}
}

// leaves finds the keys in a membership or a ticket.
func (c canaries) leaves(t *testing.T, of string, item any) (n int) {
	switch x := item.(type) {
	case []any:
		for _, y := range x {
			n += c.leaves(t, of, y)
		}
	case map[string]any:
		for name, y := range x {
			text, isText := y.(string)
			switch name {
			case "identity", "sign", "ticket_sign", "grant", "secret", "access", "key":
				if isText && text != "" {
					c.add(t, of+"'s "+name, text)
					n++
				}
			default:
				n += c.leaves(t, of, y)
			}
		}
	}
	return n
}

func (c canaries) ticket(t *testing.T, text string) {
	t.Helper()
	plain, err := base64.RawURLEncoding.DecodeString(strings.TrimPrefix(text, "authferry-share1"))
	testenv.Must(t, err)
	var item any
	testenv.Must(t, json.Unmarshal(plain, &item))
	if c.leaves(t, "a ticket", item) < 2 {
		t.Error("a ticket has no identity")
	}
	c.add(t, "a ticket", text)
}

// add also takes what the secret is in the encodings that values pass through.
func (c canaries) add(t *testing.T, what, secret string) {
	t.Helper()
	if len(secret) < 12 {
		t.Errorf("%s: %d bytes are found anywhere", what, len(secret))
	}
	c[secret] = what
	for i := range 3 { // wherever in the encoded text it begins
		if text := base64.StdEncoding.EncodeToString([]byte(strings.Repeat("x", i) + secret)); len(text) > 12 {
			c[text[4:len(text)-4]] = what + ", in base64"
		}
	}
	c[hex.EncodeToString([]byte(secret))] = what + ", in hex"
}

func (c canaries) look(t *testing.T, place string, data []byte) {
	t.Helper()
	text := string(data)
	for secret, what := range c {
		if strings.Contains(text, secret) {
			t.Errorf("%s has %s", place, what)
		}
	}
}

// limits has two holders and a consumer tell each other of holds, quota windows and a probe,
// and takes note of what they said.
func (c canaries) limits(a, b, runner *machine, id string) {
	a.t.Helper()
	const scope, window, source = "model:canary-of-a-scope", "canary-of-a-window", "canary-of-a-source"
	for _, said := range []string{scope, window, source} {
		c.add(a.t, "what was said of limits", said)
	}
	now := time.Now()
	testenv.Must(a.t, a.folder().Change(a.t.Context(), index.Fast, id, func(idx *index.Index, x *index.Account) {
		pool.AddHold(x, ratelimit.Verdict{Kind: ratelimit.Spent, Scope: "*", Until: now.Add(5 * time.Hour), Source: source, Proven: true}, now)
		pool.RulesOf(a.folder()).TakeUsage(idx, x, []index.Usage{{Window: window, Used: 0.5, ResetsAt: now.Add(time.Hour), ReportedAt: now}}, now)
	}))
	testenv.Must(a.t, testenv.Err(account.AddHold(a.t.Context(), runner.folder(), id, scope, time.Hour)))
	for _, m := range []*machine{a, runner, b, a} {
		testenv.Must(a.t, m.exchange())
	}
	if mine, err := share.Probe(a.t.Context(), b.folder(), b.dial, id); !mine || err != nil {
		a.t.Errorf("no probe: %v", err)
	}
	told := b.account(id).Share.Told
	c.add(a.t, "the name of a probe", told.Probe)
	for _, h := range told.Holds {
		c.add(a.t, "the name of a hold", h.ID)
	}
	if x := b.account(id); len(x.Holds) != 2 || len(x.Usage) != 1 {
		a.t.Errorf("they didn't tell each other: %+v", x)
	}
	testenv.Must(a.t, runner.clear(id, ""))
}

// From start to remove, no byte that goes to etcd, or comes from it, or is on its disk or in
// a snapshot of it, is of anything secret.
func TestNothingSecretReachesEtcd(t *testing.T) {
	t.Parallel()
	etcd := sharetest.New(t, sharetest.Options{Plain: true})
	tap := etcd.Tap(t, 0)
	s, c := newScene(t), canaries{}
	s.engine = overEtcd
	a := s.machine("laptop")
	ada, key := a.login("ada"), a.apiKey("bob")
	req := a.startRequest()
	req.Endpoints = []string{tap.Endpoint()}
	started, err := share.Start(t.Context(), a.folder(), a.dial, req)
	testenv.Must(t, err)
	id := started.Pool.ID
	c.meet(a, id)
	joined := func(name string, req pipe.InviteRequest) *machine {
		m, ticket := s.machine(name), a.invite(req).Ticket
		c.ticket(t, ticket)
		m.join(ticket)
		c.meet(m, id)
		return m
	}
	b := joined("desktop", pipe.InviteRequest{})
	runner := joined("runner", pipe.InviteRequest{Consumer: true, WithKeys: true})
	c.ticket(t, a.invite(pipe.InviteRequest{Consumer: true, Reusable: true}).Ticket)
	all := func() {
		t.Helper()
		for _, m := range []*machine{a, b} {
			testenv.Must(t, m.refresh(ada.ID))
			c.meet(m, id)
		}
	}
	all()
	c.limits(a, b, runner, ada.ID)
	testenv.Must(t, testenv.Err(share.Members(t.Context(), b.folder(), b.dial, pipe.PoolRequest{Pool: "work"})))
	b.status()
	a.doctor(true)
	all()
	testenv.Must(t, testenv.Err(share.Remove(t.Context(), a.folder(), a.dial, pipe.RemoveRequest{Pool: "work", Machine: "desktop"})))
	c.meet(a, id)
	for _, f := range s.server.Ledger().Families {
		for _, r := range f.RefreshTokens {
			c.add(t, "a refresh token of "+f.User, r.Token)
		}
	}
	c.add(t, "an API key", a.token(key.ID))

	traffic := tap.Seen()
	c.look(t, "the traffic", traffic)
	snapshot := filepath.Join(t.TempDir(), "snapshot")
	etcd.Etcdctl(t, "snapshot", "save", snapshot)
	seen := 0
	look := func(path string) {
		data, err := os.ReadFile(path)
		testenv.Must(t, err)
		c.look(t, path, data)
		if strings.Contains(string(data), id) {
			seen++
		}
	}
	look(snapshot)
	for _, dir := range etcd.DataDirs() {
		testenv.Must(t, filepath.WalkDir(dir, func(path string, d fs.DirEntry, err error) error {
			if err == nil && d.Type().IsRegular() {
				look(path)
			}
			return err
		}))
	}
	if seen < 3 || !strings.Contains(string(traffic), id) || len(c) < 60 {
		t.Errorf("the pool was found in %d files, traffic of %d bytes, %d secrets", seen, len(traffic), len(c))
	}
}
