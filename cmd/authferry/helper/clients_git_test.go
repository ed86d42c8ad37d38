package helper_test

import (
	"encoding/json"
	"net/http"
	"net/http/cgi"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/authferry/authferry/broker/brokertest"
	"github.com/authferry/authferry/cmd/authferry/authferrytest"
	"github.com/authferry/authferry/testenv"
)

// Clone and push as a user would, over http on loopback.
func TestGitClient(t *testing.T) {
	t.Parallel()
	git := client(t, "git", "apt-get install git")
	s := newScene(t, brokertest.Config{})
	where := strings.TrimSpace(s.works(s.Root, nil, git, "--exec-path").Out)
	backend := filepath.Join(where, authferrytest.Exe("git-http-backend"))
	if _, err := os.Stat(backend); err != nil {
		t.Skip("needs git-http-backend: it comes with git on Debian")
	}
	repos := filepath.Join(s.Root, "repos")
	c := newSite(s, false, &cgi.Handler{Path: backend, Env: []string{"GIT_PROJECT_ROOT=" + repos, "GIT_HTTP_EXPORT_ALL=1", "REMOTE_USER=site"}})
	c.logIn("ada")
	env := []string{
		"GIT_TERMINAL_PROMPT=0", "GIT_ASKPASS=", "SSH_ASKPASS=", "GIT_CONFIG_NOSYSTEM=1", "GIT_CONFIG_GLOBAL=" + s.Write("gitconfig", `
[init]
	defaultBranch = main
[user]
	name = Ada
	email = ada@example.com
[credential]
	helper =
	helper = "!'`+c.s.named("authferry")+`' helper git --account ada"
`),
	}
	s.works(s.Root, env, git, "init", "-q", "--bare", filepath.Join(repos, "team.git"))
	s.works(filepath.Join(repos, "team.git"), env, git, "config", "http.receivepack", "true")
	tree := filepath.Join(s.Root, "tree")
	s.works(s.Root, env, git, "clone", "-q", c.URL+"/team.git", tree)
	s.Write("tree/file", "content\n")
	s.works(tree, env, git, "add", "file")
	s.works(tree, env, git, "commit", "-q", "-m", "one")
	s.works(tree, env, git, "push", "-q", "origin", "main")
	head := s.works(tree, env, git, "rev-parse", "main").Out
	if got := s.works(filepath.Join(repos, "team.git"), env, git, "rev-parse", "main").Out; got != head {
		t.Errorf("pushed %s, want %s", got, head)
	}
	c.wantRefreshes(0)

	// A token that the site refuses costs one command.
	c.expire()
	if got := s.with(tree, env, git, "fetch", "-q"); got.Code == 0 {
		t.Error("git fetched with a token that is over")
	}
	c.wantRefreshes(1)
	c.forget()
	s.works(tree, env, git, "fetch", "-q")
	if c.count("200 ada") == 0 {
		t.Errorf("%q", c.answers)
	}
	c.wantRefreshes(1)

	// As git-credential-authferry on PATH, told by the site's origin alone.
	linked := append(slices.Clip(env), "GIT_CONFIG_GLOBAL="+s.Write("linkedconfig", "[credential]\n\thelper = authferry\n"))
	s.works(tree, linked, git, "fetch", "-q")
	s.works(tree, linked, git, "push", "-q", "origin", "main:other")

	// What has less than five minutes left is refreshed before git gets it.
	s.Must(s.Grant("eve", time.Minute), "import", "grant", "sim", "--label", "eve")
	s.works(tree, append(linked, "AUTHFERRY_ACCOUNT=eve"), git, "fetch", "-q")
	if c.count("200 eve") == 0 {
		t.Errorf("%q", c.answers)
	}
	c.wantRefreshes(2)

	// A login that is over is told, in a line, where git shows it.
	s.Must(s.Grant("old", -time.Second), "import", "grant", "sim", "--label", "old")
	s.Server.Revoke("old")
	got := s.with(tree, append(linked, "AUTHFERRY_ACCOUNT=old"), git, "fetch", "-q")
	if want := `authferry: error: account "old" needs a new login; the old one ended at the provider (authferry login sim --renew old)` + "\n"; got.Code == 0 || !strings.HasPrefix(got.Err, want) {
		t.Errorf("%d %s", got.Code, got.Err)
	}

	// Git does not speak of a limit to anybody.
	c.limit("ada", -1, "3600")
	if got := s.with(tree, env, git, "fetch", "-q"); got.Code == 0 || !strings.Contains(got.Err, "429") {
		t.Errorf("%d %s", got.Code, got.Err)
	}
	if held := s.Held(); held != "" {
		t.Errorf("%s is held", held)
	}
}

// An OpenID issuer and git take four commands: provider add, login, setup git, git clone.
func TestWalkOfAnIssuerAndGit(t *testing.T) {
	git := client(t, "git", "apt-get install git")
	s := newScene(t, brokertest.Config{})
	backend := filepath.Join(strings.TrimSpace(s.works(s.Root, nil, git, "--exec-path").Out), authferrytest.Exe("git-http-backend"))
	if _, err := os.Stat(backend); err != nil {
		t.Skip("needs git-http-backend: it comes with git on Debian")
	}
	repos := filepath.Join(s.Root, "repos")
	s.works(s.Root, nil, git, "init", "-q", "--bare", filepath.Join(repos, "team.git"))
	c := newSite(s, false, &cgi.Handler{Path: backend, Env: []string{"GIT_PROJECT_ROOT=" + repos, "GIT_HTTP_EXPORT_ALL=1"}}) // and adds the provider

	login := s.Command("login", "sim", "--json", "--no-browser")
	out, err := login.StdoutPipe()
	testenv.Must(t, err)
	testenv.Must(t, login.Start())
	var event struct{ URL string }
	testenv.Must(t, json.NewDecoder(out).Decode(&event))
	page, err := http.Get(event.URL)
	testenv.Must(t, err)
	_ = page.Body.Close()
	testenv.Must(t, login.Wait())

	if got := s.Must("", "setup", "git"); !strings.Contains(got.Err, c.URL) {
		t.Errorf("the change doesn't name the host:\n%s", got.Err)
	}
	s.works(s.Root, []string{"GIT_TERMINAL_PROMPT=0", "GIT_ASKPASS=", "GIT_CONFIG_NOSYSTEM=1"}, git, "clone", "-q", c.URL+"/team.git", "tree")
	if c.count("200 ada@example.com") == 0 {
		t.Errorf("git was not let in: %q", c.answers)
	}
}

// A site that is not the account's gets nothing, however it is asked.
func TestGitClientElsewhere(t *testing.T) {
	git := client(t, "git", "apt-get install git")
	s := newScene(t, brokertest.Config{})
	c := newSite(s, false, http.NotFoundHandler())
	c.logIn("ada")
	got := s.with(s.Root, []string{"GIT_TERMINAL_PROMPT=0", "GIT_ASKPASS=", "GIT_CONFIG_NOSYSTEM=1",
		"GIT_CONFIG_GLOBAL=" + s.Write("gitconfig", "[credential]\n\thelper = \"!'"+c.s.named("authferry")+"' helper git --account ada\"\n")},
		git, "ls-remote", strings.Replace(c.URL, "127.0.0.1", "localhost", 1)+"/team.git")
	if got.Code == 0 || c.count("401") != 1 || len(c.answers) != 1 {
		t.Errorf("%d, %q", got.Code, c.answers)
	}
}
