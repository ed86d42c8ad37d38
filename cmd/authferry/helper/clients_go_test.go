package helper_test

import (
	"archive/zip"
	"bytes"
	"net/http"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/authferry/authferry/broker/brokertest"
	"github.com/authferry/authferry/testenv"
)

// moduleProxy serves one module.
func moduleProxy(t *testing.T) http.Handler {
	t.Helper()
	const gomod = "module example.com/m\n\ngo 1.24\n"
	var archive bytes.Buffer
	z := zip.NewWriter(&archive)
	for name, content := range map[string]string{"go.mod": gomod, "m.go": "package m\n"} {
		w, err := z.Create("example.com/m@v1.0.0/" + name)
		if err == nil {
			_, err = w.Write([]byte(content))
		}
		testenv.Must(t, err)
	}
	testenv.Must(t, z.Close())
	mux := http.NewServeMux()
	for path, content := range map[string][]byte{
		"list": []byte("v1.0.0\n"), "v1.0.0.info": []byte(`{"Version":"v1.0.0"}`), "v1.0.0.mod": []byte(gomod), "v1.0.0.zip": archive.Bytes(),
	} {
		mux.HandleFunc("/example.com/m/@v/"+path, func(w http.ResponseWriter, _ *http.Request) { _, _ = w.Write(content) })
	}
	return mux
}

// download lets go get the module anew.
func (c *site) download(selection string) outcome {
	s := c.s
	s.T.Helper()
	return s.with(s.Root, []string{
		"GOAUTH=" + s.named("authferry") + " helper goauth " + selection, "GOPROXY=" + c.URL, "GOSUMDB=off", "GOTOOLCHAIN=local",
		"GOFLAGS=-modcacherw", "GOMODCACHE=" + s.T.TempDir(), "GOCACHE=" + filepath.Join(s.Root, "cache"), "GOENV=off", "SSL_CERT_FILE=" + c.certificate(),
	}, client(s.T, "go", "install Go"), "mod", "download", "-x", "example.com/m@v1.0.0")
}

func newModuleSite(t *testing.T) *site {
	t.Helper()
	if !usesCertificateFile {
		t.Skip("needs a system where SSL_CERT_FILE counts: not Windows or macOS")
	}
	c := newSite(newScene(t, brokertest.Config{}), true, moduleProxy(t))
	c.logIn("ada", "bob")
	return c
}

func TestGoClient(t *testing.T) {
	t.Parallel()
	t.Run("accepted", func(t *testing.T) {
		c := newModuleSite(t)
		for _, selection := range []string{"", "--pool sim", "--account ada"} {
			c.forget()
			if got := c.download(selection); got.Code != 0 {
				t.Fatalf("%s: %d\n%s", selection, got.Code, got.Err)
			}
			if c.count("200 ada") == 0 || c.count("401") > 0 || c.count("200 bob") > 0 {
				t.Errorf("%s: %q", selection, c.answers)
			}
		}
		c.wantRefreshes(0)
	})
	t.Run("refreshed before its end", func(t *testing.T) {
		c := newModuleSite(t)
		c.s.Must(c.s.Grant("eve", time.Minute), "import", "grant", "sim", "--label", "eve")
		if got := c.download("--account eve"); got.Code != 0 || c.count("200 eve") == 0 || c.count("401") > 0 {
			t.Errorf("%d\n%s\n%q", got.Code, got.Err, c.answers)
		}
		c.wantRefreshes(1)
	})
	t.Run("401 is followed by a refresh", func(t *testing.T) {
		c := newModuleSite(t)
		c.expire()
		if got := c.download("--pool sim"); got.Code != 0 {
			t.Fatalf("%d\n%s", got.Code, got.Err)
		}
		if c.count("200 ada") == 0 || c.count("200 bob") > 0 {
			t.Errorf("%q", c.answers)
		}
		c.wantRefreshes(1)
	})
	t.Run("429 is followed by the next account", func(t *testing.T) {
		c := newModuleSite(t)
		c.limit("ada", -1, "3600")
		if got := c.download("--pool sim"); got.Code != 0 {
			t.Fatalf("%d\n%s", got.Code, got.Err)
		}
		if c.count("429") == 0 || c.count("200 bob") == 0 || c.s.Held() != "ada" {
			t.Errorf("%q, held: %s", c.answers, c.s.Held())
		}
		c.wantRefreshes(0)
	})
	t.Run("nobody is left", func(t *testing.T) {
		c := newModuleSite(t)
		c.limit("ada", -1, "3600")
		got := c.download("--account ada")
		if got.Code == 0 || !strings.Contains(got.Err, "429") || c.count("200 bob") > 0 || c.s.Held() != "ada" {
			t.Errorf("%d\n%s\n%q, held: %s", got.Code, got.Err, c.answers, c.s.Held())
		}
	})
}

// The go command has many requests under way when one is refused, and asks about
// each: one refresh, and one account that is left.
func TestGoAsksAboutManyRequests(t *testing.T) {
	for _, test := range []struct {
		answer         string
		refreshes      int
		held, accepted string
	}{
		{answer: "HTTP/2.0 401 Unauthorized\n\n", refreshes: 1, accepted: "ada"},
		{answer: "HTTP/2.0 429 Too Many Requests\nRetry-After: 3600\n\n", held: "ada", accepted: "bob"},
	} {
		t.Run(test.answer[9:12], func(t *testing.T) {
			s := newScene(t, brokertest.Config{})
			c := newSite(s, true, nil)
			c.logIn("ada", "bob", "eve")
			var all sync.WaitGroup
			answers := make([]outcome, 16)
			for i := range answers {
				cmd := s.Command("helper", "goauth", "--pool", "sim", c.URL+"/x")
				cmd.Stdin = strings.NewReader(test.answer)
				all.Go(func() { answers[i] = s.Finish(cmd) })
			}
			all.Wait()
			tokens := map[string]bool{}
			for _, a := range answers {
				if a.Code != 0 {
					t.Errorf("%d %s", a.Code, a.Err)
				}
				tokens[a.Out] = true
			}
			if len(tokens) != 1 {
				t.Errorf("%d different answers", len(tokens))
			}
			_, token, _ := strings.Cut(strings.TrimSpace(answers[0].Out), "Bearer ")
			if status, user, _ := c.ask(token); status != 200 || user != test.accepted {
				t.Errorf("the token is of %q, %d; want %s's", user, status, test.accepted)
			}
			if held := s.Held(); held != test.held {
				t.Errorf("held: %q, want %q", held, test.held)
			}
			c.wantRefreshes(test.refreshes)
		})
	}
}
