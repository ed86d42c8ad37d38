package oauth

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/http/httptrace"
	"net/url"
	"os"
	"strings"
	"sync"
	"time"

	"github.com/authferry/authferry/broker/fault"
)

// route is the way of one request to the server, through a proxy if the environment names
// one. Its errors say where the way ended, and contain neither a proxy's password nor what
// it sent.
type route struct {
	http.Transport
	lookup   func(*http.Request) (*url.URL, error)
	patience time.Duration // patience with a proxy that hangs
	within   *exploration  // nil: any address is allowed
	resolver *net.Resolver // nil: the system's
	leaving  *departure    // nil: nobody asks when the body has left

	mu      sync.Mutex
	proxy   *url.URL // the proxy that the request goes through; nil: none
	through bool     // the proxy made the connection
	conn    net.Conn // to the proxy or, without one, to the server
}

func newRoute(lookup func(*http.Request) (*url.URL, error)) *route {
	if lookup == nil {
		lookup = http.ProxyFromEnvironment
	}
	r := &route{lookup: lookup, patience: connectTimeout}
	var http1 http.Protocols
	http1.SetHTTP1(true)
	r.Transport = http.Transport{
		Proxy:                  r.choose,
		GetProxyConnectHeader:  r.connecting,
		OnProxyConnectResponse: r.connected,
		DialContext:            r.dial,
		TLSHandshakeTimeout:    connectTimeout,
		MaxResponseHeaderBytes: maxHeader,
		DisableKeepAlives:      true,
		DisableCompression:     true,
		Protocols:              &http1,
	}
	return r
}

// RoundTrip implements http.RoundTripper.
func (r *route) RoundTrip(req *http.Request) (*http.Response, error) {
	if r.within != nil {
		if err := r.within.begin(); err != nil {
			return nil, err
		}
	}
	trace := &httptrace.ClientTrace{TLSHandshakeStart: func() { r.allow(0) }} // which has a time-out of its own
	res, err := r.Transport.RoundTrip(req.WithContext(httptrace.WithClientTrace(req.Context(), trace)))
	if err != nil {
		return res, r.describe(err)
	}
	if r.within != nil {
		r.within.arrived(r.reach(req.URL))
	}
	return res, nil
}

// reach is the address that the answer came from. Behind a proxy, which resolves names
// itself, only the URL's host is known.
func (r *route) reach(u *url.URL) (reach, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.proxy != nil {
		return nameReach(u)
	}
	return addressReach(r.conn.RemoteAddr().String())
}

// choose is http.Transport's Proxy, for requests that leave this machine: http URLs are
// always on this machine, and go through no proxy.
func (r *route) choose(req *http.Request) (*url.URL, error) {
	u, err := r.lookup(req)
	if err != nil || u != nil && (u.Hostname() == "" || strings.HasSuffix(u.Host, ":")) {
		return nil, &failure{text: proxyVariable() + " is not the address of a proxy", next: setProxy("HOST:PORT"), cause: errNoURL}
	}
	if u == nil {
		return nil, nil //nolint:nilnil // http.Transport's word for no proxy
	}
	switch u.Scheme {
	case "http", "https", "socks5", "socks5h":
	default:
		return nil, &failure{text: proxyVariable() + " names a proxy of an unknown kind; use http, https or socks5", next: setProxy("HOST:PORT"), cause: errNoURL}
	}
	if r.within != nil {
		if err := r.within.admit(nameReach(req.URL)); err != nil {
			return nil, err
		}
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	r.proxy = u
	return u, nil
}

// dial is http.Transport's DialContext. A proxy must answer in the time that it has for
// connecting; otherwise net/http would wait for one that hangs until the request's own time
// is over.
func (r *route) dial(ctx context.Context, network, address string) (net.Conn, error) {
	dialer := &net.Dialer{Timeout: connectTimeout, Resolver: r.resolver}
	r.mu.Lock()
	if r.within != nil && r.proxy == nil {
		dialer.ControlContext = r.within.dialed
	}
	r.mu.Unlock()
	conn, err := dialer.DialContext(ctx, network, address)
	if err != nil {
		return nil, err
	}
	if r.leaving != nil {
		conn = r.leaving.over(conn)
	}
	r.mu.Lock()
	r.conn = conn
	proxied := r.proxy != nil
	r.mu.Unlock()
	if proxied {
		r.allow(r.patience)
	}
	return conn, nil
}

// connecting is http.Transport's GetProxyConnectHeader.
func (r *route) connecting(context.Context, *url.URL, string) (http.Header, error) {
	r.allow(r.patience)
	return nil, nil //nolint:nilnil // http.Transport's word for no header
}

// allow sets the connection's deadline to that long from now; 0: none.
func (r *route) allow(d time.Duration) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.conn == nil {
		return
	}
	var until time.Time
	if d > 0 {
		until = time.Now().Add(d)
	}
	_ = r.conn.SetDeadline(until) // a closed connection has no deadline
}

// connected is http.Transport's OnProxyConnectResponse.
func (r *route) connected(_ context.Context, proxy *url.URL, req *http.Request, res *http.Response) error {
	if res.StatusCode == http.StatusOK {
		r.allow(0)
		r.mu.Lock()
		defer r.mu.Unlock()
		r.through = true
		return nil
	}
	target, _, err := net.SplitHostPort(req.Host)
	if err != nil {
		target = req.Host
	}
	f := &failure{cause: errors.New(http.StatusText(res.StatusCode))}
	switch code := res.StatusCode; {
	case code == http.StatusProxyAuthRequired && proxy.User == nil:
		f.text = "wants a user name and a password"
		f.next = setProxy("USER:PASSWORD@" + proxy.Host)
	case code == http.StatusProxyAuthRequired:
		f.text = "refuses the user name or the password in " + proxyVariable()
		f.next = setProxy("USER:PASSWORD@" + proxy.Host)
	case code >= 300 && code <= 399, code == http.StatusNetworkAuthenticationRequired:
		f.text = "redirects elsewhere, like a captive portal before you log in to the network"
	case code == http.StatusBadGateway, code == http.StatusServiceUnavailable, code == http.StatusGatewayTimeout:
		f.text = "can't reach " + target
	default:
		f.text = "does not let connections to " + target + " through"
		f.next = setVariable("NO_PROXY", target)
	}
	f.text = fmt.Sprintf("the proxy %s %s (HTTP %d)", proxy.Host, f.text, res.StatusCode)
	return f
}

// describe says where the way ended, and why.
func (r *route) describe(err error) error {
	r.mu.Lock()
	proxy, through := r.proxy, r.through
	r.mu.Unlock()
	if f, ok := errors.AsType[*failure](err); ok || proxy == nil {
		if ok {
			return f
		}
		return describe(err)
	}
	op, _ := errors.AsType[*net.OpError](err)
	toProxy := op != nil && (op.Op == "proxyconnect" || strings.HasPrefix(op.Op, "socks"))
	socks := strings.HasPrefix(proxy.Scheme, "socks")
	switch f := describeTLS(err); {
	case errors.Is(err, context.Canceled):
		return describe(err)
	case toProxy && f != nil && proxy.Scheme == "https":
		f.text = fmt.Sprintf("the proxy %s in %s can't be used: %s", proxy.Host, proxyVariable(), f.text)
		return f
	case toProxy, !through && !socks && f == nil:
		why := describe(err)
		if op, ok := errors.AsType[*net.OpError](err); ok && op.Op == "socks connect" && op.Err != nil && !timedOut(err) {
			why = say("it refuses", op.Err)
		}
		return &failure{
			text: fmt.Sprintf("the proxy %s in %s can't be reached: %v", proxy.Host, proxyVariable(), why),
			next: setProxy("HOST:PORT"), cause: why,
		}
	case f != nil:
		f.text += fmt.Sprintf("; the connection goes through the proxy %s, which may answer in its place", proxy.Host)
		return f
	}
	why := describe(err)
	return say(fmt.Sprintf("%v; the connection goes through the proxy %s", why, proxy.Host), why)
}

// proxyVariable is the variable from which net/http takes the proxy of an https request.
func proxyVariable() string {
	if os.Getenv("HTTPS_PROXY") == "" && os.Getenv("https_proxy") != "" {
		return "https_proxy"
	}
	return "HTTPS_PROXY"
}

func setProxy(address string) fault.Remedy { return setVariable(proxyVariable(), "http://"+address) }

func setVariable(name, value string) fault.Remedy {
	return fault.Remedy{Do: fault.SetVariable, Name: name, Value: value}
}
