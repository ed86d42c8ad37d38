package oauth

import (
	"crypto/subtle"
	"errors"
	"net/url"
	"regexp"
	"slices"
	"strings"

	"github.com/authferry/authferry/keystore"
	"github.com/authferry/authferry/rawtext"
)

// Pasted finds the code in what a person copied from the last page: CODE#STATE, the page's
// address, or the query of that; also in quotes, with words around it, or wrapped by a
// terminal. It must have the state of this request. A bare code is accepted only if the
// provider's page shows no state. If the answer is an error of the server, the error is a
// *RefusedError. No error quotes the text.
func (a *Authorization) Pasted(text string) (keystore.Secret, error) {
	first := errNoCode
	for i, reading := range readings(text) {
		code, err := a.pasted(reading)
		vague := func(known error) bool { return errors.Is(err, known) } // it may be something else
		if !slices.ContainsFunc([]error{errForeign, errNoCode, errNoState, errOtherURL}, vague) {
			return code, err
		}
		if i == 0 {
			first = err // of the text as a whole
		}
	}
	return keystore.Secret{}, first
}

// reading is one possible meaning of a pasted text.
type reading struct {
	text  string
	pair  bool // it may be CODE#STATE
	alone bool // it is complete, so it may be a code
}

// readings are the possible meanings of text, the likeliest first: all of it as one word
// that a terminal wrapped, each of its words, code and state as two words, what follows the
// words "code" and "state".
func readings(text string) (all []reading) {
	text = strings.TrimSpace(strings.ReplaceAll(rawtext.Visible(text), "&amp;", "&"))
	labelled := func(name string) []string {
		return regexp.MustCompile(`(?i)\b` + name + `\b["']?\s*[:=]\s*["']?([^\s"',&]+)`).FindStringSubmatch(text)
	}
	code, state := labelled("code"), labelled("state")
	text = regexp.MustCompile(`(?i)^code\s*:\s*`).ReplaceAllString(text, "")
	words := strings.Fields(text)
	add := func(s string, pair, alone bool) {
		bare := rawtext.Unquote(s)
		all = append(all, reading{bare, pair, alone})
		inner := strings.TrimLeft(strings.TrimRight(bare, ".,;:!?)]}>\"'"), "([{<\"'")
		if i := strings.Index(inner, "http"); i > 0 {
			inner = inner[i:]
		}
		if inner != bare {
			all = append(all, reading{inner, pair, false})
		}
		if plain, err := url.QueryUnescape(bare); err == nil && !strings.Contains(bare, "://") && strings.Contains(plain, "://") {
			all = append(all, reading{plain, false, false})
		}
		if code, state, ok := strings.Cut(bare, "%23"); ok && pair {
			all = append(all, reading{code + "#" + state, true, false})
		}
	}
	wrapped := !strings.ContainsAny(text, " \t")
	add(strings.Join(words, ""), wrapped, wrapped)
	if len(words) > 1 {
		for _, w := range words {
			add(w, true, false)
		}
	} else if !strings.HasPrefix(text, "{") {
		return all
	}
	if len(words) == 3 && words[1] == "#" {
		words = []string{words[0], words[2]}
	}
	if len(words) == 2 {
		all = append(all, reading{strings.TrimRight(words[0], "#") + "#" + strings.TrimLeft(words[1], "#"), true, false})
	}
	if code != nil && state != nil {
		all = append(all, reading{code[1] + "#" + state[1], true, false})
	}
	return all
}

// pasted finds the code in one reading.
func (a *Authorization) pasted(r reading) (keystore.Secret, error) {
	text := r.text
	query, isURL, err := a.queryIn(text)
	if err != nil {
		return keystore.Secret{}, err
	}
	if isURL || query != "" {
		q := parameters(query)
		if !q.Has("state") && !q.Has("iss") && (q.Has("code") || q.Has("error")) {
			return keystore.Secret{}, errNoState
		}
		return a.code(q)
	}
	i := strings.LastIndexByte(text, '#')
	switch {
	case text == "" || i == 0:
		return keystore.Secret{}, errNoCode
	case i > 0 && !r.pair:
		return keystore.Secret{}, errForeign
	case i > 0 && a.provider.Resource != "" && a.provider.IssParameter:
		return keystore.Secret{}, errNoState // a complete address has the issuer too
	case i > 0:
		// This form has only code and state, so there is no iss to check.
		if subtle.ConstantTimeCompare([]byte(text[i+1:]), []byte(a.state)) != 1 {
			return keystore.Secret{}, errForeign
		}
		return keystore.NewSecret(text[:i]), nil
	case !a.provider.PasteStateless || !r.alone:
		return keystore.Secret{}, errNoState
	}
	return keystore.NewSecret(text), nil
}

// queryIn finds the parameters of an answer in a text: after the '?' or '#' of an address,
// or alone. Empty: there are none.
func (a *Authorization) queryIn(text string) (query string, isURL bool, err error) {
	address, query, fragment := text, "", ""
	if i := strings.IndexAny(text, "?#"); i >= 0 {
		address, query = text[:i], text[i+1:]
		if text[i] == '#' {
			query, fragment = "", query
		} else {
			query, fragment, _ = strings.Cut(query, "#")
		}
	}
	inFragment := query == "" && strings.Contains(fragment, "=") // as some response modes have it
	switch {
	case strings.Contains(address, "://"), address != "" && query != "" && !strings.Contains(address, "="):
		if !a.endsAt(address) {
			return "", true, errOtherURL
		}
		if inFragment {
			query = fragment
		}
		return query, true, nil
	case address == "" && inFragment:
		return fragment, false, nil
	case address == "":
		return query, false, nil
	case strings.Contains(address, "&"), isParameter(address):
		return address, false, nil
	}
	return "", false, nil
}

// isParameter reports whether a text begins with a parameter of an answer.
func isParameter(text string) bool {
	name, _, ok := strings.Cut(text, "=")
	return ok && (name == "code" || name == "state" || name == "error" || name == "iss")
}

// endsAt reports whether an address is the redirect URI. Browsers leave out or change the
// scheme when copying. The port of this machine doesn't matter if nothing listens there.
func (a *Authorization) endsAt(address string) bool {
	to, err := url.Parse(a.redirect)
	if err != nil {
		return false
	}
	if !strings.Contains(address, "://") {
		address = to.Scheme + "://" + address
	}
	u, err := url.Parse(address)
	if err != nil || u.Scheme != "http" && u.Scheme != "https" || strings.TrimSuffix(u.Path, "/") != strings.TrimSuffix(to.Path, "/") {
		return false
	}
	if loopback(u.Hostname()) && loopback(to.Hostname()) {
		return true
	}
	if u.Port() == "" {
		u.Scheme = to.Scheme
	}
	return originOf(u) == originOf(to)
}
