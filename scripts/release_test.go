package scripts

import (
	"archive/tar"
	"archive/zip"
	"bytes"
	"compress/gzip"
	"context"
	"crypto/sha256"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"os"
	"os/exec"
	"path"
	"path/filepath"
	"regexp"
	"runtime"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/authferry/authferry/proofs"
	"github.com/authferry/authferry/testenv"
)

const stampedVersion = "1.2.3-rc.1"

// One commit gives the same files in whatever folder it is built, and each of
// them is what its package manager expects: installed, run and removed where it
// can be.
func TestRelease(t *testing.T) {
	proofs.Only(t, "packs a release twice")
	need(t, "bash", "git", "npm", "rpm") // without them it would be a minute of building twice
	first := source(t)
	second := filepath.Join(t.TempDir(), "another", "folder")
	do(t, "", "git", "clone", "-q", first, second)
	do(t, first, "bash", "scripts/package")
	do(t, second, "bash", "scripts/package", "v"+stampedVersion)

	p := &packed{dist: filepath.Join(first, "dist"), commit: strings.TrimSpace(do(t, first, "git", "rev-parse", "HEAD"))}
	t.Run("same bytes", func(t *testing.T) { sameBytes(t, p.dist, filepath.Join(second, "dist")) })
	t.Run("files", p.files)
	t.Run("archives", p.archives)
	t.Run("deb", p.deb)
	t.Run("rpm", p.rpm)
	t.Run("npm", p.npm)
	t.Run("homebrew", p.homebrew)
	t.Run("scoop", p.scoop)
	t.Run("sbom", p.sbom)
}

// packed is a finished release.
type packed struct{ dist, commit string }

func (p *packed) path(format string, args ...any) string {
	return filepath.Join(p.dist, fmt.Sprintf(format, args...))
}

func need(t *testing.T, programs ...string) {
	t.Helper()
	debian := map[string]string{"npm": "npm", "node": "nodejs", "man": "man-db"}
	for _, program := range programs {
		if _, err := exec.LookPath(program); err != nil {
			name := debian[program]
			if name == "" {
				name = program
			}
			t.Skipf("needs %s: apt-get install %s", program, name)
		}
	}
}

// do runs a program that has to succeed, in an own home but for Go's caches. It has
// the time that the test has: a first build for six systems takes many minutes.
func do(t *testing.T, dir, program string, args ...string) (stdout string) {
	t.Helper()
	ctx := t.Context()
	if end, ok := t.Deadline(); ok {
		var cancel context.CancelFunc
		ctx, cancel = context.WithDeadline(ctx, end.Add(-30*time.Second))
		defer cancel()
	}
	cmd := exec.CommandContext(ctx, program, args...)
	cmd.Dir = dir
	cmd.Env = hermetic(t)
	cmd.WaitDelay = 10 * time.Second
	var out, complaint bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &complaint
	if err := cmd.Run(); err != nil {
		t.Fatalf("%s %q: %v\n%s%s", program, args, err, out.String(), complaint.String())
	}
	return out.String()
}

func hermetic(t *testing.T) []string {
	t.Helper()
	output, err := exec.Command("go", "env", "-json", "GOCACHE", "GOMODCACHE").Output()
	testenv.Must(t, err)
	var caches map[string]string
	testenv.Must(t, json.Unmarshal(output, &caches))
	home := t.TempDir()
	env := append(os.Environ(), "HOME="+home, "AUTHFERRY_DIR="+filepath.Join(home, "authferry"), "AUTHFERRY_KEYSTORE=file",
		"npm_config_cache="+filepath.Join(home, "npm"), "npm_config_update_notifier=false",
		"GIT_CONFIG_GLOBAL="+os.DevNull, "GIT_CONFIG_NOSYSTEM=1", "GIT_CEILING_DIRECTORIES=")
	for name, value := range caches {
		env = append(env, name+"="+value)
	}
	// As bash sees the environment, GIT_DIR and the like would point elsewhere.
	return slices.DeleteFunc(env, func(s string) bool {
		return strings.HasPrefix(s, "GIT_DIR=") || strings.HasPrefix(s, "GIT_WORK_TREE=") || strings.HasPrefix(s, "RELEASE_URL=")
	})
}

// source is this source as it stands here, with what is not committed yet, in a
// repository of its own with one tagged commit.
func source(t *testing.T) string {
	t.Helper()
	root, dir := "..", filepath.Join(t.TempDir(), "source")
	list, err := exec.Command("git", "-C", root, "ls-files", "--cached", "--others", "--exclude-standard", "-z").Output()
	if err != nil {
		t.Skip("needs a git checkout of this repository")
	}
	for name := range strings.SplitSeq(strings.TrimRight(string(list), "\x00"), "\x00") {
		from, to := filepath.Join(root, name), filepath.Join(dir, name)
		info, err := os.Stat(from)
		if errors.Is(err, os.ErrNotExist) {
			continue // removed, and that not committed
		} else if err != nil {
			t.Fatal(err)
		}
		content, err := os.ReadFile(from)
		testenv.Must(t, err)
		testenv.Must(t, os.MkdirAll(filepath.Dir(to), 0o755))
		testenv.Must(t, os.WriteFile(to, content, info.Mode().Perm()))
	}
	do(t, dir, "git", "init", "-q", "-b", "main")
	do(t, dir, "git", "add", "--all")
	identity := []string{"-c", "user.name=Ada", "-c", "user.email=ada@example.com", "-c", "commit.gpgsign=false"}
	do(t, dir, "git", append(identity, "commit", "-q", "-m", "All of it")...)
	do(t, dir, "git", "tag", "v"+stampedVersion)
	return dir
}

func sameBytes(t *testing.T, one, other string) {
	sums, others := readSums(t, one), readSums(t, other)
	for name, sum := range sums {
		if others[name] != sum {
			t.Errorf("%s differs between two folders", name)
		}
	}
	if len(sums) != len(others) {
		t.Errorf("%d files in one folder, %d in the other", len(sums), len(others))
	}
	for _, name := range slices.Sorted(maps.Keys(sums)) {
		t.Logf("%s  %s", sums[name], name)
	}
}

func readSums(t *testing.T, dist string) map[string]string {
	t.Helper()
	content, err := os.ReadFile(filepath.Join(dist, "SHA256SUMS"))
	testenv.Must(t, err)
	sums := map[string]string{}
	for line := range strings.Lines(string(content)) {
		sum, name, _ := strings.Cut(strings.TrimSpace(line), "  ")
		sums[name] = sum
	}
	return sums
}

// Every file is there and has its checksum, and nothing else is.
func (p *packed) files(t *testing.T) {
	want := []string{
		"authferry-" + stampedVersion + ".tgz", "authferry.json", "authferry.rb",
		"authferry-1.2.3~rc.1-1.aarch64.rpm", "authferry-1.2.3~rc.1-1.x86_64.rpm",
		"authferry_1.2.3~rc.1_amd64.deb", "authferry_1.2.3~rc.1_arm64.deb",
	}
	for _, target := range targets {
		ending := ".tar.gz"
		if target.os == "windows" {
			ending = ".zip"
		}
		name := "authferry-" + stampedVersion + "-" + target.String()
		want = append(want, name+ending, name+".cdx.json", strings.Replace(name, "authferry-", "authferry-share-", 1)+".cdx.json")
	}
	sums := readSums(t, p.dist)
	for _, name := range want {
		content, err := os.ReadFile(p.path("%s", name))
		if sum := fmt.Sprintf("%x", sha256.Sum256(content)); err != nil {
			t.Error(err)
		} else if sums[name] != sum {
			t.Errorf("%s: SHA256SUMS says %q, it is %q", name, sums[name], sum)
		}
	}
	entries, err := os.ReadDir(p.dist)
	testenv.Must(t, err)
	for _, entry := range entries {
		if name := entry.Name(); name != "SHA256SUMS" && !slices.Contains(want, name) {
			t.Errorf("%s is there as well", name)
		}
	}
}

// packedFile is one in an archive.
type packedFile struct {
	mode    os.FileMode
	content []byte
}

// unpackTar returns the files by their names, and complains about any that isn't
// root's. The slash and the dot in front of a name in a deb are dropped.
func unpackTar(t *testing.T, r io.Reader) map[string]packedFile {
	t.Helper()
	files := map[string]packedFile{}
	archive := tar.NewReader(r)
	for {
		header, err := archive.Next()
		if errors.Is(err, io.EOF) {
			return files
		} else if err != nil {
			t.Fatal(err)
		}
		if header.Uid != 0 || header.Gid != 0 || header.Uname != "root" || header.Gname != "root" {
			t.Errorf("%s belongs to %d:%d (%s:%s)", header.Name, header.Uid, header.Gid, header.Uname, header.Gname)
		}
		if header.Typeflag == tar.TypeDir {
			continue
		}
		content, err := io.ReadAll(archive)
		testenv.Must(t, err)
		files[strings.TrimPrefix(header.Name, "./")] = packedFile{os.FileMode(header.Mode).Perm(), content}
	}
}

func unpackTarGz(t *testing.T, path string) map[string]packedFile {
	t.Helper()
	f, err := os.Open(path)
	testenv.Must(t, err)
	defer f.Close()
	r, err := gzip.NewReader(f)
	testenv.Must(t, err)
	return unpackTar(t, r)
}

func unpackZip(t *testing.T, path string) map[string]packedFile {
	t.Helper()
	r, err := zip.OpenReader(path)
	testenv.Must(t, err)
	defer r.Close()
	files := map[string]packedFile{}
	for _, entry := range r.File {
		f, err := entry.Open()
		testenv.Must(t, err)
		content, err := io.ReadAll(f)
		f.Close()
		testenv.Must(t, err)
		files[entry.Name] = packedFile{entry.Mode().Perm(), content}
	}
	return files
}

// modes holds files to be exactly these, programs to be executable and nothing else.
func modes(t *testing.T, files map[string]packedFile, want []string) {
	t.Helper()
	names := slices.Sorted(maps.Keys(files))
	slices.Sort(want)
	if !slices.Equal(names, want) {
		t.Errorf("got  %q\nwant %q", names, want)
	}
	for name, f := range files {
		mode := os.FileMode(0o644)
		if base := path.Base(name); path.Base(path.Dir(name)) != "completions" && slices.Contains([]string{"authferry", "authferry.exe", "authferry-share", "authferry-share.exe", "authferry.js", "share-certs"}, base) {
			mode = 0o755
		}
		if f.mode != mode {
			t.Errorf("%s has mode %o, not %o", name, f.mode, mode)
		}
	}
}

func (p *packed) archives(t *testing.T) {
	for _, target := range targets {
		folder := "authferry-" + stampedVersion + "-" + target.String()
		unpack, ending := unpackTarGz, ".tar.gz"
		if target.os == "windows" {
			unpack, ending = unpackZip, ".zip"
		}
		files := unpack(t, p.path("%s%s", folder, ending))
		want := []string{folder + "/" + target.program(), folder + "/" + target.share()}
		for _, name := range []string{"LICENSE", "README.md", "authferry.1", "share-certs", "completion/authferry.bash", "completion/authferry.fish", "completion/authferry.ps1", "completion/authferry.zsh"} {
			want = append(want, folder+"/"+name)
		}
		modes(t, files, want)
		program, share := files[folder+"/"+target.program()].content, files[folder+"/"+target.share()].content
		if most := 15 << 20; len(program) > most {
			t.Errorf("%s: the program has %d bytes, more than %d", target, len(program), most)
		}
		if most := 25 << 20; len(share) > most {
			t.Errorf("%s: the program for shared pools has %d bytes, more than %d", target, len(share), most)
		}
		if target.os != runtime.GOOS || target.arch != runtime.GOARCH {
			continue
		}
		installed := filepath.Join(t.TempDir(), target.program())
		testenv.Must(t, os.WriteFile(installed, program, 0o755))
		testenv.Must(t, os.WriteFile(filepath.Join(filepath.Dir(installed), target.share()), share, 0o755))
		p.runs(t, installed)
		for _, shell := range []string{"bash", "zsh", "fish"} {
			if packed := files[folder+"/completion/authferry."+shell].content; do(t, "", installed, "completion", shell) != string(packed) {
				t.Errorf("the completion for %s is not what the program prints", shell)
			}
		}
		if do(t, "", installed, "completion", "powershell") != string(files[folder+"/completion/authferry.ps1"].content) {
			t.Error("the completion for PowerShell is not what the program prints")
		}
		if do(t, "", installed, "man") != string(files[folder+"/authferry.1"].content) {
			t.Error("the manual page is not what the program prints")
		}
	}
}

// runs holds an installed program to be this release.
func (p *packed) runs(t *testing.T, program ...string) {
	t.Helper()
	var got struct{ Version, Commit, OS, Arch string }
	output := do(t, "", program[0], append(program[1:], "version", "--json")...)
	if err := json.Unmarshal([]byte(output), &got); err != nil {
		t.Fatalf("%v: %s", err, output)
	}
	if got.Version != stampedVersion || got.Commit != p.commit || got.OS != runtime.GOOS || got.Arch != runtime.GOARCH {
		t.Errorf("it is %+v, not %s of %s", got, stampedVersion, p.commit)
	}
	// It finds the program beside it, of the same version.
	if output := do(t, "", program[0], append(program[1:], "share", "status", "--json")...); strings.TrimSpace(output) != `{"pools":[]}` {
		t.Errorf("of shared pools it says %s", output)
	}
}

// What a release is called and where its files will be is said before anything is built.
func TestReleaseName(t *testing.T) {
	need(t, "bash", "git")
	dir := t.TempDir()
	testenv.Must(t, os.WriteFile(filepath.Join(dir, "go"), []byte("#!/bin/sh\nexit 1\n"), 0o755))
	const usual = "https://github.com/authferry/authferry/releases/download/v"
	for _, test := range []struct{ version, url, want string }{
		{"1.2.3", "", "authferry 1.2.3 (" + usual + "1.2.3"},
		{"v1.2.3", "", "authferry 1.2.3 (" + usual + "1.2.3"},
		{"0.0.0-devel", "", "authferry 0.0.0-devel (" + usual + "0.0.0-devel"},
		{"1.2.3-rc.1", "https://mirror.example/authferry/", "authferry 1.2.3-rc.1 (https://mirror.example/authferry"},
		{"v1.2.3-4-g0123456789ab-dirty", "", "authferry 1.2.3-4-g0123456789ab-dirty (" + usual + "1.2.3-4-g0123456789ab-dirty"},
		{"1.2", "", ""}, {"", "", ""}, {"01.2.3", "", ""}, {"1.2.3-", "", ""}, {"1.2.3+5", "", ""}, {"1.2.3 -X a=b", "", ""}, {"vv1.2.3", "", ""}, {"main", "", ""},
	} {
		cmd := exec.CommandContext(t.Context(), "bash", "package", test.version)
		cmd.Env = append(os.Environ(), "RELEASE_URL="+test.url, "PATH="+dir+string(os.PathListSeparator)+os.Getenv("PATH"))
		out, err := cmd.Output()
		if got := commitOf.ReplaceAllString(strings.TrimSpace(string(out)), "("); got != test.want || err == nil {
			t.Errorf("%q, %q: %q, %v, want %q", test.version, test.url, got, err, test.want)
		}
	}
}

var commitOf = regexp.MustCompile(`\([0-9a-f]{40}(-dirty)?\), to be fetched from `)

// target is a platform, by Go's names.
type target struct{ os, arch string }

var targets = []target{
	{"linux", "amd64"}, {"linux", "arm64"}, {"darwin", "amd64"}, {"darwin", "arm64"}, {"windows", "amd64"}, {"windows", "arm64"},
}

func (t target) String() string { return t.os + "-" + t.arch }

func (t target) program() string {
	if t.os == "windows" {
		return "authferry.exe"
	}
	return "authferry"
}

// share is the program for shared pools.
func (t target) share() string {
	return strings.Replace(t.program(), "authferry", "authferry-share", 1)
}

// node names a target as process.platform and process.arch do.
func (t target) node() string {
	return strings.NewReplacer("windows", "win32", "amd64", "x64").Replace(t.String())
}
