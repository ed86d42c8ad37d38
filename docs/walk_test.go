// Package docs holds that what the documents tell people to type works.
package docs

import (
	"bufio"
	"cmp"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"runtime"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/authferry/authferry/broker/brokertest"
	"github.com/authferry/authferry/cmd/authferry/authferrytest"
	"github.com/authferry/authferry/testenv"
)

// What getting-started.md tells a newcomer to type at the simulator works in that
// order, and answers as it says there. In an answer … stands for anything, and alone
// on a line for any lines.
func TestGettingStarted(t *testing.T) {
	p := newPerson(t, "curl")
	text, err := os.ReadFile("getting-started.md")
	testenv.Must(t, err)
	server := brokertest.New(t, brokertest.Config{Rotation: brokertest.Strict, AccessTTL: time.Hour})
	steps := walk(strings.ReplaceAll(string(text), "http://127.0.0.1:4780", server.URL))
	if len(steps) < 12 {
		t.Fatalf("only %d commands: is the document read as it should be?", len(steps))
	}
	sh := p.shell()
	for _, step := range steps {
		if user := regexp.MustCompile(`# as (\S+)`).FindStringSubmatch(step.command); user != nil {
			testenv.Must(t, server.Configure(func(c *brokertest.Config) { c.SignedIn = user[1] }))
		}
		if got := sh.run(step.command); !step.want.MatchString(got) {
			t.Fatalf("$ %s\n%s\nis not as %s", step.command, got, step.want)
		}
	}
	if n := server.Reuse(); n != 0 {
		t.Errorf("%d refresh tokens were sent twice", n)
	}
}

func TestMain(m *testing.M) { os.Exit(authferrytest.Alone(m).Run()) }

// person is somebody who has installed authferry and follows a document: with a home
// of their own, and a browser that approves.
type person struct {
	t    *testing.T
	home string
	env  []string
}

// newPerson skips the test where a program is absent.
func newPerson(t *testing.T, programs ...string) *person {
	t.Helper()
	if runtime.GOOS == "windows" {
		t.Skip("needs Unix: the shell that the documents are written for")
	}
	for _, program := range append(programs, "bash") {
		if _, err := exec.LookPath(program); err != nil {
			t.Skipf("needs %s: install it, and this test runs it", program)
		}
	}
	p := &person{t: t, home: t.TempDir()}
	bin, tmp := filepath.Join(p.home, "bin"), filepath.Join(t.TempDir(), "tmp")
	for _, dir := range []string{bin, tmp} {
		testenv.Must(t, os.Mkdir(dir, 0o700))
	}
	testenv.Must(t, os.Symlink(authferrytest.Built(t), filepath.Join(bin, "authferry")))
	p.file("bin/browser", "#!/bin/sh\nexec curl -s -L \"$1\" -o "+os.DevNull+"\n", 0o700)
	// A machine's own settings tell programs where their files are; rustup looks for
	// its toolchains in the home of whoever runs this.
	theirs := regexp.MustCompile(`^(AUTHFERRY_|XDG_|TF_|GIT_|DOCKER_|CARGO_HOME=|KUBECONFIG=|GOENV=|GOAUTH=)`)
	own, _ := os.UserHomeDir()
	p.env = append(slices.DeleteFunc(os.Environ(), theirs.MatchString),
		"HOME="+p.home, "TMPDIR="+tmp, "PATH="+bin+string(filepath.ListSeparator)+os.Getenv("PATH"),
		"BROWSER=browser", "NO_COLOR=1", "COLUMNS=100", "RUSTUP_HOME="+cmp.Or(os.Getenv("RUSTUP_HOME"), filepath.Join(own, ".rustup")))
	return p
}

// file writes a file below the person's home.
func (p *person) file(name, content string, mode os.FileMode) {
	p.t.Helper()
	path := filepath.Join(p.home, filepath.FromSlash(name))
	testenv.Must(p.t, os.MkdirAll(filepath.Dir(path), 0o700))
	testenv.Must(p.t, os.WriteFile(path, []byte(content), mode))
}

// step is a command of a document, and what is said to come of it.
type step struct {
	command string
	want    *regexp.Regexp
}

var block = regexp.MustCompile("(?ms)^```console\n(.*?)^```")

// walk are the commands of a document's console blocks, in order.
func walk(text string) (steps []step) {
	for _, m := range block.FindAllStringSubmatch(text, -1) {
		steps = append(steps, typed(m[1])...)
	}
	return steps
}

// typed are the commands of one console block. A line that ends in \ or | goes on
// in the next.
func typed(text string) (steps []step) {
	for part := range strings.SplitSeq("\n"+text, "\n$ ") {
		command, answer, _ := strings.Cut(strings.TrimSuffix(part, "\n"), "\n")
		for strings.HasSuffix(command, `\`) || strings.HasSuffix(command, "|") {
			var more string
			more, answer, _ = strings.Cut(answer, "\n")
			command += "\n" + more
		}
		if command == "" {
			continue
		}
		var pattern strings.Builder
		pattern.WriteString(`\A`)
		for line := range strings.Lines(answer) {
			if line = strings.TrimSuffix(line, "\n"); line == "…" {
				pattern.WriteString(`(.*\n)*`)
				continue
			}
			pattern.WriteString(strings.ReplaceAll(regexp.QuoteMeta(line), "…", ".*") + `\n`)
		}
		steps = append(steps, step{command, regexp.MustCompile(pattern.String() + `\z`)})
	}
	return steps
}

// shell is a person's, which remembers what is set in it.
type shell struct {
	t     *testing.T
	in    io.Writer
	lines *bufio.Scanner
}

func (p *person) shell() *shell {
	t := p.t
	t.Helper()
	cmd := exec.CommandContext(t.Context(), "bash", "--norc", "-e")
	cmd.Env, cmd.Dir = p.env, p.home
	in, err := cmd.StdinPipe()
	testenv.Must(t, err)
	out, err := cmd.StdoutPipe()
	testenv.Must(t, err)
	cmd.Stderr = cmd.Stdout
	testenv.Must(t, cmd.Start())
	t.Cleanup(func() {
		_ = in.Close()
		_ = cmd.Wait()
	})
	return &shell{t, in, bufio.NewScanner(out)}
}

// run returns what the command prints, every line of it ended.
func (s *shell) run(command string) (said string) {
	s.t.Helper()
	const end = "-- this was all --"
	testenv.Must(s.t, testenv.Err(fmt.Fprintf(s.in, "{ %s\n} </dev/null\necho; echo %q\n", command, end)))
	for s.lines.Scan() {
		line := s.lines.Text()
		if line != end {
			said += line + "\n"
			continue
		}
		if said = strings.TrimRight(said, "\n"); said != "" {
			said += "\n"
		}
		return said
	}
	s.t.Fatalf("$ %s\n%sfailed", command, said)
	return ""
}
