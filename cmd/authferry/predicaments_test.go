package main

import (
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"slices"

	"github.com/authferry/authferry/broker/brokertest"
	"github.com/authferry/authferry/broker/index"
	"github.com/authferry/authferry/broker/lock"
	"github.com/authferry/authferry/keystore/keystoretest"
)

// predicaments are the states in which commands fail, each in its own way.
var predicaments = map[string]func(*scene){
	"healthy": nil,
	"login revoked": func(s *scene) {
		s.Server.Revoke("ada")
		s.Server.Revoke("bob")
	},
	"provider gone":  func(s *scene) { s.Server.Close() },
	"provider slow":  func(s *scene) { s.Env = append(s.Env, "AUTHFERRY_HTTP_TIMEOUT=1ns") },
	"limited":        misbehaves("429-date"),
	"captive portal": misbehaves("html"),
	"redirected":     misbehaves("redirect-308-other"),
	"cut off":        misbehaves("truncated"),
	"lost":           misbehaves("502-after"),
	"newline":        misbehaves("access-newline"),
	"nul":            misbehaves("refresh-nul"),
	"wrong secret": func(s *scene) {
		if err := s.Server.Configure(func(c *brokertest.Config) { c.ClientSecret = "another" }); err != nil {
			s.T.Fatal(err)
		}
	},
	"registration refused": remote(brokertest.MCP{Registrations: brokertest.Registrations{Refuse: true}}),
	"wrong resource":       remote(brokertest.MCP{Metadata: func(doc map[string]any) { doc["resource"] = "https://mail.example.com/" }}),
	// What a server says may be what it was sent.
	"echo": func(s *scene) {
		for _, f := range s.Server.Ledger().Families {
			sent := f.RefreshTokens[0].Token
			for _, body := range []string{
				`{"error":%q}`, `{"error":"invalid_request","error_description":%q}`, `{"error":{"message":%q,"type":%[1]q}}`,
				`{"error":"invalid_client","error_uri":%q}`, `refresh_token=%s`, `{"access_token":%q,"token_type":"mac"}`, `{"error":"invalid_grant","error_description":%q}`,
			} {
				for _, on := range []brokertest.Endpoint{brokertest.OnToken, brokertest.OnRevoke} {
					for _, status := range []int{400, 200} {
						s.Server.Inject(brokertest.Fault{On: on, User: f.User, Status: status, Body: fmt.Sprintf(body, sent), Header: map[string]string{"Retry-After": sent}})
					}
				}
			}
		}
	},
	"damaged index":   spoils("index.json", "{"),
	"newer index":     spoils("index.json", `{"schema":99}`),
	"damaged toml":    spoils("providers.toml", "= ="),
	"other keystore":  func(s *scene) { s.Env = append(s.Env, "AUTHFERRY_KEYSTORE=keychain", "AUTHFERRY_KEYCHAIN_TIMEOUT=1s") },
	"no key file":     func(s *scene) { s.Env = append(s.Env, "AUTHFERRY_KEY_FILE="+filepath.Join(s.Root, "none")) },
	"locked accounts": func(s *scene) { s.lockAll() },
	"held": func(s *scene) {
		idx, err := index.At(s.Dir).Read()
		if err != nil {
			s.T.Fatal(err)
		}
		for _, a := range idx.Accounts {
			s.Must(fmt.Sprintf(`{"lease":"%s.%d","status":429,"headers":{"retry-after":"3600"},"body":"afat_x"}`, a.ID, a.Generation), "report")
		}
	},
	"settings are a link to themselves": func(s *scene) {
		if err := os.Symlink("config.toml", filepath.Join(s.Dir, "config.toml")); err != nil {
			s.T.Fatal(err)
		}
	},
	"sealed key file": func(s *scene) {
		sealed, env := filepath.Join(s.Root, "sealed.age"), s.Env
		s.Env = append(slices.Clone(env), "AUTHFERRY_DIR="+filepath.Join(s.Root, "other"))
		s.Must(phrase, "keystore", "init", "--passphrase-stdin", "--key-file", sealed)
		s.Must("", "keystore", "lock")
		s.Env = append(env, "AUTHFERRY_KEY_FILE="+sealed)
	},
	"keychain that hangs": inKeychain(keystoretest.Hanging),
	"keychain that loses": inKeychain(keystoretest.Losing),
	"damaged vault": func(s *scene) {
		items, err := filepath.Glob(filepath.Join(s.Dir, "vault", "*"))
		if err != nil || len(items) == 0 {
			s.T.Fatalf("no vault: %v", err)
		}
		for _, path := range items {
			if err := os.Truncate(path, 100); err != nil {
				s.T.Fatal(err)
			}
		}
	},
}

func misbehaves(fault string) func(*scene) {
	return func(s *scene) {
		f, known := brokertest.Faults()[fault]
		if !known {
			s.T.Fatalf("no fault %q", fault)
		}
		for _, f.On = range []brokertest.Endpoint{brokertest.OnToken, brokertest.OnRevoke, brokertest.OnMetadata} {
			f.Times = -1
			s.Server.Inject(f)
		}
	}
}

// inKeychain has the secrets in a keychain that then behaves as mode says.
func inKeychain(mode keystoretest.Mode) func(*scene) {
	return func(s *scene) {
		if runtime.GOOS != "linux" {
			s.T.Skip("needs Linux: a keychain of its own")
		}
		service := keystoretest.SecretService(s.T, keystoretest.Normal)
		s.Env = append(append(s.Env, service.Env...), "AUTHFERRY_KEYCHAIN_TIMEOUT=30s")
		s.Must("", "keystore", "migrate", "keychain")
		service.SetMode(s.T, mode)
		if mode == keystoretest.Hanging {
			s.Env = append(s.Env, "AUTHFERRY_KEYCHAIN_TIMEOUT=100ms")
		}
	}
}

func spoils(file, content string) func(*scene) {
	return func(s *scene) {
		if err := os.WriteFile(filepath.Join(s.Dir, file), []byte(content), 0o600); err != nil {
			s.T.Fatal(err)
		}
	}
}

// lockAll holds every lock that there is until the test ends.
func (s *scene) lockAll() {
	s.Env = append(s.Env, "AUTHFERRY_LOCK_TIMEOUT=50ms")
	f := index.At(s.Dir)
	idx, err := f.Read()
	if err != nil {
		s.T.Fatal(err)
	}
	paths := []string{filepath.Join(s.Dir, "locks", "index.lock")}
	for _, a := range idx.Accounts {
		if a.Kind == index.KindAPIKey {
			continue // a key that was typed in is held for minutes rather than lost
		}
		paths = append(paths, lock.Gate(a.ID).In(f.Dir()), lock.Rotation(a.ID).In(f.Dir()))
	}
	for _, path := range paths {
		l, err := lock.Acquire(s.T.Context(), path)
		if err != nil {
			s.T.Fatal(err)
		}
		s.T.Cleanup(l.Release)
		s.locks = append(s.locks, l)
	}
}

// remote is another remote MCP server.
func remote(m brokertest.MCP) func(*scene) {
	return func(s *scene) {
		if err := s.Server.Configure(func(c *brokertest.Config) { c.MCP = &m }); err != nil {
			s.T.Fatal(err)
		}
	}
}
