package source

import (
	"encoding/base64"
	"strings"
	"time"
)

// claims reads a JWT's payload (RFC 7519 §3) without verifying it; nil for anything else.
func claims(token string) *node {
	parts := strings.Split(token, ".")
	if len(parts) != 3 {
		return nil
	}
	payload, err := base64.RawURLEncoding.DecodeString(strings.TrimRight(parts[1], "="))
	if err != nil {
		return nil
	}
	n, err := parse(payload)
	if err != nil || !n.isObject() {
		return nil
	}
	return n
}

// expiry is the exp claim of a JWT (RFC 7519 §4.1.4); zero if it has none.
func expiry(token string) time.Time {
	return claims(token).get("exp").moment()
}

// identityIn is the identity that an ID token names.
func identityIn(idToken string) Identity {
	c := claims(idToken)
	return Identity{
		Issuer: c.get("iss").text(), Subject: c.get("sub").text(), Name: c.get("email").text(),
		Organization: c.get("https://api.openai.com/auth").get("chatgpt_account_id").text(),
	}
}
