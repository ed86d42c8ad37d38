package keystore

import (
	"crypto/subtle"
	"errors"
	"fmt"
	"io"
	"log/slog"
)

// Secret is a string that can't be printed: no fmt verb, slog handler or JSON encoder shows
// it. It is a struct with a pointer because fmt looks into unexported fields of other
// structs and would show a plain string. The zero value is the empty secret. Only Reveal
// returns it.
type Secret struct{ p *string }

const redacted = "[secret]"

var errSecretEncoded = errors.New("keystore: a secret cannot be encoded; call Reveal where it is meant to leave")

// NewSecret wraps s.
func NewSecret(s string) Secret {
	if s == "" {
		return Secret{}
	}
	return Secret{p: &s}
}

// Reveal returns the secret itself. Every call is a place to review.
func (s Secret) Reveal() string {
	if s.p == nil {
		return ""
	}
	return *s.p
}

// Empty reports whether the secret is empty.
func (s Secret) Empty() bool { return s.p == nil || *s.p == "" }

// Equal compares in time that depends on the lengths only.
func (s Secret) Equal(t Secret) bool {
	return subtle.ConstantTimeCompare([]byte(s.Reveal()), []byte(t.Reveal())) == 1
}

// Format implements fmt.Formatter for every verb, including %#v and %p.
func (s Secret) Format(f fmt.State, _ rune) { _, _ = io.WriteString(f, redacted) }

// LogValue implements slog.LogValuer.
func (s Secret) LogValue() slog.Value { return slog.StringValue(redacted) }

// MarshalJSON always fails, so that tests find a secret in a document.
func (s Secret) MarshalJSON() ([]byte, error) { return nil, errSecretEncoded }

// MarshalText always fails, for encoders that use it (TOML, XML).
func (s Secret) MarshalText() ([]byte, error) { return nil, errSecretEncoded }

// GobEncode always fails.
func (s Secret) GobEncode() ([]byte, error) { return nil, errSecretEncoded }
