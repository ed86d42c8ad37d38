package sharetest_test

import (
	"crypto/x509"
	"encoding/pem"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"testing"

	"github.com/authferry/authferry/testenv"
)

// shareCerts runs the script in a folder of its own, as a person does.
func shareCerts(t *testing.T, dir string, args ...string) (stdout string, err error) {
	t.Helper()
	for _, program := range []string{"openssl", "sh"} {
		if _, err := exec.LookPath(program); err != nil {
			t.Skipf("needs %s: %v", program, err)
		}
	}
	script, err := filepath.Abs("../../packaging/share-certs")
	testenv.Must(t, err)
	cmd := exec.CommandContext(t.Context(), "sh", append([]string{script}, args...)...)
	cmd.Dir = dir
	out, err := cmd.Output()
	return string(out), err
}

func certificate(t *testing.T, path string) *x509.Certificate {
	t.Helper()
	text, err := os.ReadFile(path)
	testenv.Must(t, err)
	block, _ := pem.Decode(text)
	cert, err := x509.ParseCertificate(block.Bytes)
	testenv.Must(t, err)
	return cert
}

func TestCertificates(t *testing.T) {
	dir := t.TempDir()
	for _, args := range [][]string{{"init"}, {"server", "s1", "etcd.example", "10.0.0.7", "fd00::1"}, {"holder", "laptop"}, {"consumer", "ci", "pool_abc"}} {
		_, err := shareCerts(t, dir, args...)
		testenv.Must(t, err)
	}
	dir = filepath.Join(dir, "authferry-etcd")
	machines, peers := x509.NewCertPool(), x509.NewCertPool()
	machines.AddCert(certificate(t, filepath.Join(dir, "ca.crt")))
	peers.AddCert(certificate(t, filepath.Join(dir, "peer-ca.crt")))
	server, client := x509.ExtKeyUsageServerAuth, x509.ExtKeyUsageClientAuth
	for name, want := range map[string]struct {
		user   string
		usages []x509.ExtKeyUsage
		peer   bool
	}{
		"root": {"root", []x509.ExtKeyUsage{client}, false}, "laptop": {"laptop", []x509.ExtKeyUsage{client}, false}, "ci": {"ci", []x509.ExtKeyUsage{client}, false},
		"s1": {"", []x509.ExtKeyUsage{server, client}, false}, "s1-peer": {"", []x509.ExtKeyUsage{server, client}, true},
	} {
		cert := certificate(t, filepath.Join(dir, name+".crt"))
		if cert.Subject.CommonName != want.user || !slices.Equal(cert.ExtKeyUsage, want.usages) || cert.IsCA {
			t.Errorf("%s is for %q, %v, an authority: %v", name, cert.Subject.CommonName, cert.ExtKeyUsage, cert.IsCA)
		}
		// Who has a machine's certificate can't take part as a server.
		for _, authority := range []*x509.CertPool{machines, peers} {
			_, err := cert.Verify(x509.VerifyOptions{Roots: authority, KeyUsages: []x509.ExtKeyUsage{client}})
			if (err == nil) != (want.peer == (authority == peers)) {
				t.Errorf("%s, among peers %v: %v", name, authority == peers, err)
			}
		}
		for _, host := range []string{"etcd.example", "10.0.0.7", "fd00::1", "localhost", "127.0.0.1"} {
			if err := cert.VerifyHostname(host); (err == nil) != strings.HasPrefix(name, "s1") {
				t.Errorf("%s at %s: %v", name, host, err)
			}
		}
	}
	entries, err := os.ReadDir(dir)
	testenv.Must(t, err)
	for _, e := range entries {
		info, err := e.Info()
		testenv.Must(t, err)
		if runtime.GOOS != "windows" && info.Mode().Perm() != 0o600 {
			t.Errorf("%s has mode %o", e.Name(), info.Mode().Perm())
		}
	}
}

func TestCertificatesRefused(t *testing.T) {
	dir := t.TempDir()
	if _, err := shareCerts(t, dir, "holder", "early"); err == nil {
		t.Error("a machine before there is an authority")
	}
	for _, args := range [][]string{{"init"}, {"holder", "laptop"}} {
		_, err := shareCerts(t, dir, args...)
		testenv.Must(t, err)
	}
	before, err := os.ReadDir(filepath.Join(dir, "authferry-etcd"))
	testenv.Must(t, err)
	for _, line := range []string{
		"", "init", "holder laptop", "holder root", "holder ca", "holder peer-ca", "holder ../x", "holder .x", "holder -x", "holder a;b", "holder $(id)", "holder a/b", "holder",
		"holder a pool_b c", "consumer ci", "consumer ci a;b", "server s1", "server s1 bad_host", "server s1 -x", "server s1 a,DNS:b", "remove", "remove a;b", "other", "-p a;b holder x", "-p /x holder x", "-x",
	} {
		out, err := shareCerts(t, dir, strings.Fields(line)...)
		if err == nil || out != "" {
			t.Errorf("share-certs %s: %v, prints %q", line, err, out)
		}
	}
	after, err := os.ReadDir(filepath.Join(dir, "authferry-etcd"))
	testenv.Must(t, err)
	if len(after) != len(before) {
		t.Errorf("left files: %v", after)
	}
}
