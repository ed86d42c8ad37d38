package helper

import (
	"errors"
	"io"
	"reflect"
	"strings"
	"testing"

	"github.com/authferry/authferry/keystore"
)

const api = "https://api.example.com"

func long(n int) string { return strings.Repeat("x", n) }

func TestOrigin(t *testing.T) {
	for _, test := range []struct{ url, want string }{
		{"https://API.example.com/v1/x?y#z", api},
		{"https://api.example.com:443", api},
		{"https://me:secret@api.example.com/", api},
		{"https://api.example.com:8443/", api + ":8443"},
		{"http://127.0.0.1:80/x", "http://127.0.0.1"},
		{"http://[::1]:9/", "http://[::1]:9"},
		{"http://api.example.com/", ""},
		{"ftp://api.example.com", ""},
		{"api.example.com", ""},
		{"https:api.example.com", ""},
		{"https://", ""},
		{"https://api.example.com.evil.example", "https://api.example.com.evil.example"},
		{"https://api.exa%6Dple.com", ""},
		{"https://api.example.com\r\n", ""},
		{"://", ""},
	} {
		if got := originOf(test.url); got != test.want {
			t.Errorf("%q: %q, want %q", test.url, got, test.want)
		}
	}
	for _, test := range []struct{ host, want string }{
		{"api.example.com", api},
		{"api.example.com:443", api},
		{"127.0.0.1:5000", "https://127.0.0.1:5000"},
		{"api.example.com@evil.example", ""},
		{"evil.example/api.example.com", ""},
		{"evil.example?api.example.com", ""},
		{"evil.example#api.example.com", ""},
		{`evil.example\api.example.com`, ""},
		{"", ""},
		{"api.example.com:x", ""},
		{"api example.com", ""},
	} {
		if got := hostOrigin(test.host); got != test.want {
			t.Errorf("%q: %q, want %q", test.host, got, test.want)
		}
	}
}

func TestGitIsParsed(t *testing.T) {
	get := func(lines ...string) string { return strings.Join(lines, "\n") + "\n\n" }
	secret := keystore.NewSecret
	for _, test := range []struct {
		name, op, in string
		want         Git
		err          string
	}{
		{name: "plain", op: "get", in: get("protocol=https", "host=api.example.com", "path=a/b"), want: Git{Op: Get, Origin: api}},
		{name: "no blank line", op: "get", in: "protocol=https\nhost=api.example.com:443", want: Git{Op: Get, Origin: api}},
		{name: "user", op: "get", in: get("protocol=https", "host=api.example.com", "username=ada"), want: Git{Op: Get, Origin: api, Username: "ada"}},
		{name: "after the blank line", op: "get", in: get("protocol=https", "host=api.example.com") + "host=evil", want: Git{Op: Get, Origin: api}},
		{name: "capable", op: "get", in: get("capability[]=authtype", "capability[]=state", "protocol=https", "host=api.example.com"), want: Git{Op: Get, Origin: api, Bearer: true}},
		{name: "capable, asked for Basic", op: "get", in: get("capability[]=authtype", "protocol=https", "host=api.example.com", `wwwauth[]=Basic realm="x"`), want: Git{Op: Get, Origin: api}},
		{name: "capable, asked for either", op: "get", in: get("capability[]=authtype", "protocol=https", "host=api.example.com", "wwwauth[]=Basic", "wwwauth[]=bearer realm=x"), want: Git{Op: Get, Origin: api, Bearer: true}},
		{name: "plain http elsewhere", op: "get", in: get("protocol=http", "host=api.example.com"), want: Git{Op: Get}},
		{name: "plain http here", op: "get", in: get("protocol=http", "host=127.0.0.1:8080"), want: Git{Op: Get, Origin: "http://127.0.0.1:8080"}},
		{name: "ssh", op: "get", in: get("protocol=ssh", "host=api.example.com"), want: Git{Op: Get}},
		{name: "two hosts in one", op: "get", in: get("protocol=https", "host=evil.example/api.example.com"), want: Git{Op: Get}},
		{name: "nothing", op: "get", in: "", want: Git{Op: Get}},
		{name: "erase", op: "erase", in: get("protocol=https", "host=api.example.com", "username=u", "password=p"), want: Git{Op: Erase, Origin: api, Username: "u", Refused: secret("p")}},
		{name: "erase a credential", op: "erase", in: get("protocol=https", "host=api.example.com", "authtype=Bearer", "credential=c"), want: Git{Op: Erase, Origin: api, Refused: secret("c")}},
		{name: "store", op: "store", in: "\x00", want: Git{Op: Store}},
		{name: "unknown operation", op: "fly", in: "\x00", want: Git{Op: "fly"}},
		{name: "NUL", op: "get", in: "protocol=https\nhost=api.example.com\x00evil\n", err: "control character"},
		{name: "CR", op: "get", in: "protocol=https\r\nhost=api.example.com\n", err: "control character"},
		{name: "CR inside", op: "get", in: "protocol=https\nhost=evil\rhost=api.example.com\n", err: "control character"},
		{name: "no value", op: "get", in: "protocol\n", err: "name=value"},
		{name: "no name", op: "get", in: "=x\n", err: "name=value"},
		{name: "twice", op: "get", in: "host=a\nhost=b\n", err: "host twice"},
		{name: "long line", op: "get", in: "path=" + long(maxGitLine) + "\n", err: "over 65535"},
		{name: "longest line", op: "get", in: "path=" + long(maxGitLine-6) + "\n", want: Git{Op: Get}},
		{name: "long", op: "get", in: strings.Repeat("a=b\n", MaxInput/4) + "a", err: "over 1 MiB"},
	} {
		got, err := ParseGit(test.op, strings.NewReader(test.in))
		switch {
		case test.err != "":
			if err == nil || !strings.Contains(err.Error(), test.err) || strings.Contains(err.Error(), "evil") {
				t.Errorf("%s: %v, want %s", test.name, err, test.err)
			}
		case err != nil || !reflect.DeepEqual(got, test.want) || !got.Refused.Equal(test.want.Refused):
			t.Errorf("%s: %+v, %v, want %+v", test.name, got, err, test.want)
		}
	}
}

func TestGoAuthIsParsed(t *testing.T) {
	answer := "HTTP/2.0 429 Too Many Requests\nRetry-After: 30\nX-Tab: a\tb\nX-Empty: \n\n"
	got, err := ParseGoAuth(api+"/m/@v/list", strings.NewReader(answer))
	want := GoAuth{URL: api + "/m/@v/list", Origin: api, Status: 429,
		Header: map[string][]string{"retry-after": {"30"}, "x-tab": {"a\tb"}, "x-empty": {""}}}
	if err != nil || !reflect.DeepEqual(got, want) {
		t.Errorf("%+v, %v", got, err)
	}
	if got, err := ParseGoAuth("", strings.NewReader("\x00")); err != nil || !reflect.DeepEqual(got, GoAuth{}) {
		t.Errorf("the first call: %+v, %v", got, err)
	}
	if got, err := ParseGoAuth("https://bob@api.example.com/m", strings.NewReader("")); err != nil || got.Origin != api || got.User != "bob" {
		t.Errorf("a user in the URL: %+v, %v", got, err)
	}
	for _, test := range []struct{ url, in, origin, err string }{
		{url: api, in: "", origin: api},
		{url: api, in: "HTTP/1.1 401\n\n", origin: api},
		{url: api, in: "HTTP/1.1 401 Unauthorized\r\nA: b\r\n\r\n", origin: api},
		{url: "http://127.0.0.1:80/", in: ""},
		{url: "nonsense", in: ""},
		{url: api + "\n", err: "control character"},
		{url: api, in: "\n", err: "status line"},
		{url: api, in: "HTTP/1.1 4010 x\n\n", err: "status line"},
		{url: api, in: "HTTP/1.1 +40 x\n\n", err: "status line"},
		{url: api, in: "HTTP/1.1 600 x\n\n", err: "status line"},
		{url: api, in: "GET / HTTP/1.1\n\n", err: "status line"},
		{url: api, in: "HTTP/1.1 401 evil\x1b[2J\n\n", err: "control character"},
		{url: api, in: "HTTP/1.1 401 x\nA: evil\x00\n\n", err: "control character"},
		{url: api, in: "HTTP/1.1 401 x\nA: evil\rB: c\n\n", err: "control character"},
		{url: api, in: "HTTP/1.1 401 x\nevil\n\n", err: "not a header field"},
		{url: api, in: "HTTP/1.1 401 x\n: evil\n\n", err: "not a header field"},
		{url: api, in: "HTTP/1.1 401 x\nA B: evil\n\n", err: "not a header field"},
		{url: api, in: "HTTP/1.1 401 x\nA: b", err: "is incomplete"},
		{url: api, in: "HTTP/1.1 401 x\nA: " + long(MaxInput), err: "over 1 MiB"},
	} {
		got, err := ParseGoAuth(test.url, strings.NewReader(test.in))
		switch {
		case test.err != "":
			if err == nil || !strings.Contains(err.Error(), test.err) || strings.Contains(err.Error(), "evil") {
				t.Errorf("%q: %v, want %s", test.in, err, test.err)
			}
		case err != nil || got.Origin != test.origin:
			t.Errorf("%q: %+v, %v, want %s", test.in, got, err, test.origin)
		}
	}
}

func TestDockerIsParsed(t *testing.T) {
	for _, test := range []struct {
		op, in, server, origin string
		err                    error
	}{
		{op: "get", in: "api.example.com", server: "api.example.com", origin: api},
		{op: "get", in: "api.example.com\n", server: "api.example.com", origin: api},
		{op: "get", in: "api.example.com/team/image", server: "api.example.com/team/image", origin: api},
		{op: "get", in: "https://api.example.com/v1/", server: "https://api.example.com/v1/", origin: api},
		{op: "erase", in: "http://api.example.com", server: "http://api.example.com"},
		{op: "get", in: "api.example.com@evil.example", server: "api.example.com@evil.example"},
		{op: "store", in: `{"ServerURL":"api.example.com","Username":"u","Secret":"s"}`, server: "api.example.com", origin: api},
		{op: "list"},
		{op: "version", in: "\x00"},
		{op: "get", in: " \n", err: ErrDockerNoServer},
		{op: "erase", in: "", err: ErrDockerNoServer},
		{op: "store", in: `{"Username":"u","Secret":"s"}`, err: ErrDockerNoServer},
		{op: "store", in: `{"ServerURL":"h","Secret":"s"}`, err: ErrDockerNoUsername},
		{op: "store", in: `{"ServerURL":"h","Username":"u\n","Secret":"s"}`, err: errControl},
		{op: "get", in: "a\nb", err: errControl},
		{op: "get", in: "a\x00", err: errControl},
		{op: "get", in: long(MaxInput + 1), err: errTooLong},
		{op: "fly", err: ErrDockerOp},
	} {
		got, err := ParseDocker(test.op, strings.NewReader(test.in))
		if !errors.Is(err, test.err) || err == nil && (got.Server != test.server || got.Origin != test.origin) {
			t.Errorf("%s %.60q: %+v, %v", test.op, test.in, got, err)
		}
	}
	if got, err := ParseDocker("get", strings.NewReader("https://bob%40example.com@api.example.com/v1/")); err != nil || got.Origin != api || got.User != "bob@example.com" {
		t.Errorf("a user in the URL: %+v, %v", got, err)
	}
	if _, err := ParseDocker("store", strings.NewReader("secret")); err == nil || strings.Contains(err.Error(), "secret") {
		t.Errorf("no JSON: %v", err)
	}
}

func TestKubernetesIsParsed(t *testing.T) {
	const v1, beta = "client.authentication.k8s.io/v1", "client.authentication.k8s.io/v1beta1"
	info := func(version, spec string) string {
		return `{"kind":"ExecCredential","apiVersion":"` + version + `","spec":` + spec + `}`
	}
	for _, test := range []struct {
		in   string
		want Kubernetes
		err  string
	}{
		{in: "", want: Kubernetes{Version: v1}},
		{in: info(v1, `{"interactive":true}`), want: Kubernetes{Version: v1}},
		{in: info(beta, `{}`), want: Kubernetes{Version: beta}},
		{in: info(v1, `{"cluster":{"server":"https://api.example.com:443/k","certificate-authority-data":"x"}}`), want: Kubernetes{v1, true, api, ""}},
		{in: info(v1, `{"cluster":{"server":"https://bob@api.example.com"}}`), want: Kubernetes{v1, true, api, "bob"}},
		{in: info(v1, `{"cluster":{"server":"http://api.example.com"}}`), want: Kubernetes{v1, true, "", ""}},
		{in: info(v1, `{"cluster":{}}`), want: Kubernetes{v1, true, "", ""}},
		{in: info("client.authentication.k8s.io/v1alpha1", `{}`), err: "a version other"},
		{in: info(v1, `{"cluster":{"server":"https://evil\u000a"}}`), err: "control character"},
		{in: `{"kind":"Pod","apiVersion":"v1"}`, err: "not an ExecCredential"},
		{in: "evil", err: "not an ExecCredential"},
		{in: long(MaxInput + 1), err: "over 1 MiB"},
	} {
		got, err := ParseKubernetes(test.in)
		switch {
		case test.err != "":
			if err == nil || !strings.Contains(err.Error(), test.err) || strings.Contains(err.Error(), "evil") {
				t.Errorf("%.80s: %v, want %s", test.in, err, test.err)
			}
		case err != nil || got != test.want:
			t.Errorf("%.80s: %+v, %v", test.in, got, err)
		}
	}
}

func TestCargoIsParsed(t *testing.T) {
	got, failure := ParseCargo([]byte(`{"v":1,"kind":"get","operation":"read","registry":{"index-url":"sparse+https://api.example.com/index/","name":"r","headers":["x"]},"args":["helper","cargo"]}`))
	if failure != nil || !reflect.DeepEqual(got, Cargo{Op: "get", Origin: api, Args: []string{"helper", "cargo"}}) {
		t.Errorf("%+v, %v", got, failure)
	}
	if got, failure := ParseCargo([]byte(`{"v":1,"kind":"get","registry":{"index-url":"ssh://git@api.example.com/x"}}`)); failure != nil || got.Origin != "" {
		t.Errorf("%+v, %v", got, failure)
	}
	if got, failure := ParseCargo([]byte(`{"v":1,"kind":"get","registry":{"index-url":"sparse+https://bob:x@api.example.com/x/"}}`)); failure != nil || got.Origin != api || got.User != "bob" {
		t.Errorf("%+v, %v", got, failure)
	}
	for in, want := range map[string]string{
		`evil`: "is not JSON",
		`{"v":2,"kind":"get","registry":{"index-url":"https://evil"}}`:              "version 1",
		`{"v":1,"kind":"get","registry":{"index-url":"https://evil\n"}}`:            "control character",
		`{"v":1,"kind":"get","registry":{"index-url":"x"},"args":["--evil\u0000"]}`: "control character",
	} {
		if _, failure := ParseCargo([]byte(in)); failure == nil || failure.Kind != CargoOther || !strings.Contains(failure.Message, want) {
			t.Errorf("%s: %+v, want %s", in, failure, want)
		}
	}
}

func TestTerraformIsParsed(t *testing.T) {
	for _, test := range []struct {
		op, host string
		want     Terraform
		fails    bool
	}{
		{op: "get", host: "api.example.com", want: Terraform{Get, api}},
		{op: "get", host: "127.0.0.1:8443", want: Terraform{Get, "https://127.0.0.1:8443"}},
		{op: "forget", host: "api.example.com:443", want: Terraform{Forget, api}},
		{op: "store", host: "https://api.example.com", want: Terraform{Op: Store}},
		{op: "get", host: "api.example.com/x", want: Terraform{Op: Get}},
		{op: "get", host: "a\nb", fails: true},
		{op: "erase", host: "api.example.com", fails: true},
	} {
		got, err := ParseTerraform(test.op, test.host)
		if (err != nil) != test.fails || err == nil && got != test.want {
			t.Errorf("%s %q: %+v, %v", test.op, test.host, got, err)
		}
	}
}

type broken struct{}

func (broken) Read([]byte) (int, error) { return 0, io.ErrClosedPipe }

func TestStdinThatFails(t *testing.T) {
	_, git := ParseGit("get", broken{})
	_, docker := ParseDocker("get", broken{})
	_, goauth := ParseGoAuth(api, broken{})
	for _, err := range []error{git, docker, goauth} {
		if !errors.Is(err, io.ErrClosedPipe) {
			t.Errorf("%v", err)
		}
	}
}
