package oauth

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"crypto/sha256"
	"crypto/x509"
	"encoding/base64"
	"encoding/json"
	"encoding/pem"
	"errors"
	"time"

	"github.com/authferry/authferry/keystore"
)

// How an assertion can be signed (RFC 7518 §3.1).
const (
	ES256 = "ES256" // ECDSA on P-256
	RS256 = "RS256" // RSASSA-PKCS1-v1_5
	PS256 = "PS256" // RSASSA-PSS
)

// assertionLife is how long one may be used: long enough for a clock that is a little
// off, short enough to be of no use to who finds it.
const assertionLife = 2 * time.Minute

// minRSA is what RFC 7518 §3.3 asks of a key.
const minRSA = 2048

var errKey = errors.New("the key is not a private key in PEM: RSA of 2048 bits or more, or EC on P-256, without a passphrase")

// CheckKey reports whether p's key can sign. The error doesn't quote it.
func (p Proof) CheckKey() error {
	_, err := signer(p.Key)
	return err
}

// signer reads PKCS #8, PKCS #1 or SEC 1. What stands around the key in the file, a
// certificate say, is nobody's business.
func signer(key keystore.Secret) (crypto.Signer, error) {
	for rest := []byte(key.Reveal()); ; {
		var block *pem.Block
		if block, rest = pem.Decode(rest); block == nil {
			return nil, errKey
		}
		var parsed any
		var err error
		switch block.Type {
		case "PRIVATE KEY":
			parsed, err = x509.ParsePKCS8PrivateKey(block.Bytes)
		case "RSA PRIVATE KEY":
			parsed, err = x509.ParsePKCS1PrivateKey(block.Bytes)
		case "EC PRIVATE KEY":
			parsed, err = x509.ParseECPrivateKey(block.Bytes)
		default:
			continue
		}
		if err != nil {
			return nil, errKey // x509's own may say more of the key than it should
		}
		switch k := parsed.(type) {
		case *rsa.PrivateKey:
			if k.N.BitLen() >= minRSA {
				return k, nil
			}
		case *ecdsa.PrivateKey:
			if k.Curve == elliptic.P256() {
				return k, nil
			}
		}
		return nil, errKey
	}
}

// algorithms are those that p's key can sign with, the usual one first.
func (p Proof) algorithms() []string {
	key, err := signer(p.Key)
	if _, isRSA := key.(*rsa.PrivateKey); err == nil && isRSA {
		return []string{RS256, PS256}
	}
	return []string{ES256}
}

// assertion is what p's key says of the client, once (RFC 7523 §3).
func (p Proof) assertion(e Endpoint) (keystore.Secret, error) {
	key, err := signer(p.Key)
	if err != nil {
		return keystore.Secret{}, err
	}
	header := struct {
		Algorithm string `json:"alg"`
		Type      string `json:"typ"`
		KeyID     string `json:"kid,omitempty"`
	}{p.Algorithm, "JWT", p.KeyID}
	now := time.Now()
	claims := struct {
		Issuer   string `json:"iss"`
		Subject  string `json:"sub"`
		Audience string `json:"aud"`
		ID       string `json:"jti"`
		IssuedAt int64  `json:"iat"`
		Expires  int64  `json:"exp"`
	}{e.ClientID, e.ClientID, p.Audience, rand.Text(), now.Unix(), now.Add(assertionLife).Unix()}
	head, err := json.Marshal(header)
	if err != nil {
		return keystore.Secret{}, err
	}
	body, err := json.Marshal(claims)
	if err != nil {
		return keystore.Secret{}, err
	}
	signed := base64.RawURLEncoding.EncodeToString(head) + "." + base64.RawURLEncoding.EncodeToString(body)
	signature, err := sign(key, p.Algorithm, signed)
	if err != nil {
		return keystore.Secret{}, err
	}
	return keystore.NewSecret(signed + "." + base64.RawURLEncoding.EncodeToString(signature)), nil
}

func sign(key crypto.Signer, algorithm, text string) ([]byte, error) {
	sum := sha256.Sum256([]byte(text))
	switch k := key.(type) {
	case *ecdsa.PrivateKey:
		if algorithm != ES256 {
			break
		}
		r, s, err := ecdsa.Sign(rand.Reader, k, sum[:])
		if err != nil {
			return nil, err
		}
		both := make([]byte, 64) // RFC 7518 §3.4
		r.FillBytes(both[:32])
		s.FillBytes(both[32:])
		return both, nil
	case *rsa.PrivateKey:
		switch algorithm {
		case RS256:
			return rsa.SignPKCS1v15(rand.Reader, k, crypto.SHA256, sum[:])
		case PS256:
			return rsa.SignPSS(rand.Reader, k, crypto.SHA256, sum[:], &rsa.PSSOptions{SaltLength: rsa.PSSSaltLengthEqualsHash})
		}
	}
	return nil, errors.New("this key can't sign with " + algorithm)
}
