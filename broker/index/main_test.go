package index

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"os"
	"os/exec"
	"strings"
	"testing"
	"time"

	"github.com/authferry/authferry/atomicfile"
	"github.com/authferry/authferry/testenv"
)

// The test binary is also the other process: with this in its environment it
// plays a role from roles instead of running tests.
const roleEnv = "AUTHFERRY_INDEX_TEST_ROLE"

var roles = map[string]func(args []string) error{}

func TestMain(m *testing.M) {
	role := os.Getenv(roleEnv)
	if role == "" {
		os.Exit(testenv.Alone(m).Run())
	}
	if err := roles[role](os.Args[1:]); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	os.Exit(0)
}

// process is another process in a role. It ends with the test.
type process struct {
	*exec.Cmd
	stdin  io.WriteCloser
	stdout *bufio.Scanner
	stderr *strings.Builder
}

// command returns a process that was not started yet.
func command(t testing.TB, role string, args ...string) *process {
	t.Helper()
	exe, err := os.Executable()
	must(t, err)
	p := &process{Cmd: exec.Command(exe, args...), stderr: new(strings.Builder)}
	p.Env = append(os.Environ(), roleEnv+"="+role)
	p.Stderr = p.stderr
	p.stdin, err = p.StdinPipe()
	must(t, err)
	stdout, err := p.StdoutPipe()
	must(t, err)
	p.stdout = bufio.NewScanner(stdout)
	return p
}

func start(t testing.TB, role string, args ...string) *process {
	t.Helper()
	p := command(t, role, args...)
	must(t, p.Start())
	t.Cleanup(func() {
		p.Process.Kill()
		p.Wait()
	})
	return p
}

// line waits for the next line that the process prints.
func (p *process) line(t testing.TB) string {
	t.Helper()
	if !p.stdout.Scan() {
		p.Wait()
		t.Fatalf("the other process ended: %s", p.stderr)
	}
	return p.stdout.Text()
}

// finish lets the process go on after it waited for its stdin, and waits for its
// end.
func (p *process) finish(t testing.TB) {
	t.Helper()
	p.stdin.Close()
	for p.stdout.Scan() {
	}
	if err := p.Wait(); err != nil {
		t.Fatalf("the other process: %v: %s", err, p.stderr)
	}
}

var must = testenv.Must

// patience is for what must come about; no test waits for it to pass.
func patience(t testing.TB) context.Context {
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	t.Cleanup(cancel)
	return ctx
}

var noon = time.Date(2026, 11, 23, 12, 0, 0, 0, time.UTC)

func newAccount(label string) Account {
	return Account{ID: NewID(), Label: label, Provider: "anthropic", Pool: "anthropic", Kind: "oauth",
		Rank: 1, Generation: 1, GrantSlot: "a", AccessSlot: "a", AddedAt: noon}
}

// newFile returns an index with one account, its version before and nothing else.
func newFile(t testing.TB) *File {
	t.Helper()
	f := At(t.TempDir())
	fill(t, f, 1)
	return f
}

func fill(t testing.TB, f *File, accounts int) {
	t.Helper()
	must(t, f.Update(patience(t), Fast, func(*Index) error { return nil }))
	must(t, f.Update(patience(t), Fast, func(ix *Index) error {
		for i := range accounts {
			a := newAccount(fmt.Sprintf("account %d", i+1))
			a.Rank = i + 1
			a.Identity, a.Issuer, a.Subject = "me@example.com", "https://auth.example.com", "a8f2c1"
			a.Fingerprint = "0011223344556677"
			a.ExpiresAt, a.ObtainedAt, a.RefreshedAt = noon.Add(time.Hour), noon, noon
			ix.Accounts = append(ix.Accounts, a)
		}
		ix.Pools = map[string]Pool{"anthropic": {Provider: "anthropic", Current: ix.Accounts[0].ID}}
		return nil
	}))
}

// tempFiles returns what writers left in the folder.
func tempFiles(t testing.TB, f *File) []string {
	t.Helper()
	entries, err := os.ReadDir(f.Dir())
	must(t, err)
	var names []string
	for _, e := range entries {
		if strings.HasSuffix(e.Name(), atomicfile.Suffix) {
			names = append(names, e.Name())
		}
	}
	return names
}

// symlink makes a link, or skips the test where there are none.
func symlink(t testing.TB, target, path string) {
	t.Helper()
	if err := os.Symlink(target, path); err != nil {
		t.Skipf("needs symbolic links: %v", err)
	}
	if info, err := os.Lstat(path); err != nil || info.Mode()&os.ModeSymlink == 0 {
		t.Skip("needs symbolic links: Lstat shows none")
	}
}
