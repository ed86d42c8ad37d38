package oauth

import (
	"bytes"
	"encoding/json"
	"errors"
	"io"
	"net/http"
	"net/url"
	"strconv"
	"sync"
	"sync/atomic"

	"github.com/authferry/authferry/keystore"
)

const (
	formType = "application/x-www-form-urlencoded"
	jsonType = "application/json"
)

// exchange is the transport of one token request.
type exchange struct {
	client     *Client
	endpoint   Endpoint
	beforeSend func() error
	secrets    []keystore.Secret // the secrets in the request

	token *Token
	err   error
}

// RoundTrip sends the request that x/oauth2 made and returns a canonical answer. The real
// result is in token and err.
func (x *exchange) RoundTrip(req *http.Request) (*http.Response, error) {
	if x.token, x.err = x.send(req); x.err != nil {
		return nil, x.err
	}
	return x.token.canonical(req)
}

func (x *exchange) send(req *http.Request) (*Token, error) {
	body, err := io.ReadAll(req.Body)
	_ = req.Body.Close()
	req = req.Clone(req.Context())
	if r := x.endpoint.Resource; r != "" { // x/oauth2 can't add it to a refresh
		body = append(body, "&resource="+url.QueryEscape(r)...)
	}
	if err == nil && x.endpoint.Encoding == EncodingJSON {
		body, err = formToJSON(body)
		req.Header.Set("Content-Type", jsonType)
	}
	if err != nil {
		return nil, &Error{Class: Unsent, Err: errors.New("the request could not be encoded")}
	}
	a, err := x.client.post(req, body, x.beforeSend)
	if err != nil {
		return nil, err
	}
	return a.grant(x.endpoint, x.secrets...)
}

func formToJSON(form []byte) ([]byte, error) {
	values, err := url.ParseQuery(string(form))
	if err != nil {
		return nil, err
	}
	members := make(map[string]string, len(values))
	for name := range values {
		members[name] = values.Get(name)
	}
	var b bytes.Buffer
	enc := json.NewEncoder(&b)
	enc.SetEscapeHTML(false)
	err = enc.Encode(members)
	return bytes.TrimSuffix(b.Bytes(), []byte("\n")), err
}

// canonical is the answer that x/oauth2 gets.
func (t *Token) canonical(req *http.Request) (*http.Response, error) {
	body, err := json.Marshal(map[string]string{
		"access_token": t.AccessToken.Reveal(), "token_type": t.TokenType, "refresh_token": t.RefreshToken.Reveal(),
	})
	if err != nil {
		return nil, err
	}
	return &http.Response{
		Status: "200 OK", StatusCode: http.StatusOK, Proto: "HTTP/1.1", ProtoMajor: 1, ProtoMinor: 1,
		Header:        http.Header{"Content-Type": {jsonType}, "Content-Length": {strconv.Itoa(len(body))}},
		ContentLength: int64(len(body)), Body: io.NopCloser(bytes.NewReader(body)), Request: req,
	}, nil
}

// post sends one request with body, and reads the answer whatever its status. The error is
// an *Error.
func (c *Client) post(req *http.Request, body []byte, beforeSend func() error) (*answer, error) {
	if err := checkParsedURL(req.URL); err != nil {
		return nil, &Error{Class: Misconfigured, Err: err}
	}
	g := &gate{body: bytes.NewReader(body), before: beforeSend}
	req.Body, req.GetBody, req.ContentLength = g, nil, int64(len(body))
	req.Header.Set("Accept", jsonType)
	req.Header.Set("User-Agent", c.userAgent())
	transport := c.transport()
	if r, ok := transport.(*route); ok && r.leaving != nil {
		g.read = &r.leaving.read
	}
	res, err := transport.RoundTrip(req)
	if res != nil {
		defer res.Body.Close()
	}
	sent, refused := g.shut()
	if c.Sent != nil {
		c.Sent()
	}
	switch {
	case refused != nil:
		return nil, &Error{Class: Unsent, Err: refused}
	case err != nil && sent:
		return nil, &Error{Class: Unknown, Err: describe(err)}
	case err != nil:
		return nil, &Error{Class: Unsent, Err: describe(err)}
	}
	return readAnswer(res, sent), nil
}

// gate is a request's body. before is called in its first Read, which net/http calls when
// the connection is open and the header is written.
type gate struct {
	ended atomic.Bool

	mu     sync.Mutex
	body   *bytes.Reader
	before func() error // nil once it was called
	err    error        // before's
	sent   bool
	read   *atomic.Bool // is set when all of it was read; nil: nobody asks
}

var errEnded = errors.New("the request is over")

func (g *gate) Read(p []byte) (int, error) {
	g.mu.Lock()
	defer g.mu.Unlock()
	if before := g.before; before != nil && !g.ended.Load() {
		g.before = nil
		g.err = before()
	}
	switch {
	case g.err != nil:
		return 0, g.err
	case g.ended.Load() && g.body.Len() > 0:
		// The request may have been given up meanwhile. At the end of the body the error is
		// io.EOF as always: net/http reads once more after the answer's header came, and
		// would drop the answer on any other error.
		return 0, errEnded
	}
	n, err := g.body.Read(p)
	g.sent = g.sent || n > 0
	if g.read != nil && g.body.Len() == 0 {
		g.read.Store(true)
	}
	return n, err
}

// Close does nothing: net/http closes the body of a request that it has given up.
func (g *gate) Close() error { return nil }

// shut stops the body, and waits for before if it is running: an answer or a time-out can
// come first. It returns whether any byte was sent, and before's error.
func (g *gate) shut() (sent bool, refused error) {
	g.ended.Store(true)
	g.mu.Lock()
	defer g.mu.Unlock()
	return g.sent, g.err
}
