package main

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
)

// gitHelper is where Debian's git has the source of its libsecret helper.
const gitHelper = "/usr/share/doc/git/contrib/credential/libsecret/git-credential-libsecret.c"

// build puts the programs that are run into dir. What needs libsecret's headers
// is left out where they are not.
func build(dir string) error {
	imports, err := importsOf("./cmd/authferry")
	if err != nil {
		return err
	}
	idle := filepath.Join(dir, "idle.go")
	if err := os.WriteFile(idle, imports, 0o600); err != nil {
		return err
	}
	for _, p := range []struct {
		out   string
		flags []string
	}{
		{"authferry", []string{"./cmd/authferry"}},
		{"authferry-stripped", []string{"-ldflags=-s -w", "./cmd/authferry"}},
		{"authferry-sim", []string{"./cmd/authferry-sim"}},
		{"bare", []string{"bench/programs/bare.go"}},
		{"hello", []string{"bench/programs/hello.go"}},
		{"idle", []string{idle}},
		{"peak", []string{"bench/programs/peak.go"}},
		{"writes", []string{"bench/programs/writes.go"}},
	} {
		// As the released programs are built.
		if err := compile(dir, p.out, "CGO_ENABLED=0", append([]string{"go", "build", "-trimpath"}, p.flags...)...); err != nil {
			return err
		}
	}
	if missing := exec.CommandContext(ctx, "pkg-config", "--exists", "libsecret-1").Run(); missing == nil {
		buildPeers(dir)
	} else {
		fmt.Fprintln(os.Stderr, "bench: without the helpers of docker and git: needs libsecret's headers: apt-get install gcc pkg-config libsecret-1-dev")
	}
	return nil
}

// buildPeers says which of the helpers will be missing.
func buildPeers(dir string) {
	if err := compile(dir, docker, "CGO_ENABLED=1", "go", "build", "-C", "bench/peers", "github.com/docker/docker-credential-helpers/secretservice/cmd"); err != nil {
		fmt.Fprintln(os.Stderr, "bench: without docker's helper:", err)
	}
	if err := compile(dir, git, "", "sh", "-c", `gcc -O2 -o "$2" "$0" $(pkg-config --cflags --libs libsecret-1)`, gitHelper); err != nil {
		fmt.Fprintln(os.Stderr, "bench: without git's helper: needs its source: apt-get install git:", err)
	}
}

const (
	docker = "docker-credential-secretservice"
	git    = "git-credential-libsecret"
)

// compile runs command with "-o OUT", and makes OUT a copy of what that wrote, as
// installing it does: a file that a linker wrote in pieces is mapped into memory
// in pieces, which costs up to a fifth more in every start.
func compile(dir, out, env string, command ...string) error {
	linked := filepath.Join(dir, "linked")
	if command[0] == "go" {
		last := len(command) - 1
		command = append(command[:last:last], "-o", linked, command[last])
	} else {
		command = append(command, "-o", linked)
	}
	cmd := exec.CommandContext(ctx, command[0], command[1:]...)
	cmd.Env = append(os.Environ(), env)
	if said, err := cmd.CombinedOutput(); err != nil {
		return fmt.Errorf("%s: %w\n%s", strings.Join(command, " "), err, said)
	}
	program, err := os.ReadFile(linked)
	return errors.Join(err, os.WriteFile(filepath.Join(dir, out), program, 0o700), os.Remove(linked)) // #nosec G306 -- it is run
}

// importsOf is a program that imports what another does, and ends at once.
func importsOf(pkg string) ([]byte, error) {
	list, err := exec.CommandContext(ctx, "go", "list", "-f", `{{join .Imports "\n"}}`, pkg).Output()
	if err != nil {
		return nil, fmt.Errorf("go list %s: %w", pkg, err)
	}
	var source bytes.Buffer
	source.WriteString("package main\n\nimport (\n")
	for path := range strings.FieldsSeq(string(list)) {
		fmt.Fprintf(&source, "\t_ %q\n", path)
	}
	source.WriteString(")\n\nfunc main() {}\n")
	return source.Bytes(), nil
}
