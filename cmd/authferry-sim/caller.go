package main

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"time"
)

// stage is a private place for authferry: its program, folder and keystore.
type stage struct {
	dir     string // everything is in it
	program string
}

// environment is this process's own, without anything that would lead
// authferry elsewhere.
func (s stage) environment() []string {
	env := []string{"AUTHFERRY_DIR=" + s.folder(), "NO_COLOR=1"}
	for _, e := range os.Environ() {
		if name, _, _ := strings.Cut(e, "="); !strings.HasPrefix(strings.ToUpper(name), "AUTHFERRY_") && name != "CLICOLOR_FORCE" {
			env = append(env, e)
		}
	}
	return env
}

func (s stage) folder() string { return filepath.Join(s.dir, "authferry.d") }

// run runs authferry to its end.
func (s stage) run(ctx context.Context, stdin string, args ...string) error {
	c := s.command(ctx, args...)
	c.cmd.Stdin = strings.NewReader(stdin)
	if err := c.cmd.Run(); err != nil {
		if ctx.Err() != nil {
			return ctx.Err()
		}
		return fmt.Errorf("authferry %s: %w: %s", strings.Join(args, " "), err, bytes.TrimSpace(c.err.Bytes()))
	}
	return nil
}

// caller is one process that asks authferry for a token.
type caller struct {
	cmd      *exec.Cmd
	out, err bytes.Buffer
	doomed   bool // kill was called
	served   tokenDoc
	problem  error
	done     time.Time
}

// killed reports whether the kill came before the token.
func (c *caller) killed() bool { return c.doomed && c.problem != nil }

type tokenDoc struct {
	AccessToken string `json:"access_token"`
	ExpiresIn   int    `json:"expires_in"`
	Lease       string `json:"lease"`
	Account     struct {
		Label string `json:"label"`
	} `json:"account"`
}

func (s stage) command(ctx context.Context, args ...string) *caller {
	c := &caller{cmd: exec.CommandContext(ctx, s.program, args...)}
	c.cmd.Env = s.environment()
	c.cmd.Dir = s.dir
	c.cmd.Stdout, c.cmd.Stderr = &c.out, &c.err
	c.cmd.WaitDelay = 2 * time.Second
	c.cmd.Cancel = func() error { return killGroup(c.cmd) }
	ownGroup(c.cmd)
	return c
}

// ask starts `authferry token`.
func (s stage) ask(ctx context.Context, label string) (*caller, error) {
	c := s.command(ctx, "token", "--account", label, "--json")
	return c, c.cmd.Start()
}

// kill ends the caller and its whole process group, as kill -9 does.
func (c *caller) kill() {
	c.doomed = true
	_ = killGroup(c.cmd)
}

// wait reads the answer.
func (c *caller) wait() {
	err := c.cmd.Wait()
	c.done = time.Now()
	if err == nil {
		err = json.Unmarshal(c.out.Bytes(), &c.served)
	}
	if err != nil {
		c.problem = err
		if said := bytes.TrimSpace(c.err.Bytes()); len(said) > 0 {
			c.problem = fmt.Errorf("%w: %s", err, said)
		}
	}
}

// settle waits until no process that authferry started is left. It ends what
// does not end by itself, and returns how many those were.
func (s stage) settle(idle func() bool) int {
	quiet := 0
	for range 100 {
		if pids := s.holders(); len(pids) == 0 && idle() {
			quiet++
		} else {
			quiet = 0
		}
		if quiet == 4 {
			return 0
		}
		time.Sleep(50 * time.Millisecond)
	}
	left := s.holders()
	for _, p := range left {
		_ = p.Kill()
	}
	return len(left)
}

// holders are the live processes that noted themselves beside a lock.
func (s stage) holders() []*os.Process {
	files, _ := filepath.Glob(filepath.Join(s.folder(), "locks", "*.holder"))
	var live []*os.Process
	for _, f := range files {
		data, err := os.ReadFile(f)
		var h struct {
			PID int `json:"pid"`
		}
		if err != nil || json.NewDecoder(bytes.NewReader(data)).Decode(&h) != nil || h.PID <= 0 {
			continue
		}
		if p, ok := alive(h.PID); ok {
			live = append(live, p)
		}
	}
	return live
}

// strike removes everything and returns 1 if something stayed.
func (s stage) strike() int {
	for range 40 {
		if os.RemoveAll(s.dir) == nil {
			return 0
		}
		time.Sleep(50 * time.Millisecond) // Windows keeps a program's file a moment longer than the program
	}
	return 1
}
