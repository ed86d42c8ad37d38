package brokertest

import (
	"html/template"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"time"
)

var page = template.Must(template.New("page").Parse(`<!doctype html>
<html lang="en"><head><meta charset="utf-8"><meta name="viewport" content="width=device-width">
<title>{{.Title}} · authferry-sim</title>
<style>body{font:1rem/1.5 system-ui,sans-serif;max-width:32rem;margin:4rem auto;padding:0 1rem}
button,select,input{font:inherit;padding:.4rem .8rem;margin-right:.5rem}code{word-break:break-all}</style></head>
<body><h1>{{.Title}}</h1><p>{{.Text}}</p>
{{if .Code}}<p><code id="code">{{.Code}}</code></p>{{end}}
{{if .Users}}<form method="post">
{{range $name, $value := .Fields}}<input type="hidden" name="{{$name}}" value="{{$value}}">{{end}}
{{if .AskCode}}<p><label>Code <input name="user_code" value="{{.UserCode}}" autocomplete="off" autofocus></label></p>{{end}}
<p><label>As <select name="user">{{range .Users}}<option>{{.}}</option>{{end}}</select></label></p>
<button name="decision" value="approve">Approve</button><button name="decision" value="deny">Deny</button>
</form>{{end}}</body></html>
`))

type pageData struct {
	Title, Text, Code string
	Users             []string
	Fields            map[string]string
	AskCode           bool
	UserCode          string
}

func htmlReply(status int, data pageData) answer {
	var b strings.Builder
	if err := page.Execute(&b, data); err != nil {
		return reply(http.StatusInternalServerError, "text/plain", err.Error())
	}
	a := reply(status, "text/html; charset=utf-8", b.String())
	a.header.Set("Content-Security-Policy", "default-src 'none'; style-src 'unsafe-inline'; frame-ancestors 'none'")
	return a
}

// authorize is the authorization endpoint (RFC 6749 section 3.1).
func (r *request) authorize() answer {
	r.server.books.change(func() {
		if r.Method == http.MethodGet {
			r.server.books.counts.Authorizations++
		}
	})
	p := r.params
	to := p.Get("redirect_uri")
	known := r.server.clientOf(r.cfg, p.Get("client_id"))
	if known == nil || !known.takes(to) || !r.server.redirectAllowed(r.cfg, to) {
		return htmlReply(http.StatusBadRequest, pageData{Title: "Wrong request", Text: "The client or its redirect URI is not known here."})
	}
	switch {
	case p.Get("response_type") != "code":
		return r.sendBack("error", "unsupported_response_type")
	case p.Get("code_challenge_method") != "S256" || len(p.Get("code_challenge")) != 43:
		return r.sendBack("error", "invalid_request", "error_description", "PKCE with S256 is required")
	}
	user, consent := p.Get("login_hint"), r.cfg.Consent
	if !slices.Contains(r.cfg.Users, user) {
		user = r.cfg.SignedIn
	}
	if r.cfg.Chosen != "" && slices.Contains(strings.Fields(p.Get("prompt")), "select_account") {
		user = r.cfg.Chosen
	}
	if consent == Ask && r.Method == http.MethodPost {
		user, consent = p.Get("user"), Deny
		if p.Get("decision") == string(Approve) && slices.Contains(r.cfg.Users, user) {
			consent = Approve
		}
	}
	switch consent {
	case Approve:
		return r.sendBack("code", r.newCode(user))
	case Deny:
		return r.sendBack("error", "access_denied")
	}
	fields := map[string]string{}
	for name := range p {
		fields[name] = p.Get(name)
	}
	return htmlReply(http.StatusOK, pageData{
		Title: "Log in", Text: p.Get("client_id") + " asks for: " + p.Get("scope"),
		Users: userList(r.cfg, user), Fields: fields,
	})
}

// userList puts first among the users who is offered first.
func userList(cfg Config, first string) []string {
	rest := slices.DeleteFunc(slices.Clone(cfg.Users), func(u string) bool { return u == first })
	return append([]string{first}, rest...)
}

func (r *request) newCode(user string) string {
	p := r.params
	c := &code{
		value: token("afac_"), user: user, scope: p.Get("scope"), nonce: p.Get("nonce"),
		client: p.Get("client_id"), resource: p.Get("resource"), redirect: p.Get("redirect_uri"), challenge: p.Get("code_challenge"), expires: r.server.Now().Add(time.Minute),
	}
	r.server.books.change(func() { r.server.books.codes[c.value] = c })
	return c.value
}

// sendBack redirects to the client with state and iss (RFC 9207).
func (r *request) sendBack(pairs ...string) answer {
	to, err := url.Parse(r.params.Get("redirect_uri"))
	if err != nil {
		return reply(http.StatusBadRequest, "text/plain", "the redirect URI cannot be read")
	}
	q := to.Query()
	for i := 0; i < len(pairs); i += 2 {
		q.Set(pairs[i], pairs[i+1])
	}
	if state := r.params.Get("state"); state != "" {
		q.Set("state", state)
	}
	if iss, ok := r.server.describe(r.cfg)["issuer"].(string); ok {
		q.Set("iss", iss)
	}
	to.RawQuery = q.Encode()
	return redirect(to.String())
}

// showCode is the page of the paste flow.
func (r *request) showCode() answer {
	if e := r.params.Get("error"); e != "" {
		return htmlReply(http.StatusOK, pageData{Title: "Not logged in", Text: "The login ended with this error:", Code: e})
	}
	return htmlReply(http.StatusOK, pageData{
		Title: "Logged in", Text: "Paste this into the terminal:",
		Code: r.params.Get("code") + "#" + r.params.Get("state"),
	})
}

// redirectAllowed follows RFC 8252 section 7.3: loopback, any port.
func (s *Server) redirectAllowed(cfg Config, uri string) bool {
	u, err := url.Parse(uri)
	if err != nil || u.Fragment != "" {
		return false
	}
	if uri == s.URL+"/code" || slices.Contains(cfg.RedirectURIs, uri) {
		return true
	}
	return u.Scheme == "http" && loopback(u.Hostname())
}
