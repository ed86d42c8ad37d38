package scripts

import (
	"bufio"
	"bytes"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"syscall"
	"testing"

	"github.com/authferry/authferry/testenv"
)

// launcher is the npm package's, with a shell script as this platform's program.
func launcher(t *testing.T, script string) string {
	t.Helper()
	if runtime.GOOS == "windows" {
		t.Skip("needs a system with sh: run it on Linux or macOS")
	}
	need(t, "node")
	content, err := os.ReadFile(filepath.Join("..", "packaging", "npm", "authferry.js"))
	testenv.Must(t, err)
	dir := t.TempDir()
	path := filepath.Join(dir, "authferry.js")
	testenv.Must(t, os.WriteFile(path, content, 0o644))
	if script == "" {
		return path
	}
	dir = filepath.Join(dir, target{runtime.GOOS, runtime.GOARCH}.node())
	testenv.Must(t, os.Mkdir(dir, 0o755))
	testenv.Must(t, os.WriteFile(filepath.Join(dir, "authferry"), []byte("#!/bin/sh\n"+script), 0o755))
	return path
}

func TestLauncherPassesAllThrough(t *testing.T) {
	cmd := exec.Command("node", launcher(t, `cat; printf '%s|' "$@"; echo complaint >&2; exit 7`), "token", "", "Ada's own", "--", "*")
	cmd.Stdin = strings.NewReader("typed ")
	var out, complaint bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &complaint
	_ = cmd.Run()
	if got, want := out.String(), "typed token||Ada's own|--|*|"; got != want {
		t.Errorf("stdout %q, want %q", got, want)
	}
	if complaint.String() != "complaint\n" || cmd.ProcessState.ExitCode() != 7 {
		t.Errorf("exit %d, stderr %q", cmd.ProcessState.ExitCode(), complaint.String())
	}
}

// What is sent to the launcher alone, by a supervisor say, reaches the program,
// which may end in its own way.
func TestLauncherForwardsSignals(t *testing.T) {
	for _, signal := range []syscall.Signal{syscall.SIGTERM, syscall.SIGINT, syscall.SIGHUP} {
		t.Run(signal.String(), func(t *testing.T) {
			cmd := exec.CommandContext(t.Context(), "node", launcher(t, `
for s in TERM INT HUP; do trap "echo $s; exit 5" $s; done
echo ready
for i in $(seq 600); do sleep 0.05; done`))
			stdout, err := cmd.StdoutPipe()
			testenv.Must(t, err)
			testenv.Must(t, cmd.Start())
			lines := bufio.NewReader(stdout)
			if line, err := lines.ReadString('\n'); line != "ready\n" {
				t.Fatalf("%q, %v", line, err)
			}
			testenv.Must(t, cmd.Process.Signal(signal))
			rest, err := io.ReadAll(lines)
			_ = cmd.Wait()
			want := map[syscall.Signal]string{syscall.SIGTERM: "TERM\n", syscall.SIGINT: "INT\n", syscall.SIGHUP: "HUP\n"}[signal]
			if string(rest) != want || cmd.ProcessState.ExitCode() != 5 {
				t.Errorf("%q, exit %d, %v", rest, cmd.ProcessState.ExitCode(), err)
			}
		})
	}
}

// A shell that runs the launcher sees the signal that ended the program.
func TestLauncherDiesAsTheProgram(t *testing.T) {
	for _, name := range []string{"KILL", "TERM"} {
		path := launcher(t, "kill -"+name+" $$")
		output, _ := exec.Command("sh", "-c", `node "$1"; echo $?`, "sh", path).Output()
		want := map[string]string{"KILL": "137\n", "TERM": "143\n"}[name]
		if string(output) != want {
			t.Errorf("%s: %q, want %q", name, output, want)
		}
	}
}

func TestLauncherWithoutItsProgram(t *testing.T) {
	cmd := exec.Command("node", launcher(t, ""), "version")
	output, _ := cmd.CombinedOutput()
	if cmd.ProcessState.ExitCode() != 1 || !strings.Contains(string(output), "(ENOENT)") || !strings.Contains(string(output), "hint: npm install") {
		t.Errorf("exit %d: %s", cmd.ProcessState.ExitCode(), output)
	}
}
