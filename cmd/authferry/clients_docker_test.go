package main

import (
	"encoding/json"
	"net/http"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/authferry/authferry/broker/brokertest"
)

// registry serves one multi-platform manifest.
func registry() http.Handler {
	const kind = "application/vnd.oci.image.index.v1+json"
	mux := http.NewServeMux()
	mux.HandleFunc("/v2/{$}", func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Docker-Distribution-Api-Version", "registry/2.0")
	})
	mux.HandleFunc("/v2/team/app/manifests/latest", func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", kind)
		_, _ = w.Write([]byte(`{"schemaVersion":2,"mediaType":"` + kind + `","manifests":[]}`))
	})
	return mux
}

func TestDockerClient(t *testing.T) {
	docker := client(t, "docker", "apt-get install docker-cli; no engine")
	s := newScene(t, brokertest.Config{})
	c := newSite(s, true, registry())
	c.logIn("ada")
	_ = authferryAs(t, "docker-credential-authferry")
	config, err := json.Marshal(map[string]any{"credHelpers": map[string]string{c.host(): "authferry"}})
	if err != nil {
		t.Fatal(err)
	}
	path := s.write("docker/config.json", string(config))
	env := []string{"DOCKER_CONFIG=" + filepath.Dir(path), "DOCKER_HOST=tcp://127.0.0.1:1", "DOCKER_CLI_EXPERIMENTAL=enabled"}
	inspect := func(env []string) outcome {
		return s.with(s.root, env, docker, "manifest", "inspect", "--insecure", c.host()+"/team/app:latest")
	}
	if got := inspect(env); got.code != 0 || !strings.Contains(got.out, `"schemaVersion": 2`) {
		t.Fatalf("%d\n%s%s", got.code, got.out, got.err)
	}
	if c.count("200 ada") == 0 {
		t.Errorf("%q", c.answers)
	}
	c.wantRefreshes(0)

	// Docker tells nobody of a 401.
	c.expire()
	if got := inspect(env); got.code == 0 {
		t.Error("docker got in with a token that is over")
	}
	c.wantRefreshes(0)
	s.must("", "refresh", "ada")
	if got := inspect(env); got.code != 0 {
		t.Errorf("%d\n%s", got.code, got.err)
	}
	c.wantRefreshes(1)

	// What has less than five minutes left is refreshed before docker gets it.
	s.must(s.grant("eve", time.Minute), "import", "grant", "sim", "--label", "eve")
	if got := inspect(append(env, "AUTHFERRY_ACCOUNT=eve")); got.code != 0 || c.count("200 eve") == 0 {
		t.Errorf("%d\n%s", got.code, got.err)
	}
	c.wantRefreshes(2)

	c.limit("ada", -1, "3600")
	if got := inspect(env); got.code == 0 || s.held() != "" {
		t.Errorf("%d, held: %s\n%s", got.code, s.held(), got.err)
	}
	got := s.with(s.root, env, docker, "login", "-u", "me", "-p", "mine", c.host())
	t.Logf("login %d\n%s%s", got.code, got.out, got.err)
	got = s.with(s.root, env, docker, "logout", c.host())
	t.Logf("logout %d\n%s%s", got.code, got.out, got.err)
}
