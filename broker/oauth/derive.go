package oauth

import (
	"maps"
	"net/url"
	"reflect"
	"slices"
	"strings"
)

// Derive makes the data of a provider that a person adds: what they named, what the
// issuer's discovery document says, and what base, a provider that is there already,
// fills in. The last two may be empty.
//
// At another server than base's, nothing that names base's server or API, or was said
// of it, comes along: a token must not go there because nobody named the right place.
// left are the keys of what was left out.
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
	if !slices.Contains(base.Scopes, offlineAccess) { // else base says what that takes
		p = p.withConsent()
	}
	return p, nil
}

// serverKeys are where a server is: of that its discovery document knows best.
var serverKeys = []string{"issuer", "authorization_endpoint", "token_endpoint", "device_authorization_endpoint", "revocation_endpoint", "userinfo_endpoint", "iss_parameter", "select_account"}

// portableKeys make sense at any server and send nothing anywhere. Whatever isn't in
// this list stays with its server.
var portableKeys = []string{"client_id", "token_request", "scopes", "extra_authorize_params", "identity_from"}

// or fills what p leaves out with o's data, where key allows it.
func (p Provider) or(o Provider, allowed func(key string) bool) Provider {
	ours, theirs := reflect.ValueOf(&p).Elem(), reflect.ValueOf(o)
	for i := range ours.NumField() {
		if key := keyOf(ours.Type().Field(i)); key != "-" && ours.Field(i).IsZero() && allowed(key) {
			ours.Field(i).Set(theirs.Field(i))
		}
	}
	return p
}

// lacks reports that p says nothing under key, and o does.
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

// elsewhere reports that p, which says only what is new, is not at base's server: it
// has another issuer or token endpoint, or sends the person to an origin that is none
// of base's. The issuer of one tenant is at the server of all of them.
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

// isTenantOf reports that issuer is one of those that a server with one per tenant
// stands for.
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

// withConsent is p so that a login gets a refresh token: OpenID Connect Core §11 has a
// server ignore offline_access unless the request asks for the person's consent.
func (p Provider) withConsent() Provider {
	if _, told := p.AuthorizeParams["prompt"]; told || !slices.Contains(p.Scopes, offlineAccess) {
		return p
	}
	return p.prompting("consent")
}

const selectAccount = "select_account"

// Choosing is p so that its server asks which account is meant, if it can.
func (p Provider) Choosing() Provider {
	if told := strings.Fields(p.AuthorizeParams["prompt"]); !p.SelectAccount || slices.Contains(told, selectAccount) || slices.Contains(told, "none") {
		return p
	}
	return p.prompting(selectAccount)
}

// prompting is p with one more value of the parameter prompt, which is a list.
func (p Provider) prompting(value string) Provider {
	params := maps.Clone(p.AuthorizeParams)
	if params == nil {
		params = map[string]string{}
	}
	params["prompt"] = strings.TrimSpace(params["prompt"] + " " + value)
	p.AuthorizeParams = params
	return p
}
