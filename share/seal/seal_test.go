package seal

import (
	"bytes"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/authferry/authferry/broker/oauth"
	"github.com/authferry/authferry/broker/record"
	"github.com/authferry/authferry/keystore"
	"github.com/authferry/authferry/testenv"
)

const (
	onePool    = "pool_aaaaaaaaaaaaaaaa"
	oneAccount = "acc_aaaaaaaaaaaaaaaa"
	oneMachine = "mach_aaaaaaaaaaaaaaaa"
	oneTicket  = "tick_aaaaaaaaaaaaaaaa"
	canary     = "canary-secret"
)

func newRing(t testing.TB) Ring {
	t.Helper()
	k, err := NewKeys(1)
	testenv.Must(t, err)
	return Ring{k}
}

func contents() Contents {
	g := &record.Grant{
		Account: oneAccount, Generation: 3, Provider: "acme", RefreshToken: keystore.NewSecret(canary + "-refresh"),
		Endpoint: oauth.Endpoint{TokenEndpoint: "https://acme.example/token", ClientID: "client"}, ClientSecret: true,
		Headers: []string{"authorization: Bearer {token}"}, Origins: []string{"https://api.acme.example"},
	}
	tok := &oauth.Token{AccessToken: keystore.NewSecret(canary + "-access"), TokenType: "Bearer", ArrivedAt: time.Unix(1, 0).UTC(), ExpiresIn: time.Hour}
	return Contents{
		Pool: onePool, Account: oneAccount, Gen: 7, Grant: g, Access: record.NewAccess(g, tok),
		Client: &record.ClientSecret{V: 1, TokenEndpoint: "https://acme.example/token", ClientID: "client", Secret: canary + "-client"},
		Public: Public{Label: canary + "-label", Provider: "acme", Kind: "oauth", Rank: 1, Identity: canary + "@example.com"},
	}
}

func encoded(t testing.TB, ring Ring, r *Record) []byte {
	t.Helper()
	value, err := r.Encode(ring)
	testenv.Must(t, err)
	return value
}

// advance gives a pool new keys.
func advance(t testing.TB, m *Meta, ring Ring) Ring {
	t.Helper()
	k, err := NewKeys(m.Epoch + 1)
	testenv.Must(t, err)
	testenv.Must(t, m.Advance(ring, k))
	return append(slices.Clone(ring), k)
}

func TestHolderOpensAll(t *testing.T) {
	ring := newRing(t)
	r, err := Seal(ring, contents())
	testenv.Must(t, err)
	r.State, r.Claim = Claimed, &Claim{Machine: oneMachine, Nonce: "n", Attempt: 1, Passing: true}
	r.Failure = &Failure{Class: "throttled", Count: 2, At: time.Now(), NextTryAt: time.Now().Add(time.Minute), Stated: true}
	value := encoded(t, ring, r)
	if bytes.Contains(value, []byte(canary)) {
		t.Fatalf("in the open: %s", value)
	}
	got, err := Open(ring, onePool, oneAccount, value)
	testenv.Must(t, err)
	if got.Grant.Share != onePool || got.Grant.PoolGeneration != 7 || got.Access.PoolGeneration != 7 ||
		!got.Grant.RefreshToken.Equal(r.Grant.RefreshToken) || got.Client.Secret != canary+"-client" ||
		!got.Access.AccessToken.Equal(r.Access.AccessToken) || got.Public != r.Public {
		t.Errorf("%+v", got)
	}
	if got.State != Claimed || *got.Claim != *r.Claim || got.Failure.Class != "throttled" || !got.Failure.NextTryAt.Equal(r.Failure.NextTryAt) || got.FP != record.Fingerprint(r.Grant.RefreshToken) {
		t.Errorf("%+v", got)
	}
	// What was read can be stored again with another state, without sealing it anew.
	got.State, got.Claim, got.Failure = Idle, nil, nil
	again, err := Open(ring, onePool, oneAccount, encoded(t, ring, got))
	testenv.Must(t, err)
	if again.State != Idle || !again.Grant.RefreshToken.Equal(r.Grant.RefreshToken) {
		t.Errorf("%+v", again)
	}
}

// A consumer sees no grant; nor an account that is a key, unless it was invited with keys.
func TestConsumerOpensAccess(t *testing.T) {
	ring := newRing(t)
	plain, key, long := contents(), contents(), contents()
	key.Client, long.Client = nil, nil
	key.Grant.APIKey, key.Grant.RefreshToken, key.Access = keystore.NewSecret(canary+"-key"), keystore.Secret{}, nil
	long.Grant.TokenFingerprint, long.Grant.RefreshToken = record.Fingerprint(long.Access.AccessToken), keystore.Secret{}
	for _, row := range []struct {
		name     string
		c        Contents
		withKeys bool
		access   bool
		grant    bool
	}{
		{"login", plain, false, true, false},
		{"login, with keys", plain, true, true, false},
		{"API key", key, false, false, false},
		{"API key, with keys", key, true, false, true},
		{"long-lived token", long, false, false, false},
		{"long-lived token, with keys", long, true, true, true},
	} {
		t.Run(row.name, func(t *testing.T) {
			r, err := Seal(ring, row.c)
			testenv.Must(t, err)
			if r.FP == "" {
				t.Error("no fingerprint")
			}
			mine := ring.For(Consumer, row.withKeys)
			got, err := Open(mine, onePool, oneAccount, encoded(t, ring, r))
			testenv.Must(t, err)
			local := got.LocalGrant()
			if (local != nil) != (row.access || row.grant) || local != nil && (local.Share != onePool || local.PoolGeneration != 7 || !slices.Equal(local.Origins, row.c.Grant.Origins) || !local.RefreshToken.Empty()) {
				t.Errorf("the machine stores %+v", local)
			}
			if (got.Grant != nil) != row.grant || got.Client != nil || (got.Access != nil) != row.access || got.Public.Label != canary+"-label" {
				t.Errorf("%+v", got)
			}
			if _, err := got.Encode(mine); !errors.Is(err, ErrKeys) {
				t.Errorf("a consumer signs: %v", err)
			}
			if _, err := Seal(mine, row.c); !errors.Is(err, ErrKeys) {
				t.Errorf("a consumer seals: %v", err)
			}
		})
	}
}

// Nothing that stands outside, or that somebody without the holders' keys put there, is
// believed.
func TestForgedRecords(t *testing.T) {
	ring := newRing(t)
	r, err := Seal(ring, contents())
	testenv.Must(t, err)
	value := encoded(t, ring, r)
	other := contents()
	other.Account = "acc_bbbbbbbbbbbbbbbb"
	g, acc := *other.Grant, *other.Access
	g.Account, acc.Account = other.Account, other.Account
	other.Grant, other.Access = &g, &acc
	o, err := Seal(ring, other)
	testenv.Must(t, err)

	changed := func(change func(w *recordWire)) []byte {
		var w recordWire
		testenv.Must(t, json.Unmarshal(value, &w))
		change(&w)
		text, err := json.Marshal(w)
		testenv.Must(t, err)
		return text
	}
	// resigned is what a holder would have to sign to fool another.
	resigned := func(change func(r *Record)) []byte {
		c, err := Open(ring, onePool, oneAccount, value)
		testenv.Must(t, err)
		change(c)
		return encoded(t, ring, c)
	}
	consumers := ring.For(Consumer, true)
	for _, row := range []struct {
		name  string
		value []byte
		ring  Ring
		want  error
	}{
		{"another generation", changed(func(w *recordWire) { w.Gen++ }), ring, ErrForged},
		{"another fingerprint", changed(func(w *recordWire) { w.FP = "00" }), ring, ErrForged},
		{"another state", changed(func(w *recordWire) { w.State = Dead }), ring, ErrForged},
		{"another epoch", changed(func(w *recordWire) { w.Epoch = 2 }), ring, ErrKeys},
		{"no signature", changed(func(w *recordWire) { w.Sig = nil }), ring, ErrForged},
		{"no signature, to a consumer", changed(func(w *recordWire) { w.Sig = nil }), consumers, ErrForged},
		{"another's access token", changed(func(w *recordWire) { w.Sealed.Access = o.sealed.Access }), consumers, ErrForged},
		{"another account's record", encoded(t, ring, o), ring, ErrForged},
		{"signed: another generation", resigned(func(r *Record) { r.Gen++ }), ring, ErrForged},
		{"signed: another fingerprint", resigned(func(r *Record) { r.FP = "00" }), ring, ErrForged},
		{"signed: another's grant", resigned(func(r *Record) { r.sealed.Grant = o.sealed.Grant }), ring, ErrForged},
		{"signed: the access token as a grant", resigned(func(r *Record) { r.sealed.Grant = r.sealed.Access }), ring, ErrForged},
		{"signed: a key as a login", resigned(func(r *Record) { r.WithKeys = true }), ring, ErrForged},
		{"other keys", value, newRing(t), ErrForged},
		{"a later version", []byte(strings.Replace(string(value), `"v":1`, `"v":2,"x":1`, 1)), ring, ErrNewer},
		{"an unknown field", []byte(strings.Replace(string(value), `"v":1`, `"v":1,"x":1`, 1)), ring, ErrMalformed},
		{"something behind it", append(slices.Clone(value), "{}"...), ring, ErrMalformed},
		{"nothing", nil, ring, ErrMalformed},
		{"too much", bytes.Repeat([]byte(" "), MaxSize+1), ring, ErrTooBig},
	} {
		if _, err := Open(row.ring, onePool, oneAccount, row.value); !errors.Is(err, row.want) {
			t.Errorf("%s: %v, want %v", row.name, err, row.want)
		}
	}
	if _, err := Open(ring, "pool_bbbbbbbbbbbbbbbb", oneAccount, value); !errors.Is(err, ErrForged) {
		t.Errorf("another pool's: %v", err)
	}
}

// An access token goes where its grant says, or nowhere.
func TestAccessGoesWhereTheGrantSays(t *testing.T) {
	ring := newRing(t)
	for name, change := range map[string]func(*record.Access){
		"origins": func(a *record.Access) { a.Origins = []string{"https://evil.example"} },
		"headers": func(a *record.Access) { a.Headers = nil },
		"base":    func(a *record.Access) { a.API.Base = "https://evil.example" },
		"paths":   func(a *record.Access) { a.API.Paths = []string{"/"} },
		"address": func(a *record.Access) { a.Address = "https://evil.example" },
		"account": func(a *record.Access) { a.Account = "acc_bbbbbbbbbbbbbbbb" },
	} {
		c := contents()
		change(c.Access)
		if _, err := Seal(ring, c); !errors.Is(err, ErrForged) {
			t.Errorf("%s: %v", name, err)
		}
		// A holder that doesn't check, as a stolen machine wouldn't.
		r, err := Seal(ring, contents())
		testenv.Must(t, err)
		body, err := c.Access.Encode()
		testenv.Must(t, err)
		r.sealed.Access, err = r.seal(ring[0].Access, "access", body)
		testenv.Must(t, err)
		if _, err := Open(ring, onePool, oneAccount, encoded(t, ring, r)); !errors.Is(err, ErrForged) {
			t.Errorf("%s: a holder believes it: %v", name, err)
		}
	}
}

func TestTooBig(t *testing.T) {
	c := contents()
	c.Grant.RefreshToken = keystore.NewSecret(strings.Repeat("x", MaxSize))
	if _, err := Seal(newRing(t), c); !errors.Is(err, ErrTooBig) {
		t.Errorf("err = %v", err)
	}
}

func machine(t testing.TB) (Machine, keystore.Secret) {
	t.Helper()
	identity, recipient, err := NewIdentity()
	testenv.Must(t, err)
	return Machine{ID: oneMachine, Name: canary + "-laptop", Role: Holder, Recipient: recipient, Since: time.Unix(1, 0).UTC()}, identity
}

// A machine that missed some epochs follows the chain, gets its keys, and can then read the
// roster and the records; those of before are not believed any more.
func TestNextEpochs(t *testing.T) {
	first := newRing(t)
	m, identity := machine(t)
	meta := NewMeta(onePool, first.Newest(), Roster{Name: "work", Provider: "acme", Machines: []Machine{m}})
	value, err := meta.Encode(first)
	testenv.Must(t, err)
	if bytes.Contains(value, []byte(canary)) {
		t.Fatalf("in the open: %s", value)
	}
	got, err := OpenMeta(first, onePool, value)
	testenv.Must(t, err)
	if !reflect.DeepEqual(got, meta) {
		t.Errorf("%+v, want %+v", got, meta)
	}
	ring := first
	for range 3 {
		ring = advance(t, meta, ring)
	}
	meta.Oldest = 3
	value, err = meta.Encode(ring)
	testenv.Must(t, err)
	got, err = OpenMeta(first, onePool, value)
	if !errors.Is(err, ErrKeys) || got == nil || got.Epoch != 4 || len(got.Roster.Machines) != 0 {
		t.Fatalf("%+v, %v", got, err)
	}
	ours := ring.From(meta.Oldest)
	if len(ours) != 2 {
		t.Fatalf("%d epochs", len(ours))
	}
	handed, err := m.Seal(ours, onePool)
	testenv.Must(t, err)
	mine, err := OpenMember(identity, got, oneMachine, handed)
	testenv.Must(t, err)
	if !reflect.DeepEqual(mine, ours) {
		t.Errorf("%v", mine)
	}
	if got, err = OpenMeta(mine, onePool, value); err != nil || got.Roster.Machine(oneMachine) == nil {
		t.Errorf("%+v, %v", got, err)
	}
	old, err := Seal(first, contents())
	testenv.Must(t, err)
	if _, err := Open(mine, onePool, oneAccount, encoded(t, first, old)); !errors.Is(err, ErrOver) {
		t.Errorf("a record of an epoch that is over: %v", err)
	}
	before, err := NewMeta(onePool, first.Newest(), Roster{Name: "evil"}).Encode(first)
	testenv.Must(t, err)
	if _, err := OpenMeta(ring, onePool, before); !errors.Is(err, ErrOver) {
		t.Errorf("a list of an epoch that is over, with its keys: %v", err)
	}
	if c := mine.For(Consumer, false).Newest(); !c.Grant.Empty() || !c.Secret.Empty() || !c.Sign.Empty() || c.Access.Empty() {
		t.Error("a consumer's ring has a holder's keys")
	}
}

// Keys are believed only if they come from a holder of the newest epoch, whose public half
// the one before signed.
func TestForgedKeys(t *testing.T) {
	first, foreign := newRing(t), newRing(t)
	m, identity := machine(t)
	meta := NewMeta(onePool, first.Newest(), Roster{Name: "work"})
	ring := advance(t, meta, first)
	value, err := meta.Encode(ring)
	testenv.Must(t, err)

	evil := NewMeta(onePool, first.Newest(), Roster{Name: "evil"})
	theirs := advance(t, evil, Ring{{Epoch: 1, Grant: foreign[0].Grant, Sign: foreign[0].Sign}})
	forged, err := evil.Encode(theirs)
	testenv.Must(t, err)
	if _, err := OpenMeta(first, onePool, forged); !errors.Is(err, ErrForged) {
		t.Errorf("a link that nobody of the pool signed: %v", err)
	}
	if _, err := OpenMeta(first, "pool_bbbbbbbbbbbbbbbb", value); !errors.Is(err, ErrForged) {
		t.Errorf("another pool's meta: %v", err)
	}
	got, _ := OpenMeta(first, onePool, value)
	for name, by := range map[string]Ring{"a stranger": foreign, "a stranger with the epoch's number": theirs, "an epoch that is over": first} {
		handed, err := m.Seal(by, onePool)
		testenv.Must(t, err)
		if _, err := OpenMember(identity, got, oneMachine, handed); err == nil {
			t.Errorf("keys from %s are believed", name)
		}
	}
	handed, err := m.Seal(ring, onePool)
	testenv.Must(t, err)
	_, other := machine(t)
	if _, err := OpenMember(other, got, oneMachine, handed); !errors.Is(err, ErrForged) {
		t.Errorf("another machine opens them: %v", err)
	}
	if _, err := OpenMember(identity, got, "mach_bbbbbbbbbbbbbbbb", handed); !errors.Is(err, ErrForged) {
		t.Errorf("those of another machine: %v", err)
	}
}

func TestTickets(t *testing.T) {
	ring := newRing(t)
	ticket := Ticket{ID: oneTicket, Role: Consumer, ExpiresAt: time.Now().Add(time.Minute)}
	keys, err := NewTicket(&ticket)
	testenv.Must(t, err)
	meta := NewMeta(onePool, ring.Newest(), Roster{Name: "work", Tickets: []Ticket{ticket}})
	invite, err := ticket.Seal(ring, onePool)
	testenv.Must(t, err)
	mine, used, err := OpenInvite(keys.Identity, meta, oneTicket, invite)
	testenv.Must(t, err)
	if used || mine.Newest().Holder() || mine.Newest().Access.Empty() {
		t.Errorf("%v, %v", mine, used)
	}
	if _, _, err := OpenInvite(keys.Identity, meta, "tick_bbbbbbbbbbbbbbbb", invite); !errors.Is(err, ErrForged) {
		t.Errorf("another ticket's: %v", err)
	}
	if a, err := OpenAnswer(ring, onePool, ticket, invite); a != nil || err != nil {
		t.Errorf("%v, %v before it is used", a, err)
	}
	_, recipient, err := NewIdentity()
	testenv.Must(t, err)
	want := Answer{Machine: oneMachine, Name: "runner", Recipient: recipient}
	answer, err := want.Seal(mine, keys, onePool, oneTicket)
	testenv.Must(t, err)
	if bytes.Contains(answer, []byte("runner")) {
		t.Errorf("in the open: %s", answer)
	}
	if _, used, err := OpenInvite(keys.Identity, meta, oneTicket, answer); !used || err != nil {
		t.Errorf("used = %v, %v", used, err)
	}
	got, err := OpenAnswer(ring, onePool, ticket, answer)
	testenv.Must(t, err)
	if *got != want {
		t.Errorf("%+v", got)
	}
	// The engine's operator can't answer in the joiner's place, nor a consumer.
	strange, err := NewTicket(&Ticket{})
	testenv.Must(t, err)
	forged, err := want.Seal(mine, strange, onePool, oneTicket)
	testenv.Must(t, err)
	if _, err := OpenAnswer(ring, onePool, ticket, forged); !errors.Is(err, ErrForged) {
		t.Errorf("an answer that the ticket didn't sign: %v", err)
	}
}

// Keys can't be printed, not even with the whole ring.
func TestKeysAreNotPrinted(t *testing.T) {
	ring := newRing(t)
	k := ring[0]
	for _, text := range []string{fmt.Sprint(ring), fmt.Sprintf("%+v", ring), fmt.Sprintf("%#v", k)} {
		for _, secret := range []keystore.Secret{k.Grant, k.Secret, k.Access, k.Sign} {
			if strings.Contains(text, secret.Reveal()) {
				t.Errorf("printed: %s", text)
			}
		}
	}
	if _, err := json.Marshal(ring); err == nil {
		t.Error("a ring can be put into a document")
	}
}

func TestCheckName(t *testing.T) {
	for name, want := range map[string]bool{
		"laptop": true, "ci.runner-1": true, "": false, "a b": false, "-x": false, "mach_x": false, "a/b": false, "ü": false,
		strings.Repeat("x", 65): false,
	} {
		if CheckName(name) != want {
			t.Errorf("%q: not %v", name, want)
		}
	}
}

// Whatever an engine says, it is refused by an error that quotes nothing of it, or it is
// something that stays the same when it is stored again.
func FuzzValues(f *testing.F) {
	ring := newRing(f)
	m, identity := machine(f)
	ticket := Ticket{ID: oneTicket, Role: Holder}
	keys, err := NewTicket(&ticket)
	testenv.Must(f, err)
	meta := NewMeta(onePool, ring.Newest(), Roster{Name: "work", Machines: []Machine{m}, Tickets: []Ticket{ticket}})
	r, err := Seal(ring, contents())
	testenv.Must(f, err)
	for _, make := range []func() ([]byte, error){
		func() ([]byte, error) { return r.Encode(ring) },
		func() ([]byte, error) { return meta.Encode(ring) },
		func() ([]byte, error) { return m.Seal(ring, onePool) },
		func() ([]byte, error) { return ticket.Seal(ring, onePool) },
		func() ([]byte, error) {
			return Answer{oneMachine, "x", m.Recipient}.Seal(ring, keys, onePool, oneTicket)
		},
		func() ([]byte, error) { return Holds{}.Seal(ring, onePool, oneAccount) },
	} {
		value, err := make()
		testenv.Must(f, err)
		f.Add(value)
		f.Add(value[:len(value)/2])
	}
	for _, s := range []string{"", "null", "[]", "canary-secret", `{"v":"canary-secret"}`, `{"v":1,"epoch":1,"gen":1e99}`, `{"v":2}`, `{"v":1,"epoch":1,"sealed":"canary-secret"}`} {
		f.Add([]byte(s))
	}
	f.Fuzz(func(t *testing.T, value []byte) {
		check := func(err error) bool {
			if err != nil && strings.Contains(err.Error(), "canary") {
				t.Fatalf("the error quotes what was read: %v", err)
			}
			return err == nil
		}
		if r, err := Open(ring, onePool, oneAccount, value); check(err) {
			again, err := Open(ring, onePool, oneAccount, encoded(t, ring, r))
			if err != nil || again.State != r.State || again.Gen != r.Gen {
				t.Fatalf("%+v became %+v, %v", r, again, err)
			}
		}
		if m, err := OpenMeta(ring, onePool, value); check(err) {
			if _, err := m.Encode(ring); err != nil {
				t.Fatal(err)
			}
		}
		_, err := OpenMember(identity, meta, oneMachine, value)
		check(err)
		_, _, err = OpenInvite(keys.Identity, meta, oneTicket, value)
		check(err)
		_, err = OpenAnswer(ring, onePool, ticket, value)
		check(err)
		_, err = OpenHolds(ring, onePool, oneAccount, value)
		check(err)
	})
}

// What is sealed comes from members of the pool, who may be broken or hostile.
func FuzzInside(f *testing.F) {
	ring := newRing(f)
	for _, s := range []string{"", "null", "{}", "canary-secret", `{"grant":{"v":1,"account":"acc_aaaaaaaaaaaaaaaa"}}`, `{"v":1,"access_token":"canary-secret"}`, `[{"epoch":1,"access":"canary-secret"}]`} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, body string) {
		if r, err := DecodeRing(keystore.NewSecret(body)); err == nil {
			again, err := r.Encode()
			testenv.Must(t, err)
			if same, err := DecodeRing(again); err != nil || !reflect.DeepEqual(same, r) {
				t.Fatal("a ring changed")
			}
		} else if strings.Contains(err.Error(), "canary") {
			t.Fatalf("the error quotes the ring: %v", err)
		}
		if !json.Valid([]byte(body)) {
			return
		}
		r := &Record{Contents: Contents{Pool: onePool, Account: oneAccount, Gen: 1}, State: Idle, Epoch: 1}
		for _, p := range []struct {
			to   *[]byte
			what string
			key  keystore.Secret
		}{{&r.sealed.Grant, "grant", ring[0].Grant}, {&r.sealed.Access, "access", ring[0].Access}, {&r.sealed.Public, "public", ring[0].Access}} {
			var err error
			*p.to, err = r.seal(p.key, p.what, keystore.NewSecret(body))
			testenv.Must(t, err)
		}
		if _, err := Open(ring, onePool, oneAccount, encoded(t, ring, r)); err != nil && strings.Contains(err.Error(), "canary") {
			t.Fatalf("the error quotes the record: %v", err)
		}
	})
}

// A record is little bigger than what is in it.
func TestSize(t *testing.T) {
	ring := newRing(t)
	c := contents()
	c.Grant.RefreshToken = keystore.NewSecret(strings.Repeat("x", 1000))
	r, err := Seal(ring, c)
	testenv.Must(t, err)
	plain, err := c.Grant.Encode()
	testenv.Must(t, err)
	if grown := len(r.sealed.Grant) - len(plain.Reveal()); grown > 1000 {
		t.Errorf("the grant grew by %d bytes", grown)
	}
	if n := len(encoded(t, ring, r)); n > 8000 {
		t.Errorf("%d bytes, %d of them in base64", n, base64.StdEncoding.EncodedLen(len(r.sealed.Grant)+len(r.sealed.Access)+len(r.sealed.Public)))
	}
}
