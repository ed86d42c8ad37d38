package helper

import (
	"errors"
	"io"
	"slices"
	"strconv"
	"strings"

	"github.com/authferry/authferry/broker"
	"github.com/authferry/authferry/keystore"
)

// maxGitLine is git's own limit, including the end of the line.
const maxGitLine = 65535

// GitCapabilities is the answer to "capability".
const GitCapabilities = "version 0\ncapability authtype\n"

// Git is one request of git. Only the attributes that matter here are kept; the others are
// just checked.
type Git struct {
	Op       Op
	Origin   string // empty: none that a token may be sent to
	Username string
	// Refused is the password or credential that an erase is about.
	Refused keystore.Secret
	// Bearer: git accepts a whole Authorization header, and the server doesn't ask for
	// another scheme.
	Bearer bool
}

// AnyUser reports whether name is one that forges require beside a token, whoever the user
// is.
func AnyUser(name string) bool {
	return slices.Contains([]string{"oauth2", "x-access-token", "x-token-auth", "oauth2accesstoken"}, name)
}

// ParseGit parses the operation and the attributes on stdin. If the operation is unknown or
// needs no attributes, stdin is not read: the protocol requires it to be ignored.
func ParseGit(op string, in io.Reader) (Git, error) {
	r := Git{Op: Op(op)}
	if r.Op != Get && r.Op != Erase {
		return r, nil
	}
	data, err := read(in)
	if err != nil {
		return r, err
	}
	single := map[string]string{}
	var capable, bearer, challenged bool
	for line := range strings.SplitSeq(string(data), "\n") {
		if line == "" {
			break
		}
		if len(line) >= maxGitLine {
			return r, errors.New("a line of the request is over 65535 bytes")
		}
		if err := clean(line); err != nil {
			return r, err
		}
		name, value, ok := strings.Cut(line, "=")
		if !ok || name == "" {
			return r, errors.New("a line of the request is not of the form name=value")
		}
		switch name {
		case "capability[]":
			capable = capable || value == "authtype"
		case "wwwauth[]":
			scheme, _, _ := strings.Cut(value, " ")
			bearer = bearer || strings.EqualFold(scheme, "bearer")
			challenged = challenged || value != ""
		case "protocol", "host", "username", "password", "credential":
			if _, twice := single[name]; twice {
				return r, errors.New("the request names its " + name + " twice")
			}
			single[name] = value
		}
	}
	if scheme, host := single["protocol"], single["host"]; slices.Contains([]string{"https", "http"}, scheme) && hostOrigin(host) != "" {
		r.Origin = originOf(scheme + "://" + host)
	}
	r.Username = single["username"]
	r.Bearer = capable && (bearer || !challenged)
	if r.Op == Erase {
		r.Refused = keystore.NewSecret(single["credential"])
		if r.Refused.Empty() {
			r.Refused = keystore.NewSecret(single["password"])
		}
	}
	return r, nil
}

// EncodeGit writes t for git: as an Authorization header, which git neither stores nor
// passes on, or as the password of username.
func EncodeGit(r Git, username string, t *broker.Token) ([]byte, error) {
	secret, err := token(t)
	if err != nil {
		return nil, err
	}
	header, err := authorization(t)
	if err != nil {
		return nil, err
	}
	var lines []string
	if scheme, credential, ok := strings.Cut(header, " "); r.Bearer && ok {
		lines = []string{"capability[]=authtype", "authtype=" + scheme, "credential=" + credential, "ephemeral=1"}
	} else {
		if r.Username != "" {
			username = r.Username
		}
		if clean(username) != nil {
			return nil, errControl
		}
		lines = []string{"username=" + username, "password=" + secret}
	}
	if !t.ExpiresAt.IsZero() {
		lines = append(lines, "password_expiry_utc="+strconv.FormatInt(t.ExpiresAt.Unix(), 10))
	}
	for _, line := range lines {
		if len(line) >= maxGitLine {
			return nil, errors.New("the token is longer than git can read; nothing was printed")
		}
	}
	return []byte(strings.Join(lines, "\n") + "\n"), nil
}
