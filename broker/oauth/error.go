package oauth

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"syscall"
	"time"

	"github.com/authferry/authferry/atomicfile"
	"github.com/authferry/authferry/broker/fault"
	"github.com/authferry/authferry/humantime"
)

// Class says what a failed request means for the refresh token that it carried.
type Class string

// The classes.
const (
	// Unsent: it failed before the first byte of the body was sent; unspent.
	Unsent Class = "unsent"
	// Throttled: 429, the server's own 503, or a code to that effect; unspent.
	Throttled Class = "throttled"
	// Unknown: it was sent, and what the server did is unknown.
	Unknown Class = "unknown"
	// Dead: invalid_grant or an equivalent; this refresh token is spent or revoked.
	Dead Class = "dead"
	// Refused: this grant was refused, with a code that is not known to be final; unspent.
	Refused Class = "refused"
	// Misconfigured: the client or the request was refused; unspent.
	Misconfigured Class = "misconfigured"
	// BadToken: the grant was renewed, but the access token is missing or can't
	// be used.
	BadToken Class = "bad_token"
)

// Error says why a request failed. Its text contains neither a secret nor a part of an
// answer's body.
type Error struct {
	Class      Class
	Status     int           // of the answer; 0: none came
	Code       string        // the answer's error code (RFC 6749 §5.2); may be empty
	RetryAfter time.Duration // the wait that the server asked for, at most 24 h; 0: none
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
	case Refused:
		s = "the provider refused this login"
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

// Unwrap returns the underlying error.
func (e *Error) Unwrap() error { return e.Err }

// Remedy says what helps if the cause is on this machine or its network: a proxy, or a CA
// that isn't trusted. False: it isn't, or nothing helps.
func (e *Error) Remedy() (fault.Remedy, bool) {
	f, ok := errors.AsType[*failure](e.Err)
	if !ok || f.next.Do == "" {
		return fault.Remedy{}, false
	}
	return f.next, true
}

// failure describes a transport's error in words of our own: net/http's quote URLs, which
// can contain a password, and what a server sent.
type failure struct {
	text  string
	next  fault.Remedy // what helps; may be empty
	cause error
}

func (f *failure) Error() string { return f.text }

func (f *failure) Unwrap() error { return f.cause }

func say(text string, cause error) *failure { return &failure{text: text, cause: cause} }

// describe says why a connection, or an answer on it, failed.
func describe(err error) error {
	if f, ok := errors.AsType[*failure](err); ok {
		return f
	}
	if f := describeTLS(err); f != nil {
		return f
	}
	if dns, ok := errors.AsType[*net.DNSError](err); ok {
		if dns.IsNotFound {
			return say("the host "+dns.Name+" was not found", dns)
		}
		return say("the host "+dns.Name+" could not be looked up", dns)
	}
	if errors.Is(err, context.Canceled) {
		return say("cancelled", context.Canceled)
	}
	if timedOut(err) {
		return say("timed out", context.DeadlineExceeded)
	}
	if errno, ok := errors.AsType[syscall.Errno](err); ok {
		// Windows has a sentence where others have a phrase.
		text := strings.TrimSuffix(errno.Error(), ".")
		return say(strings.ToLower(text[:1])+text[1:], errno)
	}
	if closed(err) {
		return say("the connection was closed", io.ErrUnexpectedEOF)
	}
	return errors.New("the connection failed")
}

func timedOut(err error) bool {
	timeout, ok := errors.AsType[net.Error](err)
	return ok && timeout.Timeout()
}

func closed(err error) bool { return errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) }

// describeTLS returns nil if the error is not about TLS.
func describeTLS(err error) *failure {
	if host, ok := errors.AsType[x509.HostnameError](err); ok {
		text := "its certificate is for another host"
		if host.Certificate != nil && len(host.Certificate.DNSNames) > 0 && hostLike(host.Certificate.DNSNames[0]) {
			text += ", " + host.Certificate.DNSNames[0]
		}
		return say(text, host)
	}
	if cert, ok := errors.AsType[x509.CertificateInvalidError](err); ok {
		if cert.Reason != x509.Expired || cert.Cert == nil {
			return say("its certificate is not valid", cert)
		}
		f := say("its certificate expired on "+humantime.Date(cert.Cert.NotAfter), cert)
		if now := time.Now(); now.Before(cert.Cert.NotBefore) {
			f.text = "its certificate is not valid before " + humantime.Date(cert.Cert.NotBefore) +
				", and this machine's clock shows " + humantime.Date(now)
			f.next = fault.Remedy{Do: fault.Doctor}
		}
		return f
	}
	if ca, ok := errors.AsType[x509.UnknownAuthorityError](err); ok {
		return untrusted(ca)
	}
	if roots, ok := errors.AsType[x509.SystemRootsError](err); ok {
		return untrusted(roots)
	}
	if cert, ok := errors.AsType[*tls.CertificateVerificationError](err); ok {
		return say("its certificate can't be verified", cert)
	}
	if rec, ok := errors.AsType[tls.RecordHeaderError](err); ok {
		return say("it doesn't use TLS", rec)
	}
	if errors.Is(err, http.ErrSchemeMismatch) {
		return say("it doesn't use TLS", http.ErrSchemeMismatch)
	}
	if alert, ok := errors.AsType[tls.AlertError](err); ok {
		return say(alert.Error(), alert)
	}
	return nil
}

// hostLike makes sure that a name from a certificate is no more than a host name.
func hostLike(name string) bool {
	return len(name) <= 100 && !strings.ContainsFunc(name, func(r rune) bool {
		return (r < 'a' || r > 'z') && (r < 'A' || r > 'Z') && (r < '0' || r > '9') && !strings.ContainsRune("-.*", r)
	})
}

// untrusted says which CA certificates this system uses, and how to add one.
func untrusted(cause error) *failure {
	f := say("its certificate is signed by an unknown authority", cause)
	f.next = fault.Remedy{Do: fault.TrustCA}
	if runtime.GOOS == "darwin" || runtime.GOOS == "windows" {
		return f
	}
	if file := os.Getenv("SSL_CERT_FILE"); file != "" {
		if why := unfitAuthorities(file); why != "" {
			f.text += ": SSL_CERT_FILE is " + file + ", and " + why
		} else {
			f.text = "its certificate is signed by an unknown authority, one that is not in the file of SSL_CERT_FILE, " + file
		}
		return f
	}
	for _, dir := range filepath.SplitList(os.Getenv("SSL_CERT_DIR")) {
		if info, err := os.Stat(dir); err != nil || !info.IsDir() {
			f.text += ": SSL_CERT_DIR is " + dir + ", which is not a folder"
			return f
		}
	}
	if pool, err := x509.SystemCertPool(); err != nil || pool.Equal(x509.NewCertPool()) {
		f.text = "its certificate can't be checked: this system has no CA certificates (package ca-certificates)"
	}
	return f
}

// maxAuthorities is far above the size of any file of CA certificates.
const maxAuthorities = 16 << 20

func unfitAuthorities(file string) string {
	data, err := atomicfile.Read(file, maxAuthorities)
	switch {
	case errors.Is(err, os.ErrNotExist):
		return "there is no such file"
	case err != nil:
		return "that can't be read"
	case !x509.NewCertPool().AppendCertsFromPEM(data):
		return "that has no certificate in PEM"
	}
	return ""
}
