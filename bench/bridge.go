package main

import (
	"bufio"
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"time"
)

// The ways to a remote MCP server.
const (
	client  = "direct client"
	pump    = "bare pump"
	bridged = "authferry mcp connect"
	npm     = "mcp-remote (npm)"
)

// stdio is a bridge that runs: a line is answered by a line.
type stdio struct {
	cmd *exec.Cmd
	in  io.WriteCloser
	out *bufio.Reader
}

func startStdio(args ...string) (*stdio, error) {
	s := &stdio{cmd: command(args)}
	s.cmd.Stderr = os.Stderr
	var err error
	if s.in, err = s.cmd.StdinPipe(); err != nil {
		return nil, err
	}
	out, err := s.cmd.StdoutPipe()
	if err != nil {
		return nil, err
	}
	s.out = bufio.NewReader(out)
	return s, s.cmd.Start()
}

func (s *stdio) ask(message []byte) error {
	if _, err := s.in.Write(append(message, '\n')); err != nil {
		return err
	}
	line, err := s.out.ReadBytes('\n')
	if err == nil && !bytes.Contains(line, []byte(`"content"`)) && !bytes.Contains(line, []byte(`"protocolVersion"`)) {
		err = fmt.Errorf("it answers %s", line)
	}
	return err
}

func (s *stdio) close() {
	_ = s.in.Close()
	_ = s.cmd.Wait()
}

// logIn logs in to the server's remote MCP server, as a person would.
func (b *bench) logIn() error {
	cmd := command([]string{b.path("authferry"), "login", b.server.URL + "/mcp", "--name", "docs", "--no-browser", "--json"})
	out, err := cmd.StdoutPipe()
	if err != nil {
		return err
	}
	if err := cmd.Start(); err != nil {
		return err
	}
	for lines := bufio.NewScanner(out); lines.Scan(); {
		var event struct{ Event, URL string }
		if json.Unmarshal(lines.Bytes(), &event) == nil && event.Event == "authorization_url" {
			res, err := (&http.Client{}).Get(event.URL) //nolint:noctx // on loopback
			if err != nil {
				return err
			}
			_ = res.Body.Close()
		}
	}
	return cmd.Wait()
}

// --before has npm choose what it chose then.
var errNoPeer = errors.New("it isn't installed: with Node.js 20.18 or later, run npm install --prefix bench --no-save --no-package-lock --ignore-scripts --before=2026-11-30 mcp-remote@0.15.1")

// startPeer starts what most people put between such a client and such a server. It gets its
// token told: what it costs to log in isn't measured.
func startPeer(address, bearer string) (*stdio, error) {
	node, err := exec.LookPath("node")
	program := filepath.Join("node_modules", "mcp-remote", "dist", "proxy.js")
	if _, missing := os.Stat(program); err != nil || missing != nil {
		return nil, errNoPeer
	}
	return startStdio(node, "--no-warnings", program, address, "--transport", "http-only", "--silent", "--header", "Authorization: "+bearer)
}

const toolCall = `{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{"name":"whoami","arguments":{}}}`

// bridge measures what lies between a client on stdio and a remote MCP server.
func (b *bench) bridge() (*table, error) {
	if err := b.logIn(); err != nil {
		return nil, err
	}
	header, err := b.authferry(nil, "", "header", "docs")
	if err != nil {
		return nil, err
	}
	_, bearer, _ := strings.Cut(strings.TrimSpace(string(header)), ": ")
	address := b.server.URL + "/mcp"
	plain, err := startStdio(b.path("pump"), address, bearer)
	if err != nil {
		return nil, err
	}
	defer plain.close()
	own, err := startStdio(b.path("authferry"), "mcp", "connect", "docs")
	if err != nil {
		return nil, err
	}
	defer own.close()
	hello := []byte(`{"jsonrpc":"2.0","id":0,"method":"initialize","params":{"protocolVersion":"2025-11-25","capabilities":{},"clientInfo":{"name":"bench","version":"1"}}}`)
	if err := errors.Join(plain.ask(hello), own.ask(hello)); err != nil {
		return nil, err
	}
	straightOn := func() error {
		req, err := http.NewRequestWithContext(ctx, http.MethodPost, address, strings.NewReader(toolCall))
		if err != nil {
			return err
		}
		req.Header.Set("Authorization", bearer)
		req.Header.Set("Content-Type", "application/json")
		res, err := http.DefaultTransport.RoundTrip(req) //nolint:forbidigo // the bench ends it
		if err != nil {
			return err
		}
		_, err = io.Copy(io.Discard, res.Body)
		return errors.Join(err, res.Body.Close())
	}
	timed := func(f func() error) func() (run, error) {
		return func() (run, error) {
			begun := time.Now()
			err := f()
			return run{wall: time.Since(begun)}, err
		}
	}
	t := &table{text: "One call of a tool, over kept connections."}
	t.add(row{name: client, sample: timed(straightOn)},
		row{name: pump, of: client, sample: timed(func() error { return plain.ask([]byte(toolCall)) })},
		row{name: bridged, of: client, sample: timed(func() error { return own.ask([]byte(toolCall)) })})
	switch theirs, err := startPeer(address, bearer); {
	case errors.Is(err, errNoPeer):
		fmt.Fprintf(os.Stderr, "bench: %s is left out: %v\n", npm, err)
	case err != nil:
		return nil, err
	default:
		defer theirs.close()
		if err := theirs.ask(hello); err != nil {
			return nil, err
		}
		t.add(row{name: npm, of: bridged, sample: timed(func() error { return theirs.ask([]byte(toolCall)) })})
		defer func() {
			t.text += fmt.Sprintf(" authferry takes %.1f MB at most, mcp-remote with its Node.js %.1f MB.", memory(own.cmd, "VmHWM"), memory(theirs.cmd, "VmHWM"))
		}()
	}
	if err := b.alternate(t, 2000, 20*time.Second); err != nil {
		return nil, err
	}
	t.goal("added to a tool call", "≤", 1, "ms", t.estimate(func(q quantiles) float64 { return q(bridged, 0.5, wall) - q(client, 0.5, wall) }))
	t.goal("memory of a bridge", "≤", 20, "MB", exactly(memory(own.cmd, "VmHWM")))
	return t, nil
}
