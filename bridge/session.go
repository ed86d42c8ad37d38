package bridge

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"io"
	"net/http"
	"slices"
	"strings"
	"time"

	"github.com/authferry/authferry/broker"
	"github.com/authferry/authferry/broker/fault"
)

// session is one of the first era, from the answer to initialize on.
type session struct {
	hello     []byte // the client's initialize; nil: it was too long to keep
	id        string // by which the server knows it; empty: it gave none
	version   string // that was agreed on
	life      context.Context
	close     context.CancelFunc
	listening bool // under the bridge's mu
}

// name says in a request whose session it is in.
func (s *session) name(h http.Header) {
	if s.id != "" {
		h.Set("Mcp-Session-Id", s.id)
	}
	if s.version != "" {
		h.Set("Mcp-Protocol-Version", s.version)
	}
}

func (b *Bridge) current() *session {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.session
}

// ready is current, but of a session that is just being opened only once the server knows
// that it is: before that it may refuse what comes.
func (b *Bridge) ready(ctx context.Context) (*session, error) {
	select {
	case b.renewing <- struct{}{}:
		defer func() { <-b.renewing }()
		return b.current(), nil
	case <-ctx.Done():
		return nil, ctx.Err()
	}
}

const maxHello = 1 << 20

// open begins the session that the server has agreed to.
func (b *Bridge) open(c *call, text []byte, header http.Header) {
	var answer struct {
		Result struct {
			Version string `json:"protocolVersion"`
		} `json:"result"`
	}
	_ = json.Unmarshal(text, &answer) // what is missing is not said
	s := &session{}
	if len(c.text) <= maxHello {
		s.hello = c.text
	}
	if id := header.Get("Mcp-Session-Id"); len(id) <= 8<<10 && !strings.ContainsFunc(id, func(r rune) bool { return r <= ' ' || r > '~' }) {
		s.id = id
	}
	if validVersion(answer.Result.Version) {
		s.version = answer.Result.Version
	}
	s.life, s.close = context.WithCancel(b.life)
	b.mu.Lock()
	old := b.session
	b.session = s
	b.mu.Unlock()
	if old != nil {
		old.close()
	}
}

// ended reports that the server no longer has the session that a request was in. It has to
// say 404, but many say 400, because examples of SDKs do: then the error is of no request,
// and its text is about the session.
func ended(res *http.Response) bool {
	if res.StatusCode != http.StatusBadRequest {
		return res.StatusCode == http.StatusNotFound
	}
	var text []byte
	text, res.Body = beginning(res, maxRefusal)
	if m, err := parse(text); err == nil && m.only().id != "" {
		return false
	}
	said := bytes.ToLower(text)
	return bytes.Contains(said, []byte("session")) || bytes.Contains(said, []byte("not initialized"))
}

// reopen opens another session in place of one that the server has ended. Whoever comes
// later finds it done.
func (b *Bridge) reopen(ctx context.Context, old *session) error {
	select {
	case b.renewing <- struct{}{}:
	case <-ctx.Done():
		return ctx.Err()
	}
	defer func() { <-b.renewing }()
	if b.current() != old {
		return nil
	}
	ended := fault.Errorf(fault.ProviderRefused, "%s has ended the session; restart this MCP server in the client", b.host())
	if old.hello == nil {
		return ended
	}
	if err := b.exchange(ctx, own(old.hello, "")); err != nil {
		return ended.Because(err)
	}
	if b.current() == old {
		return ended
	}
	return b.exchange(ctx, own([]byte(`{"jsonrpc":"2.0","method":"`+initialized+`"}`), ""))
}

// farewell is how long the end of a session may take.
const farewell = time.Second

// bye tells the server that the session is over.
func (b *Bridge) bye(ctx context.Context, s *session, tok *broker.Token) {
	ctx, end := context.WithTimeout(ctx, farewell)
	defer end()
	req, err := b.request(ctx, http.MethodDelete, nil, tok)
	if err != nil {
		return
	}
	s.name(req.Header)
	if res, err := b.transport.RoundTrip(req); err == nil {
		_ = res.Body.Close()
	}
}

// eras are errors that only a server of the second era has.
var eras = []int{headerMismatch, headerMismatch - 1, unsupportedVersion, -32601}

const maxError = 1 << 20

// refused is what becomes of a call that the server refuses.
func (b *Bridge) refused(ctx context.Context, c *call, res *http.Response) error {
	text, _ := io.ReadAll(io.LimitReader(res.Body, maxError)) // what broke off is judged as it is
	var failed struct {
		Code int `json:"code"`
	}
	if m, err := parse(text); err == nil && m.only().failed != nil {
		p := m.only()
		_ = json.Unmarshal(p.failed, &failed) // an odd one has no code
		switch {
		case c.method() == initialize && slices.Contains(eras, failed.Code):
			return fault.Errorf(fault.ProviderRefused, "%s requires MCP 2026-07-28 or later, and this client speaks an earlier version; use a newer client", b.host())
		case failed.Code == headerMismatch && c.method() == callTool && c.version != "" && !c.again:
			c.again = true
			if b.relearn(ctx, c) == nil {
				return b.exchange(ctx, c)
			}
		}
		if p.id != "" && p.id == c.only().id {
			return b.deliver(c, text, res.Header)
		}
		return &serverError{p.failed}
	}
	switch code := res.StatusCode; {
	case c.version != "" && code < 500 && code != http.StatusForbidden && code != http.StatusTooManyRequests:
		return fault.Errorf(fault.ProviderRefused, "%s refuses the request (HTTP %d); it may not support MCP 2026-07-28 and later", b.host(), code)
	case code >= 500:
		return fault.Errorf(fault.ProviderUnreachable, "%s can't answer now (HTTP %d)", b.host(), code)
	default:
		return fault.Errorf(fault.ProviderRefused, "%s refuses the request (HTTP %d)", b.host(), code)
	}
}

// maxPages is how many pages of the list of tools are read again to learn their headers.
const maxPages = 20

// relearn asks for the server's tools again: what they want in headers has changed, or
// the client knows them from another time.
func (b *Bridge) relearn(ctx context.Context, c *call) error {
	var params struct {
		Meta json.RawMessage `json:"_meta"`
	}
	if err := json.Unmarshal(c.only().params, &params); err != nil {
		return err
	}
	cursor := ""
	for page := range maxPages {
		ask := map[string]any{"_meta": params.Meta}
		if page > 0 {
			ask["cursor"] = cursor
		}
		text, err := json.Marshal(map[string]any{"jsonrpc": "2.0", "id": "authferry", "method": listTools, "params": ask})
		if err != nil {
			return err
		}
		list := own(text, c.version)
		var answer struct {
			Result struct {
				Next string `json:"nextCursor"`
			} `json:"result"`
		}
		list.answered = func(_ part, text []byte) { err = json.Unmarshal(text, &answer) }
		if failed := b.exchange(ctx, list); failed != nil || err != nil {
			return errors.Join(failed, err)
		}
		if cursor = answer.Result.Next; cursor == "" {
			return nil
		}
	}
	return nil
}
