package record

import (
	"crypto/sha256"
	"encoding/hex"

	"github.com/authferry/authferry/keystore"
)

// Fingerprint identifies a refresh token or API key without revealing it: 64 bits of a
// hash, enough to tell two apart.
func Fingerprint(token keystore.Secret) string {
	if token.Empty() {
		return ""
	}
	sum := sha256.Sum256([]byte("authferry fingerprint\x00" + token.Reveal()))
	return hex.EncodeToString(sum[:8])
}
