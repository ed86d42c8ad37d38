package main

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"time"
)

const module = "github.com/authferry/authferry"

// build compiles authferry into dir and returns the program's path.
func build(ctx context.Context, out *screen, dir string) (string, error) {
	root, err := moduleRoot(ctx)
	if err != nil {
		return "", err
	}
	program := filepath.Join(dir, "authferry")
	if runtime.GOOS == "windows" {
		program += ".exe"
	}
	if !out.terminal {
		out.para("Building authferry; the first time this takes a minute or two.")
	}
	began := time.Now()
	cmd := exec.CommandContext(ctx, "go", "build", "-v", "-o", program, "./cmd/authferry")
	cmd.Dir = root
	cmd.Env = append(os.Environ(), "GOTMPDIR="+dir) // what an interrupted build leaves goes with the rest
	cmd.WaitDelay = time.Second
	cmd.Cancel = func() error { return killGroup(cmd) }
	ownGroup(cmd)
	log, w := io.Pipe()
	cmd.Stderr = w
	said := make(chan string)
	go func() { said <- watchBuild(out, log, began) }()
	err = cmd.Run()
	_ = w.Close()
	last := <-said
	out.endProgress()
	switch {
	case ctx.Err() != nil:
		return "", ctx.Err()
	case err != nil:
		return "", fmt.Errorf("authferry does not build: %s", last)
	}
	out.para(fmt.Sprintf("authferry is built (%.1f s).", time.Since(began).Seconds()))
	out.line("")
	return program, nil
}

// watchBuild shows how far go build is and returns its last words.
func watchBuild(out *screen, log io.Reader, began time.Time) string {
	var tail []string
	for lines := bufio.NewScanner(log); lines.Scan(); {
		line := lines.Text()
		name, downloading := strings.CutPrefix(line, "go: downloading ")
		if downloading || !strings.ContainsAny(line, " \t:") {
			out.progress(fmt.Sprintf("  Building authferry (%.0f s): %s", time.Since(began).Seconds(), name))
			continue
		}
		if tail = append(tail, strings.TrimSpace(line)); len(tail) > 5 {
			tail = tail[1:]
		}
	}
	return strings.Join(tail, "; ")
}

// moduleRoot finds the clone of authferry that the working directory is in.
func moduleRoot(ctx context.Context) (string, error) {
	if _, err := exec.LookPath("go"); err != nil {
		return "", errors.New("building authferry needs Go; or name a built one with --authferry PATH")
	}
	list, err := exec.CommandContext(ctx, "go", "list", "-m", "-f", "{{.Path}}\t{{.Dir}}").Output()
	if ctx.Err() != nil {
		return "", ctx.Err()
	}
	if err == nil {
		for line := range strings.Lines(string(list)) {
			if path, dir, _ := strings.Cut(strings.TrimSpace(line), "\t"); path == module {
				return dir, nil
			}
		}
	}
	return "", errors.New("run this inside a clone of authferry, or name a built authferry with --authferry PATH")
}
