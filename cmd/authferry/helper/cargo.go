package helper

import (
	"encoding/json"
	"strings"

	"github.com/authferry/authferry/broker"
)

// CargoHello is what cargo reads first: the versions of the protocol.
const CargoHello = `{"v":[1]}` + "\n"

// CargoError is what cargo shows or, by its kind, acts on.
type CargoError struct {
	Kind    CargoKind `json:"kind"`
	Message string    `json:"message,omitempty"`
}

func (e *CargoError) Error() string { return e.Message }

// CargoKind is the kind of a CargoError.
type CargoKind string

// The kinds. After the first two, cargo asks its next provider.
const (
	CargoURLNotSupported       CargoKind = "url-not-supported"
	CargoOperationNotSupported CargoKind = "operation-not-supported"
	CargoNotFound              CargoKind = "not-found"
	CargoOther                 CargoKind = "other"
)

// Cargo is one request of cargo.
type Cargo struct {
	Op     string   // get, login, logout, or an unknown one
	Origin string   // of the registry's index; empty: none that a token may be sent to
	User   string   // in that index's URL; empty: none
	Args   []string // the words after the program's path in the configuration
}

// ParseCargo parses one line. Its error is a *CargoError.
func ParseCargo(line []byte) (Cargo, *CargoError) {
	var r Cargo
	var doc struct {
		V        int    `json:"v"`
		Kind     string `json:"kind"`
		Registry struct {
			IndexURL string `json:"index-url"`
		} `json:"registry"`
		Args []string `json:"args"`
	}
	if json.Unmarshal(line, &doc) != nil {
		return r, &CargoError{CargoOther, "the request is not JSON"}
	}
	if doc.V != 1 {
		return r, &CargoError{CargoOther, "the request is not of protocol version 1"}
	}
	if err := clean(append(doc.Args, doc.Kind, doc.Registry.IndexURL)...); err != nil {
		return r, &CargoError{CargoOther, err.Error()}
	}
	index, _ := strings.CutPrefix(doc.Registry.IndexURL, "sparse+")
	return Cargo{Op: doc.Kind, Origin: originOf(index), User: userOf(index), Args: doc.Args}, nil
}

// EncodeCargo writes t for every operation on its registry, until it expires. Cargo sends
// it as the whole Authorization header.
func EncodeCargo(t *broker.Token) ([]byte, error) {
	value, err := authorization(t)
	if err != nil {
		return nil, err
	}
	if value == "" {
		if value, err = token(t); err != nil {
			return nil, err
		}
	}
	type get struct {
		Kind        string `json:"kind"`
		Token       string `json:"token"`
		Cache       string `json:"cache"`
		Expiration  int64  `json:"expiration,omitempty"` // seconds since 1970
		Independent bool   `json:"operation_independent"`
	}
	ok := get{Kind: "get", Token: value, Cache: "session", Independent: true}
	if !t.ExpiresAt.IsZero() {
		ok.Cache, ok.Expiration = "expires", t.ExpiresAt.Unix()
	}
	return document(struct{ Ok get }{ok})
}

// EncodeCargoError writes e in cargo's format.
func EncodeCargoError(e *CargoError) ([]byte, error) {
	return document(struct{ Err *CargoError }{e})
}
