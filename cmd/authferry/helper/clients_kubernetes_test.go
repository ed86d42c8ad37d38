package helper_test

import (
	"encoding/json"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/authferry/authferry/broker/brokertest"
	"github.com/authferry/authferry/testenv"
)

// apiServer is as much of the Kubernetes API as kubectl needs to show pods.
func apiServer() http.Handler {
	mux := http.NewServeMux()
	for path, doc := range map[string]string{
		"/api":                                 `{"kind":"APIVersions","versions":["v1"]}`,
		"/apis":                                `{"kind":"APIGroupList","apiVersion":"v1","groups":[]}`,
		"/api/v1":                              `{"kind":"APIResourceList","groupVersion":"v1","resources":[{"name":"pods","singularName":"pod","namespaced":true,"kind":"Pod","verbs":["get","list"]}]}`,
		"/api/v1/namespaces/default/pods":      `{"kind":"PodList","apiVersion":"v1","metadata":{},"items":[{"kind":"Pod","apiVersion":"v1","metadata":{"name":"sim-pod","namespace":"default"}}]}`,
		"/api/v1/namespaces/default/pods/slow": `{}`,
	} {
		mux.HandleFunc(path, func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Content-Type", "application/json")
			_, _ = w.Write([]byte(doc))
		})
	}
	return mux
}

func TestKubernetesClient(t *testing.T) {
	t.Parallel()
	kubectl := client(t, "kubectl", "it comes from the Kubernetes project")
	s := newScene(t, brokertest.Config{})
	c := newSite(s, true, apiServer())
	c.logIn("ada", "bob")
	config := func(server string, args ...string) string {
		doc := map[string]any{
			"apiVersion": "v1", "kind": "Config", "current-context": "sim",
			"clusters": []any{map[string]any{"name": "sim", "cluster": map[string]any{"server": server, "certificate-authority": c.certificate(), "tls-server-name": "127.0.0.1"}}},
			"contexts": []any{map[string]any{"name": "sim", "context": map[string]any{"cluster": "sim", "user": "sim"}}},
			"users": []any{map[string]any{"name": "sim", "user": map[string]any{"exec": map[string]any{
				"apiVersion": "client.authentication.k8s.io/v1", "command": c.s.named("authferry"), "args": append([]string{"helper", "kubernetes"}, args...),
				"interactiveMode": "Never", "provideClusterInfo": args == nil,
			}}}},
		}
		data, err := json.Marshal(doc)
		testenv.Must(t, err)
		return s.Write("kubeconfig", string(data))
	}
	pods := func(config string) outcome {
		return s.with(s.Root, []string{"KUBECONFIG=" + config, "KUBECACHEDIR=" + t.TempDir()}, kubectl, "get", "pods", "-o", "name")
	}
	for _, args := range [][]string{nil, {"--pool", "sim"}, {"--account", "ada"}} {
		c.forget()
		if got := pods(config(c.URL, args...)); got.Code != 0 || !strings.Contains(got.Out, "pod/sim-pod") {
			t.Fatalf("%q: %d\n%s%s", args, got.Code, got.Out, got.Err)
		}
		if c.count("200 ada") < 2 || c.count("401") > 0 {
			t.Errorf("%q: %q", args, c.answers)
		}
	}
	c.wantRefreshes(0)

	// A cluster that is told to the helper and is not the account's.
	c.forget()
	if got := pods(config(strings.Replace(c.URL, "127.0.0.1", "localhost", 1))); got.Code == 0 || !strings.Contains(got.Err, "no token here is for the cluster's server") || len(c.answers) > 0 {
		t.Errorf("%d, %q\n%s", got.Code, c.answers, got.Err)
	}

	// kubectl says nothing of a 401 to its helper, and calls it again in vain.
	c.expire()
	if got := pods(config(c.URL, "--account", "ada")); got.Code == 0 {
		t.Error("kubectl got in with a token that is over")
	}
	c.wantRefreshes(0)
	s.Must("", "refresh", "ada")
	if got := pods(config(c.URL, "--account", "ada")); got.Code != 0 {
		t.Errorf("%d\n%s", got.Code, got.Err)
	}
	c.wantRefreshes(1)

	// The end that authferry knows of is heeded before it is reached.
	s.Must(s.Grant("eve", 30*time.Second), "import", "grant", "sim", "--label", "eve")
	if got := pods(config(c.URL, "--account", "eve")); got.Code != 0 || c.count("200 eve") == 0 {
		t.Errorf("%d\n%s", got.Code, got.Err)
	}
	c.wantRefreshes(2)

	// kubectl waits as long as the server says, and sends the same token again.
	c.forget()
	c.limit("ada", 1, "1")
	if got := pods(config(c.URL, "--pool", "sim")); got.Code != 0 || c.count("429") != 1 || c.count("200 bob") > 0 || s.Held() != "" {
		t.Errorf("%d, %q, held: %s\n%s", got.Code, c.answers, s.Held(), got.Err)
	}
}
