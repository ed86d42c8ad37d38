package oauth

import (
	"maps"
	"net/url"
	"reflect"
	"slices"
	"strings"
)

// Derive makes the data of a provider that a person adds. It combines what the person
// named, the issuer's discovery document, and base, an existing provider; the last two may
// be empty.
//
// If the provider is at another server than base, nothing is taken from base that names or
// describes base's server or API, so that no token is sent there by mistake. left lists the
// keys that were left out for this reason.
func Derive(named, found, base Provider) (p Provider, left []string) {
	all := func(string) bool { return true }
	at := named.or(found, all)
	if at.elsewhere(base) {
		p = at.or(base, func(key string) bool {
			portable := slices.Contains(portableKeys, key) || key == "redirect_uri" && loopbackURL(base.RedirectURI)
			if !portable && at.lacks(base, key) {
				left = append(left, key)
			}
			return portable
		})
		if named.IdentityFrom == "" && p.IdentityFrom == IdentityFromUserinfo && p.UserinfoEndpoint == "" {
			p.IdentityFrom = ""
			left = append(left, "identity_from")
		}
		return p.withConsent(), left
	}
	p = named.or(found, func(key string) bool { return slices.Contains(serverKeys, key) }).or(base, all).or(found, all)
	if !slices.Contains(base.Scopes, offlineAccess) { // else base decides that
		p = p.withConsent()
	}
	return p, nil
}

// serverKeys say where a server is. Its discovery document knows that best.
var serverKeys = []string{"issuer", "authorization_endpoint", "token_endpoint", "device_authorization_endpoint", "revocation_endpoint", "userinfo_endpoint", "pushed_authorization_request_endpoint", "iss_parameter", "select_account"}

// portableKeys are valid for any server and send nothing anywhere. All other keys belong to
// their server.
var portableKeys = []string{"client_id", "token_request", "scopes", "extra_authorize_params", "identity_from"}

// or fills the missing values of p with o's, for the keys that allow it.
func (p Provider) or(o Provider, allowed func(key string) bool) Provider {
	ours, theirs := reflect.ValueOf(&p).Elem(), reflect.ValueOf(o)
	for i := range ours.NumField() {
		if key := keyOf(ours.Type().Field(i)); key != "-" && ours.Field(i).IsZero() && allowed(key) {
			ours.Field(i).Set(theirs.Field(i))
		}
	}
	return p
}

// lacks reports whether key is missing in p and set in o.
func (p Provider) lacks(o Provider, key string) bool {
	ours, theirs := reflect.ValueOf(p), reflect.ValueOf(o)
	for i := range ours.NumField() {
		if keyOf(ours.Type().Field(i)) == key {
			return ours.Field(i).IsZero() && !theirs.Field(i).IsZero()
		}
	}
	return false
}

func keyOf(f reflect.StructField) string {
	key, _, _ := strings.Cut(f.Tag.Get("toml"), ",")
	return key
}

// elsewhere reports whether p, which only has what is new, is at another server than base:
// it has another issuer or token endpoint, or sends the person to an origin that base
// doesn't have. The issuer of one tenant is at the server of all tenants.
func (p Provider) elsewhere(base Provider) bool {
	oneTenant := isTenantOf(p.Issuer, base.Issuer)
	ours := []string{base.AuthorizationEndpoint, base.TokenEndpoint, base.DeviceAuthorizationEndpoint}
	atHome := func(endpoint string) bool {
		return slices.ContainsFunc(ours, func(known string) bool { return sameOrigin(endpoint, known) })
	}
	switch {
	case p.Issuer != "" && p.Issuer != base.Issuer && !oneTenant:
		return true
	case p.TokenEndpoint != "" && p.TokenEndpoint != base.TokenEndpoint && !(oneTenant && sameOrigin(p.TokenEndpoint, base.TokenEndpoint)):
		return true
	}
	return p.AuthorizationEndpoint != "" && !atHome(p.AuthorizationEndpoint) ||
		p.DeviceAuthorizationEndpoint != "" && !atHome(p.DeviceAuthorizationEndpoint)
}

// isTenantOf reports whether issuer is one tenant of a server that has an issuer for each.
func isTenantOf(issuer, template string) bool {
	before, after, ok := strings.Cut(template, tenant)
	if !ok || !strings.HasPrefix(issuer, before) || !strings.HasSuffix(issuer, after) || len(issuer) <= len(before)+len(after) {
		return false
	}
	return !strings.ContainsAny(issuer[len(before):len(issuer)-len(after)], "/?#")
}

func loopbackURL(raw string) bool {
	u, err := url.Parse(raw)
	return err == nil && loopback(u.Hostname())
}

const offlineAccess = "offline_access"

// withConsent returns p with the parameter that makes a login return a refresh token: by
// OpenID Connect Core §11 a server ignores offline_access unless the request asks for the
// person's consent.
func (p Provider) withConsent() Provider {
	if _, told := p.AuthorizeParams["prompt"]; told || !slices.Contains(p.Scopes, offlineAccess) {
		return p
	}
	return p.prompting("consent")
}

const selectAccount = "select_account"

// Choosing returns p such that its server asks which account to use, if it can.
func (p Provider) Choosing() Provider {
	if told := strings.Fields(p.AuthorizeParams["prompt"]); !p.SelectAccount || slices.Contains(told, selectAccount) || slices.Contains(told, "none") {
		return p
	}
	return p.prompting(selectAccount)
}

// prompting returns p with one more value in the parameter prompt, which is a list.
func (p Provider) prompting(value string) Provider {
	params := maps.Clone(p.AuthorizeParams)
	if params == nil {
		params = map[string]string{}
	}
	params["prompt"] = strings.TrimSpace(params["prompt"] + " " + value)
	p.AuthorizeParams = params
	return p
}
