package helper

import (
	"strings"
	"testing"
	"time"

	"github.com/authferry/authferry/broker"
	"github.com/authferry/authferry/broker/oauth"
	"github.com/authferry/authferry/keystore"
)

var end = time.Date(2026, 11, 23, 17, 0, 0, 123, time.FixedZone("", 3600))

func tokenOf(secret, header string, expires time.Time, origins ...string) *broker.Token {
	t := &broker.Token{AccessToken: keystore.NewSecret(secret), ExpiresAt: expires, Origins: origins}
	if header != "" {
		name, value, _ := strings.Cut(header, ": ")
		t.Headers = []oauth.Header{{Name: name, Value: keystore.NewSecret(value)}}
	}
	return t
}

func TestEncoders(t *testing.T) {
	plain := tokenOf("tok", "authorization: Bearer tok", end, api, "http://127.0.0.1:80", "https://other.example:8443")
	lasting := tokenOf("tok<&>", "authorization: Bearer tok<&>", time.Time{}, api)
	key := tokenOf("key", "x-api-key: key", time.Time{}, api)
	v1 := Kubernetes{Version: "client.authentication.k8s.io/v1beta1"}
	registry := Docker{Server: "api.example.com"}
	for _, test := range []struct {
		name string
		run  func() ([]byte, error)
		want string
	}{
		{"goauth", func() ([]byte, error) { return EncodeGoAuth(plain) }, api + "\nhttps://other.example:8443\n\nauthorization: Bearer tok\n\n"},
		{"goauth, an API key: go would take it along to another host", func() ([]byte, error) { return EncodeGoAuth(key) }, ""},
		{"goauth, nowhere", func() ([]byte, error) {
			return EncodeGoAuth(tokenOf("t", "authorization: Bearer t", end, "http://127.0.0.1"))
		}, ""},
		{"git", func() ([]byte, error) { return EncodeGit(Git{}, "oauth2", plain) }, "username=oauth2\npassword=tok\npassword_expiry_utc=1795449600\n"},
		{"git, a user in the URL", func() ([]byte, error) { return EncodeGit(Git{Username: "ada"}, "oauth2", lasting) }, "username=ada\npassword=tok<&>\n"},
		{"git, Bearer", func() ([]byte, error) { return EncodeGit(Git{Bearer: true}, "oauth2", plain) },
			"capability[]=authtype\nauthtype=Bearer\ncredential=tok\nephemeral=1\npassword_expiry_utc=1795449600\n"},
		{"git, another header", func() ([]byte, error) { return EncodeGit(Git{Bearer: true}, "oauth2", key) }, "username=oauth2\npassword=key\n"},
		{"docker", func() ([]byte, error) { return EncodeDocker(registry, "u", lasting) }, `{"ServerURL":"api.example.com","Username":"u","Secret":"tok<&>"}` + "\n"},
		{"docker list", func() ([]byte, error) { return EncodeDockerList("u", plain) }, `{"api.example.com":"u","other.example:8443":"u"}` + "\n"},
		{"docker list, nobody", func() ([]byte, error) { return EncodeDockerList("u", nil) }, "{}\n"},
		{"kubernetes", func() ([]byte, error) { return EncodeKubernetes(v1, plain) },
			`{"apiVersion":"client.authentication.k8s.io/v1beta1","kind":"ExecCredential","status":{"token":"tok","expirationTimestamp":"2026-11-23T16:00:00Z"}}` + "\n"},
		{"kubernetes, lasting", func() ([]byte, error) { return EncodeKubernetes(v1, key) },
			`{"apiVersion":"client.authentication.k8s.io/v1beta1","kind":"ExecCredential","status":{"token":"key"}}` + "\n"},
		{"cargo", func() ([]byte, error) { return EncodeCargo(plain) },
			`{"Ok":{"kind":"get","token":"Bearer tok","cache":"expires","expiration":1795449600,"operation_independent":true}}` + "\n"},
		{"cargo, another header", func() ([]byte, error) { return EncodeCargo(key) },
			`{"Ok":{"kind":"get","token":"key","cache":"session","operation_independent":true}}` + "\n"},
		{"cargo, an error", func() ([]byte, error) { return EncodeCargoError(&CargoError{CargoOther, "no <b>"}) }, `{"Err":{"kind":"other","message":"no <b>"}}` + "\n"},
		{"cargo, not ours", func() ([]byte, error) { return EncodeCargoError(&CargoError{Kind: CargoURLNotSupported}) }, `{"Err":{"kind":"url-not-supported"}}` + "\n"},
		{"terraform", func() ([]byte, error) { return EncodeTerraform(lasting) }, `{"token":"tok<&>"}` + "\n"},
	} {
		got, err := test.run()
		if err != nil || string(got) != test.want {
			t.Errorf("%s: %q, %v, want %q", test.name, got, err, test.want)
		}
	}
}

// A token that a keystore's owner put a line break into is not written anywhere.
func TestNoTokenBreaksALine(t *testing.T) {
	for _, hostile := range []string{"tok\nhost=evil", "tok\revil", "tok\x00", ""} {
		bad := tokenOf(hostile, "authorization: Bearer "+hostile, end, api)
		for name, encode := range map[string]func() ([]byte, error){
			"goauth": func() ([]byte, error) { return EncodeGoAuth(bad) }, "cargo": func() ([]byte, error) { return EncodeCargo(bad) },
			"git": func() ([]byte, error) { return EncodeGit(Git{}, "u", bad) }, "docker": func() ([]byte, error) { return EncodeDocker(Docker{}, "u", bad) },
			"kubernetes": func() ([]byte, error) { return EncodeKubernetes(Kubernetes{}, bad) }, "terraform": func() ([]byte, error) { return EncodeTerraform(bad) },
		} {
			if out, err := encode(); hostile != "" && (err == nil || len(out) > 0 || strings.Contains(err.Error(), "evil")) {
				t.Errorf("%s %q: %q, %v", name, hostile, out, err)
			}
		}
	}
	if _, err := EncodeGit(Git{Username: "a\nb"}, "", tokenOf("t", "", end)); err == nil {
		t.Error("a user name with a line break")
	}
	if _, err := EncodeGit(Git{}, "u", tokenOf(long(maxGitLine), "", end)); err == nil {
		t.Error("a token that git can't read")
	}
}
