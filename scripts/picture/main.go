// Command picture draws what a terminal shows of the real program, for invented
// accounts in a folder of its own.
//
//	go generate ./scripts/picture
package main

//go:generate go run . ../../docs

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
)

func main() {
	if len(os.Args) != 2 {
		fmt.Fprintln(os.Stderr, "usage: picture FOLDER")
		os.Exit(2)
	}
	if err := draw(os.Args[1]); err != nil {
		fmt.Fprintln(os.Stderr, "picture:", err)
		os.Exit(1)
	}
}

func draw(folder string) error {
	dir, err := os.MkdirTemp("", "authferry-picture-")
	if err != nil {
		return err
	}
	defer os.RemoveAll(dir)
	// Without a version of its own the program would name the commit.
	build := exec.CommandContext(context.Background(), "go", "build", "-ldflags=-X github.com/authferry/authferry/version.stamped=1.0.0", "-o", dir+string(filepath.Separator),
		"github.com/authferry/authferry/cmd/authferry", "github.com/authferry/authferry/cmd/authferry-sim") // #nosec G204
	build.Stderr = os.Stderr
	if err := build.Run(); err != nil {
		return fmt.Errorf("go build: %w", err)
	}
	for _, picture := range []func(dir, folder string) error{firstRun, status, failure, setup, doctor, demo, toast} {
		if err := picture(dir, folder); err != nil {
			return err
		}
	}
	return nil
}

// firstRun is authferry alone, with nothing set up.
func firstRun(dir, folder string) error {
	s := newStage(dir, "new")
	return s.write(filepath.Join(folder, "first-run.svg"), shown{"authferry", s.run("")})
}

// status is a pool whose current account ran into its limit, and one apart.
func status(dir, folder string) error {
	s := newStage(dir, "used")
	s.accounts()
	return s.write(filepath.Join(folder, "status.svg"), shown{"authferry status", s.run("", "status")})
}

// failure is an error with its hint, and what follows from it.
func failure(dir, folder string) error {
	s := newStage(dir, "used")
	return s.write(filepath.Join(folder, "error.svg"),
		shown{"authferry token", s.fail("token")},
		shown{"authferry token --pool acme --account Work", s.fail("token", "--pool", "acme", "--account", "Work")})
}

// setup is the change that sets git up.
func setup(dir, folder string) error {
	s := newStage(dir, "used")
	s.path = os.Getenv("PATH") // where git is
	return s.write(filepath.Join(folder, "setup.svg"), shown{"authferry setup git --pool work --print", s.run("", "setup", "git", "--pool", "work", "--print")})
}

// doctor is a folder in which all is well.
func doctor(dir, folder string) error {
	s := newStage(dir, "used")
	s.wide = 2 * columns // its lines have the folder's real name, which is longer than the one shown
	return s.write(filepath.Join(folder, "doctor.svg"), shown{"authferry doctor", s.run("", "doctor")})
}

// demo is what two acts of authferry-sim demo count.
func demo(dir, folder string) error {
	s := newStage(dir, "demo")
	s.program = filepath.Join(dir, "authferry-sim")
	played := s.run("", "demo", "--authferry", filepath.Join(dir, "authferry"))
	return s.write(filepath.Join(folder, "demo.svg"), shown{"authferry-sim demo", act(played, 1) + "\n" + act(played, 3)})
}

var (
	acts  = regexp.MustCompile(`(?m)^(\S*)Act \d`)
	timed = regexp.MustCompile(`(?m)^  The last of them had .*\n`)
)

// act is one of them, without how long it took.
func act(played string, n int) string {
	at := append(acts.FindAllStringIndex(played, -1), []int{len(played)})
	if len(at) <= n {
		return ""
	}
	return strings.TrimSpace(timed.ReplaceAllString(played[at[n-1][0]:at[n][0]], "")) + "\n"
}

// toast is OpenCode as scripts/opencode-toast has seen it.
func toast(_, folder string) error {
	screen, err := os.ReadFile(filepath.Join(folder, "opencode-toast.txt")) // #nosec G304
	if err != nil {
		return err
	}
	top, _, _ := strings.Cut(string(screen), "\n\n\n") // and below that OpenCode's own prompt
	picture := svg([]shown{{"opencode", top}}, 108)
	return os.WriteFile(filepath.Join(folder, "opencode-toast.svg"), picture, 0o644) // #nosec G306 -- a picture for everyone
}
