package helper

import (
	"bytes"
	"strings"
	"testing"
	"unicode"

	"github.com/authferry/authferry/broker/oauth"
)

// wantOrigin holds what every parser promises: an origin is empty, or the exact
// form in which an account's are written.
func wantOrigin(t *testing.T, origin string) {
	t.Helper()
	if origin == "" {
		return
	}
	if same, err := oauth.Origin(origin); err != nil || same != origin {
		t.Errorf("%q is no origin: %q, %v", origin, same, err)
	}
}

func wantClean(t *testing.T, text string) {
	t.Helper()
	if strings.ContainsFunc(text, unicode.IsControl) {
		t.Errorf("control characters in %q", text)
	}
}

// Whatever a client says to its helper, in whichever protocol: the same text goes to
// each parser, as what is read from stdin or the environment, and word stands for
// the argument that a client adds.
func FuzzRequest(f *testing.F) {
	const url = "https://api.example.com/x"
	for _, seed := range []string{
		"protocol=https\nhost=api.example.com\n\n", "protocol=http\nhost=127.0.0.1:80\nusername=u\npassword=p\n",
		"capability[]=authtype\nwwwauth[]=Basic realm=\"x\"\nprotocol=https\nhost=[::1]:443\n", "host=a\nhost=b\n", "protocol=https\rhost=x\n",
		"protocol=https\nhost=good.example@evil.example\n", "protocol=https\nhost=a%00b\n", "=\n", "\x00",
	} {
		f.Add("get", []byte(seed))
		f.Add("erase", []byte(seed))
	}
	for _, seed := range []string{"", "HTTP/1.1 401 Unauthorized\nA: b\n\n", "HTTP/2.0 429 Too Many Requests\nRetry-After: 30\n\n", "HTTP/1.1 401\r\nA:b\r\n\r\n", "HTTP/1.1 99 x\n\n", "HTTP/1.1 401 x\n\x00: y\n\n"} {
		f.Add(url, []byte(seed))
	}
	f.Add("https://user:pass@[::1]:443/?#", []byte("HTTP/1.1 402 \n\n"))
	for _, seed := range []string{"api.example.com", "https://index.docker.io/v1/", "a/b@c", `{"ServerURL":"h","Username":"u","Secret":"s"}`, `{"ServerURL":"h\u0000","Username":"u"}`, "\n"} {
		f.Add("get", []byte(seed))
		f.Add("store", []byte(seed))
	}
	for _, seed := range []string{
		`{"kind":"ExecCredential","apiVersion":"client.authentication.k8s.io/v1","spec":{"cluster":{"server":"https://127.0.0.1:6443"}}}`,
		`{"kind":"ExecCredential","apiVersion":"client.authentication.k8s.io/v1beta1","spec":{"interactive":false}}`, `{"kind":["ExecCredential"]}`,
		`{"v":1,"kind":"get","operation":"read","registry":{"index-url":"sparse+https://127.0.0.1:8443/index/","name":"r"},"args":["--account","Work"]}`,
		`{"v":1,"kind":"login","token":"t","registry":{"index-url":"sparse+sparse+https://x"}}`, `{"v":1e400}`,
		"127.0.0.1:8443", "a@b", "a/b", "[::1]", "xn--mnchen-3ya.example", "a\nb",
	} {
		f.Add("get", []byte(seed))
	}
	f.Fuzz(func(t *testing.T, word string, in []byte) {
		git(t, word, in)
		goAuth(t, word, in)
		if r, err := ParseDocker(word, bytes.NewReader(in)); err == nil {
			wantOrigin(t, r.Origin)
			wantClean(t, r.Server)
		}
		if r, err := ParseKubernetes(string(in)); err == nil {
			wantOrigin(t, r.Origin)
			wantClean(t, r.Version)
		}
		if r, failure := ParseCargo(in); failure == nil {
			wantOrigin(t, r.Origin)
			wantClean(t, strings.Join(r.Args, ""))
		}
		if r, err := ParseTerraform(word, string(in)); err == nil {
			wantOrigin(t, r.Origin)
			if strings.HasPrefix(r.Origin, "http:") {
				t.Errorf("%+v", r)
			}
		}
	})
}

func git(t *testing.T, op string, in []byte) {
	t.Helper()
	r, err := ParseGit(op, bytes.NewReader(in))
	if err != nil {
		wantClean(t, err.Error())
		return
	}
	wantOrigin(t, r.Origin)
	wantClean(t, r.Username)
	out, err := EncodeGit(r, "oauth2", tokenOf("tok", "authorization: Bearer tok", end, api))
	if n := bytes.Count(out, []byte("\n")); err == nil && n != 3 && n != 5 {
		t.Errorf("%q", out)
	}
}

func goAuth(t *testing.T, url string, in []byte) {
	t.Helper()
	r, err := ParseGoAuth(url, bytes.NewReader(in))
	if err != nil {
		return
	}
	wantOrigin(t, r.Origin)
	if r.Status != 0 && (r.Status < 100 || r.Status > 599) || strings.HasPrefix(r.Origin, "http:") {
		t.Errorf("%+v", r)
	}
}
