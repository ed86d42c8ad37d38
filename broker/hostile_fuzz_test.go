package broker

import (
	"encoding/json"
	"errors"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/authferry/authferry/broker/fault"
	"github.com/authferry/authferry/broker/lock"
	"github.com/authferry/authferry/keystore"
)

// Whatever stands in a keystore item, it is a record that survives a round trip
// or an error that quotes nothing of it.
func FuzzRecord(f *testing.F) {
	g := grant{Account: "acc_aaaaaaaaaaaaaaaa", Generation: 3, Provider: "p", RefreshToken: keystore.NewSecret("canary"), Headers: []string{"a: {token}"}, Origins: []string{"https://a.example"}}
	acc := access{Account: "acc_aaaaaaaaaaaaaaaa", Generation: 3, AccessToken: keystore.NewSecret("canary"), ObtainedAt: time.Unix(1, 0).UTC(), ExpiresAt: time.Unix(9, 0).UTC()}
	for _, encode := range []func() (keystore.Secret, error){g.encode, acc.encode} {
		s, err := encode()
		if err != nil {
			f.Fatal(err)
		}
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
		if g, err := decodeGrant(keystore.NewSecret(text)); err != nil {
			quiet(err)
		} else if again, err := g.encode(); err == nil { // a time may be one that JSON has no form for
			twice, err := decodeGrant(again)
			if err != nil || !twice.RefreshToken.Equal(g.RefreshToken) || !twice.APIKey.Equal(g.APIKey) || twice.Generation != g.Generation || twice.Endpoint.TokenEndpoint != g.Endpoint.TokenEndpoint {
				t.Fatalf("%+v became %+v, %v", g, twice, err)
			}
		}
		acc, err := decodeAccess(keystore.NewSecret(text))
		if err != nil {
			quiet(err)
			return
		}
		if acc.AccessToken.Empty() {
			t.Fatal("a record without a token")
		}
		if left, known := acc.remaining(time.Now()); known && !acc.ExpiresAt.IsZero() && left > acc.ExpiresAt.Sub(acc.ObtainedAt) {
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
		if m.Store != store || m.V != recordVersion {
			t.Fatalf("%+v", m)
		}
		m.add("acc_bbbbbbbbbbbbbbbb")
		m.add("acc_bbbbbbbbbbbbbbbb")
		if n := len(m.Accounts); m.Accounts[n-1] == "acc_bbbbbbbbbbbbbbbb" && slices.Index(m.Accounts, "acc_bbbbbbbbbbbbbbbb") != n-1 {
			t.Fatalf("%q", m.Accounts)
		}
		m.remove("acc_bbbbbbbbbbbbbbbb")
		if slices.Contains(m.Accounts, "acc_bbbbbbbbbbbbbbbb") {
			t.Fatalf("%q", m.Accounts)
		}
	})
}

// Whatever stands in config.toml, its settings are within their bounds or there
// is an error on one line; and setting one keeps the rest readable.
func FuzzConfigTOML(f *testing.F) {
	for _, s := range []string{
		"", "failover = false\nthrottle_max = '1m'\n", "failover = 7", "strategy = 'x'", "throttle_max = '900h'", "[failover]\nx=1", "# c\nfailover=true # d\n[other]\nx=1",
		"a = '''\nfailover = 1\n'''\n", "failover.x = 1", "\"failover\" = false", "= =", "\xff",
		"\ufefffailover = false\r\n", "f\x00a\x00=\x001\x00", "failover = false\n\x00\x00", "\xff\xfea",
	} {
		f.Add([]byte(s))
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		b := New(Options{Dir: t.TempDir()})
		if err := os.WriteFile(b.configPath(), data, 0o600); err != nil {
			t.Fatal(err)
		}
		c, err := b.loadConfig()
		if err != nil {
			if e, ok := errors.AsType[*fault.Error](err); !ok || e.Code != fault.Usage {
				t.Fatal(err)
			}
			return
		}
		if c.Strategy != sticky && c.Strategy != soonestReset || c.ThrottleMax < 0 || c.ThrottleMax > 10*time.Minute {
			t.Fatalf("%+v", c)
		}
	})
}

// Whatever a rotator writes into its report pipe, the caller makes an Error of it
// that has a code.
func FuzzRotatorReport(f *testing.F) {
	for _, s := range []string{`{}`, `{"error":{"code":"login_needed","message":"m","retry_at":"2026-11-23T17:00:00Z"}}`, `{"error":{}}`, `{"error":7}`, "null", "", "{"} {
		f.Add([]byte(s))
	}
	f.Fuzz(func(t *testing.T, line []byte) {
		var r report
		if json.Unmarshal(line, &r) != nil {
			return
		}
		if err := r.err(); err != nil {
			if _, ok := errors.AsType[*fault.Error](err); !ok {
				t.Fatalf("%T", err)
			}
		}
	})
}

// A lease is taken apart into an account id that names a file in the folder, or
// refused without being quoted.
func FuzzLease(f *testing.F) {
	for _, s := range []string{"acc_aaaaaaaaaaaaaaaa.1", "acc_aaaaaaaaaaaaaaaa.-1", "../x.1", "acc_aaaaaaaaaaaaaaaa.1e3", ".", "", "acc_aaaaaaaaaaaaaaaa.99999999999999999999"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, text string) {
		account, generation, err := ParseLease(text)
		if err != nil {
			if len(text) > 3 && strings.Contains(err.Error(), text) && !strings.Contains("not a lease: a lease looks like acc_k3m….7, as token --json prints it", text) {
				t.Fatalf("quoted: %v", err)
			}
			return
		}
		path := lock.Rotation(account).In("folder")
		if generation < 0 || filepath.Dir(path) != filepath.Join("folder", "locks") {
			t.Fatalf("%q: %q, %d", text, account, generation)
		}
	})
}
