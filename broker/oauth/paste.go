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

// Pasted takes the code out of what a person copied from the last page:
// CODE#STATE, the page's whole address, or the query of that; in quotes, with words
// around it, wrapped by a terminal. What it is read as counts only with the very state
// of this request. A bare code does only where the provider's page shows no state. The
// error of an answer that the server gave is a *RefusedError; none quotes the text.
func (a *Authorization) Pasted(text string) (keystore.Secret, error) {
	first := errNoCode
	for i, reading := range readings(text) {
		code, err := a.pasted(reading)
		vague := func(known error) bool { return errors.Is(err, known) } // it may mean something else
		if !slices.ContainsFunc([]error{errForeign, errNoCode, errNoState, errOtherURL}, vague) {
			return code, err
		}
		if i == 0 {
			first = err // of the text as a whole
		}
	}
	return keystore.Secret{}, first
}

// reading is what a pasted text may mean.
type reading struct {
	text  string
	pair  bool // it may be CODE#STATE
	alone bool // nothing was left out of it, so it may be a code
}

// readings are what text may mean, the likeliest first: all of it as one word that a
// terminal wrapped, each of its words, code and state as two words, what follows the
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

// pasted takes the code out of one reading.
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
		return keystore.Secret{}, errNoState // all of the address has the issuer in it as well
	case i > 0:
		// Nothing but code and state is in this form, so there is no iss to check.
		if subtle.ConstantTimeCompare([]byte(text[i+1:]), []byte(a.state)) != 1 {
			return keystore.Secret{}, errForeign
		}
		return keystore.NewSecret(text[:i]), nil
	case !a.provider.PasteStateless || !r.alone:
		return keystore.Secret{}, errNoState
	}
	return keystore.NewSecret(text), nil
}

// queryIn finds the parameters of an answer in a text: behind the '?' or the '#' of an
// address, or by themselves. Empty: it has none.
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

// isParameter reports whether a text begins with one of an answer's.
func isParameter(text string) bool {
	name, _, ok := strings.Cut(text, "=")
	return ok && (name == "code" || name == "state" || name == "error" || name == "iss")
}

// endsAt reports whether an address is the redirect URI. A browser leaves the scheme
// out or changes it as it copies; and which port of this machine it was means nothing
// where nobody listens.
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
