package serve

import (
	"bytes"
	"io"
	"net/http"
	"slices"
	"strings"
	"time"
)

// MaxBody is the size of the largest body that is kept in memory, to be sent again.
const MaxBody = 32 << 20

// call is one request of a client.
type call struct {
	provider string
	route    Route
	path     string // after the provider's name, escaped as it came
	api      api
	health   bool // answered here
	unknown  bool // the key was missing or wrong

	body    []byte
	more    io.Reader // the rest, after body; not nil: it can be sent only once
	length  int64     // of the whole body; -1: unknown
	scope   string    // of holds: "model:ID"; empty: unknown
	session string    // empty: unknown
	bound   bool      // it refers to something that only one account has

	started  time.Time
	account  string // label of the account that was asked last, for the log
	attempts int
}

// read reads r's body, up to MaxBody, and what the choice of an account depends on.
func (c *call) read(r *http.Request) error {
	c.length = r.ContentLength
	var b bytes.Buffer
	if n := r.ContentLength; n > 0 && n <= MaxBody {
		b.Grow(int(n) + bytes.MinRead)
	}
	if _, err := b.ReadFrom(io.LimitReader(r.Body, MaxBody+1)); err != nil {
		return err
	}
	c.body = b.Bytes()
	if len(c.body) > MaxBody {
		c.more = r.Body
	} else {
		c.length = int64(len(c.body))
	}
	said := topLevel(c.body, c.api.fields()...)
	c.scope = scopeOf(c.path, said["model"])
	c.session = sessionOf(r.Header, said["prompt_cache_key"])
	for _, field := range accountFields {
		c.bound = c.bound || !slices.Contains([]string{"", "null", `""`}, string(said[field]))
	}
	return nil
}

// again reports whether the request can be sent more than once.
func (c *call) again() bool { return c.more == nil }

// upload is the body for one attempt.
func (c *call) upload() io.ReadCloser {
	switch {
	case c.length == 0:
		return http.NoBody
	case c.more != nil:
		return io.NopCloser(io.MultiReader(bytes.NewReader(c.body), c.more))
	}
	return &upload{data: c.body}
}

// upload releases the body once it is sent, because the request that has it lives as long
// as its answer.
type upload struct {
	data []byte
}

func (u *upload) Read(p []byte) (int, error) {
	n := copy(p, u.data)
	if u.data = u.data[n:]; len(u.data) == 0 {
		u.data = nil
		return n, io.EOF
	}
	return n, nil
}

func (u *upload) Close() error { return nil }

// scopeOf is the scope of a hold on the model that a request names, in its body or (Google)
// in its path, exactly as it is written there.
func scopeOf(path string, field []byte) string {
	model, ok := text(field)
	if _, rest, found := strings.Cut(path, "/models/"); found && !ok {
		model = rest
		if i := strings.IndexAny(rest, "/:?"); i >= 0 {
			model = rest[:i]
		}
	}
	if model == "" || len(model) > 100 || strings.ContainsFunc(model, func(r rune) bool { return r < '!' || r > '~' }) {
		return ""
	}
	return "model:" + model
}

// sessionHeaders are the headers by which clients name a conversation, the most reliable
// first.
var sessionHeaders = []string{"X-Claude-Code-Session-Id", "Session-Id", "Session_id", "Thread-Id"}

func sessionOf(h http.Header, cacheKey []byte) string {
	id := ""
	for _, name := range sessionHeaders {
		if id = h.Get(name); id != "" {
			break
		}
	}
	if id == "" {
		id, _ = text(cacheKey)
	}
	if id == "" {
		id = h.Get("X-Client-Request-Id")
	}
	if len(id) > 200 {
		return ""
	}
	return id
}
