package main

import (
	"bytes"
	"fmt"
	"maps"
	"math"
	"math/rand/v2"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/authferry/authferry/keystore"
	"github.com/authferry/authferry/proofs"
	"github.com/authferry/authferry/testenv"
)

// Whoever edits the files of the folder (an attacker with a synced folder, a
// repository that brings one along) can make authferry fail. They can't have a
// secret sent elsewhere, reach outside of the folder, start a program, or forge
// a record.
func TestHostileFolder(t *testing.T) {
	t.Parallel()
	attacks := slices.Clone(hostile) // of a sample others each time
	rand.Shuffle(len(attacks), func(i, j int) { attacks[i], attacks[j] = attacks[j], attacks[i] })
	for _, attack := range attacks[:proofs.Size(len(attacks)/16, len(attacks))] {
		t.Run(attack.name, func(t *testing.T) {
			t.Parallel()
			if attack.links && runtime.GOOS == "windows" {
				t.Skip("needs Unix: symbolic links for everybody")
			}
			v := newVictim(t)
			attack.do(v)
			outside := v.outside()
			for _, args := range []string{
				"token sim --json", "token --account Ada --min-ttl 9h", "token --account Bob", "header --account Ada", "token --account Key --json", "refresh Ada", "refresh Bob",
				"status", "list", "provider list", "keystore status", "doctor", "doctor --fix", "token --account Ada --json", "refresh Bob", "exec --account Ada -- true",
				"login sim --label Eve --timeout 3s", "login sim --flow device --label Eve --timeout 3s", "login anthropic --client-id x --label Eve --timeout 3s",
				"refresh Eve", "import grant sim --label Mallory", "setup git --pool sim --print", "helper git --pool sim get", "helper docker list", "status --json", "info Ada --json",
				"token docs --account Docs --json", "refresh Docs", "token --account Svc --min-ttl 9h --json", "refresh Svc", "helper mcp-headers --account Docs " + v.s.Server.URL + "/mcp",
				"helper mcp-headers --account Docs " + v.evil.URL + "/mcp", "helper mcp-headers --account Svc " + v.evil.URL + "/mcp", "mcp connect docs --account Docs", "mcp connect docs",
				"mcp connect " + v.evil.URL + "/mcp --account Docs", "mcp connect " + v.evil.URL + "/mcp --account Ada", "login docs --label Eve2 --timeout 3s", "login docs --renew Docs --timeout 3s",
				"login svc --flow client --label Eve3 --timeout 3s", "refresh Docs", "doctor",
				"remove Bob --yes", "remove Ada --yes", "remove Key --yes", "remove Docs --yes", "remove Svc --yes",
			} {
				stdin := ""
				switch {
				case strings.HasPrefix(args, "import"):
					stdin = v.s.Grant("mallory", -time.Second)
				case strings.HasPrefix(args, "mcp"):
					stdin = calls
				case strings.HasPrefix(args, "helper git"):
					stdin = "protocol=http\nhost=" + strings.TrimPrefix(v.evil.URL, "http://") + "\n"
				}
				got := v.s.Run(stdin, strings.Fields(args)...)
				if strings.HasPrefix(args, "helper git") && strings.Contains(got.Out, "afat_") {
					t.Errorf("git gets a token for the attacker's server: %s", got.Out)
				}
				if strings.HasPrefix(args, "helper mcp-headers") && strings.Contains(args, v.evil.URL) && got.Out != "" {
					t.Errorf("an MCP client gets headers for the attacker's server: %s", got.Out)
				}
				v.s.wantSilence(got, strings.Fields(args))
				if strings.HasPrefix(args, "token") && strings.Contains(got.Out, v.evil.URL) {
					t.Errorf("%s names the attacker's server as a place for the token: %s", args, got.Out)
				}
			}
			v.s.Rest()
			v.heardNothing()
			now := v.outside()
			for path := range maps.Keys(outside) {
				if content, there := now[path]; !there || content != outside[path] {
					t.Errorf("%s was %.200q and is %.200q", path, outside[path], content)
				}
				delete(now, path)
			}
			for path := range maps.Keys(now) {
				t.Errorf("%s is new: %.200q", path, now[path])
			}
			testenv.Check(t, v.s.leaked())
			if l := v.s.Server.Ledger(); len(l.Reuse) != 0 {
				t.Errorf("a refresh token was sent twice: %+v", l.Reuse)
			}
		})
	}
}

// Whoever edits providers.toml does not choose where a login's token goes by the name
// of a variable.
func TestHostileVariables(t *testing.T) {
	t.Parallel()
	v := newVictim(t)
	for _, name := range []string{"GIT_HTTP_USER_AGENT", "HTTPS_PROXY", "ACME_BASE_URL", "GIT_CONFIG_PARAMETERS", "MAKEFLAGS", "LD_PRELOAD", "AUTHFERRY_DIR"} {
		for _, member := range []string{"env", "api_key_env"} {
			provider := map[string]any{"token_endpoint": v.s.Server.URL + "/token", "client_id": "authferry-sim", member: []string{name}}
			v.write("providers.toml", toml("sim", provider)+toml("anthropic", provider))
			for _, account := range []string{"Ada", "Key"} {
				got := v.s.Run("", "exec", "--account", account, "--", os.Args[0], "-test.list=^$")
				if got.Code != 80 {
					t.Errorf("%s = %s, exec for %s ended with %d: %s%s", member, name, account, got.Code, got.Out, got.Err)
				}
			}
		}
	}
}

// What changes a file of the folder changes, and copies, none that it leads to.
func TestHostileLinks(t *testing.T) {
	t.Parallel()
	if runtime.GOOS == "windows" {
		t.Skip("needs Unix: symbolic links for everybody")
	}
	v := newVictim(t)
	mine := filepath.Join(v.s.Root, "home", "credentials.toml")
	v.write(mine, "[registry]\nclient_id = \"theirs\"\n")
	for name, commands := range map[string][]string{
		"config.toml":    {"config set failover false"},
		"providers.toml": {"provider add eve --api-origin https://eve.example", "provider remove registry"},
	} {
		v.link(name, mine)
		for _, args := range commands {
			got := v.s.Run("", strings.Fields(args)...)
			if got.Code != 80 || !strings.Contains(got.Err, name+" is a link") || !strings.Contains(got.Err, "hint: ") {
				t.Errorf("%s ended with %d: %s", args, got.Code, got.Err)
			}
		}
		if to, err := os.Readlink(filepath.Join(v.s.Dir, name)); err != nil || to != mine {
			t.Errorf("%s leads to %q (%v)", name, to, err)
		}
	}
	if data, err := os.ReadFile(mine); err != nil || string(data) != "[registry]\nclient_id = \"theirs\"\n" {
		t.Errorf("the other file is %q (%v)", data, err)
	}
}

// The attacks above are told from a folder that is as it should be.
func TestHostileFolderControl(t *testing.T) {
	t.Parallel()
	v := newVictim(t)
	v.s.Must("", "refresh", "Bob")
	v.s.Must("", "token", "--account", "Ada")
	v.s.Must("", "token", "--account", "Key")
	if got := v.s.Must("", "token", "--account", "Bob", "--json"); !strings.Contains(got.Out, v.s.Server.URL) {
		t.Error(got.Out)
	}
	res, err := http.Post(v.evil.URL, "text/plain", bytes.NewReader([]byte("x")))
	testenv.Must(t, err)
	_ = res.Body.Close()
	if len(v.heard.requests) != 1 {
		t.Error("the attacker's server does not listen")
	}
}

// hostile are the attacks. SECURITY.md points here.
var hostile = []struct {
	name  string
	links bool
	do    func(*victim)
}{
	{name: "index: endpoints and origins in every account", do: func(v *victim) {
		v.edit(func(_ map[string]any, accounts []map[string]any) {
			for _, a := range accounts {
				maps.Copy(a, everywhere(v.evil.URL))
				a["grant"], a["access"] = everywhere(v.evil.URL), everywhere(v.evil.URL)
			}
		})
	}},
	{name: "index: accounts of another provider", do: func(v *victim) {
		v.write("providers.toml", toml("evil", v.evilProvider()))
		v.edit(func(_ map[string]any, accounts []map[string]any) {
			for _, a := range accounts {
				a["provider"], a["issuer"] = "evil", v.evil.URL
			}
		})
	}},
	{name: "index: another MCP server, and all scopes", do: func(v *victim) {
		v.edit(func(_ map[string]any, accounts []map[string]any) {
			for _, a := range accounts {
				a["resource"], a["service"], a["scopes"] = v.evil.URL+"/mcp", "Evil", []string{"read", "admin"}
			}
		})
	}},
	{name: "index: logins of persons and of services exchanged", do: func(v *victim) {
		v.edit(func(_ map[string]any, accounts []map[string]any) {
			for _, a := range accounts {
				if a["kind"] == "client" {
					a["kind"] = "oauth"
				} else {
					a["kind"] = "client"
				}
			}
		})
	}},
	{name: "index: an id that is a path", do: func(v *victim) {
		v.edit(func(_ map[string]any, accounts []map[string]any) { accounts[0]["id"] = "../../../home/x" })
	}},
	{name: "index: a store id that is a path", do: func(v *victim) {
		v.edit(func(index map[string]any, _ []map[string]any) { index["store"] = "../../../home/x" })
	}},
	{name: "index: a slot that is a path", do: func(v *victim) {
		v.edit(func(_ map[string]any, accounts []map[string]any) { accounts[1]["grant_slot"] = "a/../../x" })
	}},
	{name: "index: a folder elsewhere", do: func(v *victim) {
		v.edit(func(index map[string]any, _ []map[string]any) { index["path"] = filepath.Join(v.s.Root, "home") })
	}},
	{name: "index: another key file", do: func(v *victim) {
		key := filepath.Join(v.s.Root, "home", "evil-key.txt")
		testenv.Must(v.s.T, keystore.InitKeyFile(key))
		v.edit(func(index map[string]any, _ []map[string]any) { index["key_file"] = key })
		data, _ := os.ReadFile(key)
		// leaked looks for the keys of age.
		v.write(key, strings.ReplaceAll(string(data), "AGE-SECRET-KEY-1", "age-secret-key-1"))
	}},
	{name: "index: another keystore", do: func(v *victim) {
		v.s.Env = append(v.s.Env, "AUTHFERRY_KEYSTORE=file", "DBUS_SESSION_BUS_ADDRESS=unix:path="+filepath.Join(v.s.Root, "none"))
		v.edit(func(index map[string]any, _ []map[string]any) { index["keystore"] = "keychain" })
	}},
	{name: "index: kinds exchanged", do: func(v *victim) {
		v.edit(func(_ map[string]any, accounts []map[string]any) {
			for _, a := range accounts {
				if a["kind"] == "api-key" {
					a["kind"] = "oauth"
				} else {
					a["kind"] = "api-key"
				}
			}
		})
	}},
	{name: "index: accounts in each other's place", do: func(v *victim) {
		v.edit(func(_ map[string]any, accounts []map[string]any) {
			first := accounts[0]["id"]
			for i := range len(accounts) - 1 {
				accounts[i]["id"] = accounts[i+1]["id"]
			}
			accounts[len(accounts)-1]["id"] = first
		})
	}},
	{name: "index: everything is over, or was shared with a file of the user's", do: func(v *victim) {
		mine := filepath.Join(v.s.Root, "home", "mine")
		v.write(mine, `{"sim":{"type":"oauth","refresh":"mine","access":"mine","expires":1}}`)
		v.edit(func(_ map[string]any, accounts []map[string]any) {
			for _, a := range accounts {
				a["removing"], a["shared"], a["dead"] = a["kind"] == "api-key", mine, a["fingerprint"]
			}
		})
	}},
	{name: "index: texts that steer a terminal", do: func(v *victim) {
		v.edit(func(_ map[string]any, accounts []map[string]any) {
			for _, a := range accounts {
				a["identity"], a["failure"] = "\x1b[2J\nauthferry: error: x", map[string]any{"class": "x", "message": "\x1b]0;x\x07", "next_try_at": "2026-01-01T00:00:00Z"}
			}
		})
	}},
	{name: "index: names that a shell heeds", do: func(v *victim) {
		v.edit(func(_ map[string]any, accounts []map[string]any) {
			for _, a := range accounts {
				a["provider"], a["dead"] = "sim;touch "+filepath.Join(v.s.Root, "marker"), a["fingerprint"]
			}
		})
	}},
	{name: "index: numbers without end", do: func(v *victim) {
		v.edit(func(_ map[string]any, accounts []map[string]any) {
			for i, a := range accounts {
				a["generation"] = []int{1 << 30, 1<<30 - 1, 1000}[i%3]
				a["intents"] = []map[string]any{{"slot": "b", "generation": 1 << 30, "fingerprint": a["fingerprint"], "attempt": 1 << 30, "pid": 1, "started_at": "2026-01-01T00:00:00Z"}}
				a["failure"] = map[string]any{"class": "unknown", "count": 1 << 30, "next_try_at": "2026-01-01T00:00:00Z"}
			}
		})
	}},
	{name: "index: numbers beyond the end", do: func(v *victim) {
		v.edit(func(_ map[string]any, accounts []map[string]any) {
			accounts[0]["generation"], accounts[1]["failure"] = math.MaxInt-1, map[string]any{"class": "unknown", "count": -50, "next_try_at": "2026-01-01T00:00:00Z"}
		})
	}},
	{name: "providers: the provider is at the attacker's", do: func(v *victim) { v.write("providers.toml", toml("sim", v.evilProvider())) }},
	{name: "providers: built-ins at the attacker's", do: func(v *victim) {
		p := v.evilProvider()
		v.write("providers.toml", toml("anthropic", p)+toml("sim", p))
	}},
	{name: "providers: only where it revokes and asks for names", do: func(v *victim) {
		v.write("providers.toml", toml("sim", map[string]any{"issuer": v.s.Server.URL, "token_endpoint": v.s.Server.URL + "/token", "client_id": "authferry-sim",
			"revocation_endpoint": v.evil.URL, "userinfo_endpoint": v.evil.URL, "device_authorization_endpoint": v.evil.URL, "authorization_endpoint": v.s.Server.URL + "/authorize"}))
	}},
	{name: "providers: headers that go elsewhere", do: func(v *victim) {
		v.write("providers.toml", toml("sim", map[string]any{"token_endpoint": v.s.Server.URL + "/token", "client_id": "authferry-sim",
			"headers": []string{"host: " + v.evil.URL, "authorization: Bearer {token}\r\nhost: evil.example", "proxy-authorization: {token}"}}))
	}},
	{name: "providers: the MCP servers, their issuers and registrations at the attacker's", do: func(v *victim) {
		p := v.evilProvider()
		p["mcp"], p["registration"] = v.evil.URL+"/mcp", "dynamic"
		v.write("providers.toml", toml("docs", p)+toml("svc", p))
	}},
	{name: "providers: the MCP servers of one another, with one another's clients", do: func(v *victim) {
		now, err := os.ReadFile(filepath.Join(v.s.Dir, "providers.toml"))
		testenv.Must(v.s.T, err)
		v.write("providers.toml", strings.NewReplacer("[docs]", "[svc]", "[svc]", "[docs]").Replace(string(now)))
	}},
	{name: "providers: commands", do: func(v *victim) {
		v.write("providers.toml", toml("sim", map[string]any{"client_id": "x", "command": v.program, "credential_process": v.program, "exec": []string{v.program}, "browser": v.program}))
	}},
	{name: "providers: variables that a loader heeds", do: func(v *victim) {
		v.write("providers.toml", toml("sim", map[string]any{"token_endpoint": v.s.Server.URL + "/token", "client_id": "authferry-sim", "env": []string{"LD_PRELOAD", "BASH_ENV", "PATH"}}))
	}},
	{name: "config: commands and places", do: func(v *victim) {
		v.write("config.toml", fmt.Sprintf("command = %[1]q\nbrowser = %[1]q\neditor = %[1]q\nkeystore = 'file'\nkey_file = %[1]q\ntoken_endpoint = %[2]q\nproxy = %[2]q\n[providers.sim]\ntoken_endpoint = %[2]q\n", v.program, v.evil.URL))
	}},
	{name: "vault: one record in the place of another", do: func(v *victim) {
		files := v.vault()
		for i, path := range files {
			data, err := os.ReadFile(files[(i+1)%len(files)])
			testenv.Must(v.s.T, err)
			defer v.write(path, string(data))
		}
	}},
	{name: "vault: records of the attacker's own making", do: func(v *victim) { v.forge() }},
	{name: "everything of the attacker's own making, but the key file that the user named", do: func(v *victim) {
		v.s.Env = append(v.s.Env, "AUTHFERRY_KEY_FILE="+filepath.Join(v.s.Root, "key.txt"))
		key := v.forge()
		v.edit(func(index map[string]any, _ []map[string]any) { index["key_file"] = key })
	}},
	{name: "vault: damaged", do: func(v *victim) {
		for _, path := range v.vault() {
			v.write(path, "age-encryption.org/v1\n-> X25519 "+strings.Repeat("A", 43)+"\n")
		}
	}},
	{name: "links: from the vault to other files", links: true, do: func(v *victim) {
		v.write(filepath.Join(v.s.Root, "home", "mine"), "mine")
		for _, path := range v.vault() {
			v.link(filepath.Join("vault", filepath.Base(path)), filepath.Join(v.s.Root, "home", "mine"))
		}
	}},
	{name: "links: vault and locks are elsewhere", links: true, do: func(v *victim) {
		for _, name := range []string{"vault", "locks"} {
			elsewhere := filepath.Join(v.s.Root, "home", name)
			testenv.Must(v.s.T, os.CopyFS(elsewhere, os.DirFS(filepath.Join(v.s.Dir, name))))
			v.write(filepath.Join(elsewhere, "mine.tmp"), "mine")
			testenv.Must(v.s.T, os.RemoveAll(filepath.Join(v.s.Dir, name)))
			v.link(name, elsewhere)
		}
	}},
	{name: "links: other names of other files", links: true, do: func(v *victim) {
		v.s.Env = append(v.s.Env, "AUTHFERRY_LOCK_TIMEOUT=1s") // all the locks are one then
		mine := filepath.Join(v.s.Root, "home", "mine")
		v.write(mine, "mine, and long enough to be cut off by what anybody writes here, if it writes here")
		locks, err := filepath.Glob(filepath.Join(v.s.Dir, "locks", "*"))
		if err != nil || len(locks) == 0 {
			v.s.T.Fatalf("%v, %v", locks, err)
		}
		paths := append(v.vault(), filepath.Join(v.s.Dir, "index.json.bak"), filepath.Join(v.s.Dir, "index.json.tmp"))
		for _, path := range locks {
			paths = append(paths, path, path+".holder", path+".tmp")
		}
		for _, path := range paths {
			_ = os.Remove(path)
			testenv.Must(v.s.T, os.Link(mine, path))
		}
	}},
	{name: "links: from the locks to other files", links: true, do: func(v *victim) {
		v.write(filepath.Join(v.s.Root, "home", "mine"), "mine")
		locks, err := filepath.Glob(filepath.Join(v.s.Dir, "locks", "*.lock"))
		if err != nil || len(locks) == 0 {
			v.s.T.Fatalf("%v, %v", locks, err)
		}
		for i, path := range locks {
			name := filepath.Join("locks", filepath.Base(path))
			v.link(name+".holder", filepath.Join(v.s.Root, "home", "mine"))
			if i%2 == 0 {
				v.link(name, filepath.Join(v.s.Root, "home", "new"))
			}
		}
	}},
	{name: "links: from the holders to other files", links: true, do: func(v *victim) {
		v.write(filepath.Join(v.s.Root, "home", "mine"), "mine, and long enough to be cut off by what a holder writes, if it writes here")
		locks, err := filepath.Glob(filepath.Join(v.s.Dir, "locks", "*"))
		if err != nil || len(locks) == 0 {
			v.s.T.Fatalf("%v, %v", locks, err)
		}
		for _, path := range locks {
			if name := filepath.Base(path); strings.HasSuffix(name, ".lock") || strings.HasSuffix(name, ".gate") {
				v.link(filepath.Join("locks", name+".holder"), filepath.Join(v.s.Root, "home", "mine"))
			}
		}
	}},
	{name: "links: files that never end", links: true, do: func(v *victim) {
		v.link("config.toml", "/dev/zero")
		v.link("providers.toml", "/dev/zero")
		v.link(filepath.Join("vault", filepath.Base(v.vault()[0])), "/dev/zero")
	}},
	{name: "pipes that nobody writes to", links: true, do: func(v *victim) {
		pipe := filepath.Join(v.s.Dir, "pipe")
		if out, err := exec.CommandContext(v.s.T.Context(), "mkfifo", pipe).CombinedOutput(); err != nil {
			v.s.T.Fatalf("%v: %s", err, out)
		}
		v.link("config.toml", pipe)
		v.link("providers.toml", pipe)
		v.link(filepath.Join("vault", filepath.Base(v.vault()[0])), pipe)
	}},
	{name: "index: a key file that is a pipe", links: true, do: func(v *victim) {
		pipe := filepath.Join(v.s.Dir, "pipe")
		if out, err := exec.CommandContext(v.s.T.Context(), "mkfifo", pipe).CombinedOutput(); err != nil {
			v.s.T.Fatalf("%v: %s", err, out)
		}
		v.edit(func(index map[string]any, _ []map[string]any) { index["key_file"] = pipe })
	}},
	{name: "links: index and backup", links: true, do: func(v *victim) {
		mine := filepath.Join(v.s.Root, "home", "mine")
		v.write(mine, "mine")
		v.link("index.json.bak", mine)
		v.link("config.toml", mine)
	}},
}
