package keystore

import (
	"crypto/subtle"
	"errors"
	"fmt"
	"io"
	"log/slog"
)

// Secret is a string that does not print: no fmt verb, no slog handler and no
// JSON encoder shows it. It is a struct around a pointer because fmt reaches
// through unexported fields of other structs and would show a plain string.
// The zero value is the empty secret. Reveal is the only way out.
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

// Empty reports whether there is nothing in s.
func (s Secret) Empty() bool { return s.p == nil || *s.p == "" }

// Equal compares in time that depends on the lengths alone.
func (s Secret) Equal(t Secret) bool {
	return subtle.ConstantTimeCompare([]byte(s.Reveal()), []byte(t.Reveal())) == 1
}

// Format implements fmt.Formatter for every verb, %#v and %p included.
func (s Secret) Format(f fmt.State, _ rune) { _, _ = io.WriteString(f, redacted) }

// LogValue implements slog.LogValuer.
func (s Secret) LogValue() slog.Value { return slog.StringValue(redacted) }

// MarshalJSON always fails, so that a secret in a document is found in a test.
func (s Secret) MarshalJSON() ([]byte, error) { return nil, errSecretEncoded }

// MarshalText always fails; it covers the encoders that look for it (TOML, XML).
func (s Secret) MarshalText() ([]byte, error) { return nil, errSecretEncoded }

// GobEncode always fails.
func (s Secret) GobEncode() ([]byte, error) { return nil, errSecretEncoded }
