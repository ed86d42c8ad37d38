package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"time"
)

// stage is a user's home and folder; err is the first thing that went wrong.
type stage struct {
	home, program string
	path          string // of other programs: none by default, as what is installed differs
	wide          int    // the terminal that the program is told of
	err           error
}

// newStage has the programs in dir, and a home that name tells from others.
func newStage(dir, name string) *stage {
	s := &stage{home: filepath.Join(dir, name), program: filepath.Join(dir, "authferry"), wide: columns}
	s.err = os.MkdirAll(s.home, 0o700)
	return s
}

func (s *stage) command(args ...string) *exec.Cmd {
	cmd := exec.CommandContext(context.Background(), s.program, args...) // #nosec G204
	cmd.Env = []string{
		"AUTHFERRY_DIR=" + filepath.Join(s.home, "authferry"), "HOME=" + s.home, "USERPROFILE=" + s.home,
		"PATH=" + s.path, "CLICOLOR_FORCE=1", "COLUMNS=" + strconv.Itoa(s.wide),
	}
	return cmd
}

// run returns what the command prints to stdout.
func (s *stage) run(stdin string, args ...string) string {
	if s.err != nil {
		return ""
	}
	cmd := s.command(args...)
	cmd.Stdin = strings.NewReader(stdin)
	var errs bytes.Buffer
	cmd.Stderr = &errs
	out, err := cmd.Output()
	if err != nil {
		s.err = fmt.Errorf("authferry %q: %w: %s", args, err, errs.String())
	}
	return strings.NewReplacer("\t", "       ", s.program, "/usr/bin/authferry", s.home, "~").Replace(fixed(string(out)))
}

var (
	resets = regexp.MustCompile(`resets (\w+ \d+ \w+ (\d+ )?)?\d\d:\d\d`)
	ofDays = regexp.MustCompile(`(-day limit.*)resets 16:42`)
)

// fixed puts one time in the place of what would be another one in each drawing.
func fixed(out string) string {
	return ofDays.ReplaceAllString(resets.ReplaceAllString(out, "resets 16:42"), "${1}resets Thu 3 Dec 09:00")
}

// fail returns what a command that has to fail says to a person.
func (s *stage) fail(args ...string) string {
	if s.err != nil {
		return ""
	}
	cmd := s.command(args...)
	var errs bytes.Buffer
	cmd.Stderr = &errs
	if err := cmd.Run(); err == nil {
		s.err = fmt.Errorf("authferry %q did not fail", args)
	} else if _, exited := errors.AsType[*exec.ExitError](err); !exited {
		s.err = err
	}
	return errs.String()
}

// write draws what was shown, if all went well.
func (s *stage) write(path string, screens ...shown) error {
	if s.err != nil {
		return s.err
	}
	return os.WriteFile(path, svg(screens, columns), 0o644) // #nosec G306 -- a picture for everyone
}

// accounts have times that read the same for half a minute, so that drawing them
// again changes nothing.
func (s *stage) accounts() {
	const half = 30 * time.Second
	s.run("", "keystore", "init", "--key-file", filepath.Join(s.home, "key"))
	s.run("", "provider", "add", "acme", "--authorization-endpoint", "https://login.acme.example/authorize",
		"--token-endpoint", "https://login.acme.example/token", "--client-id", "invented", "--api-origin", "https://api.acme.example")
	for _, a := range []struct {
		label, pool string
		left        time.Duration
	}{
		{"Personal", "acme", 6*time.Hour + 40*time.Minute + half},
		{"Family", "acme", 7*time.Hour + 56*time.Minute + half},
		{"Work", "work", 3*time.Hour + 12*time.Minute + half},
	} {
		s.run(fmt.Sprintf(`{"access_token":"invented-%s","refresh_token":"invented-%s","expires_in":%d}`, a.label, a.label, int(a.left.Seconds())),
			"import", "grant", "acme", "--label", a.label, "--pool", a.pool)
	}
	s.answered("Work", 200, "0.18", 3*time.Hour+half, "0.07", 100*time.Hour)
	s.answered("Family", 200, "0.34", 4*time.Hour+half, "0.12", 90*time.Hour)
	s.answered("Personal", 429, "1.00", 72*time.Minute+half, "0.64", 50*time.Hour)
}

// answered reports an answer of the API as a program that uses it would.
func (s *stage) answered(label string, status int, hours string, hoursEnd time.Duration, week string, weekEnd time.Duration) {
	var token struct {
		Lease string `json:"lease"`
	}
	if out := s.run("", "token", "--account", label, "--json"); s.err == nil {
		s.err = json.Unmarshal([]byte(out), &token)
	}
	verdict := "allowed"
	if status == 429 {
		verdict = "rejected"
	}
	const prefix = "anthropic-ratelimit-unified-"
	at := func(d time.Duration) string { return strconv.FormatInt(time.Now().Add(d).Unix(), 10) }
	report, err := json.Marshal(map[string]any{"lease": token.Lease, "status": status, "headers": map[string]string{
		prefix + "status": verdict, prefix + "5h-status": verdict, prefix + "5h-utilization": hours, prefix + "5h-reset": at(hoursEnd),
		prefix + "7d-status": "allowed", prefix + "7d-utilization": week, prefix + "7d-reset": at(weekEnd),
	}})
	if err != nil {
		s.err = err
	}
	s.run(string(report), "report")
}
