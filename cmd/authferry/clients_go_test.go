package main

import (
	"archive/zip"
	"bytes"
	"net/http"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/authferry/authferry/broker/brokertest"
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
		if err != nil {
			t.Fatal(err)
		}
	}
	if err := z.Close(); err != nil {
		t.Fatal(err)
	}
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
	s.t.Helper()
	return s.with(s.root, []string{
		"GOAUTH=" + authferryAs(s.t, "authferry") + " helper goauth " + selection, "GOPROXY=" + c.URL, "GOSUMDB=off", "GOTOOLCHAIN=local",
		"GOFLAGS=-modcacherw", "GOMODCACHE=" + s.t.TempDir(), "GOCACHE=" + filepath.Join(s.root, "cache"), "GOENV=off", "SSL_CERT_FILE=" + c.certificate(),
	}, client(s.t, "go", "install Go"), "mod", "download", "-x", "example.com/m@v1.0.0")
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
	t.Run("accepted", func(t *testing.T) {
		c := newModuleSite(t)
		for _, selection := range []string{"", "--pool sim", "--account ada"} {
			c.forget()
			if got := c.download(selection); got.code != 0 {
				t.Fatalf("%s: %d\n%s", selection, got.code, got.err)
			}
			if c.count("200 ada") == 0 || c.count("401") > 0 || c.count("200 bob") > 0 {
				t.Errorf("%s: %q", selection, c.answers)
			}
		}
		c.wantRefreshes(0)
	})
	t.Run("refreshed before its end", func(t *testing.T) {
		c := newModuleSite(t)
		c.s.must(c.s.grant("eve", time.Minute), "import", "grant", "sim", "--label", "eve")
		if got := c.download("--account eve"); got.code != 0 || c.count("200 eve") == 0 || c.count("401") > 0 {
			t.Errorf("%d\n%s\n%q", got.code, got.err, c.answers)
		}
		c.wantRefreshes(1)
	})
	t.Run("401 is followed by a refresh", func(t *testing.T) {
		c := newModuleSite(t)
		c.expire()
		if got := c.download("--pool sim"); got.code != 0 {
			t.Fatalf("%d\n%s", got.code, got.err)
		}
		if c.count("200 ada") == 0 || c.count("200 bob") > 0 {
			t.Errorf("%q", c.answers)
		}
		c.wantRefreshes(1)
	})
	t.Run("429 is followed by the next account", func(t *testing.T) {
		c := newModuleSite(t)
		c.limit("ada", -1, "3600")
		if got := c.download("--pool sim"); got.code != 0 {
			t.Fatalf("%d\n%s", got.code, got.err)
		}
		if c.count("429") == 0 || c.count("200 bob") == 0 || c.s.held() != "ada" {
			t.Errorf("%q, held: %s", c.answers, c.s.held())
		}
		c.wantRefreshes(0)
	})
	t.Run("nobody is left", func(t *testing.T) {
		c := newModuleSite(t)
		c.limit("ada", -1, "3600")
		got := c.download("--account ada")
		if got.code == 0 || !strings.Contains(got.err, "429") || c.count("200 bob") > 0 || c.s.held() != "ada" {
			t.Errorf("%d\n%s\n%q, held: %s", got.code, got.err, c.answers, c.s.held())
		}
	})
}
