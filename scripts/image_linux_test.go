package scripts

import (
	"context"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/authferry/authferry/proofs"
	"github.com/authferry/authferry/testenv"
)

// The container image is authferry, both programs of it, and certificates, and works for a user who is nobody,
// with a mounted key and a folder.
func TestImage(t *testing.T) {
	proofs.Only(t, "builds an image")
	if _, err := exec.LookPath("buildah"); err != nil {
		t.Skip("needs buildah: apt-get install buildah")
	}
	if os.Geteuid() != 0 || exec.CommandContext(t.Context(), "unshare", "--mount", "true").Run() != nil {
		t.Skip("needs mount namespaces: run it as root")
	}
	dir := t.TempDir()
	conf := filepath.Join(dir, "storage.conf")
	settings := "[storage]\ndriver = \"vfs\"\ngraphroot = \"" + filepath.Join(dir, "graph") + "\"\nrunroot = \"" + filepath.Join(dir, "run") + "\"\n"
	testenv.Must(t, os.WriteFile(conf, []byte(settings), 0o600))
	do := func(stdin string, args ...string) string {
		t.Helper()
		cmd := exec.CommandContext(context.WithoutCancel(t.Context()), args[0], args[1:]...) // also when it is cleaned up
		cmd.Dir = ".."
		cmd.Stdin = strings.NewReader(stdin)
		cmd.Env = append(os.Environ(), "CONTAINERS_STORAGE_CONF="+conf, "BUILDAH_ISOLATION=chroot")
		var complaint strings.Builder
		cmd.Stderr = &complaint
		out, err := cmd.Output()
		if err != nil {
			t.Fatalf("%q: %v\n%s%s", args, err, out, complaint.String())
		}
		return strings.TrimSpace(string(out))
	}
	const name = "localhost/authferry-test"
	t.Log(do("", "bash", "scripts/image", name))
	container := do("", "buildah", "from", "--pull-never", name)
	t.Cleanup(func() { do("", "buildah", "rm", container) })

	var files []string
	size := int64(0)
	root := do("", "buildah", "mount", container)
	err := filepath.WalkDir(root, func(path string, entry fs.DirEntry, err error) error {
		if err == nil && !entry.IsDir() {
			var info fs.FileInfo
			if info, err = entry.Info(); err == nil {
				files, size = append(files, strings.TrimPrefix(path, root)), size+info.Size()
			}
		}
		return err
	})
	if want := []string{"/etc/ssl/certs/ca-certificates.crt", "/usr/bin/authferry", "/usr/bin/authferry-share"}; err != nil || !slices.Equal(files, want) {
		t.Errorf("%v: it has %q", err, files)
	}
	if size > 36_000_000 {
		t.Errorf("it has %d bytes", size)
	}

	const nobody = 65532
	key, volume := filepath.Join(dir, "key.txt"), filepath.Join(dir, "volume")
	do("", "go", "run", "filippo.io/age/cmd/age-keygen", "-o", key)
	testenv.Must(t, os.Mkdir(volume, 0o700))
	for _, path := range []string{key, volume} {
		testenv.Must(t, os.Chown(path, nobody, nobody))
	}
	authferry := func(stdin string, args ...string) string {
		t.Helper()
		return do(stdin, append([]string{"buildah", "run", "-v", key + ":/run/secrets/authferry-key:ro", "-v", volume + ":/data", container, "--", "authferry"}, args...)...)
	}
	authferry("", "provider", "add", "probe", "--api-origin", "https://api.probe.example")
	authferry("canary-key", "login", "probe", "--api-key-stdin", "--label", "CI")
	if got := authferry("", "token", "probe"); got != "canary-key" {
		t.Errorf("token: %q", got)
	}
	if got := authferry("", "doctor"); strings.Contains(got, "warning") || strings.Contains(got, "fail") {
		t.Errorf("doctor:\n%s", got)
	}
	if owners := do("", "find", volume, "-mindepth", "1", "!", "-uid", "65532"); owners != "" {
		t.Errorf("of another user: %s", owners)
	}
}
