package helper_test

import (
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"net/http"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/authferry/authferry/broker/brokertest"
	"github.com/authferry/authferry/testenv"
)

// registry serves one image without layers.
func registry() http.Handler {
	const (
		kind   = "application/vnd.docker.distribution.manifest.v2+json"
		config = `{"architecture":"amd64","os":"linux","rootfs":{"type":"layers","diff_ids":[]}}`
	)
	sum := sha256.Sum256([]byte(config))
	digest := "sha256:" + hex.EncodeToString(sum[:])
	mux := http.NewServeMux()
	mux.HandleFunc("/v2/{$}", func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Docker-Distribution-Api-Version", "registry/2.0")
	})
	mux.HandleFunc("/v2/team/app/manifests/latest", func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", kind)
		_, _ = fmt.Fprintf(w, `{"schemaVersion":2,"mediaType":%q,"config":{"mediaType":"application/vnd.docker.container.image.v1+json","size":%d,"digest":%q},"layers":[]}`, kind, len(config), digest)
	})
	mux.HandleFunc("/v2/team/app/blobs/"+digest, func(w http.ResponseWriter, _ *http.Request) { _, _ = w.Write([]byte(config)) })
	return mux
}

func TestDockerClient(t *testing.T) {
	t.Parallel()
	docker := client(t, "docker", "apt-get install docker-cli; no engine")
	s := newScene(t, brokertest.Config{})
	c := newSite(s, true, registry())
	c.logIn("ada")
	_ = c.s.named("docker-credential-authferry")
	config, err := json.Marshal(map[string]any{"credHelpers": map[string]string{c.host(): "authferry"}})
	testenv.Must(t, err)
	path := s.Write("docker/config.json", string(config))
	env := []string{"DOCKER_CONFIG=" + filepath.Dir(path), "DOCKER_HOST=tcp://127.0.0.1:1", "DOCKER_CLI_EXPERIMENTAL=enabled"}
	inspect := func(env []string) outcome {
		return s.with(s.Root, env, docker, "manifest", "inspect", "--insecure", c.host()+"/team/app:latest")
	}
	if got := inspect(env); got.Code != 0 || !strings.Contains(got.Out, `"schemaVersion": 2`) {
		t.Fatalf("%d\n%s%s\n%q", got.Code, got.Out, got.Err, c.answers)
	}
	if c.count("200 ada") == 0 {
		t.Errorf("%q", c.answers)
	}
	c.wantRefreshes(0)

	// Docker tells nobody of a 401.
	c.expire()
	if got := inspect(env); got.Code == 0 {
		t.Error("docker got in with a token that is over")
	}
	c.wantRefreshes(0)
	s.Must("", "refresh", "ada")
	if got := inspect(env); got.Code != 0 {
		t.Errorf("%d\n%s", got.Code, got.Err)
	}
	c.wantRefreshes(1)

	// What has less than five minutes left is refreshed before docker gets it.
	s.Must(s.Grant("eve", time.Minute), "import", "grant", "sim", "--label", "eve")
	if got := inspect(append(env, "AUTHFERRY_ACCOUNT=eve")); got.Code != 0 || c.count("200 eve") == 0 {
		t.Errorf("%d\n%s", got.Code, got.Err)
	}
	c.wantRefreshes(2)

	// docker login finds nothing stored but what is stored already.
	token := func(user string) string {
		return strings.TrimSpace(s.Must("", "token", "--account", user).Out)
	}
	login := func(user string) outcome {
		return s.with(s.Root, append(env, "AUTHFERRY_ACCOUNT=ada"), docker, "login", "-u", "oauth2accesstoken", "-p", token(user), c.host())
	}
	if got := login("ada"); got.Code != 0 {
		t.Errorf("%d\n%s%s", got.Code, got.Out, got.Err)
	}
	if got := login("eve"); got.Code == 0 || !strings.Contains(got.Err, "authferry takes no logins from docker; nothing was stored (") {
		t.Errorf("%d\n%s%s", got.Code, got.Out, got.Err)
	}
	s.works(s.Root, env, docker, "logout", c.host())
	if got := inspect(env); got.Code != 0 {
		t.Errorf("after docker logout: %d\n%s", got.Code, got.Err)
	}
	c.wantRefreshes(2)

	c.limit("ada", -1, "3600")
	if got := inspect(env); got.Code == 0 || s.Held() != "" {
		t.Errorf("%d, held: %s\n%s", got.Code, s.Held(), got.Err)
	}
}
