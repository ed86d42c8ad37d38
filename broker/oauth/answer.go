package oauth

import (
	"bytes"
	"compress/gzip"
	"compress/zlib"
	"errors"
	"io"
	"net/http"
	"time"
)

// maxBody is far above any token answer.
const maxBody = 1 << 20

// answer is an HTTP response, read to its end.
type answer struct {
	status  int
	header  http.Header
	body    []byte
	cut     error     // why the rest of the body is missing; nil: it is complete
	arrived time.Time // when its header arrived
	sent    bool      // bytes of the request's body had been sent
}

var (
	errTooBig  = errors.New("the answer is too big")
	errDamaged = errors.New("the answer is compressed and damaged")
)

func readAnswer(res *http.Response, sent bool) *answer {
	a := &answer{status: res.StatusCode, header: res.Header, arrived: time.Now(), sent: sent}
	a.body, a.cut = readCapped(res.Body)
	if a.cut != nil && !errors.Is(a.cut, errTooBig) {
		a.cut = describe(a.cut)
	}
	a.decompress()
	return a
}

// decompress goes by the first bytes and not by Content-Encoding: some servers compress
// without saying so, or twice.
func (a *answer) decompress() {
	for range 3 {
		switch body := bytes.NewReader(a.body); {
		case bytes.HasPrefix(a.body, []byte{0x1f, 0x8b}):
			z, err := gzip.NewReader(body)
			a.unpack(z, err)
		case len(a.body) > 1 && a.body[0] == 0x78 && (uint(a.body[0])<<8|uint(a.body[1]))%31 == 0: // RFC 1950 §2.2
			z, err := zlib.NewReader(body)
			a.unpack(z, err)
		default:
			return
		}
	}
}

func (a *answer) unpack(z io.Reader, err error) {
	a.body = nil
	if err == nil {
		a.body, err = readCapped(z)
	}
	switch {
	case err == nil || a.cut != nil:
	case errors.Is(err, errTooBig):
		a.cut = err
	default:
		a.cut = errDamaged
	}
}

// readCapped returns what was read even with an error.
func readCapped(r io.Reader) ([]byte, error) {
	body, err := io.ReadAll(io.LimitReader(r, maxBody+1))
	if err == nil && len(body) > maxBody {
		return body[:maxBody], errTooBig
	}
	return body, err
}

func (a *answer) fail(c Class, err error) *Error {
	return &Error{Class: c, Status: a.status, RetryAfter: retryAfter(a.header, a.arrived), Err: err}
}
