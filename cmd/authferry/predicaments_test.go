package main

import (
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"slices"

	"github.com/authferry/authferry/broker"
	"github.com/authferry/authferry/broker/brokertest"
	"github.com/authferry/authferry/broker/index"
	"github.com/authferry/authferry/keystore/keystoretest"
)

// predicaments are the states in which commands fail, each in its own way.
var predicaments = map[string]func(*scene){
	"healthy": nil,
	"login revoked": func(s *scene) {
		s.server.Revoke("ada")
		s.server.Revoke("bob")
	},
	"provider gone":  func(s *scene) { s.server.Close() },
	"provider slow":  func(s *scene) { s.env = append(s.env, "AUTHFERRY_HTTP_TIMEOUT=1ns") },
	"limited":        misbehaves("429-date"),
	"captive portal": misbehaves("html"),
	"redirected":     misbehaves("redirect-308-other"),
	"cut off":        misbehaves("truncated"),
	"lost":           misbehaves("502-after"),
	"newline":        misbehaves("access-newline"),
	"nul":            misbehaves("refresh-nul"),
	"wrong secret": func(s *scene) {
		if err := s.server.Configure(func(c *brokertest.Config) { c.ClientSecret = "another" }); err != nil {
			s.t.Fatal(err)
		}
	},
	// What a server says may be what it was sent.
	"echo": func(s *scene) {
		for _, f := range s.server.Ledger().Families {
			sent := f.RefreshTokens[0].Token
			for _, body := range []string{
				`{"error":%q}`, `{"error":"invalid_request","error_description":%q}`, `{"error":{"message":%q,"type":%[1]q}}`,
				`{"error":"invalid_client","error_uri":%q}`, `refresh_token=%s`, `{"access_token":%q,"token_type":"mac"}`, `{"error":"invalid_grant","error_description":%q}`,
			} {
				for _, on := range []brokertest.Endpoint{brokertest.OnToken, brokertest.OnRevoke} {
					for _, status := range []int{400, 200} {
						s.server.Inject(brokertest.Fault{On: on, User: f.User, Status: status, Body: fmt.Sprintf(body, sent), Header: map[string]string{"Retry-After": sent}})
					}
				}
			}
		}
	},
	"damaged index":   spoils("index.json", "{"),
	"newer index":     spoils("index.json", `{"schema":99}`),
	"damaged toml":    spoils("providers.toml", "= ="),
	"other keystore":  func(s *scene) { s.env = append(s.env, "AUTHFERRY_KEYSTORE=keychain", "AUTHFERRY_KEYCHAIN_TIMEOUT=1s") },
	"no key file":     func(s *scene) { s.env = append(s.env, "AUTHFERRY_KEY_FILE="+filepath.Join(s.root, "none")) },
	"locked accounts": func(s *scene) { s.lockAll() },
	"held": func(s *scene) {
		idx, err := index.At(s.dir).Read()
		if err != nil {
			s.t.Fatal(err)
		}
		for _, a := range idx.Accounts {
			s.must(fmt.Sprintf(`{"lease":"%s.%d","status":429,"headers":{"retry-after":"3600"},"body":"afat_x"}`, a.ID, a.Generation), "report")
		}
	},
	"settings are a folder": func(s *scene) {
		if err := os.Mkdir(filepath.Join(s.dir, "config.toml"), 0o700); err != nil {
			s.t.Fatal(err)
		}
	},
	"sealed key file": func(s *scene) {
		sealed, env := filepath.Join(s.root, "sealed.age"), s.env
		s.env = append(slices.Clone(env), "AUTHFERRY_DIR="+filepath.Join(s.root, "other"))
		s.must(phrase, "keystore", "init", "--passphrase-stdin", "--key-file", sealed)
		s.must("", "keystore", "lock")
		s.env = append(env, "AUTHFERRY_KEY_FILE="+sealed)
	},
	"keychain that hangs": inKeychain(keystoretest.Hanging),
	"keychain that loses": inKeychain(keystoretest.Losing),
	"damaged vault": func(s *scene) {
		items, err := filepath.Glob(filepath.Join(s.dir, "vault", "*"))
		if err != nil || len(items) == 0 {
			s.t.Fatalf("no vault: %v", err)
		}
		for _, path := range items {
			if err := os.Truncate(path, 100); err != nil {
				s.t.Fatal(err)
			}
		}
	},
}

func misbehaves(fault string) func(*scene) {
	return func(s *scene) {
		f, known := brokertest.Faults()[fault]
		if !known {
			s.t.Fatalf("no fault %q", fault)
		}
		for _, f.On = range []brokertest.Endpoint{brokertest.OnToken, brokertest.OnRevoke, brokertest.OnMetadata} {
			f.Times = -1
			s.server.Inject(f)
		}
	}
}

// inKeychain has the secrets in a keychain that then behaves as mode says.
func inKeychain(mode keystoretest.Mode) func(*scene) {
	return func(s *scene) {
		if runtime.GOOS != "linux" {
			s.t.Skip("needs Linux: a keychain of its own")
		}
		service := keystoretest.SecretService(s.t, keystoretest.Normal)
		s.env = append(append(s.env, service.Env...), "AUTHFERRY_KEYCHAIN_TIMEOUT=30s")
		s.must("", "keystore", "migrate", "keychain")
		service.SetMode(s.t, mode)
		if mode == keystoretest.Hanging {
			s.env = append(s.env, "AUTHFERRY_KEYCHAIN_TIMEOUT=100ms")
		}
	}
}

func spoils(file, content string) func(*scene) {
	return func(s *scene) {
		if err := os.WriteFile(filepath.Join(s.dir, file), []byte(content), 0o600); err != nil {
			s.t.Fatal(err)
		}
	}
}

// lockAll holds every lock that there is until the test ends.
func (s *scene) lockAll() {
	s.env = append(s.env, "AUTHFERRY_LOCK_TIMEOUT=50ms")
	f := index.At(s.dir)
	idx, err := f.Read()
	if err != nil {
		s.t.Fatal(err)
	}
	paths := []string{filepath.Join(s.dir, "locks", "index.lock")}
	for _, a := range idx.Accounts {
		if a.Kind == broker.KindAPIKey {
			continue // a key that was typed in is held for minutes rather than lost
		}
		paths = append(paths, f.GatePath(a.ID), f.RotationPath(a.ID))
	}
	for _, path := range paths {
		l, err := index.Acquire(s.t.Context(), path)
		if err != nil {
			s.t.Fatal(err)
		}
		s.t.Cleanup(l.Release)
	}
}
