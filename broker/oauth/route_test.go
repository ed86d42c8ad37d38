package oauth

import (
	"bufio"
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"math/big"
	"net"
	"net/http"
	"net/http/httptest"
	"net/url"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"testing"
	"time"

	"github.com/authferry/authferry/broker/fault"
	"github.com/authferry/authferry/keystore"
	"github.com/authferry/authferry/testenv"
)

const proxyPassword = "hunter2"

// fakeProxy answers each CONNECT with answer, and then leads to target, if there is one.
func fakeProxy(t *testing.T, answer, target string) *url.URL {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	testenv.Must(t, err)
	t.Cleanup(func() { _ = l.Close() })
	go func() {
		for {
			conn, err := l.Accept()
			if err != nil {
				return
			}
			go func() {
				defer conn.Close()
				if _, err := http.ReadRequest(bufio.NewReader(conn)); err != nil || answer == "" {
					return
				}
				if answer == "hang" {
					_, _ = io.Copy(io.Discard, conn)
					return
				}
				_, _ = io.WriteString(conn, answer)
				if to, err := net.Dial("tcp", target); err == nil {
					defer to.Close()
					go func() { _, _ = io.Copy(to, conn) }()
					_, _ = io.Copy(conn, to)
				}
			}()
		}
	}()
	return &url.URL{Scheme: "http", Host: l.Addr().String()}
}

// refreshVia sends a refresh to endpoint, https://login.acme.example's by default,
// through proxy.
func refreshVia(t *testing.T, c *Client, endpoint string, proxy *url.URL) *Error {
	t.Helper()
	if endpoint == "" {
		endpoint = "https://login.acme.example/token"
	}
	c.proxy = func(*http.Request) (*url.URL, error) { return proxy, nil }
	began := false
	tok, err := c.Refresh(t.Context(), Endpoint{TokenEndpoint: endpoint, ClientID: "id"}, keystore.NewSecret("rt"), func() error {
		began = true
		return nil
	})
	e, ok := errors.AsType[*Error](err)
	if !ok || tok != nil || began || e.Class != Unsent {
		t.Fatalf("got %v, %v (begun %v), want it unsent", tok, err, began)
	}
	if strings.Contains(err.Error()+adviceOf(e), proxyPassword) {
		t.Errorf("the proxy's password is in %q, %q", err, adviceOf(e))
	}
	return e
}

// A proxy in the way is named as the cause, with what helps, and the token is unspent.
func TestProxyIsNamed(t *testing.T) {
	t.Parallel()
	server := httptest.NewTLSServer(http.NotFoundHandler())
	t.Cleanup(server.Close)
	plain := httptest.NewServer(http.NotFoundHandler())
	t.Cleanup(plain.Close)
	target, notTLS := server.Listener.Addr().String(), plain.Listener.Addr().String()
	status := func(code int) string {
		return fmt.Sprintf("HTTP/1.1 %d Whatever\r\nLocation: http://portal.example/%s\r\nContent-Length: 0\r\n\r\n", code, proxyPassword)
	}
	user := url.UserPassword("me", proxyPassword)
	for _, test := range []struct {
		name           string
		answer, target string
		user           *url.Userinfo
		scheme         string
		text, advice   string
	}{
		{"407", status(407), "", nil, "", "wants a user name and a password (HTTP 407)", "HTTPS_PROXY=http://USER:PASSWORD@127.0.0.1:"},
		{"407 with a password", status(407), "", user, "", "refuses the user name or the password in HTTPS_PROXY (HTTP 407)", "HTTPS_PROXY=http://USER:PASSWORD@127.0.0.1:"},
		{"403", status(403), "", user, "", "does not let connections to login.acme.example through (HTTP 403)", "NO_PROXY=login.acme.example"},
		{"405", status(405), "", nil, "", "does not let connections to login.acme.example through (HTTP 405)", "NO_PROXY=login.acme.example"},
		{"502", status(502), "", user, "", "can't reach login.acme.example (HTTP 502)", ""},
		{"504", status(504), "", nil, "", "can't reach login.acme.example (HTTP 504)", ""},
		{"redirect", status(302), "", user, "", "captive portal", ""},
		{"511", status(511), "", nil, "", "captive portal", ""},
		{"closes", "", "", user, "", "in HTTPS_PROXY can't be reached: the connection was closed", "HTTPS_PROXY=http://HOST:PORT"},
		{"no HTTP", "SSH-2.0-x\r\n", "", user, "", "in HTTPS_PROXY can't be reached", "HTTPS_PROXY=http://HOST:PORT"},
		{"hangs", "hang", "", user, "", "in HTTPS_PROXY can't be reached: timed out", "HTTPS_PROXY=http://HOST:PORT"},
		{"no TLS to the proxy", "", "", user, "https", "in HTTPS_PROXY can't be", ""},
		{"no SOCKS", "hang", "", user, "socks5", "in HTTPS_PROXY can't be reached: timed out", "HTTPS_PROXY=http://HOST:PORT"},
		{"unknown CA", "HTTP/1.1 200 OK\r\n\r\n", target, user, "", "its certificate is signed by an unknown authority", ""},
		{"a page in place of TLS", "HTTP/1.1 200 OK\r\n\r\n", notTLS, user, "", "it doesn't use TLS; the connection goes through the proxy 127.0.0.1:", ""},
		{"unknown kind", "", "", user, "socks9", "HTTPS_PROXY names a proxy of an unknown kind", "HTTPS_PROXY=http://HOST:PORT"},
		{"nothing there", "refused", "", user, "", "can't be reached: connection refused", "HTTPS_PROXY=http://HOST:PORT"},
	} {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			proxy := fakeProxy(t, test.answer, test.target)
			if test.answer == "refused" {
				if runtime.GOOS == "windows" {
					t.Skip("needs another system than Windows, which has other words for it")
				}
				proxy.Host = "127.0.0.1:1"
			}
			proxy.User = test.user
			if test.scheme != "" {
				proxy.Scheme = test.scheme
			}
			c := &Client{Timeout: time.Minute}
			if test.answer == "hang" {
				c.proxyPatience = 50 * time.Millisecond // a request has far longer
			}
			endpoint := ""
			if test.name == "unknown CA" { // and nothing else
				endpoint = "https://example.com/token"
			}
			e := refreshVia(t, c, endpoint, proxy)
			if !strings.Contains(e.Error(), test.text) || !strings.Contains(adviceOf(e), test.advice) {
				t.Errorf("got %q, %q, want %q, %q", e, adviceOf(e), test.text, test.advice)
			}
		})
	}
}

// What net/http makes of a variable that is no address is not what a person reads.
func TestProxyVariableIsNoAddress(t *testing.T) {
	t.Parallel()
	for _, lookup := range []func(*http.Request) (*url.URL, error){
		func(*http.Request) (*url.URL, error) {
			return nil, errors.New("invalid proxy address \"http://me:" + proxyPassword + "@[::1\"")
		},
		func(*http.Request) (*url.URL, error) { return &url.URL{Scheme: "http", Host: "http:"}, nil },
		func(*http.Request) (*url.URL, error) { return &url.URL{Scheme: "http"}, nil },
	} {
		c := &Client{proxy: lookup}
		_, err := c.Discover(t.Context(), "https://login.acme.example")
		e, ok := errors.AsType[*Error](err)
		if !ok || e.Class != Unsent || !strings.Contains(err.Error(), "HTTPS_PROXY is not the address of a proxy") || !strings.Contains(adviceOf(e), "HTTPS_PROXY=http://HOST:PORT") ||
			strings.Contains(err.Error()+adviceOf(e), proxyPassword) {
			t.Errorf("got %v", err)
		}
	}
}

// Every request says it in the same words.
func TestEveryRequestNamesTheProxy(t *testing.T) {
	t.Parallel()
	proxy := fakeProxy(t, "HTTP/1.1 407 No\r\nContent-Length: 0\r\n\r\n", "")
	c := &Client{proxy: func(*http.Request) (*url.URL, error) { return proxy, nil }}
	const at = "https://login.acme.example"
	e := Endpoint{Issuer: at, TokenEndpoint: at + "/t", RevocationEndpoint: at + "/r", UserinfoEndpoint: at + "/u", ClientID: "id"}
	p := Provider{DeviceAuthorizationEndpoint: at + "/d", AuthorizationEndpoint: at + "/a", IdentityFrom: IdentityFromUserinfo}
	for name, ask := range map[string]func() error{
		"discovery": func() error { _, err := c.Discover(t.Context(), at); return err },
		"refresh":   func() error { _, err := c.Refresh(t.Context(), e, keystore.NewSecret("rt"), nil); return err },
		"code": func() error {
			_, err := c.Exchange(t.Context(), NewAuthorization(p, e, "http://127.0.0.1/"), keystore.NewSecret("c"))
			return err
		},
		"device": func() error { _, err := c.AuthorizeDevice(t.Context(), p, e); return err },
		"revoke": func() error { return c.Revoke(t.Context(), e, keystore.NewSecret("rt"), "") },
		"userinfo": func() error {
			_, err := c.Identify(t.Context(), p, e, &Token{AccessToken: keystore.NewSecret("at")}, "")
			return err
		},
	} {
		err := ask()
		own, ok := errors.AsType[*Error](err)
		if !ok || own.Class != Unsent || !strings.Contains(err.Error(), "wants a user name and a password (HTTP 407)") || adviceOf(own) == "" {
			t.Errorf("%s: %v", name, err)
		}
	}
}

// certified is a server whose certificate is valid for 127.0.0.1 in that time, and a
// configuration that trusts it.
func certified(t *testing.T, from, to time.Time) (*httptest.Server, *tls.Config) {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	testenv.Must(t, err)
	template := &x509.Certificate{SerialNumber: big.NewInt(1), NotBefore: from, NotAfter: to, IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)},
		IsCA: true, BasicConstraintsValid: true, KeyUsage: x509.KeyUsageCertSign | x509.KeyUsageDigitalSignature}
	der, err := x509.CreateCertificate(rand.Reader, template, template, &key.PublicKey, key)
	testenv.Must(t, err)
	cert, err := x509.ParseCertificate(der)
	testenv.Must(t, err)
	pool := x509.NewCertPool()
	pool.AddCert(cert)
	s := httptest.NewUnstartedServer(http.NotFoundHandler())
	s.TLS = &tls.Config{Certificates: []tls.Certificate{{Certificate: [][]byte{der}, PrivateKey: key}}}
	s.Config.ErrorLog = nil
	s.StartTLS()
	t.Cleanup(s.Close)
	return s, &tls.Config{RootCAs: pool}
}

func TestCertificateOutOfItsTime(t *testing.T) {
	t.Parallel()
	now := time.Now()
	for _, test := range []struct {
		from, to time.Time
		text     string
		advice   string
	}{
		{now.AddDate(0, 0, -9), now.AddDate(0, 0, -5), "its certificate expired on " + now.AddDate(0, 0, -5).Local().Format("2 Jan 2006"), ""},
		{now.AddDate(0, 0, 5), now.AddDate(0, 0, 9), "its certificate is not valid before " + now.AddDate(0, 0, 5).Local().Format("2 Jan 2006") + ", and this machine's clock shows", string(fault.Doctor)},
	} {
		s, conf := certified(t, test.from, test.to)
		c := &Client{Transport: func() http.RoundTripper { return (&Client{}).over(conf) }}
		e := refreshVia(t, c, s.URL, nil)
		if !strings.Contains(e.Error(), test.text) || adviceOf(e) != test.advice {
			t.Errorf("got %q, %q, want %q", e, adviceOf(e), test.text)
		}
	}
}

// Where an authority is not known, the variables that would name it are looked at.
func TestUnknownAuthority(t *testing.T) {
	if runtime.GOOS == "windows" || runtime.GOOS == "darwin" {
		t.Skip("needs Linux: the system here has a store of its own")
	}
	server := httptest.NewTLSServer(http.NotFoundHandler())
	t.Cleanup(server.Close)
	garbage := filepath.Join(t.TempDir(), "ca.pem")
	testenv.Must(t, os.WriteFile(garbage, []byte("garbage"), 0o600))
	for _, test := range []struct{ file, dir, text string }{
		{"", "", "its certificate "},
		{filepath.Join(t.TempDir(), "missing.pem"), "", "there is no such file"},
		{garbage, "", "that has no certificate in PEM"},
		{t.TempDir(), "", "that can't be read"},
		{"", filepath.Join(t.TempDir(), "missing"), "which is not a folder"},
	} {
		t.Setenv("SSL_CERT_FILE", test.file)
		t.Setenv("SSL_CERT_DIR", test.dir)
		e := refreshVia(t, &Client{}, server.URL, nil)
		if !strings.Contains(e.Error(), test.text) || adviceOf(e) != string(fault.TrustCA) {
			t.Errorf("%q, %q: got %q, %q", test.file, test.dir, e, adviceOf(e))
		}
	}
}

func TestHostIsNotFound(t *testing.T) {
	t.Parallel()
	for _, dns := range []*net.DNSError{{Name: "login.acme.example", IsNotFound: true}, {Name: "login.acme.example", IsTimeout: true}} {
		if err := describe(fmt.Errorf("dial: %w", dns)); !strings.Contains(err.Error(), "login.acme.example") {
			t.Errorf("got %v", err)
		}
		proxied := newRoute(nil)
		proxied.proxy = &url.URL{Scheme: "http", Host: "proxy.corp.example:3128", User: url.UserPassword("me", proxyPassword)}
		dns.Name = "proxy.corp.example"
		err := proxied.describe(&net.OpError{Op: "proxyconnect", Net: "tcp", Err: dns})
		if want := "the proxy proxy.corp.example:3128 in HTTPS_PROXY can't be reached: the host proxy.corp.example "; !strings.HasPrefix(err.Error(), want) {
			t.Errorf("got %v, want %s…", err, want)
		}
		dns.Name = "login.acme.example"
	}
	gone, cancel := context.WithCancel(t.Context())
	cancel()
	_, err := (&Client{}).Discover(gone, "https://login.acme.example")
	if !errors.Is(err, context.Canceled) {
		t.Errorf("got %v", err)
	}
}

// adviceOf is what helps, as text.
func adviceOf(e *Error) string {
	r, ok := e.Remedy()
	switch {
	case !ok:
		return ""
	case r.Do == fault.SetVariable:
		return r.Name + "=" + r.Value
	}
	return string(r.Do)
}
