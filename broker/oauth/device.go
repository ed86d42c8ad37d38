package oauth

import (
	"bytes"
	"cmp"
	"context"
	"errors"
	"maps"
	"net/http"
	"net/url"
	"strings"
	"time"

	"golang.org/x/oauth2"

	"github.com/authferry/authferry/keystore"
)

const deviceGrantType = "urn:ietf:params:oauth:grant-type:device_code"

// Device is a device authorization that waits for a person (RFC 8628 §3.2).
type Device struct {
	UserCode                string
	VerificationURI         string
	VerificationURIComplete string    // contains the code; may be empty
	ExpiresAt               time.Time // by this machine's clock

	endpoint Endpoint
	code     keystore.Secret
	interval time.Duration
}

const (
	devicePause  = 5 * time.Second  // between polls, unless the server says otherwise
	longestPause = time.Minute      // when the server can't be reached
	deviceLife   = 10 * time.Minute // of the code, if the server doesn't say
	maxUserCode  = 64
)

// pause is the time between polls, which tests shorten.
var pause = func(ctx context.Context, d time.Duration) error {
	select {
	case <-ctx.Done():
		return context.Cause(ctx)
	case <-time.After(d):
		return nil
	}
}

// AuthorizeDevice asks p for a code that a person enters elsewhere (RFC 8628 §3.1). The
// error is an *Error.
func (c *Client) AuthorizeDevice(ctx context.Context, p Provider, e Endpoint) (*Device, error) {
	whole := e
	ctx, cancel := c.withTimeout(ctx)
	defer cancel()
	if !sameOrigin(p.DeviceAuthorizationEndpoint, e.TokenEndpoint) {
		e.ClientSecret = keystore.Secret{} // it belongs to the token endpoint's server
	}
	a, err := c.askForDevice(ctx, p, e)
	if other, refused := e.otherStyle(err); refused {
		if again, err := c.askForDevice(ctx, p, other); err == nil {
			a, whole.AuthStyle = again, other.AuthStyle
		}
	}
	if a == nil {
		return nil, err
	}
	d, code := newDevice(a)
	d.endpoint, d.code = whole, keystore.NewSecret(code)
	switch err := d.check(); {
	case err == nil:
		return &d, nil
	case a.cut != nil:
		return nil, a.fail(Unknown, a.cut)
	default:
		return nil, a.fail(Misconfigured, err)
	}
}

func (c *Client) askForDevice(ctx context.Context, p Provider, e Endpoint) (*answer, error) {
	form := url.Values{}
	if len(p.Scopes) > 0 {
		form.Set("scope", strings.Join(p.Scopes, " "))
	}
	if e.Resource != "" {
		form.Set("resource", e.Resource)
	}
	a, err := c.ask(ctx, e, p.DeviceAuthorizationEndpoint, form)
	if err != nil {
		return nil, err
	}
	if a.status < 200 || a.status > 299 || looseMembers(a).refuses() {
		return nil, a.refusal(e, e.ClientSecret)
	}
	if errors.Is(a.cut, errTooBig) || bytes.HasPrefix(bytes.TrimSpace(a.body), []byte("<")) {
		return nil, a.fail(Unknown, cmp.Or(a.cut, errHTML))
	}
	return a, nil
}

// AuthStyle is how d's token endpoint accepts the client's secret.
func (d *Device) AuthStyle() string { return d.endpoint.AuthStyle }

// check makes sure that the address shown to a person is that of a web page.
func (d *Device) check() error {
	if d.code.Empty() || d.UserCode == "" || len(d.UserCode) > maxUserCode {
		return errors.New("there is no device code in the answer")
	}
	if err := CheckURL(d.VerificationURI); err != nil {
		return errors.New("its verification_uri is not an https address")
	}
	if d.VerificationURIComplete != "" && CheckURL(d.VerificationURIComplete) != nil {
		d.VerificationURIComplete = ""
	}
	return nil
}

// Redeem polls until the person has decided (RFC 8628 §3.4). A refusal and an expired code
// are a *RefusedError; if ctx ends, the error is its cause; any other is an *Error.
func (c *Client) Redeem(ctx context.Context, d *Device) (*Token, error) {
	form := url.Values{"grant_type": {deviceGrantType}, "device_code": {d.code.Reveal()}}
	wait := d.interval
	for {
		if err := pause(ctx, wait); err != nil {
			return nil, err
		}
		if !time.Now().Before(d.ExpiresAt) {
			return nil, &RefusedError{Code: "expired_token"}
		}
		t, said, err := c.poll(ctx, d, form)
		failed, ok := errors.AsType[*Error](err)
		if !ok {
			return t, err
		}
		switch said {
		case pollPending:
			wait = max(d.interval, failed.RetryAfter)
			continue
		case pollFaster:
			d.interval += 5 * time.Second
			wait = max(d.interval, failed.RetryAfter)
			continue
		case pollDenied, pollExpired:
			return nil, &RefusedError{Code: said}
		}
		if other, refused := d.endpoint.otherStyle(failed); refused {
			d.endpoint = other
			continue
		}
		switch failed.Class {
		case Throttled, Unsent, Unknown:
			// §3.5: back off where the server can't be reached.
			wait = max(min(2*wait, longestPause), failed.RetryAfter)
		default:
			return t, failed
		}
	}
}

func sameOrigin(a, b string) bool {
	x, errX := url.Parse(a)
	y, errY := url.Parse(b)
	return errX == nil && errY == nil && originOf(x) == originOf(y)
}

// poll sends one request. said is the answer by RFC 8628 that came instead of tokens.
func (c *Client) poll(ctx context.Context, d *Device, form url.Values) (t *Token, said string, err error) {
	ctx, cancel := c.withTimeout(ctx)
	defer cancel()
	a, err := c.ask(ctx, d.endpoint, d.endpoint.TokenEndpoint, maps.Clone(form))
	if err != nil {
		return nil, "", err
	}
	if t, err = a.grant(d.endpoint, d.code, d.endpoint.ClientSecret); t == nil {
		said = a.pollSays()
	}
	return t, said, err
}

// ask sends a form to one of the server's endpoints, with the client's authentication.
func (c *Client) ask(ctx context.Context, e Endpoint, address string, form url.Values) (*answer, error) {
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, address, http.NoBody)
	if err != nil {
		return nil, &Error{Class: Misconfigured, Err: errNoURL}
	}
	req.Header.Set("Content-Type", formType)
	if e.style() == oauth2.AuthStyleInHeader {
		req.SetBasicAuth(url.QueryEscape(e.ClientID), url.QueryEscape(e.secret()))
	} else {
		if e.ClientID != "" {
			form.Set("client_id", e.ClientID)
		}
		if s := e.secret(); s != "" {
			form.Set("client_secret", s)
		}
	}
	body := []byte(form.Encode())
	if e.Encoding == EncodingJSON && address == e.TokenEndpoint {
		if body, err = formToJSON(body); err != nil {
			return nil, &Error{Class: Unsent, Err: errors.New("the request could not be encoded")}
		}
		req.Header.Set("Content-Type", jsonType)
	}
	return c.post(req, body, nil)
}
