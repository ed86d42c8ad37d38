// Command release packs a release: run it by scripts/package, which says what
// comes out.
package main

import (
	"bytes"
	"cmp"
	"compress/gzip"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
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
	fmt.Printf("authferry %s (%s)\n", r.version, r.commit)
	stage := filepath.Join(r.dist, "stage") // as .goreleaser.yaml says
	if err := r.goreleaser(ctx); err != nil {
		return err
	}
	for _, made := range []string{"*.tar.gz", "*.zip", "*.deb", "*.rpm", "*.cdx.json", "homebrew/*.rb", "scoop/*.json"} {
		files, err := filepath.Glob(filepath.Join(stage, made))
		if err != nil || len(files) == 0 {
			return fmt.Errorf("GoReleaser made no %s: %w", made, err)
		}
		for _, file := range files {
			if err := os.Rename(file, filepath.Join(r.dist, filepath.Base(file))); err != nil {
				return err
			}
		}
	}
	if err := r.npm(stage); err != nil {
		return err
	}
	if err := os.RemoveAll(stage); err != nil {
		return err
	}
	return r.sums()
}

// goreleaser makes what .goreleaser.yaml says.
func (r *release) goreleaser(ctx context.Context) error {
	temp, err := os.MkdirTemp("", "authferry-release-")
	if err != nil {
		return err
	}
	defer os.RemoveAll(temp) // #nosec G104 -- of no use any more
	manual := filepath.Join(temp, "authferry.1.gz")
	if err := gzipFile(manual, "docs/authferry.1"); err != nil {
		return err
	}
	program, err := tool(ctx, "goreleaser")
	if err != nil {
		return err
	}
	gomod, err := tool(ctx, "cyclonedx-gomod")
	if err != nil {
		return err
	}
	caches, err := exec.CommandContext(ctx, "go", "env", "GOCACHE", "GOMODCACHE").Output()
	if err != nil {
		return fmt.Errorf("go env: %w", err)
	}
	cache, modules, _ := strings.Cut(strings.TrimSpace(string(caches)), "\n")
	cmd := exec.CommandContext(ctx, program, "release", "--clean", "--skip=publish,validate")
	cmd.Env = append(os.Environ(), "GORELEASER_CURRENT_TAG=v"+r.version, "COMMIT="+r.commit, "MANUAL="+manual, "RELEASE_URL="+r.url,
		"GOCACHE="+cache, "GOMODCACHE="+strings.TrimSpace(modules),
		// It wants a remote, which a copy of the repository need not have.
		"GIT_CONFIG_COUNT=1", "GIT_CONFIG_KEY_0=remote.origin.url", "GIT_CONFIG_VALUE_0=https://github.com/authferry/authferry",
		"PATH="+filepath.Dir(gomod)+string(filepath.ListSeparator)+os.Getenv("PATH"))
	cmd.Stdout, cmd.Stderr = os.Stderr, os.Stderr
	if err := cmd.Run(); err != nil {
		return fmt.Errorf("goreleaser: %w", err)
	}
	return nil
}

func gzipFile(to, from string) error {
	content, err := os.ReadFile(from)
	if err != nil {
		return err
	}
	return create(to, func(w io.Writer) error {
		zipped, err := gzip.NewWriterLevel(w, gzip.BestCompression)
		if err != nil {
			return err
		}
		if _, err := zipped.Write(content); err != nil {
			return err
		}
		return zipped.Close()
	})
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

// sums writes SHA256SUMS, as sha256sum --check reads it, and says what there is.
func (r *release) sums() error {
	entries, err := os.ReadDir(r.dist)
	if err != nil {
		return err
	}
	var sums bytes.Buffer
	for _, entry := range entries {
		path := filepath.Join(r.dist, entry.Name())
		sum, err := checksum(path)
		if err != nil {
			return err
		}
		fmt.Fprintf(&sums, "%s  %s\n", sum, entry.Name())
		if info, err := entry.Info(); err == nil {
			fmt.Printf("%6.1f MB  %s\n", float64(info.Size())/1e6, path)
		}
	}
	return os.WriteFile(filepath.Join(r.dist, "SHA256SUMS"), sums.Bytes(), 0o644) // #nosec G306 -- to be published
}

func checksum(path string) (string, error) {
	content, err := os.ReadFile(path)
	if err != nil {
		return "", err
	}
	sum := sha256.Sum256(content)
	return hex.EncodeToString(sum[:]), nil
}
