// Command release packs a release: run it by scripts/package, which says what
// comes out.
package main

import (
	"bytes"
	"cmp"
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"time"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt)
	defer stop()
	if len(os.Args) > 2 {
		fail(errors.New("usage: scripts/package [VERSION]"))
	}
	r, err := newRelease(ctx, strings.Join(os.Args[1:], ""))
	if err == nil {
		err = r.pack(ctx)
	}
	if err != nil {
		fail(err)
	}
}

func fail(err error) {
	fmt.Fprintln(os.Stderr, "package:", err)
	os.Exit(1)
}

// target is a platform, by Go's names.
type target struct{ os, arch string }

var targets = []target{
	{"linux", "amd64"},
	{"linux", "arm64"},
	{"darwin", "amd64"},
	{"darwin", "arm64"},
	{"windows", "amd64"},
	{"windows", "arm64"},
}

func (t target) String() string { return t.os + "-" + t.arch }

func (t target) program() string {
	if t.os == "windows" {
		return "authferry.exe"
	}
	return "authferry"
}

// release is what every file of one is made from.
type release struct {
	version string
	commit  string
	time    time.Time // of the commit: the age of every file
	url     string    // where the files will be fetched from
	dist    string
	stage   string // in dist until everything is packed: a folder per target with its program
}

func newRelease(ctx context.Context, version string) (*release, error) {
	if version == "" {
		version = described(ctx)
	}
	version, err := parseVersion(version)
	if err != nil {
		return nil, err
	}
	commit, err := git(ctx, "describe", "--always", "--abbrev=40", "--exclude=*", "--dirty")
	if err != nil {
		return nil, err
	}
	if strings.HasSuffix(commit, "-dirty") {
		fmt.Fprintln(os.Stderr, "package: warning: there are changes that are not committed; this is no release")
	}
	seconds, err := git(ctx, "log", "-1", "--format=%ct")
	if err != nil {
		return nil, err
	}
	unix, err := strconv.ParseInt(seconds, 10, 64)
	if err != nil {
		return nil, fmt.Errorf("the commit's time: %w", err)
	}
	return &release{
		version: version,
		commit:  commit,
		time:    time.Unix(unix, 0).UTC(),
		url:     cmp.Or(strings.TrimRight(os.Getenv("RELEASE_URL"), "/"), "https://github.com/authferry/authferry/releases/download/v"+version),
		dist:    "dist",
		stage:   filepath.Join("dist", "stage"),
	}, nil
}

// parseVersion accepts what dpkg, rpm, npm and Scoop all understand, with a v in
// front of it or without.
func parseVersion(s string) (string, error) {
	version := strings.TrimPrefix(s, "v")
	if !versions.MatchString(version) {
		return "", fmt.Errorf("%q is no version like 1.2.3 or 1.2.3-rc.1", s)
	}
	return version, nil
}

var versions = regexp.MustCompile(`^(0|[1-9]\d*)(\.(0|[1-9]\d*)){2}(-[0-9A-Za-z]+([.-][0-9A-Za-z]+)*)?$`)

// described is the version by the tags; a repository without any has none yet.
func described(ctx context.Context) string {
	version, err := git(ctx, "describe", "--tags", "--match=v[0-9]*", "--abbrev=12", "--dirty")
	if err != nil {
		return "0.0.0-devel"
	}
	return version
}

func git(ctx context.Context, args ...string) (string, error) {
	var complaint bytes.Buffer
	cmd := exec.CommandContext(ctx, "git", args...)
	cmd.Stderr = &complaint
	output, err := cmd.Output()
	if err != nil {
		return "", fmt.Errorf("git %s: %w: %s", args[0], err, bytes.TrimSpace(complaint.Bytes()))
	}
	return strings.TrimSpace(string(output)), nil
}

// pack fills dist with the files of the release.
func (r *release) pack(ctx context.Context) error {
	if err := os.RemoveAll(r.dist); err != nil {
		return err
	}
	if err := os.MkdirAll(r.stage, 0o755); err != nil { // #nosec G301 -- to be published
		return err
	}
	fmt.Printf("authferry %s (%s)\n", r.version, r.commit)
	for _, t := range targets {
		if err := r.build(ctx, t); err != nil {
			return err
		}
		if err := r.archive(t); err != nil {
			return err
		}
	}
	for _, step := range []func(context.Context) error{r.linuxPackages, r.billsOfMaterials, r.npm, r.manifests, r.finish} {
		if err := step(ctx); err != nil {
			return err
		}
	}
	return nil
}

// build makes the program of one target. Its bytes depend on the source, the
// version, the commit and the Go toolchain: not on the folder, and not on what
// Go would find out about the repository by itself.
func (r *release) build(ctx context.Context, t target) error {
	cmd := exec.CommandContext(ctx, "go", "build", "-trimpath", "-buildvcs=false", "-mod=readonly",
		"-ldflags", "-s -w -X main.stamped="+r.version+" -X main.stampedCommit="+r.commit,
		"-o", r.program(t), "./cmd/authferry")
	cmd.Env = append(os.Environ(), "CGO_ENABLED=0", "GOOS="+t.os, "GOARCH="+t.arch,
		"GOAMD64=v1", "GOARM64=v8.0", "GOFLAGS=", "GOEXPERIMENT=")
	cmd.Stdout, cmd.Stderr = os.Stderr, os.Stderr
	if err := cmd.Run(); err != nil {
		return fmt.Errorf("go build for %s: %w", t, err)
	}
	return show(r.program(t))
}

func (r *release) program(t target) string {
	return filepath.Join(r.stage, t.String(), t.program())
}

// tool is the path of one of tools/release, built for this machine whatever it
// packs for, and the same bytes everywhere: an SBOM names the hash of what made it.
func tool(ctx context.Context, name string) (string, error) {
	cmd := exec.CommandContext(ctx, "go", "tool", "-modfile=tools/release/go.mod", "-n", name)
	cmd.Env = append(os.Environ(), "CGO_ENABLED=0", "GOFLAGS=-trimpath")
	cmd.Stderr = os.Stderr
	path, err := cmd.Output()
	if err != nil {
		return "", fmt.Errorf("building %s: %w", name, err)
	}
	return strings.TrimSpace(string(path)), nil
}

// run shows what a tool says only if it fails.
func run(ctx context.Context, env []string, program string, args ...string) error {
	cmd := exec.CommandContext(ctx, program, args...)
	cmd.Env = append(os.Environ(), env...)
	if output, err := cmd.CombinedOutput(); err != nil {
		return fmt.Errorf("%s: %w\n%s", filepath.Base(program), err, output)
	}
	return nil
}
