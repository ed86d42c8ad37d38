package main

import (
	"bufio"
	"fmt"
	"io"
	"os"
	"os/exec"
	"regexp"
	"runtime"
	"strings"
	"testing"
	"time"

	"github.com/authferry/authferry/broker/brokertest"
)

// What docs/getting-started.md tells a newcomer to type at the simulator works in
// that order, and answers as it says there. In an answer … stands for anything, and
// alone on a line for any lines.
func TestGettingStarted(t *testing.T) {
	if runtime.GOOS == "windows" {
		t.Skip("needs Unix: the shell that the document is written for")
	}
	for _, program := range []string{"bash", "curl"} {
		if _, err := exec.LookPath(program); err != nil {
			t.Skipf("needs %s: apt-get install %[1]s", program)
		}
	}
	text, err := os.ReadFile("../../docs/getting-started.md")
	if err != nil {
		t.Fatal(err)
	}
	s := newScene(t, brokertest.Config{Rotation: brokertest.Strict, AccessTTL: time.Hour})
	steps := walk(strings.ReplaceAll(string(text), "http://127.0.0.1:4780", s.server.URL))
	if len(steps) < 12 {
		t.Fatalf("only %d commands: is the document read as it should be?", len(steps))
	}
	sh := startShell(t, s)
	for _, step := range steps {
		if user := regexp.MustCompile(`# as (\S+)`).FindStringSubmatch(step.command); user != nil {
			if err := s.server.Configure(func(c *brokertest.Config) { c.SignedIn = user[1] }); err != nil {
				t.Fatal(err)
			}
		}
		if got := sh.run(step.command); !step.want.MatchString(got) {
			t.Fatalf("$ %s\n%s\nis not as %s", step.command, got, step.want)
		}
	}
	if n := s.server.Reuse(); n != 0 {
		t.Errorf("%d refresh tokens were sent twice", n)
	}
}

// step is a command of a document, and what is said to come of it.
type step struct {
	command string
	want    *regexp.Regexp
}

// walk are the commands of a document's console blocks, in order.
func walk(text string) (steps []step) {
	for _, m := range block.FindAllStringSubmatch(text, -1) {
		if m[1] == "console" {
			steps = append(steps, typed(m[2])...)
		}
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
		pattern := `\A`
		for line := range strings.Lines(answer) {
			if line = strings.TrimSuffix(line, "\n"); line == "…" {
				pattern += `(.*\n)*`
				continue
			}
			pattern += strings.ReplaceAll(regexp.QuoteMeta(line), "…", ".*") + `\n`
		}
		steps = append(steps, step{command, regexp.MustCompile(pattern + `\z`)})
	}
	return steps
}

// shell is a person's, which remembers what is set in it.
type shell struct {
	t     *testing.T
	in    io.Writer
	lines *bufio.Scanner
}

func startShell(t *testing.T, s *scene) *shell {
	t.Helper()
	cmd := exec.CommandContext(t.Context(), "bash", "--norc", "-e")
	cmd.Env, cmd.Dir = s.env, s.root
	in, err := cmd.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	cmd.Stderr = cmd.Stdout
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
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
	if _, err := fmt.Fprintf(s.in, "{ %s\n} </dev/null\necho; echo %q\n", command, end); err != nil {
		s.t.Fatal(err)
	}
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
