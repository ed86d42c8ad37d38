package helper

import (
	"errors"

	"github.com/authferry/authferry/broker"
)

// TerraformNone is the answer to get if no account is for the host.
const TerraformNone = "{}\n"

// Terraform is one request of Terraform or OpenTofu.
type Terraform struct {
	Op     Op
	Origin string // of the host, always https; empty: none that a token may be sent to
}

// ParseTerraform parses the operation and the host. It doesn't read what store writes to
// stdin.
func ParseTerraform(op, host string) (Terraform, error) {
	r := Terraform{Op: Op(op)}
	switch {
	case r.Op != Get && r.Op != Store && r.Op != Forget:
		return r, errors.New("the operations are get, store and forget")
	case clean(host) != nil:
		return r, errControl
	}
	r.Origin = hostOrigin(host)
	return r, nil
}

// EncodeTerraform writes t as the token of a host.
func EncodeTerraform(t *broker.Token) ([]byte, error) {
	secret, err := token(t)
	if err != nil {
		return nil, err
	}
	return document(struct {
		Token string `json:"token"`
	}{secret})
}
