package record

import (
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/authferry/authferry/keystore"
	"github.com/authferry/authferry/testenv"
)

// Whatever stands in a keystore item, it is a record that survives a round trip
// or an error that quotes nothing of it.
func FuzzRecord(f *testing.F) {
	g := Grant{Account: "acc_aaaaaaaaaaaaaaaa", Generation: 3, Provider: "p", RefreshToken: keystore.NewSecret("canary"), Headers: []string{"a: {token}"}, Origins: []string{"https://a.example"}}
	acc := Access{Account: "acc_aaaaaaaaaaaaaaaa", Generation: 3, AccessToken: keystore.NewSecret("canary"), ObtainedAt: time.Unix(1, 0).UTC(), ExpiresAt: time.Unix(9, 0).UTC()}
	for _, encode := range []func() (keystore.Secret, error){g.Encode, acc.Encode} {
		s, err := encode()
		testenv.Must(f, err)
		f.Add(s.Reveal())
		f.Add(strings.Replace(s.Reveal(), `"v":1`, `"v":2`, 1))
		f.Add(s.Reveal()[:len(s.Reveal())/2])
	}
	for _, s := range []string{"", "null", "[]", "canary", `{"v":"canary"}`, `{"v":1,"generation":1e99}`, `{"v":1,"access_token":"canary","expires_at":"canary"}`, `{"v":-1,"access_token":"canary"}`} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, text string) {
		quiet := func(err error) {
			if strings.Contains(err.Error(), "canary") {
				t.Fatalf("the error quotes the record: %v", err)
			}
		}
		if g, err := DecodeGrant(keystore.NewSecret(text)); err != nil {
			quiet(err)
		} else if again, err := g.Encode(); err == nil { // a time may be one that JSON has no form for
			twice, err := DecodeGrant(again)
			if err != nil || !twice.RefreshToken.Equal(g.RefreshToken) || !twice.APIKey.Equal(g.APIKey) || twice.Generation != g.Generation || twice.Endpoint.TokenEndpoint != g.Endpoint.TokenEndpoint {
				t.Fatalf("%+v became %+v, %v", g, twice, err)
			}
		}
		acc, err := DecodeAccess(keystore.NewSecret(text))
		if err != nil {
			quiet(err)
			return
		}
		if acc.AccessToken.Empty() {
			t.Fatal("a record without a token")
		}
		if left, known := acc.Remaining(time.Now()); known && !acc.ExpiresAt.IsZero() && left > acc.ExpiresAt.Sub(acc.ObtainedAt) {
			t.Fatalf("%v left of %v", left, acc.ExpiresAt.Sub(acc.ObtainedAt))
		}
	})
}

// Whatever the manifest holds, it lists accounts of this folder's store or
// nothing, and doctor asks the keystore for no other item.
func FuzzManifest(f *testing.F) {
	const store = "aaaaaaaaaaaaaaaa"
	for _, s := range []string{
		`{"v":1,"store":"aaaaaaaaaaaaaaaa","accounts":["acc_aaaaaaaaaaaaaaaa"],"clients":["x"]}`, `{"v":1,"store":"b","accounts":["acc_aaaaaaaaaaaaaaaa"]}`,
		`{"store":"aaaaaaaaaaaaaaaa","accounts":["../x",""]}`, `{"accounts":7}`, "null", "[]", "", "{",
	} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, text string) {
		m := parseManifest(keystore.NewSecret(text), store)
		if m.Store != store || m.V != RecordVersion {
			t.Fatalf("%+v", m)
		}
		m.Add("acc_bbbbbbbbbbbbbbbb")
		m.Add("acc_bbbbbbbbbbbbbbbb")
		if n := len(m.Accounts); m.Accounts[n-1] == "acc_bbbbbbbbbbbbbbbb" && slices.Index(m.Accounts, "acc_bbbbbbbbbbbbbbbb") != n-1 {
			t.Fatalf("%q", m.Accounts)
		}
		m.Remove("acc_bbbbbbbbbbbbbbbb")
		if slices.Contains(m.Accounts, "acc_bbbbbbbbbbbbbbbb") {
			t.Fatalf("%q", m.Accounts)
		}
	})
}
