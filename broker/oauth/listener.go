package oauth

import (
	"cmp"
	"context"
	_ "embed"
	"errors"
	"fmt"
	"html"
	"io"
	"log"
	"net"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"sync/atomic"
	"syscall"
	"time"

	"github.com/authferry/authferry/keystore"
)

// Listener receives the redirect of a login on loopback (RFC 8252 §7.3). Any web page can
// send requests here: everything but the expected answer gets a 4xx and changes nothing.
type Listener struct {
	redirect *url.URL
	sockets  []net.Listener
	server   *http.Server
	taken    atomic.Bool
	came     chan *Callback
}

const (
	defaultRedirect  = "http://127.0.0.1/callback"
	maxRedirectHead  = 32 << 10 // codes can have some KB
	redirectPatience = 10 * time.Second
)

// ErrPortTaken is matched by Listen's error if another program uses the port in the
// redirect URI.
var ErrPortTaken = errors.New("another program listens there")

// Listen opens redirect, a loopback http address; empty: any port of 127.0.0.1, and the
// path /callback. Without a port, any free one is used.
func Listen(redirect string) (*Listener, error) {
	u, err := redirectURL(redirect)
	if err != nil {
		return nil, err
	}
	hosts := []string{u.Hostname()}
	if strings.EqualFold(u.Hostname(), "localhost") {
		hosts = []string{"127.0.0.1", "::1"} // browsers try both
	}
	l := &Listener{redirect: u, came: make(chan *Callback, 1)}
	var port string
	for range 10 { // a port that is free for one of the hosts may be in use for the other
		if port, err = l.listen(hosts, cmp.Or(u.Port(), "0")); err == nil {
			u.Host = net.JoinHostPort(u.Hostname(), port)
			return l, nil
		}
		if u.Port() != "" {
			break
		}
	}
	return nil, fmt.Errorf("%s: %w", u.Host, errors.Join(ErrPortTaken, describe(err)))
}

// listen opens one port for all hosts, or none.
func (l *Listener) listen(hosts []string, port string) (string, error) {
	for i, host := range hosts {
		socket, err := new(net.ListenConfig).Listen(context.Background(), "tcp", net.JoinHostPort(host, port))
		if err != nil && i > 0 && !inUse(err) {
			continue // a machine without IPv6
		}
		if err == nil {
			l.sockets = append(l.sockets, socket)
			_, port, err = net.SplitHostPort(socket.Addr().String())
		}
		if err != nil {
			l.Close()
			l.sockets = nil
			return "", err
		}
	}
	return port, nil
}

// inUse reports whether another program has the address, and would get what the browser
// sends there.
func inUse(err error) bool {
	const wsaAccess, wsaInUse = syscall.Errno(10013), syscall.Errno(10048) // another user's, or one's own
	return errors.Is(err, syscall.EADDRINUSE) || errors.Is(err, wsaAccess) || errors.Is(err, wsaInUse)
}

func redirectURL(redirect string) (*url.URL, error) {
	if redirect == "" {
		redirect = defaultRedirect
	}
	u, err := url.Parse(redirect)
	if err != nil {
		return nil, errNoURL
	}
	if u.Scheme != "http" || !loopback(u.Hostname()) || u.User != nil || u.RawQuery != "" || u.Fragment != "" {
		return nil, errors.New("the redirect URI is not a loopback http address")
	}
	return u, nil
}

// Redirect is the redirect URI, with the actual port.
func (l *Listener) Redirect() string { return l.redirect.String() }

// Close stops listening. A Callback without an answer is disconnected.
func (l *Listener) Close() {
	if l.server != nil {
		_ = l.server.Close()
	}
	for _, s := range l.sockets {
		_ = s.Close()
	}
}

// Callback is the authorization server's answer. The browser that brought it waits for
// Answer.
type Callback struct {
	Code keystore.Secret
	Err  error // as from Authorization.Pasted; nil: Code is there

	page    chan Page
	written chan struct{}
}

// Answer shows the page in the browser. It returns once the page is sent or the browser has
// disconnected.
func (c *Callback) Answer(p Page) {
	c.page <- p
	<-c.written
}

// Wait serves until the answer to a comes, or ctx ends.
func (l *Listener) Wait(ctx context.Context, a *Authorization) (*Callback, error) {
	l.server = &http.Server{
		Handler:           http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { l.knock(w, r, a) }),
		ReadHeaderTimeout: redirectPatience, ReadTimeout: redirectPatience,
		MaxHeaderBytes: maxRedirectHead,
		ErrorLog:       log.New(silence{}, "", 0),
	}
	l.server.SetKeepAlivesEnabled(false)
	for _, s := range l.sockets {
		go func() { _ = l.server.Serve(s) }()
	}
	select {
	case c := <-l.came:
		return c, nil
	case <-ctx.Done():
		return nil, context.Cause(ctx)
	}
}

type silence struct{}

func (silence) Write(p []byte) (int, error) { return len(p), nil }

func (l *Listener) knock(w http.ResponseWriter, r *http.Request, a *Authorization) {
	q := parameters(r.URL.RawQuery)
	refuse := func(status int, text string) { http.Error(w, text, status) }
	switch {
	case !strings.EqualFold(r.Host, l.redirect.Host): // a page whose own host name leads here
		refuse(http.StatusMisdirectedRequest, "not for this host")
	case strings.TrimSuffix(r.URL.Path, "/") != strings.TrimSuffix(l.redirect.Path, "/"):
		refuse(http.StatusNotFound, "nothing here")
	case r.Method != http.MethodGet:
		w.Header().Set("Allow", http.MethodGet)
		refuse(http.StatusMethodNotAllowed, "GET only")
	case !a.matches(q):
		refuse(http.StatusBadRequest, errForeign.Error())
	case !l.taken.CompareAndSwap(false, true):
		refuse(http.StatusConflict, "this login was answered already")
	default:
		c := &Callback{page: make(chan Page, 1), written: make(chan struct{})}
		defer close(c.written)
		c.Code, c.Err = a.code(q)
		l.came <- c
		select {
		case p := <-c.page:
			p.write(w)
		case <-r.Context().Done():
		}
	}
}

// Page is what the browser shows at the end of a login. Its fields are plain text, and may
// come from outside.
type Page struct {
	OK    bool
	Title string
	Text  string
	Next  string // a command to run; may be empty
}

//go:embed page.html
var pageHTML string

// html fills in the page. Text from outside is only in element content, where
// html.EscapeString is enough. (A template engine would make the program a third larger,
// and every start slower.)
func (p Page) html() string {
	class, mark, next := "", `<path d="M15 25l6.5 6.5L34 18"/>`, ""
	if !p.OK {
		class, mark = ` class="failed"`, `<path d="M24 14v13M24 33.5v.5"/>`
	}
	if p.Next != "" {
		next = "<code>" + html.EscapeString(p.Next) + "</code>"
	}
	return strings.NewReplacer("{class}", class, "{mark}", mark, "{next}", next,
		"{title}", html.EscapeString(p.Title), "{text}", html.EscapeString(p.Text)).Replace(pageHTML)
}

func (p Page) write(w http.ResponseWriter) {
	page := p.html()
	h := w.Header()
	h.Set("Content-Type", "text/html; charset=utf-8")
	h.Set("Content-Length", strconv.Itoa(len(page)))
	h.Set("Content-Security-Policy", "default-src 'none'; style-src 'unsafe-inline'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'")
	h.Set("Cache-Control", "no-store")
	h.Set("Referrer-Policy", "no-referrer") // the address of this page contains the code
	h.Set("X-Content-Type-Options", "nosniff")
	if !p.OK {
		w.WriteHeader(http.StatusBadRequest)
	}
	_, _ = io.WriteString(w, page)
	_ = http.NewResponseController(w).Flush()
}
