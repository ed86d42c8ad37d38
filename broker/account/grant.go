package account

import (
	"context"
	"encoding/json"
	"errors"
	"io"
	"math"
	"strconv"
	"time"

	"github.com/authferry/authferry/broker/fault"
	"github.com/authferry/authferry/broker/folder"
	"github.com/authferry/authferry/broker/index"
	"github.com/authferry/authferry/broker/oauth"
	"github.com/authferry/authferry/keystore"
	"github.com/authferry/authferry/rawtext"
)

// ImportOptions describe an imported grant.
type ImportOptions struct {
	Provider, Label, Pool string
	ClientID              string // empty: the provider's
}

// maxGrant is far above any grant. It keeps a wrong file from filling the memory.
const maxGrant = 1 << 20

// ImportGrant reads one grant from r, {"access_token", "refresh_token"?, "expires_at" or
// "expires_in"}, and stores it as a new account. Errors: Usage for the document, and those
// of Add.
func ImportGrant(ctx context.Context, f *folder.Folder, r io.Reader, opt ImportOptions) (*index.Account, error) {
	p, err := f.Provider(opt.Provider)
	if err != nil {
		return nil, err
	}
	data, err := io.ReadAll(io.LimitReader(r, maxGrant+1))
	if err != nil && ctx.Err() != nil {
		return nil, fault.Errorf(fault.Cancelled, "interrupted; nothing was changed")
	}
	if err != nil {
		return nil, fault.Errorf(fault.Usage, "stdin can't be read").Because(err)
	}
	n, err := parseGrant(data, time.Now())
	if err != nil {
		return nil, err
	}
	if p.TokenEndpoint == "" && !n.RefreshToken.Empty() {
		return nil, noLogin(p)
	}
	if opt.ClientID == "" && p.ClientID == "" && !n.RefreshToken.Empty() {
		return nil, fault.Errorf(fault.Usage, "which client was this grant issued to? provider %s has no client id, and without it the grant can't be refreshed", p.Name).
			Try(fault.Remedy{Do: fault.ImportGrant, Provider: p.Name, Label: opt.Label, Value: "ID"})
	}
	n.Provider, n.Label, n.Pool, n.ClientID = p, opt.Label, opt.Pool, opt.ClientID
	return Add(ctx, f, n)
}

// parseGrant reads the document of import grant. Its errors never quote it.
func parseGrant(data []byte, now time.Time) (NewAccount, error) {
	var doc struct {
		AccessToken  string          `json:"access_token"`
		RefreshToken string          `json:"refresh_token"`
		TokenType    string          `json:"token_type"`
		ExpiresAt    json.RawMessage `json:"expires_at"`
		ExpiresIn    json.RawMessage `json:"expires_in"`
	}
	bad := func(message string) (NewAccount, error) {
		return NewAccount{}, fault.Errorf(fault.Usage, "%s; nothing was changed", message).Try(fault.Remedy{Do: fault.ImportGrant})
	}
	if len(data) > maxGrant {
		return bad("the grant on stdin is over 1 MiB")
	}
	text, err := rawtext.UTF8(data)
	switch {
	case err != nil:
		return bad("stdin is not a grant in JSON: " + err.Error())
	case len(text) == 0:
		return bad("stdin is empty")
	case json.Unmarshal(text, &doc) != nil:
		return bad("stdin is not a grant in JSON")
	}
	accessToken, err := rawtext.Token(doc.AccessToken)
	switch {
	case err != nil:
		return bad("invalid access_token: " + err.Error())
	case accessToken == "":
		return bad("the grant has no access_token")
	}
	if err := oauth.CheckAccessToken(accessToken); err != nil {
		return bad("the access_token can't be sent in a header: " + err.Error())
	}
	refreshToken, err := rawtext.Token(doc.RefreshToken)
	if err != nil {
		return bad("invalid refresh_token: " + err.Error())
	}
	n := NewAccount{
		AccessToken: keystore.NewSecret(accessToken), RefreshToken: keystore.NewSecret(refreshToken),
		Imported: true,
	}
	if oauth.CheckTokenType(doc.TokenType) != nil {
		return bad("invalid token_type: such a token needs a key or a proof as well")
	}
	at, err := rawtext.Moment(doc.ExpiresAt)
	if err != nil {
		return bad("invalid expires_at: it is neither RFC 3339 nor seconds since 1970")
	}
	in, err := number(doc.ExpiresIn)
	if err != nil {
		return bad("expires_in is not a number of seconds")
	}
	const tenYears = 10 * 365 * 24 * time.Hour
	switch {
	case !at.IsZero():
		n.ExpiresAt = at
	case in > 0:
		n.ExpiresAt = now.Add(time.Duration(min(in, tenYears.Seconds()) * float64(time.Second))).UTC()
	}
	if n.ExpiresAt.After(now.Add(tenYears)) {
		n.ExpiresAt = now.Add(tenYears).UTC()
	}
	return n, nil
}

// number reads a JSON number, or one in a string; null or nothing is 0.
func number(raw json.RawMessage) (float64, error) {
	if len(raw) == 0 || string(raw) == "null" {
		return 0, nil
	}
	var f float64
	if json.Unmarshal(raw, &f) == nil {
		return f, nil
	}
	var s string
	if err := json.Unmarshal(raw, &s); err != nil {
		return 0, err
	}
	f, err := strconv.ParseFloat(s, 64)
	if err == nil && (math.IsNaN(f) || math.IsInf(f, 0)) {
		err = errors.New("not finite")
	}
	return f, err
}
