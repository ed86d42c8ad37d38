package scripts

import (
	"bytes"
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"testing"

	"github.com/authferry/authferry/testenv"
)

// installedFiles are what deb and rpm have in common.
var installedFiles = []string{
	"usr/bin/authferry",
	"usr/bin/authferry-share",
	"usr/share/authferry/share-certs",
	"usr/share/bash-completion/completions/authferry",
	"usr/share/fish/vendor_completions.d/authferry.fish",
	"usr/share/man/man1/authferry.1.gz",
}

// needRoot skips what installs into a folder as root does into the system.
func needRoot(t *testing.T) {
	t.Helper()
	if os.Geteuid() != 0 {
		t.Skip("needs root: run it in a container")
	}
}

// The deb is installed into a folder by dpkg over an older one, runs there, and leaves
// nothing.
func (p *packed) deb(t *testing.T) {
	need(t, "dpkg", "dpkg-deb", "man")
	needRoot(t)
	deb := p.path("authferry_1.2.3~rc.1_%s.deb", runtime.GOARCH)
	files := unpackTar(t, strings.NewReader(do(t, "", "dpkg-deb", "--fsys-tarfile", deb)))
	modes(t, files, append([]string{"usr/share/doc/authferry/copyright", "usr/share/zsh/vendor-completions/_authferry"}, installedFiles...))

	root := t.TempDir()
	state := filepath.Join(root, "var", "lib", "dpkg")
	for _, folder := range []string{"info", "updates"} {
		testenv.Must(t, os.MkdirAll(filepath.Join(state, folder), 0o755))
	}
	testenv.Must(t, os.WriteFile(filepath.Join(state, "status"), nil, 0o644))
	// A container may have been told to leave out manual pages.
	install := func(deb string) { do(t, "", "dpkg", "--root="+root, "--path-include=*", "--install", deb) }
	version := func() string {
		return do(t, "", "dpkg-query", "--admindir="+state, "--show", "--showformat=${Status} ${Version}", "authferry")
	}
	// The version before: the same, with a file that the next one hasn't.
	older := t.TempDir()
	do(t, "", "dpkg-deb", "--raw-extract", deb, older)
	control := filepath.Join(older, "DEBIAN", "control")
	content, err := os.ReadFile(control)
	testenv.Must(t, err)
	for name, content := range map[string][]byte{
		control: bytes.Replace(content, []byte("1.2.3~rc.1"), []byte("1.2.2"), 1),
		filepath.Join(older, "usr", "share", "doc", "authferry", "gone"): nil,
	} {
		testenv.Must(t, os.WriteFile(name, content, 0o644))
	}
	do(t, "", "dpkg-deb", "--build", older, older+".deb")
	for _, step := range []struct{ deb, want string }{{older + ".deb", "1.2.2"}, {deb, "1.2.3~rc.1"}} {
		install(step.deb)
		if got := version(); got != "install ok installed "+step.want {
			t.Errorf("after the installation of %s: %s", step.want, got)
		}
	}
	if _, err := os.Stat(filepath.Join(root, "usr", "share", "doc", "authferry", "gone")); err == nil {
		t.Error("an upgrade left a file of the old version behind")
	}
	p.installed(t, root, "usr/share/zsh/vendor-completions/_authferry")
	do(t, "", "dpkg", "--root="+root, "--remove", "authferry")
	left(t, filepath.Join(root, "usr"))
}

// The same of the rpm.
func (p *packed) rpm(t *testing.T) {
	need(t, "rpm", "man")
	needRoot(t)
	machine := map[string]string{"amd64": "x86_64", "arm64": "aarch64"}[runtime.GOARCH]
	file := p.path("authferry-1.2.3~rc.1-1.%s.rpm", machine)
	want := `/usr/bin/authferry 100755 root:root
/usr/bin/authferry-share 100755 root:root
/usr/share/authferry 40755 root:root
/usr/share/authferry/share-certs 100755 root:root
/usr/share/bash-completion/completions/authferry 100644 root:root
/usr/share/fish/vendor_completions.d/authferry.fish 100644 root:root
/usr/share/licenses/authferry 40755 root:root
/usr/share/licenses/authferry/LICENSE 100644 root:root
/usr/share/man/man1/authferry.1.gz 100644 root:root
/usr/share/zsh/site-functions/_authferry 100644 root:root
`
	got := do(t, "", "rpm", "--query", "--package", file, "--queryformat", `[%{FILENAMES} %{FILEMODES:octal} %{FILEUSERNAME}:%{FILEGROUPNAME}\n]`)
	if got != want {
		t.Errorf("got:\n%s", got)
	}

	root := t.TempDir()
	rpm := func(args ...string) {
		t.Helper()
		args = append([]string{"--root", root, "--dbpath", "/var/lib/rpm", "--nodeps"}, args...)
		if _, err := os.Stat("/etc/debian_version"); err == nil {
			args = append([]string{"--force-debian"}, args...) // it would rather have a deb
		}
		do(t, "", "rpm", args...)
	}
	rpm("--install", file)
	p.installed(t, root, "usr/share/zsh/site-functions/_authferry")
	rpm("--erase", "authferry")
	left(t, filepath.Join(root, "usr"))
}

// installed holds what a package put into root to work.
func (p *packed) installed(t *testing.T, root, zsh string) {
	t.Helper()
	program := filepath.Join(root, "usr", "bin", "authferry")
	p.runs(t, program)
	manuals := filepath.Join(root, "usr", "share", "man")
	if got, want := strings.TrimSpace(do(t, "", "man", "-M", manuals, "-w", "authferry")), filepath.Join(manuals, "man1", "authferry.1.gz"); got != want {
		t.Errorf("man finds %q, not %q", got, want)
	}
	if page := do(t, "", "man", "-M", manuals, "authferry"); !strings.Contains(page, "EXIT STATUS") {
		t.Errorf("man shows %.200q", page)
	}
	for shell, file := range map[string]string{
		"bash": "usr/share/bash-completion/completions/authferry",
		"fish": "usr/share/fish/vendor_completions.d/authferry.fish",
		"zsh":  zsh,
	} {
		script, err := os.ReadFile(filepath.Join(root, file))
		if err != nil {
			t.Error(err)
		} else if do(t, "", program, "completion", shell) != string(script) {
			t.Errorf("%s is not what the program prints", file)
		}
	}
}

// left complains about what an uninstalled package left in dir.
func left(t *testing.T, dir string) {
	t.Helper()
	err := filepath.WalkDir(dir, func(path string, _ os.DirEntry, err error) error {
		if os.IsNotExist(err) {
			return nil
		}
		if strings.Contains(filepath.Base(path), "authferry") {
			t.Errorf("%s was left behind", path)
		}
		return err
	})
	testenv.Check(t, err)
}

// The npm package installs without a network and without running a script.
func (p *packed) npm(t *testing.T) {
	need(t, "npm", "node")
	file := p.path("authferry-%s.tgz", stampedVersion)
	want := []string{"package/package.json", "package/LICENSE", "package/README.md", "package/bin/authferry.js"}
	for _, target := range targets {
		want = append(want, "package/bin/"+target.node()+"/"+target.program(), "package/bin/"+target.node()+"/"+target.share())
	}
	modes(t, unpackTarGz(t, file), want)

	dir := t.TempDir()
	do(t, dir, "npm", "install", "--offline", "--ignore-scripts", "--no-audit", "--no-fund", "--global", "--prefix", dir, file)
	bin := filepath.Join(dir, "bin", "authferry")
	if runtime.GOOS == "windows" {
		bin = filepath.Join(dir, "authferry.cmd")
	}
	p.runs(t, bin)

	// The program's own words and exit code come through.
	cmd := exec.Command(bin, "token", "--json", "--no-input")
	cmd.Env = hermetic(t)
	output, err := cmd.Output()
	if cmd.ProcessState == nil || cmd.ProcessState.ExitCode() != 3 {
		t.Errorf("without an account: %v, %s", err, output)
	}
	do(t, dir, "npm", "uninstall", "--offline", "--global", "--prefix", dir, "authferry")
	if _, err := os.Lstat(bin); err == nil {
		t.Error("npm uninstall left the program behind")
	}
}

// Enough of Homebrew to run a formula for one platform: what it fetches, and
// where it puts what is in the folder that it was unpacked to.
const homebrew = `
require 'fileutils'
SYSTEM, MACHINE, PREFIX = ARGV.shift(3)
module Hardware
  class CPU
    class << self
      def intel? = MACHINE == 'amd64'
      def arm? = MACHINE == 'arm64'
      def is_64_bit? = true
    end
  end
end
class Formula
  class << self
    def desc(*) = nil
    alias_method :homepage, :desc
    alias_method :license, :desc
    alias_method :test, :desc
    def version(value) = puts("version #{value}")
    def url(value) = puts("url #{value}")
    def sha256(value) = puts("sha256 #{value}")
    def on_macos = (yield if SYSTEM == 'darwin')
    def on_linux = (yield if SYSTEM == 'linux')
  end
  Folder = Struct.new(:path) do
    def install(what)
      FileUtils.mkdir_p(path)
      from, to = what.is_a?(Hash) ? what.first : [what, File.basename(what)]
      FileUtils.cp(from, File.join(path, to), preserve: true)
    end
  end
  { bin: 'bin', pkgshare: 'share/authferry', man1: 'share/man/man1', bash_completion: 'etc/bash_completion.d',
    fish_completion: 'share/fish/vendor_completions.d', zsh_completion: 'share/zsh/site-functions' }.each do |name, folder|
    define_method(name) { Folder.new(File.join(PREFIX, folder)) }
  end
end
load ARGV.shift
Authferry.new.install if Dir.exist?('completion')
`

func (p *packed) homebrew(t *testing.T) {
	need(t, "ruby")
	script := filepath.Join(t.TempDir(), "homebrew.rb")
	testenv.Must(t, os.WriteFile(script, []byte(homebrew), 0o644))
	sums := readSums(t, p.dist)
	for _, target := range targets {
		if target.os == "windows" {
			continue
		}
		folder := "authferry-" + stampedVersion + "-" + target.String()
		dir, prefix := t.TempDir(), t.TempDir()
		for name, f := range unpackTarGz(t, p.path("%s.tar.gz", folder)) {
			to := filepath.Join(dir, strings.TrimPrefix(name, folder+"/"))
			testenv.Must(t, os.MkdirAll(filepath.Dir(to), 0o755))
			testenv.Must(t, os.WriteFile(to, f.content, f.mode))
		}
		got := do(t, dir, "ruby", script, target.os, target.arch, prefix, p.path("authferry.rb"))
		want := fmt.Sprintf("version %s\nurl https://github.com/authferry/authferry/releases/download/v%[1]s/%s.tar.gz\nsha256 %s\n",
			stampedVersion, folder, sums[folder+".tar.gz"])
		if got != want {
			t.Errorf("%s: got\n%swant\n%s", target, got, want)
		}
		for _, name := range []string{
			"share/authferry/share-certs", "share/man/man1/authferry.1", "etc/bash_completion.d/authferry",
			"share/fish/vendor_completions.d/authferry.fish", "share/zsh/site-functions/_authferry",
		} {
			testenv.Check(t, testenv.Err(os.Stat(filepath.Join(prefix, name))))
		}
		if target.os == runtime.GOOS && target.arch == runtime.GOARCH {
			p.runs(t, filepath.Join(prefix, "bin", "authferry"))
		}
	}
}

func (p *packed) scoop(t *testing.T) {
	content, err := os.ReadFile(p.path("authferry.json"))
	testenv.Must(t, err)
	var manifest struct {
		Version      string
		Architecture map[string]struct {
			URL, Hash string
			Bin       []string
		}
	}
	testenv.Must(t, json.Unmarshal(content, &manifest))
	if manifest.Version != stampedVersion {
		t.Errorf("version %q", manifest.Version)
	}
	sums := readSums(t, p.dist)
	for name, machine := range map[string]string{"64bit": "amd64", "arm64": "arm64"} {
		got, folder := manifest.Architecture[name], "authferry-"+stampedVersion+"-windows-"+machine
		if !strings.HasSuffix(got.URL, "/v"+stampedVersion+"/"+folder+".zip") || got.Hash != sums[folder+".zip"] {
			t.Errorf("%s: %+v", name, got)
		}
		if len(got.Bin) != 2 {
			t.Fatalf("%s: %d programs", name, len(got.Bin))
		}
		for _, bin := range got.Bin {
			if _, there := unpackZip(t, p.path("%s.zip", folder))[bin]; !there {
				t.Errorf("%s: no %s in the archive", name, bin)
			}
		}
	}
}

// The bill of materials names what is in one program of its own platform.
func (p *packed) sbom(t *testing.T) {
	for _, target := range targets {
		for program, module := range map[string]string{"authferry": "github.com/zalando/go-keyring", "authferry-share": "go.etcd.io/etcd/client/v3"} {
			content, err := os.ReadFile(p.path("%s-%s-%s.cdx.json", program, stampedVersion, target))
			testenv.Must(t, err)
			var bill struct {
				BOMFormat string
				Metadata  struct {
					Component struct{ Name, Version string }
				}
				Components []struct{ Name, Version string }
			}
			testenv.Must(t, json.Unmarshal(content, &bill))
			if c := bill.Metadata.Component; bill.BOMFormat != "CycloneDX" || c.Name != "github.com/authferry/authferry" || c.Version != "v"+stampedVersion {
				t.Errorf("%s: %s of %+v", target, bill.BOMFormat, c)
			}
			versions := map[string]string{}
			for _, c := range bill.Components {
				versions[c.Name] = c.Version
			}
			_, wincred := versions["github.com/danieljoos/wincred"]
			if versions["std"] != runtime.Version() || versions[module] == "" || wincred != (target.os == "windows") {
				t.Errorf("%s of %s: %v", program, target, versions)
			}
			if etcd := versions["go.etcd.io/etcd/client/v3"] != ""; etcd != (program == "authferry-share") {
				t.Errorf("%s of %s and the client of etcd: %v", program, target, etcd)
			}
			if bytes.Contains(content, []byte(p.dist)) {
				t.Errorf("%s names a folder of this machine", target)
			}
		}
	}
}
