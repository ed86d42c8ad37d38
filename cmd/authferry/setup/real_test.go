package setup

import (
	"encoding/json"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"testing"

	"github.com/authferry/authferry/proofs"
	"github.com/authferry/authferry/testenv"
)

// The clients themselves are asked what they read out of the files that setup
// wrote: beside what was there, and after the undoing only that.

// awkward is a machine on which authferry is where it has to be quoted.
func awkward(t *testing.T) Machine {
	m := machine(t)
	if runtime.GOOS == "windows" {
		return m
	}
	dir := filepath.Join(m.Home, "it's \"mine\" $HOME", "bin")
	testenv.Must(t, os.MkdirAll(dir, 0o700))
	m.Binary = filepath.Join(dir, "authferry")
	testenv.Must(t, os.WriteFile(m.Binary, []byte("#!/bin/sh\nprintf '%s\\n' \"$0\" \"$@\" >\"$SAID\"\necho username=u; echo password=p\n"), 0o700))
	return m
}

// run runs it with its home there, and returns what it prints.
func (p realClient) run(t *testing.T, stdin string, args ...string) (string, error) {
	t.Helper()
	path, err := exec.LookPath(p.name)
	if err != nil {
		t.Skipf("needs %s: %s", p.name, p.get)
	}
	cmd := exec.CommandContext(t.Context(), path, args...)
	cmd.Env = append(slices.DeleteFunc(os.Environ(), func(v string) bool {
		name, _, _ := strings.Cut(v, "=")
		return slices.Contains([]string{"KUBECONFIG", "DOCKER_CONFIG", "CARGO_HOME", "GOENV", "GOAUTH", "GOFLAGS", "TF_CLI_CONFIG_FILE", "GIT_CONFIG_GLOBAL", "XDG_CONFIG_HOME", "PATH"}, name)
	}), append([]string{
		"HOME=" + p.m.Home, "USERPROFILE=" + p.m.Home, "PATH=" + filepath.Dir(p.m.Binary) + string(filepath.ListSeparator) + os.Getenv("PATH"),
		"GIT_CONFIG_NOSYSTEM=1", "GIT_TERMINAL_PROMPT=0", "GOTOOLCHAIN=local", "CHECKPOINT_DISABLE=1", "SAID=" + filepath.Join(p.m.Home, "said"),
	}, p.env...)...)
	cmd.Dir = p.m.Home
	cmd.Stdin = strings.NewReader(stdin)
	output, err := cmd.CombinedOutput()
	return string(output), err
}

type realClient struct {
	name, get string
	m         Machine
	env       []string
}

func TestGitReadsIt(t *testing.T) {
	p := realClient{name: "git", get: "apt-get install git", m: awkward(t)}
	path := filepath.Join(p.m.Home, ".gitconfig")
	write(t, path, "[credential]\n\thelper = store\n[user]\n\tname = Ada")
	if output, err := p.run(t, "", "config", "--global", "user.name"); err != nil || output != "Ada\n" {
		t.Fatal(output, err)
	}
	put(t, client(t, "git"), p.m, choice, false)
	put(t, client(t, "git"), p.m, second, false)
	if output, err := p.run(t, "", "config", "--global", "--get-all", "credential.https://two.example:8443.helper"); err != nil || !strings.Contains(output, "helper git --pool work") {
		t.Errorf("for the second host git reads %q, %v", output, err)
	}
	output, err := p.run(t, "", "config", "--global", "--get-all", "credential.https://one.example.helper")
	if err != nil || !strings.Contains(output, "helper git --account acc_aaaaaaaaaaaaaaaa") || !strings.HasPrefix(output, "\n") {
		t.Errorf("git reads %q, %v", output, err)
	}
	if runtime.GOOS != "windows" {
		output, err = p.run(t, "protocol=https\nhost=one.example\n\n", "credential", "fill")
		if err != nil || !strings.Contains(output, "password=p") {
			t.Errorf("git credential fill: %q, %v", output, err)
		}
		said(t, p.m, "helper", "git", "--account", "acc_aaaaaaaaaaaaaaaa", "get")
		// A password that worked is told to no other helper.
		if output, err := p.run(t, "protocol=https\nhost=one.example\nusername=u\npassword=p\n\n", "credential", "approve"); err != nil {
			t.Error(output, err)
		}
		if exists(filepath.Join(p.m.Home, ".git-credentials")) {
			t.Error("another helper has kept the token")
		}
	}
	if output, err := p.run(t, "", "config", "--global", "user.name"); err != nil || output != "Ada\n" {
		t.Error(output, err)
	}
	put(t, client(t, "git"), p.m, Choice{}, true)
	if output, err := p.run(t, "", "config", "--global", "--list"); err != nil || strings.Contains(output, "one.example") {
		t.Error(output, err)
	}
}

// said is how authferry was called last.
func said(t *testing.T, m Machine, args ...string) {
	t.Helper()
	got, err := os.ReadFile(filepath.Join(m.Home, "said"))
	if want := strings.Join(append([]string{m.Binary}, args...), "\n") + "\n"; err != nil || string(got) != want {
		t.Errorf("it was called as %q, %v, want %q", got, err, want)
	}
}

func TestGoReadsIt(t *testing.T) {
	m := machine(t)
	p := realClient{name: "go", get: "https://go.dev/doc/install", m: m}
	file, err := goEnvFile(m)
	testenv.Must(t, err)
	p.env = []string{"AppData=" + m.Getenv("AppData")}
	if output, err := p.run(t, "", "env", "GOENV"); err != nil || strings.TrimSpace(output) != file {
		t.Errorf("go has its configuration at %q, %v, want %q", output, err, file)
	}
	for before, want := range map[string]string{
		"GOPRIVATE=a.example\n":       "; netrc",
		"# x\nGOAUTH=git /src; netrc": "; git /src; netrc",
	} {
		write(t, file, before)
		put(t, client(t, "go"), m, choice, false)
		output, err := p.run(t, "", "env", "GOAUTH")
		if ours, _ := goCommand(m, choice); err != nil || strings.TrimSpace(output) != ours+want {
			t.Errorf("go reads %q, %v", output, err)
		}
		// go sorts the lines when it writes them; ours comes out all the same.
		if output, err := p.run(t, "", "env", "-w", "GONOPROXY=b.example"); err != nil {
			t.Fatal(output, err)
		}
		put(t, client(t, "go"), m, Choice{}, true)
		output, err = p.run(t, "", "env", "GOAUTH", "GONOPROXY")
		if wanted := strings.TrimPrefix(want, "; ") + "\nb.example\n"; err != nil || output != wanted {
			t.Errorf("undone, go reads %q, %v, want %q", output, err, wanted)
		}
	}
}

func TestKubectlReadsIt(t *testing.T) {
	for _, before := range proofs.Sample(3, files["kubernetes"]) {
		p := realClient{name: "kubectl", get: "https://kubernetes.io/docs/tasks/tools", m: awkward(t)}
		path := filepath.Join(p.m.Home, ".kube", "config")
		write(t, path, before)
		was, err := p.run(t, "", "config", "view", "-o", "json")
		if err != nil {
			t.Fatal(was, err)
		}
		put(t, client(t, "kubernetes"), p.m, choice, false)
		output, err := p.run(t, "", "config", "view", "-o", "json")
		var view struct {
			Users []struct {
				Name string
				User struct {
					Exec struct {
						Command string
						Args    []string
					}
				}
			}
		}
		if jsonErr := json.Unmarshal([]byte(output), &view); err != nil || jsonErr != nil || len(view.Users) == 0 {
			t.Errorf("%q: kubectl reads %s, %v", before, output, err)
			continue
		}
		found := false
		for _, u := range view.Users {
			found = found || u.Name == "authferry" && u.User.Exec.Command == p.m.Binary && slices.Equal(u.User.Exec.Args, helper(p.m, choice, "kubernetes")[1:])
		}
		if !found {
			t.Errorf("%q: kubectl reads %s", before, output)
		}
		put(t, client(t, "kubernetes"), p.m, Choice{}, true)
		if output, err := p.run(t, "", "config", "view", "-o", "json"); err != nil || output != was {
			t.Errorf("%q: undone, kubectl reads %s, %v, want %s", before, output, err, was)
		}
	}
}

func TestDockerReadsIt(t *testing.T) {
	p := realClient{name: "docker", get: "https://docs.docker.com/engine/install", m: machine(t)}
	write(t, p.m.Binary, "#!/bin/sh\nprintf '%s\\n' \"$0\" \"$@\" >\"$SAID\"\ncat >/dev/null\necho '{\"ServerURL\":\"127.0.0.1:1\",\"Username\":\"u\",\"Secret\":\"p\"}'\n")
	testenv.Must(t, os.Chmod(p.m.Binary, 0o700))
	mine := choice
	mine.Origins = []string{"https://127.0.0.1:1"}
	put(t, client(t, "docker"), p.m, mine, false)
	put(t, client(t, "docker"), p.m, second, false)
	put(t, client(t, "docker"), p.m, second, true)
	if runtime.GOOS == "windows" {
		t.Skip("needs sh: the helper here is a script, and Windows has none")
	}
	// There is nobody at that port; docker asks its helper all the same.
	_, _ = p.run(t, "", "manifest", "inspect", "--insecure", "127.0.0.1:1/a/b:latest")
	got, err := os.ReadFile(filepath.Join(p.m.Home, "said"))
	if !strings.HasSuffix(string(got), "docker-credential-authferry\nget\n") {
		t.Errorf("docker asked with %q, %v", got, err)
	}
}

func TestCargoReadsIt(t *testing.T) {
	p := realClient{name: "cargo", get: "https://doc.rust-lang.org/cargo/getting-started/installation.html", m: awkward(t)}
	if cargo, err := exec.LookPath("cargo"); err == nil && exec.Command(cargo, "--version").Run() != nil {
		t.Skip("needs cargo: rustup has no toolchain for this user")
	}
	rustup := os.Getenv("RUSTUP_HOME")
	if home, err := os.UserHomeDir(); rustup == "" && err == nil {
		rustup = filepath.Join(home, ".rustup")
	}
	p.env = []string{"RUSTUP_HOME=" + rustup}
	path := filepath.Join(p.m.Home, ".cargo", "config.toml")
	write(t, path, "# mine\n[registries.mine]\nindex = \"sparse+https://one.example/index/\"\n[net]\noffline = true\n")
	put(t, client(t, "cargo"), p.m, choice, false)
	output, err := p.run(t, "", "logout", "--registry", "mine")
	if got, readErr := os.ReadFile(filepath.Join(p.m.Home, "said")); readErr != nil || string(got) != p.m.Binary+"\n--cargo-plugin\n" {
		t.Errorf("cargo called %q, %v; it said %s, %v", got, readErr, output, err)
	}
	put(t, client(t, "cargo"), p.m, Choice{}, true)
}

func TestTerraformReadsIt(t *testing.T) {
	p := realClient{name: "terraform", get: "https://developer.hashicorp.com/terraform/install", m: machine(t)}
	write(t, p.m.Binary, "#!/bin/sh\nprintf '%s\\n' \"$0\" \"$@\" >\"$SAID\"\necho '{}'\n")
	testenv.Must(t, os.Chmod(p.m.Binary, 0o700))
	write(t, filepath.Join(p.m.Home, ".terraformrc"), "# mine\ncredentials \"app.example\" {\n  token = \"x\"\n}")
	put(t, client(t, "terraform"), p.m, choice, false)
	put(t, client(t, "terraform"), p.m, second, false)
	if output, err := p.run(t, "", "version"); err != nil || strings.Contains(output, "problems with the CLI configuration") {
		t.Errorf("terraform says %s, %v", output, err)
	}
	if runtime.GOOS == "windows" {
		t.Skip("needs sh: the helper here is a script, and Windows has none")
	}
	write(t, filepath.Join(p.m.Home, "main.tf"), "module \"x\" {\n  source = \"127.0.0.1:1/a/b/c\"\n}\n")
	output, _ := p.run(t, "", "get")
	got, err := os.ReadFile(filepath.Join(p.m.Home, "said"))
	if !strings.HasSuffix(string(got), "terraform-credentials-authferry\n--at\none.example=acc_aaaaaaaaaaaaaaaa\n--at\ntwo.example:8443=work\nget\n127.0.0.1:1\n") {
		t.Errorf("terraform asked with %q, %v; it said %s", got, err, output)
	}
	put(t, client(t, "terraform"), p.m, Choice{}, true)
	if output, err := p.run(t, "", "version"); err != nil {
		t.Errorf("undone, terraform says %s, %v", output, err)
	}
}
