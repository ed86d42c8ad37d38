package authferry_test

import (
	"os"
	"os/exec"
	"strings"
	"testing"
)

// What authferry links is initialised before each token. The engine's client takes longer
// than that, so only authferry-share links it, and the pools themselves.
func TestAuthferryLinksNoEngine(t *testing.T) {
	for _, goos := range []string{"linux", "darwin", "windows"} {
		cmd := exec.Command("go", "list", "-deps", "./cmd/authferry")
		cmd.Env = append(os.Environ(), "GOOS="+goos, "CGO_ENABLED=0")
		output, err := cmd.Output()
		if err != nil {
			t.Fatalf("go list: %v", err)
		}
		for path := range strings.Lines(string(output)) {
			path = strings.TrimSpace(path)
			ours, share := strings.CutPrefix(path, module+"/share")
			for _, other := range []string{"go.etcd.io/", "google.golang.org/", "go.uber.org/", "github.com/grpc", "github.com/coreos/go-semver"} {
				if strings.HasPrefix(path, other) {
					t.Errorf("%s: authferry links %s", goos, path)
				}
			}
			if share && ours != "/pipe" {
				t.Errorf("%s: authferry links %s: it has authferry-share do that, through share/pipe", goos, path)
			}
		}
	}
}
