package seal

import (
	"bytes"
	"crypto/ed25519"
	"encoding/base64"
	"encoding/json"
	"errors"
	"io"
	"strings"

	"filippo.io/age"

	"github.com/authferry/authferry/broker/index"
	"github.com/authferry/authferry/keystore"
)

// Why something is refused.
var (
	// ErrMalformed: it isn't a value of authferry's.
	ErrMalformed = errors.New("not a value of authferry's")
	// ErrNewer: it is one of a later version.
	ErrNewer = errors.New("the value was stored by a newer authferry")
	// ErrForged: no holder has stored it here in this form.
	ErrForged = errors.New("no machine of the pool has stored this here")
	// ErrKeys: it needs keys that the Ring doesn't have. They may be of a later epoch.
	ErrKeys = errors.New("this machine has no keys for it")
	// ErrOver: it is of an epoch before those of the Ring. Somebody who was removed may have
	// its keys, so what it says isn't believed.
	ErrOver = errors.New("it was stored with keys that are over")
	// ErrTooBig: it is above MaxSize.
	ErrTooBig = errors.New("the value is too big to be shared")
)

// MaxSize is the size in bytes of the largest value. An engine takes a little more.
const MaxSize = 1 << 20

// version is the v of every value that this version stores.
const version = 1

// part is the plain text of what is sealed: the body, and where it belongs.
type part struct {
	What    string          `json:"what"`
	Pool    string          `json:"pool"`
	Of      string          `json:"of,omitempty"` // the account, machine or ticket
	Gen     int             `json:"gen,omitempty"`
	FP      string          `json:"fp,omitempty"`
	Epoch   int             `json:"epoch"`
	Machine string          `json:"machine,omitempty"`
	Body    json.RawMessage `json:"body"`
}

// place is p without its body.
func (p part) place() part {
	p.Body = nil
	return p
}

func (p part) same(q part) bool {
	return p.What == q.What && p.Pool == q.Pool && p.Of == q.Of && p.Gen == q.Gen && p.FP == q.FP && p.Epoch == q.Epoch && p.Machine == q.Machine
}

// sealTo seals body, as belonging to the place, to an age recipient.
func sealTo(recipient age.Recipient, place part, body keystore.Secret) ([]byte, error) {
	place.Body = json.RawMessage(body.Reveal())
	plain, err := encode(place)
	if err != nil {
		return nil, err
	}
	var sealed bytes.Buffer
	w, err := age.Encrypt(&sealed, recipient)
	if err == nil {
		_, err = w.Write(plain)
	}
	if err == nil {
		err = w.Close()
	}
	return sealed.Bytes(), err
}

// unseal opens what sealTo sealed, if it belongs to the place.
func unseal(identity keystore.Secret, sealed []byte, place part) (keystore.Secret, error) {
	if len(sealed) > MaxSize {
		return keystore.Secret{}, ErrTooBig
	}
	id, err := age.ParseX25519Identity(identity.Reveal())
	if err != nil {
		return keystore.Secret{}, ErrKeys
	}
	r, err := age.Decrypt(bytes.NewReader(sealed), id)
	if err != nil {
		return keystore.Secret{}, ErrForged
	}
	plain, err := io.ReadAll(r)
	if err != nil {
		return keystore.Secret{}, ErrForged
	}
	var p part
	if json.Unmarshal(plain, &p) != nil || !p.same(place.place()) || len(p.Body) == 0 {
		return keystore.Secret{}, ErrForged
	}
	return keystore.NewSecret(string(p.Body)), nil
}

// recipientOf is the recipient of an age identity.
func recipientOf(identity keystore.Secret) (*age.X25519Recipient, error) {
	id, err := age.ParseX25519Identity(identity.Reveal())
	if err != nil {
		return nil, ErrKeys
	}
	return id.Recipient(), nil
}

// parseRecipient reads the recipient that a machine or a ticket is known by.
func parseRecipient(s string) (*age.X25519Recipient, error) {
	r, err := age.ParseX25519Recipient(s)
	if err != nil {
		return nil, ErrMalformed
	}
	return r, nil
}

// message is what is signed: the value without its signature, and where it is stored.
func message(what, pool, of string, value any) ([]byte, error) {
	text, err := encode(value)
	return append([]byte(strings.Join([]string{"authferry-share", what, pool, of, ""}, "\x00")), text...), err
}

// sign signs with a key made by newSigningKey.
func sign(key keystore.Secret, text []byte) ([]byte, error) {
	seed, err := base64.StdEncoding.DecodeString(key.Reveal())
	if err != nil || len(seed) != ed25519.SeedSize {
		return nil, ErrKeys
	}
	return ed25519.Sign(ed25519.NewKeyFromSeed(seed), text), nil
}

// verified reports whether sig is that of text by the key with this public half.
func verified(public string, text, sig []byte) bool {
	key, err := base64.StdEncoding.DecodeString(public)
	return err == nil && len(key) == ed25519.PublicKeySize && ed25519.Verify(key, text, sig)
}

func newSigningKey() (private keystore.Secret, public string, err error) {
	pub, priv, err := ed25519.GenerateKey(nil)
	if err != nil {
		return keystore.Secret{}, "", err
	}
	return keystore.NewSecret(base64.StdEncoding.EncodeToString(priv.Seed())), base64.StdEncoding.EncodeToString(pub), nil
}

// publicHalf is that of a signing key; empty if it isn't one.
func publicHalf(private keystore.Secret) string {
	seed, err := base64.StdEncoding.DecodeString(private.Reveal())
	if err != nil || len(seed) != ed25519.SeedSize {
		return ""
	}
	pub, _ := ed25519.NewKeyFromSeed(seed).Public().(ed25519.PublicKey)
	return base64.StdEncoding.EncodeToString(pub)
}

// encode doesn't escape HTML, so that values don't grow.
func encode(v any) ([]byte, error) {
	var b bytes.Buffer
	enc := json.NewEncoder(&b)
	enc.SetEscapeHTML(false)
	if err := enc.Encode(v); err != nil {
		return nil, ErrMalformed
	}
	return bytes.TrimSuffix(b.Bytes(), []byte("\n")), nil
}

// encodeValue is encode for a whole value.
func encodeValue(v any) ([]byte, error) {
	text, err := encode(v)
	if err == nil && len(text) > MaxSize {
		return nil, ErrTooBig
	}
	return text, err
}

// decode reads a whole value, strictly: what this version doesn't know would not be under
// the signature. (What is sealed is signed as it is, and may have more fields.) Its errors don't quote the input, as those of
// json do.
func decode(text []byte, v any) error {
	if len(text) > MaxSize {
		return ErrTooBig
	}
	dec := json.NewDecoder(bytes.NewReader(text))
	dec.DisallowUnknownFields()
	if dec.Decode(v) != nil {
		var other struct{ V int }
		if json.Unmarshal(text, &other) == nil && other.V > version {
			return ErrNewer
		}
		return ErrMalformed
	}
	if _, err := dec.Token(); !errors.Is(err, io.EOF) {
		return ErrMalformed
	}
	return nil
}

// checkVersion checks the v and the epoch of a value.
func checkVersion(v, epoch int) error {
	switch {
	case v > version:
		return ErrNewer
	case v != version, epoch < 1, !index.ValidCount(epoch):
		return ErrMalformed
	}
	return nil
}
