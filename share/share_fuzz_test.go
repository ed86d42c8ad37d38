package share

import (
	"strings"
	"testing"
	"time"

	"github.com/authferry/authferry/keystore"
	"github.com/authferry/authferry/share/seal"
	"github.com/authferry/authferry/testenv"
)

// Whatever is pasted as a ticket, it is one that stays the same, or an error that quotes
// nothing of it.
func FuzzTicket(f *testing.F) {
	t := seal.Ticket{}
	keys, err := seal.NewTicket(&t)
	testenv.Must(f, err)
	whole := &ticket{
		Connection: Connection{Endpoints: []string{"http://127.0.0.1:2379"}, Prefix: "authferry"}, ID: "tick_aaaaaaaaaaaaaaaa", Pool: "pool_aaaaaaaaaaaaaaaa", Name: "work",
		TicketKeys: keys, ExpiresAt: time.Unix(1, 0).UTC(), Epoch: 1, Verify: t.Verify, Cluster: "c", Revision: 7,
	}
	text, err := whole.text()
	testenv.Must(f, err)
	for _, s := range []string{text, text[:len(text)/2], text + "\n", ticketPrefix, ticketPrefix + "e30", "authferry-share9", "canary", "", ticketPrefix + "eyJlbmRwb2ludHMiOlsiY2FuYXJ5Il19"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, text string) {
		got, err := parseTicket(text)
		if err != nil {
			if strings.Contains(err.Error(), "AGE-SECRET") {
				t.Fatalf("the error quotes the ticket: %v", err)
			}
			return
		}
		again, err := got.text()
		testenv.Must(t, err)
		same, err := parseTicket(again)
		if err != nil || !same.Identity.Equal(got.Identity) || same.ID != got.ID || !same.ExpiresAt.Equal(got.ExpiresAt) || same.Revision != got.Revision {
			t.Fatalf("%+v became %+v, %v", got, same, err)
		}
	})
}

// The same for what a keystore has as this machine's part in a pool.
func FuzzMembership(f *testing.F) {
	keys, err := seal.NewKeys(1)
	testenv.Must(f, err)
	next, err := seal.NewKeys(2)
	testenv.Must(f, err)
	identity, _, err := seal.NewIdentity()
	testenv.Must(f, err)
	whole := &Membership{
		Pool: "pool_aaaaaaaaaaaaaaaa", Local: "work", Connection: Connection{Prefix: "authferry", Endpoints: []string{"https://engine.example"}, Key: keystore.NewSecret("canary")},
		Machine: "mach_aaaaaaaaaaaaaaaa", Name: "laptop", Role: seal.Holder, Identity: identity, Keys: seal.Ring{keys}, Next: &next, Cluster: "c", Revision: 7, Unfinished: true, Meta: []byte("m"),
	}
	s, err := whole.encode()
	testenv.Must(f, err)
	for _, s := range []string{s.Reveal(), s.Reveal()[:len(s.Reveal())/2], strings.Replace(s.Reveal(), `"v":1`, `"v":2`, 1), "", "null", "{}", "canary", `{"v":1,"keys":"canary"}`} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, text string) {
		m, err := decodeMembership(keystore.NewSecret(text))
		if err != nil {
			if strings.Contains(err.Error(), "canary") {
				t.Fatalf("the error quotes the membership: %v", err)
			}
			return
		}
		again, err := m.encode()
		testenv.Must(t, err)
		same, err := decodeMembership(again)
		if err != nil || same.Pool != m.Pool || !same.Key.Equal(m.Key) || !same.Identity.Equal(m.Identity) || len(same.Keys) != len(m.Keys) || (same.Next == nil) != (m.Next == nil) || same.Revision != m.Revision {
			t.Fatalf("%+v became %+v, %v", m, same, err)
		}
	})
}
