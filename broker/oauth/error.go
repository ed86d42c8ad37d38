package oauth

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"net"
	"strings"
	"syscall"
	"time"
)

// Class says what a failed request means for the refresh token that it carried.
type Class string

// The classes.
const (
	// Unsent: it failed before the first byte of the body left; unspent.
	Unsent Class = "unsent"
	// Throttled: 429, 503 or a code to that effect; unspent.
	Throttled Class = "throttled"
	// Unknown: it was sent, and what the server did is not known.
	Unknown Class = "unknown"
	// Dead: invalid_grant or its kin; this refresh token is spent or revoked.
	Dead Class = "dead"
	// Misconfigured: the client or the request was refused; unspent.
	Misconfigured Class = "misconfigured"
	// BadToken: the grant was renewed, but the access token is missing or can't
	// be used.
	BadToken Class = "bad_token"
)

// Error is why a request did not do what it was to do. Its text holds neither a
// secret nor a part of an answer's body.
type Error struct {
	Class      Class
	Status     int           // of the answer; 0: none came
	Code       string        // the answer's error code (RFC 6749 §5.2); may be empty
	RetryAfter time.Duration // what the server asked for, at most 24 h; 0: nothing
	Err        error         // may be nil
}

func (e *Error) Error() string {
	s := "the request failed"
	switch e.Class {
	case Unsent:
		s = "the provider could not be asked"
	case Throttled:
		s = "the provider asks to wait"
	case Unknown:
		s = "the provider gave no usable answer"
	case Dead:
		s = "the provider no longer accepts this login"
	case Misconfigured:
		s = "the provider refused the client or the request"
	case BadToken:
		s = "the provider gave no usable access token"
	}
	switch {
	case e.Status != 0 && e.Code != "":
		s += fmt.Sprintf(" (HTTP %d, %s)", e.Status, e.Code)
	case e.Status != 0:
		s += fmt.Sprintf(" (HTTP %d)", e.Status)
	}
	if e.Err != nil {
		s += ": " + e.Err.Error()
	}
	return s
}

// Unwrap makes the underlying error reachable.
func (e *Error) Unwrap() error { return e.Err }

// failure is a transport's error in words of this package: net/http's own quote
// URLs and what the server sent.
type failure struct {
	text  string
	cause error
}

func (f *failure) Error() string { return f.text }

func (f *failure) Unwrap() error { return f.cause }

func describe(err error) error {
	say := func(text string, cause error) error { return &failure{text, cause} }
	if dns, ok := errors.AsType[*net.DNSError](err); ok {
		if dns.IsNotFound {
			return say("its host name was not found", dns)
		}
		return say("its host name could not be looked up", dns)
	}
	if host, ok := errors.AsType[x509.HostnameError](err); ok {
		return say("its certificate is for another host", host)
	}
	if cert, ok := errors.AsType[x509.CertificateInvalidError](err); ok {
		if cert.Reason == x509.Expired {
			return say("its certificate is expired or not valid yet", cert)
		}
		return say("its certificate is not valid", cert)
	}
	if ca, ok := errors.AsType[x509.UnknownAuthorityError](err); ok {
		return say("its certificate is signed by an unknown authority", ca)
	}
	if cert, ok := errors.AsType[*tls.CertificateVerificationError](err); ok {
		return say("its certificate does not verify", cert)
	}
	if rec, ok := errors.AsType[tls.RecordHeaderError](err); ok {
		return say("it does not speak TLS", rec)
	}
	if alert, ok := errors.AsType[tls.AlertError](err); ok {
		return say(alert.Error(), alert)
	}
	if op, ok := errors.AsType[*net.OpError](err); ok && op.Op == "proxyconnect" {
		return say("the proxy that the environment names did not connect", op)
	}
	if errors.Is(err, context.Canceled) {
		return say("cancelled", context.Canceled)
	}
	if timeout, ok := errors.AsType[net.Error](err); ok && timeout.Timeout() {
		return say("timed out", context.DeadlineExceeded)
	}
	if errno, ok := errors.AsType[syscall.Errno](err); ok {
		// Windows has a sentence where others have a phrase.
		text := strings.TrimSuffix(errno.Error(), ".")
		return say(strings.ToLower(text[:1])+text[1:], errno)
	}
	if errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) {
		return say("the connection was closed", io.ErrUnexpectedEOF)
	}
	return errors.New("the connection failed")
}
