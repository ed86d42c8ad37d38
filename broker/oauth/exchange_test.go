package oauth

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/authferry/authferry/broker/brokertest"
	"github.com/authferry/authferry/keystore"
	"github.com/authferry/authferry/testenv"
)

// What ends before the first byte of the body does not spend the token, and no
// byte of it has left.
func TestBeforeSend(t *testing.T) {
	full := errors.New("the disk is full")
	for _, style := range []string{AuthParams, AuthHeader, AuthNone} {
		t.Run(style, func(t *testing.T) {
			w := newWire(t, func(net.Conn) {})
			e := Endpoint{TokenEndpoint: w.url, ClientID: "c", AuthStyle: style, ClientSecret: keystore.NewSecret("hush")}
			_, err := (&Client{}).Refresh(t.Context(), e, keystore.NewSecret("afrt_secret"), func() error { return full })
			if got, _ := errors.AsType[*Error](err); got == nil || got.Class != Unsent || !errors.Is(err, full) {
				t.Fatalf("%v", err)
			}
			header, body, ok := strings.Cut(w.received(), "\r\n\r\n")
			if !ok || body != "" || strings.Contains(header, "afrt_secret") {
				t.Errorf("the server got %q", header+body)
			}
			if strings.Contains(header, "Authorization") != (style == AuthHeader) {
				t.Errorf("header: %q", header)
			}
		})
	}
}

func TestBeforeSendRunsWhenConnected(t *testing.T) {
	r := newRig(t, brokertest.Config{})
	requests := -1
	_, err := r.client.Refresh(t.Context(), r.endpoint, r.token, func() error {
		requests = r.server.TokenRequests()
		return nil
	})
	if err != nil || requests > 1 || r.server.TokenRequests() != 1 {
		t.Errorf("%d requests before, %d after, %v", requests, r.server.TokenRequests(), err)
	}

	l, err := net.Listen("tcp", "127.0.0.1:0")
	testenv.Must(t, err)
	r.endpoint.TokenEndpoint = "http://" + l.Addr().String()
	_ = l.Close()
	tok, refused := r.refresh()
	r.is(tok, refused, Unsent)
	if r.begun != 0 {
		t.Error("beforeSend ran without a connection")
	}
}

// An answer can come before the body is asked for. It then says nothing about
// the token.
func TestEarlyAnswer(t *testing.T) {
	w := newWire(t, func(c net.Conn) {
		_, _ = io.WriteString(c, "HTTP/1.1 400 Bad Request\r\nContent-Type: application/json\r\nContent-Length: 25\r\nConnection: close\r\n\r\n{\"error\":\"invalid_grant\"}")
	})
	over := make(chan struct{})
	c := &Client{Transport: func() http.RoundTripper {
		return roundTrip(func(r *http.Request) (*http.Response, error) {
			defer close(over)
			return (&http.Transport{DisableKeepAlives: true}).RoundTrip(r)
		})
	}}
	late := errors.New("too late")
	_, err := c.Refresh(t.Context(), Endpoint{TokenEndpoint: w.url}, keystore.NewSecret("afrt_secret"), func() error {
		<-over
		return late
	})
	// beforeSend may not even have begun.
	if e, _ := errors.AsType[*Error](err); e == nil || e.Class != Unsent || !errors.Is(err, late) && e.Status != 400 {
		t.Errorf("%v", err)
	}
	if got := w.received(); strings.Contains(got, "afrt_secret") {
		t.Errorf("the server got %q", got)
	}
	for body, want := range map[string]Class{`{"error":"invalid_grant"}`: Unsent, `{"error":"invalid_client"}`: Misconfigured, `{"error":"server_error"}`: Unsent} {
		if got := (&answer{status: 400, body: []byte(body)}).refusal(Endpoint{}); got.Class != want {
			t.Errorf("%s to a token that was not sent: %s, want %s", body, got.Class, want)
		}
	}
}

type roundTrip func(*http.Request) (*http.Response, error)

func (f roundTrip) RoundTrip(r *http.Request) (*http.Response, error) { return f(r) }

// Given up while beforeSend runs: it is waited for, and nothing follows.
func TestGateShutsWhileBeforeRuns(t *testing.T) {
	running := make(chan struct{})
	g := &gate{body: bytes.NewReader([]byte("afrt_secret"))}
	g.before = func() error {
		close(running)
		for !g.ended.Load() {
			time.Sleep(time.Millisecond)
		}
		return nil
	}
	read := make(chan error)
	go func() {
		n, err := g.Read(make([]byte, 100))
		if n > 0 {
			err = fmt.Errorf("%d bytes got through", n)
		}
		read <- err
	}()
	<-running
	if sent, err := g.shut(); sent || err != nil {
		t.Errorf("sent %v, %v", sent, err)
	}
	if err := <-read; !errors.Is(err, errEnded) {
		t.Error(err)
	}
}

func TestRequest(t *testing.T) {
	type seen struct {
		header http.Header
		body   string
		length int64
	}
	for _, test := range []struct {
		name, style, encoding string
		secret, resource      string
		body, contentType     string
		basic                 bool
	}{
		{name: "form", secret: "hu sh&", body: "client_id=a%2Fb&client_secret=hu+sh%26&grant_type=refresh_token&refresh_token=a%3C%26%22%E9%8D%B5", contentType: formType},
		{name: "public", style: AuthNone, secret: "hush", body: "client_id=a%2Fb&grant_type=refresh_token&refresh_token=a%3C%26%22%E9%8D%B5", contentType: formType},
		{name: "header", style: AuthHeader, secret: "hu sh&", body: "grant_type=refresh_token&refresh_token=a%3C%26%22%E9%8D%B5", contentType: formType, basic: true},
		{name: "header without a secret", style: AuthHeader, body: "client_id=a%2Fb&grant_type=refresh_token&refresh_token=a%3C%26%22%E9%8D%B5", contentType: formType},
		{name: "json", encoding: EncodingJSON, secret: "hush", body: `{"client_id":"a/b","client_secret":"hush","grant_type":"refresh_token","refresh_token":"a<&\"鍵"}`, contentType: jsonType},
		{name: "for a resource", resource: "https://a.example/mcp", body: "client_id=a%2Fb&grant_type=refresh_token&refresh_token=a%3C%26%22%E9%8D%B5&resource=https%3A%2F%2Fa.example%2Fmcp", contentType: formType},
		{name: "json for a resource", encoding: EncodingJSON, resource: "https://a.example/mcp", body: `{"client_id":"a/b","grant_type":"refresh_token","refresh_token":"a<&\"鍵","resource":"https://a.example/mcp"}`, contentType: jsonType},
		{name: "json with header", encoding: EncodingJSON, style: AuthHeader, secret: "hu sh&", body: `{"grant_type":"refresh_token","refresh_token":"a<&\"鍵"}`, contentType: jsonType, basic: true},
	} {
		t.Run(test.name, func(t *testing.T) {
			var got seen
			s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
				body, _ := io.ReadAll(r.Body)
				got = seen{r.Header, string(body), r.ContentLength}
				_, _ = io.WriteString(w, `{"access_token":"x"}`)
			}))
			defer s.Close()
			e := Endpoint{TokenEndpoint: s.URL + "/t?tenant=1", ClientID: "a/b", ClientSecret: keystore.NewSecret(test.secret), AuthStyle: test.style, Encoding: test.encoding, Resource: test.resource}
			testenv.Must(t, testenv.Err((&Client{Version: "1.2.3"}).Refresh(t.Context(), e, keystore.NewSecret("a<&\"鍵"), nil)))
			if got.body != test.body || got.length != int64(len(test.body)) {
				t.Errorf("body %q of %d", got.body, got.length)
			}
			for name, want := range map[string]string{"Content-Type": test.contentType, "Accept": jsonType, "User-Agent": "authferry/1.2.3", "Cookie": "", "Accept-Encoding": ""} {
				if got.header.Get(name) != want {
					t.Errorf("%s: %q, want %q", name, got.header.Get(name), want)
				}
			}
			if want := map[bool]string{true: "Basic YSUyRmI6aHUrc2glMjY="}[test.basic]; got.header.Get("Authorization") != want {
				t.Errorf("authorization %q, want %q", got.header.Get("Authorization"), want)
			}
		})
	}
}

// A record or a file that names another kind of address gets no token.
func TestOnlyHTTPSOrLoopback(t *testing.T) {
	for _, address := range []string{
		"http://example.com/token", "http://127.0.0.1.example.com/token", "http://10.0.0.1/", "ftp://127.0.0.1/", "https://user:hush@example.com/",
		"https://example.com/#frag", "", "token", "https://", "http:127.0.0.1", "http://[::1", "file:///etc/passwd", "\x7f",
	} {
		c := &Client{Transport: func() http.RoundTripper {
			return roundTrip(func(r *http.Request) (*http.Response, error) {
				t.Errorf("%q was asked", r.URL)
				return nil, io.EOF
			})
		}}
		e := Endpoint{TokenEndpoint: address, RevocationEndpoint: address}
		_, err := c.Refresh(t.Context(), e, keystore.NewSecret("afrt_secret"), nil)
		for _, err := range []error{err, c.Revoke(t.Context(), e, keystore.NewSecret("afrt_secret"), "")} {
			if got, _ := errors.AsType[*Error](err); got == nil || got.Class != Misconfigured || strings.Contains(err.Error(), "hush") {
				t.Errorf("%q: %v", address, err)
			}
		}
	}
	for _, address := range []string{"https://example.com/token", "http://localhost:1/", "http://127.8.9.1/", "http://[::1]:80/"} {
		if err := CheckURL(address); err != nil {
			t.Errorf("%s: %v", address, err)
		}
	}
}

func TestNoRefreshToken(t *testing.T) {
	r := newRig(t, brokertest.Config{})
	r.token = keystore.Secret{}
	_, err := r.client.Refresh(t.Context(), r.endpoint, keystore.Secret{}, nil)
	if e, _ := errors.AsType[*Error](err); e == nil || e.Class != Misconfigured || r.server.TokenRequests() != 0 {
		t.Errorf("%v", err)
	}
}

// A transport's error can quote what the server sent, which can be the token.
func TestErrorsQuoteNothing(t *testing.T) {
	for _, reply := range []string{
		"afrt_secret afrt_secret\r\n\r\n",
		"HTTP/1.1 afrt_secret\r\n\r\n",
		"HTTP/1.1 200 afrt_secret\r\nafrt_secret\r\n\r\n",
		"HTTP/1.1 200 OK\r\nContent-Length: afrt_secret\r\n\r\n",
		"HTTP/1.1 200 OK\r\nTransfer-Encoding: afrt_secret\r\n\r\n",
		"HTTP/1.1 400 afrt_secret\r\nContent-Length: 23\r\n\r\n{\"error\":\"afrt_secret\"}",
		"HTTP/1.1 302 Found\r\nLocation: http://afrt_secret/\r\nContent-Length: 0\r\n\r\n",
	} {
		w := newWire(t, func(c net.Conn) {
			_, _ = io.WriteString(c, reply)
			if tcp, ok := c.(*net.TCPConn); ok {
				_ = tcp.CloseWrite()
			}
		})
		tok, err := (&Client{}).Refresh(t.Context(), Endpoint{TokenEndpoint: w.url}, keystore.NewSecret("afrt_secret"), nil)
		if err == nil || tok != nil || strings.Contains(err.Error(), "afrt_secret") {
			t.Errorf("%.30q: %v", reply, err)
		}
	}
}

func TestTimeouts(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	r := newRig(t, brokertest.Config{})
	tok, err := r.client.Refresh(ctx, r.endpoint, r.token, nil)
	r.is(tok, r.own(err), Unsent)
	if !errors.Is(err, context.Canceled) || r.server.TokenRequests() != 0 {
		t.Errorf("%v", err)
	}
	r.server.Inject(brokertest.Faults()["stall"])
	r.client.Timeout = 50 * time.Millisecond
	tok, refused := r.refresh()
	r.is(tok, refused, Unknown)
	if !errors.Is(refused, context.DeadlineExceeded) {
		t.Errorf("%v", refused)
	}
}

func TestRevoke(t *testing.T) {
	r := newRig(t, brokertest.Config{})
	testenv.Must(t, r.client.Revoke(t.Context(), r.endpoint, r.token, "refresh_token"))
	if r.server.Ledger().Revoked() != 1 {
		t.Error("nothing is revoked")
	}
	tok, refused := r.refresh()
	r.is(tok, refused, Dead)
	if err := r.client.Revoke(t.Context(), r.endpoint, r.token, "refresh_token"); err != nil {
		t.Errorf("a second time: %v", err)
	}

	secret := newRig(t, brokertest.Config{ClientSecret: "hush", ClientAuth: "client_secret_basic"})
	secret.endpoint.AuthStyle, secret.endpoint.ClientSecret = AuthHeader, keystore.NewSecret("hush")
	if err := secret.client.Revoke(t.Context(), secret.endpoint, secret.token, "refresh_token"); err != nil || secret.server.Ledger().Revoked() != 1 {
		t.Errorf("with HTTP Basic: %v", err)
	}

	for _, test := range []struct {
		status int
		body   string
		want   Class // "": it counts as revoked
	}{
		{200, "", ""}, {204, "", ""}, {400, `{"error":"invalid_token"}`, ""}, {400, `{"error":"invalid_grant"}`, ""},
		{400, `{"error":"unsupported_token_type"}`, Misconfigured}, {401, `{"error":"invalid_client"}`, Misconfigured},
		{503, "", Unknown}, {500, "", Unknown}, {302, "", Unknown}, {404, "<html>", Misconfigured},
		// A 2xx that does not say so.
		{200, "<html>log in to the wifi</html>", Unknown}, {200, "\ufeff<!doctype html>", Unknown}, {203, "<p>", Unknown},
		{200, "please log in", Unknown}, {200, `{"ok":tru`, Unknown},
		{200, `{"ok":false,"error":"invalid_auth"}`, Misconfigured}, {200, `{"ok":false}`, Misconfigured}, {200, `{"ok":"false"}`, Misconfigured},
		{200, `{"success":false}`, Misconfigured}, {200, `{"revoked":false}`, Misconfigured}, {200, `{"error":"server_error"}`, Unknown},
		{200, `{"error":{"code":"forbidden"}}`, Misconfigured}, {200, `{"errors":["x"]}`, Misconfigured}, {200, `{"error":true}`, Misconfigured},
		{200, `{"status":"error"}`, Misconfigured}, {200, `{"status":403}`, Misconfigured}, {200, `[{"ok":false}]`, Misconfigured},
		{200, `{"errcode":40013,"errmsg":"x"}`, Misconfigured}, {200, `{"captive":true,"user-portal-url":"https://x"}`, Misconfigured}, {200, `{"active":true}`, Misconfigured},
		{200, `{"data":{"success":false}}`, Misconfigured}, {200, "false", Misconfigured}, {200, "error=invalid_client", Misconfigured},
		{200, `{"ok":false,"error":"invalid_token"}`, ""},
		// And one that does.
		{200, "{}", ""}, {200, "[]", ""}, {200, "null", ""}, {200, "true", ""}, {200, "\"OK\"", ""}, {200, "OK\n", ""}, {200, "\ufeff{}", ""}, {202, "", ""},
		{200, `{"ok":true,"revoked":true}`, ""}, {200, `{"status":"ok","error":null,"errors":[]}`, ""}, {200, `{"success":1,"code":200}`, ""},
		{200, `{"message":"Token revoked"}`, ""}, {200, `{"ok":true,"error":""}`, ""}, {200, `{"errcode":0,"active":false}`, ""}, {200, `{"request_id":"1"}`, ""},
		{200, `{"message":"Unauthenticated."}`, Misconfigured}, {200, `{"detail":"Revocation failed"}`, Misconfigured},
	} {
		r, n := fixed(t, test.status, nil, map[bool]string{false: test.body}[test.status == 204])
		err := r.own(r.client.Revoke(t.Context(), r.endpoint, r.token, "refresh_token"))
		if got := classOf(err); got != test.want || *n != 1 {
			t.Errorf("%d %s: %q after %d requests, want %q", test.status, test.body, got, *n, test.want)
		}
	}
	page, _ := fixed(t, 200, map[string]string{"Content-Type": "text/html; charset=utf-8"}, "welcome to the hotel")
	if err := page.own(page.client.Revoke(t.Context(), page.endpoint, page.token, "")); classOf(err) != Unknown || !strings.Contains(err.Error(), "captive portal") {
		t.Errorf("a page without a tag: %v", err)
	}
}

func classOf(e *Error) Class {
	if e == nil {
		return ""
	}
	return e.Class
}

func TestTokenPrintsNoSecret(t *testing.T) {
	r := newRig(t, brokertest.Config{})
	tok, err := r.refresh()
	if err != nil {
		t.Fatal(err)
	}
	for _, form := range []string{"%v", "%+v", "%#v", "%s"} {
		if s := fmt.Sprintf(form, tok); strings.Contains(s, tok.AccessToken.Reveal()) || strings.Contains(s, tok.RefreshToken.Reveal()) {
			t.Errorf("%s shows a token", form)
		}
	}
	e := Endpoint{TokenEndpoint: "https://a/", ClientSecret: keystore.NewSecret("hush")}
	if b, err := json.Marshal(e); err != nil || strings.Contains(string(b), "hush") {
		t.Errorf("%s %v", b, err)
	}
}

// A body that was read to its end stays at its end when the answer's header has
// come: net/http asks once more, and would cut the answer off on an error.
func TestGateReadToItsEnd(t *testing.T) {
	g := &gate{body: bytes.NewReader([]byte("spent"))}
	testenv.Must(t, testenv.Err(io.CopyN(io.Discard, g, 5)))
	g.shut()
	if _, err := g.Read(make([]byte, 1)); err != io.EOF {
		t.Errorf("after the end: %v, want io.EOF", err)
	}
	g = &gate{body: bytes.NewReader([]byte("kept"))}
	g.shut()
	if n, err := g.Read(make([]byte, 1)); n != 0 || err != errEnded {
		t.Errorf("shut before the end: %d bytes, %v", n, err)
	}
}
