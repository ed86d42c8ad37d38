package oauth

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/authferry/authferry/broker/brokertest"
	"github.com/authferry/authferry/testenv"
)

// wait serves the login a in the background.
func wait(t *testing.T, l *Listener, a *Authorization) <-chan *Callback {
	t.Helper()
	came := make(chan *Callback, 1)
	go func() {
		c, err := l.Wait(t.Context(), a)
		testenv.Check(t, err)
		came <- c
	}()
	t.Cleanup(l.Close)
	return came
}

func listen(t *testing.T, redirect string) *Listener {
	t.Helper()
	l, err := Listen(redirect)
	testenv.Must(t, err)
	return l
}

// browse opens address in the background; the status and page come when the
// login is answered.
func browse(t *testing.T, address string) <-chan string {
	t.Helper()
	shown := make(chan string, 1)
	go func() {
		res, err := (&http.Client{}).Get(address)
		if err != nil {
			shown <- err.Error()
			return
		}
		defer res.Body.Close()
		body, _ := io.ReadAll(res.Body)
		shown <- fmt.Sprint(res.StatusCode, " ", res.Header.Get("Content-Security-Policy"), string(body))
	}()
	return shown
}

func TestBrowserLogin(t *testing.T) {
	for _, redirect := range []string{"", "http://127.0.0.1", "http://localhost/auth/callback", "http://[::1]/cb"} {
		t.Run(redirect, func(t *testing.T) {
			if strings.Contains(redirect, "::1") {
				if probe, err := net.Listen("tcp", "[::1]:0"); err != nil {
					t.Skip("needs IPv6: no ::1 here")
				} else {
					_ = probe.Close()
				}
			}
			_, c, p, e := loginRig(t, brokertest.Config{})
			l := listen(t, redirect)
			a := NewAuthorization(p, e, l.Redirect())
			came := wait(t, l, a)
			shown := browse(t, a.URL())
			answer := <-came
			if answer.Err != nil {
				t.Fatal(answer.Err)
			}
			tok, err := c.Exchange(t.Context(), a, answer.Code)
			testenv.Must(t, err)
			answer.Answer(Page{OK: true, Title: "Logged in as <ada>", Text: "to sim"})
			l.Close()
			page := <-shown
			for _, want := range []string{"200 default-src 'none'", "Logged in as &lt;ada&gt;", "to sim"} {
				if !strings.Contains(page, want) {
					t.Errorf("the page has no %q: %s", want, page)
				}
			}
			if tok.RefreshToken.Empty() {
				t.Error("no refresh token")
			}
		})
	}
}

func TestDenied(t *testing.T) {
	_, _, p, e := loginRig(t, brokertest.Config{Consent: brokertest.Deny})
	l := listen(t, "")
	a := NewAuthorization(p, e, l.Redirect())
	came := wait(t, l, a)
	shown := browse(t, a.URL())
	answer := <-came
	if refused, ok := errors.AsType[*RefusedError](answer.Err); !ok || refused.Code != "access_denied" {
		t.Fatalf("%v", answer.Err)
	}
	answer.Answer(Page{Title: "Not logged in", Text: answer.Err.Error()})
	if page := <-shown; !strings.HasPrefix(page, "400 ") || !strings.Contains(page, `class="failed"`) || !strings.Contains(page, "the login was denied") {
		t.Errorf("%s", page)
	}
}

// Any web page can knock at the port; only the answer with the state counts, and
// only the first.
func TestKnocks(t *testing.T) {
	_, _, p, e := loginRig(t, brokertest.Config{})
	l := listen(t, "")
	a := NewAuthorization(p, e, l.Redirect())
	came := wait(t, l, a)
	good := url.Values{"code": {"C"}, "state": {a.state}, "iss": {p.Issuer}}.Encode()
	address := l.Redirect()

	knock := func(method, address, host string, body io.Reader) int {
		req, err := http.NewRequestWithContext(t.Context(), method, address, body)
		testenv.Must(t, err)
		req.Host = host
		client := &http.Client{Transport: &http.Transport{DisableKeepAlives: true}}
		res, err := client.Do(req)
		if err != nil {
			return 400 // cut off in the middle of a giant one
		}
		_ = res.Body.Close()
		return res.StatusCode
	}
	host := l.redirect.Host
	for _, row := range []struct {
		name, method, address, host string
		body                        io.Reader
		want                        int
	}{
		{"no state", "GET", address + "?code=C", host, nil, 400},
		{"wrong state", "GET", address + "?code=C&state=guess", host, nil, 400},
		{"wrong state with an error", "GET", address + "?error=access_denied&state=guess", host, nil, 400},
		{"state twice", "GET", address + "?" + good + "&state=guess", host, nil, 400},
		{"state twice, one behind a semicolon", "GET", address + "?" + good + ";state=guess", host, nil, 400},
		{"more than the state", "GET", address + "?code=C&state=" + a.state + ";x", host, nil, 400},
		{"a stray percent sign in the state", "GET", address + "?code=C&state=%" + a.state, host, nil, 400},
		{"no state behind a stray percent sign", "GET", address + "?%zz&code=C", host, nil, 400},
		{"foreign host", "GET", address + "?" + good, "evil.example", nil, 421},
		{"another name of this machine", "GET", address + "?" + good, "localhost:" + l.redirect.Port(), nil, 421},
		{"no port in the host", "GET", address + "?" + good, "127.0.0.1", nil, 421},
		{"wrong path", "GET", "http://" + host + "/favicon.ico", host, nil, 404},
		{"below the path", "GET", address + "/x?" + good, host, nil, 404},
		{"POST", "POST", address + "?" + good, host, strings.NewReader("x"), 405},
		{"HEAD", "HEAD", address + "?" + good, host, nil, 405},
		{"giant body", "POST", address, host, io.LimitReader(zeros{}, 64<<20), 405},
		{"giant query", "GET", address + "?code=" + strings.Repeat("x", 1<<20), host, nil, 431},
	} {
		if got := knock(row.method, row.address, row.host, row.body); got != row.want && (row.body == nil || got != 400) {
			t.Errorf("%s: %d, want %d", row.name, got, row.want)
		}
	}

	var slow []net.Conn // slow ones hang there all the while
	for range 20 {
		c, err := net.Dial("tcp", host)
		testenv.Must(t, err)
		defer c.Close()
		_, _ = c.Write([]byte("GET /callback?co"))
		slow = append(slow, c)
	}
	var wg sync.WaitGroup
	for range 8 {
		wg.Go(func() {
			for i := range 125 {
				if got := knock("GET", fmt.Sprintf("%s?code=C&state=%d", address, i), host, nil); got != 400 {
					t.Errorf("knock: %d", got)
				}
			}
		})
	}
	wg.Wait()
	select {
	case c := <-came:
		t.Fatalf("a knock ended the login: %v", c.Err)
	default:
	}

	shown := browse(t, address+"?"+good)
	answer := <-came
	if answer.Err != nil || answer.Code.Reveal() != "C" {
		t.Fatalf("%v", answer.Err)
	}
	if got := knock("GET", address+"?"+good, host, nil); got != 409 {
		t.Errorf("the second callback: %d, want 409", got)
	}
	answer.Answer(Page{OK: true, Title: "In"})
	if page := <-shown; !strings.HasPrefix(page, "200 ") {
		t.Errorf("%s", page)
	}
	_ = slow
}

type zeros struct{}

func (zeros) Read(p []byte) (int, error) { clear(p); return len(p), nil }

func TestWaitEnds(t *testing.T) {
	l := listen(t, "")
	defer l.Close()
	ctx, cancel := context.WithTimeoutCause(t.Context(), time.Millisecond, errors.New("nobody came"))
	defer cancel()
	if _, err := l.Wait(ctx, NewAuthorization(Provider{}, Endpoint{}, l.Redirect())); err == nil || err.Error() != "nobody came" {
		t.Errorf("%v", err)
	}
	l.Close()
	if c, err := net.Dial("tcp", l.redirect.Host); err == nil {
		_ = c.Close()
		t.Error("it still listens")
	}
}

// A server that puts its redirect together by hand leaves characters in it that
// others encode. The answer is read all the same: a refusal is told at once, and a
// code is kept as it came.
func TestCallbackByHand(t *testing.T) {
	for _, row := range []struct {
		query  string // S: the state
		code   string
		denied string // what the server says to people
	}{
		{query: "code=C&state=S&scope=openid;email", code: "C"},
		{query: "code=C&state=S&error_description=50%25%20;x", code: "C"},
		{query: "code=C&state=S&note=100%", code: "C"},
		{query: "%zz&code=C&state=S", code: "C"},
		{query: "code=C&state=S&a=%u00e9&%=1", code: "C"},
		{query: "code=C;state=S", code: "C"},
		{query: "code=C;state=S;hd=example.com;prompt=consent", code: "C"},
		{query: "code=C;state=S&scope=a;b", code: "C"},
		{query: "code=C&amp;state=S&amp;scope=a", code: "C"},
		{query: "code=a;b%&state=S", code: "a;b%"},
		{query: "code=4/0A+b%2Bc%2f=;%zz%4&state=S", code: "4/0A+b+c/=;%zz%4"},
		{query: "state=S&code=a;b=c", code: "a;b=c"},
		{query: "error=access_denied&state=S&error_description=a;b+100%", denied: "a;b 100%"},
		{query: "error=access_denied;error_description=no%21;state=S", denied: "no!"},
		{query: "?error=access_denied&error_description=no&state=S", denied: "no"},
		{query: "error=access_denied&error_description=The+user+said+no;+try+again&state=S", denied: "The user said no; try again"},
	} {
		l := listen(t, "")
		a := NewAuthorization(Provider{Issuer: "https://as.example"}, Endpoint{}, l.Redirect())
		query := strings.Replace(row.query, "=S", "="+a.state, 1)
		came := wait(t, l, a)
		shown := browse(t, l.Redirect()+"?"+query)
		select {
		case answer := <-came:
			answer.Answer(Page{Title: "Read"})
			byBrowser, err := answer.Code, answer.Err
			pasted, errPasted := a.Pasted(l.Redirect() + "?" + query)
			if byBrowser.Reveal() != row.code || pasted.Reveal() != row.code || fmt.Sprint(err) != fmt.Sprint(errPasted) {
				t.Errorf("%s: %q, %v; pasted: %q, %v", row.query, byBrowser.Reveal(), err, pasted.Reveal(), errPasted)
			}
			refused, ok := errors.AsType[*RefusedError](err)
			if ok != (row.denied != "") || ok && (refused.Code != "access_denied" || refused.Description != row.denied) {
				t.Errorf("%s: %v", row.query, err)
			}
		case page := <-shown:
			t.Errorf("%s: the login waits on; the page: %s", row.query, page)
		}
		l.Close()
	}
	// What says something twice is refused, however it is separated.
	a := NewAuthorization(Provider{}, Endpoint{}, "http://127.0.0.1:1/callback")
	for _, query := range []string{"code=C&state=S&code=D", "code=C;code=D&state=S", "code=C&state=S;code=D", "code=C;state=S;state=S", "code=C;state=S;iss=x;iss=y"} {
		if code, err := a.Pasted("?" + strings.ReplaceAll(query, "=S", "="+a.state)); err == nil {
			t.Errorf("%s: %q is taken", query, code.Reveal())
		}
	}
}

// A query of nothing but separators takes no longer than any other.
func TestParametersOfManySemicolons(t *testing.T) {
	if q := parameters(strings.Repeat(";", 1<<20) + "&state=S" + strings.Repeat(";%", 1<<18)); !strings.HasPrefix(q.Get("state"), "S;%") {
		t.Error("the state is not found")
	}
}

// An answer of another issuer than the one that was asked ends the login (RFC
// 9207): somebody mixes two servers up on purpose.
func TestMixUp(t *testing.T) {
	l := listen(t, "")
	a := NewAuthorization(Provider{Issuer: "https://as.example"}, Endpoint{}, l.Redirect())
	came := wait(t, l, a)
	browse(t, l.Redirect()+"?"+url.Values{"code": {"C"}, "state": {a.state}, "iss": {"https://evil.example"}}.Encode())
	answer := <-came
	if answer.Err != errIssuer || !answer.Code.Empty() {
		t.Errorf("%v", answer.Err)
	}
	answer.Answer(Page{Title: "Not logged in"})
}

func TestListenRefusals(t *testing.T) {
	for _, redirect := range []string{"https://127.0.0.1/cb", "http://app.example/cb", "http://0.0.0.0/", "http://u:p@127.0.0.1/", "http://127.0.0.1/?x", "http://127.0.0.1/#x", "%", "file:///x"} {
		if l, err := Listen(redirect); err == nil {
			l.Close()
			t.Errorf("%s is listened at", redirect)
		}
	}
	l := listen(t, "")
	defer l.Close()
	if _, err := Listen(l.Redirect()); !errors.Is(err, ErrPortTaken) {
		t.Errorf("a port in use: %v", err)
	}
}

// Browsers take localhost for ::1 first: who listens there gets the answer, if
// anybody but this login does.
func TestListenWhereOthersListen(t *testing.T) {
	theirs, err := net.Listen("tcp", "[::1]:0")
	if err != nil {
		t.Skip("needs IPv6: no ::1 here")
	}
	defer theirs.Close()
	_, port, err := net.SplitHostPort(theirs.Addr().String())
	testenv.Must(t, err)
	l, err := Listen("http://localhost:" + port + "/cb")
	if err == nil {
		l.Close()
	}
	if !errors.Is(err, ErrPortTaken) {
		t.Errorf("another one listens at ::1: %v", err)
	}
	left, err := net.Listen("tcp", "127.0.0.1:"+port)
	if err != nil {
		t.Fatalf("it still listens at 127.0.0.1: %v", err)
	}
	_ = left.Close()
}
