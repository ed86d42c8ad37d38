package setup

import (
	"fmt"
	"path/filepath"
	"strings"
	"testing"

	"github.com/authferry/authferry/testenv"
)

// second is another choice for another host.
var second = Choice{Provider: "other", Pool: "work", Origins: []string{"https://two.example:8443"}}

// joined are clients that are set up by host, with a file and what of it is the entry of
// each of the two choices.
var joined = []struct{ client, path, before, first, second string }{
	{"git", ".gitconfig", "[user]\n\tname = A\n", "\thelper = \"BINARY helper git --account acc_aaaaaaaaaaaaaaaa\"", "\thelper = \"BINARY helper git --pool work\""},
	{"docker", ".docker/config.json", "{\n  \"auths\": {\n    \"r.example\": {\n      \"auth\": \"Y2FuYXJ5\"\n    }\n  }\n}\n", `    "one.example": "authferry"`, `    "two.example:8443": "authferry"`},
	{"docker", ".docker/config.json", "{\n  \"credHelpers\": {\n    \"gcr.io\": \"gcloud\"\n  }\n}\n", `    "one.example": "authferry"`, `    "two.example:8443": "authferry"`},
	{"cargo", ".cargo/config.toml", "[registries.one]\nindex = \"sparse+https://one.example/\"\n\n[registries.two]\nindex = \"sparse+https://two.example:8443/\"\n", `credential-provider = ["BINARY", "helper", "cargo", "--account", "acc_aaaaaaaaaaaaaaaa"]`, `credential-provider = ["BINARY", "helper", "cargo", "--pool", "work"]`},
	{"terraform", ".terraformrc", "# mine\n", `"--at", "one.example=acc_aaaaaaaaaaaaaaaa"`, `"--at", "two.example:8443=work"`},
}

// A second host joins the first, in whatever order; the one that is taken out leaves the
// other as it was, and a host's entry alone is replaced.
func TestSecondHostJoins(t *testing.T) {
	for i, test := range joined {
		for _, order := range [][2]Choice{{choice, second}, {second, choice}} {
			t.Run(fmt.Sprint(test.client, i, order[0].Pool), func(t *testing.T) {
				needs(t, test.client)
				m := machine(t)
				c := client(t, test.client)
				all, err := c.Files(m, choice)
				testenv.Must(t, err)
				path := all[0].Path
				if test.client != "terraform" || m.OS != "windows" {
					path = filepath.Join(m.Home, filepath.FromSlash(test.path))
				}
				write(t, path, test.before)
				text := func() string {
					now, err := read(path, "")
					testenv.Must(t, err)
					return string(now)
				}
				entries := map[string]string{}
				for _, own := range []struct{ pool, entry string }{{choice.Pool, test.first}, {second.Pool, test.second}} {
					binary := m.Binary
					if test.client == "git" {
						binary = shellLine(m, []string{m.Binary})
					}
					entries[own.pool] = strings.ReplaceAll(own.entry, "BINARY", strings.Trim(quoted(binary), `"`))
				}
				has := func(first, other bool) {
					t.Helper()
					for i, want := range []bool{first, other} {
						if entry := entries[order[i].Pool]; strings.Contains(text(), entry) != want {
							t.Errorf("%q there: %v, in\n%s", entry, !want, text())
						}
					}
				}

				put(t, c, m, order[0], false)
				alone := text()
				has(true, false)
				var shown strings.Builder
				for _, change := range put(t, c, m, order[1], false) {
					shown.WriteString(change.Diff())
				}
				has(true, true)
				state(t, c, m, Current)
				if !strings.Contains(shown.String(), "+") || !strings.Contains(shown.String(), entries[order[1].Pool]) || strings.Contains(shown.String(), "…") {
					t.Errorf("the diff doesn't show %q in full:\n%s", entries[order[1].Pool], shown.String())
				}
				if again := put(t, c, m, order[0], false); len(again) > 0 {
					t.Errorf("the first one again changed:\n%s", again[0].Diff())
				}

				put(t, c, m, order[1], true)
				if text() != alone {
					t.Errorf("without the second it is\n%s\nwas\n%s", text(), alone)
				}
				state(t, c, m, Current) // with its link, where it has one
				if more := put(t, c, m, order[1], true); len(more) > 0 {
					t.Errorf("once more taken out, it changed:\n%s", more[0].Diff())
				}
				put(t, c, m, order[1], false)
				put(t, c, m, order[0], true)
				has(false, true)
				put(t, c, m, order[1], true)
				if text() != test.before {
					t.Errorf("undone, it is\n%s\nwas\n%s", text(), test.before)
				}
				state(t, c, m, Absent)
			})
		}
	}
}

// Another account for the same host takes its place, and no other's.
func TestHostHasOneAccount(t *testing.T) {
	for _, test := range joined {
		needs(t, test.client)
		m := machine(t)
		c := client(t, test.client)
		all, err := c.Files(m, choice)
		testenv.Must(t, err)
		write(t, all[0].Path, test.before)
		put(t, c, m, second, false)
		put(t, c, m, choice, false)
		moved := choice
		moved.Account = "acc_bbbbbbbbbbbbbbbb"
		put(t, c, m, moved, false)
		now, err := read(all[0].Path, "")
		testenv.Must(t, err)
		if text := string(now); test.client != "docker" && (strings.Contains(text, choice.Account) || !strings.Contains(text, moved.Account) || !strings.Contains(text, second.Pool)) {
			t.Errorf("%s:\n%s", test.client, text)
		}
		put(t, c, m, Choice{}, true)
		state(t, c, m, Absent)
	}
}
