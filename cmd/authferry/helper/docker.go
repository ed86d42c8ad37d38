package helper

import (
	"encoding/json"
	"errors"
	"io"
	"strings"

	"github.com/authferry/authferry/broker"
	"github.com/authferry/authferry/keystore"
)

// What docker takes for an answer and not for a failure, literally
// (docker-credential-helpers, credentials/error.go). Errors go to stdout.
var (
	ErrDockerNotFound   = errors.New("credentials not found in native keychain")
	ErrDockerNoServer   = errors.New("no credentials server URL")
	ErrDockerNoUsername = errors.New("no credentials username")
	ErrDockerOp         = errors.New("unknown credential operation")
)

// Docker is one request of docker.
type Docker struct {
	Op     Op
	Server string // as docker wrote it
	Origin string // of Server, https if it names no scheme; empty: none that a token may be sent to
	User   string // in Server; empty: none
	Secret keystore.Secret
}

type dockerCredentials struct {
	ServerURL string
	Username  string
	Secret    string
}

// ParseDocker parses the operation and, from stdin, the server (get and erase) or a
// document (store). For list and version it reads nothing.
func ParseDocker(op string, in io.Reader) (Docker, error) {
	r := Docker{Op: Op(op)}
	switch r.Op {
	case List, Version:
		return r, nil
	case Get, Erase, Store:
	default:
		return r, ErrDockerOp
	}
	data, err := read(in)
	if err != nil {
		return r, err
	}
	r.Server = strings.TrimSpace(string(data))
	if r.Op == Store {
		var c dockerCredentials
		if json.Unmarshal(data, &c) != nil {
			return r, errors.New("the credentials on stdin are not JSON")
		}
		if c.ServerURL != "" && c.Username == "" {
			return r, ErrDockerNoUsername
		}
		r.Server, r.Secret = c.ServerURL, keystore.NewSecret(c.Secret)
		if err := clean(c.Username, c.Secret); err != nil {
			return r, err
		}
	}
	if r.Server == "" {
		return r, ErrDockerNoServer
	}
	if err := clean(r.Server); err != nil {
		return r, err
	}
	if strings.Contains(r.Server, "://") {
		r.Origin, r.User = originOf(r.Server), userOf(r.Server)
	} else {
		host, _, _ := strings.Cut(r.Server, "/")
		r.Origin = hostOrigin(host)
	}
	return r, nil
}

// EncodeDocker writes t as the secret of username at r.Server.
func EncodeDocker(r Docker, username string, t *broker.Token) ([]byte, error) {
	secret, err := token(t)
	if err != nil {
		return nil, err
	}
	return document(dockerCredentials{r.Server, username, secret})
}

// EncodeDockerList lists the registries that t is for, with username; nil: none.
func EncodeDockerList(username string, t *broker.Token) ([]byte, error) {
	servers := map[string]string{}
	if t != nil {
		for _, origin := range t.Origins {
			if host, ok := strings.CutPrefix(origin, "https://"); ok {
				servers[host] = username
			}
		}
	}
	return document(servers)
}

// document writes v as one line of JSON.
func document(v any) ([]byte, error) {
	var b strings.Builder
	enc := json.NewEncoder(&b)
	enc.SetEscapeHTML(false)
	if err := enc.Encode(v); err != nil {
		return nil, err
	}
	return []byte(b.String()), nil
}
