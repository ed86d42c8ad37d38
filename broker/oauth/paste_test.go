package oauth

import (
	"net/url"
	"strings"
	"testing"
)

// People paste more than the code, and terminals change it on the way.
func TestPastedAsPeopleDo(t *testing.T) {
	t.Parallel()
	const local, page = "http://127.0.0.1:4711/callback", "https://as.example/code"
	const code = "ab/4~+c=="
	for _, redirect := range []string{local, page} {
		a := NewAuthorization(Provider{Issuer: "https://as.example"}, Endpoint{}, redirect)
		query := url.Values{"code": {code}, "state": {a.state}}.Encode()
		whole := redirect + "?" + query
		bare := strings.TrimPrefix(strings.TrimPrefix(whole, "http://"), "https://")
		wrapped := whole[:30] + "\r\n" + whole[30:60] + "\n  " + whole[60:]
		for _, text := range []string{
			whole, "  " + whole + "\t\r\n", `"` + whole + `"`, "'" + whole + "'", "<" + whole + ">", "“" + whole + "”", "`" + whole + "`", `<"` + whole + `">`,
			whole + ".", "(" + whole + ")", "[page](" + whole + ")", "It says " + whole + " now", whole + "#_=_", whole + "#",
			"\u200b" + whole + "\ufeff", "\x1b[200~" + whole + "\x1b[201~", "\x1b[200~" + whole + "\n\x1b[201~", whole[:20] + "\u200b" + whole[20:],
			wrapped, "\"" + wrapped + "\"", strings.ReplaceAll(whole, "&", "&amp;"), url.QueryEscape(whole), bare,
			redirect + "/?" + query, redirect + "#" + query, redirect + "?state=" + a.state + "&code=" + url.QueryEscape(code), whole + "&scope=a;b", whole + "&x=100%",
			query, "?" + query, "#" + query, query + "#_=_", "'" + query + "'", query[:9] + "\n" + query[9:],
			code + "#" + a.state, `"` + code + "#" + a.state + `"`, "Code: " + code + "#" + a.state, "code:" + code + "#" + a.state, "Code:\n" + code + "#" + a.state, "code:" + code + " state:" + a.state, "Your code is " + code + "#" + a.state + ".",
			"Code: " + code + "\nState: " + a.state + "\n", `{"code": "` + code + `", "state": "` + a.state + `"}`, code + "#" + a.state[:10] + "\n" + a.state[10:],
			code + " # " + a.state, code + " " + a.state, code + "\n" + a.state, code + "# " + a.state, code + "%23" + a.state, `{"code":"` + code + `","state":"` + a.state + `"}`,
		} {
			if got, err := a.Pasted(text); err != nil || got.Reveal() != code {
				t.Errorf("%q: got %q, %v", text, got.Reveal(), err)
			}
		}
		if redirect == local {
			for _, other := range []string{"https://127.0.0.1:4711/callback", "http://localhost:4711/callback", "http://localhost:9/callback", "http://[::1]:4711/callback", "localhost:4711/callback"} {
				if got, err := a.Pasted(other + "?" + query); err != nil || got.Reveal() != code {
					t.Errorf("%s: got %q, %v", other, got.Reveal(), err)
				}
			}
		}
		for text, want := range map[string]error{
			`"` + code + `#XXXX"`: errForeign, code + " XXXX": errForeign, a.state + " " + code: errForeign, "Code: " + code + "\nState: XXXX": errForeign, "code: " + code: errNoState, "It says " + code + " now": errNoState,
			strings.Replace(whole, a.state, a.state+"x", 1): errForeign, strings.Replace(whole, a.state, strings.ToLower(a.state), 1): errForeign,
			"https://evil.example/callback?" + query: errOtherURL, "evil.example/callback?" + query: errOtherURL, "http://127.0.0.1.evil.example/callback?" + query: errOtherURL,
			strings.Replace(whole, "?", "/other?", 1): errOtherURL,
			"\u200b \x1b[200~\x1b[201~\n":             errNoCode, whole + "&iss=https%3A%2F%2Fevil.example": errIssuer, "code=A now " + whole + "&iss=https%3A%2F%2Fevil.example": errIssuer,
		} {
			got, err := a.Pasted(text)
			if err == nil || !got.Empty() {
				t.Errorf("%q: got %q", text, got.Reveal())
			}
			if err != want && want != errForeign && want != errNoState {
				t.Errorf("%q: %v, want %v", text, err, want)
			}
		}
		denied := redirect + "?error=access_denied&state=" + a.state
		for _, text := range []string{denied, "<" + denied + ">", "It says " + denied, denied[:15] + "\n" + denied[15:]} {
			if _, err := a.Pasted(text); err == nil || err.Error() != "the login was denied" {
				t.Errorf("%q: %v", text, err)
			}
		}
	}
}

// A page that shows no state is believed for a code that stands alone.
func TestPastedWithoutState(t *testing.T) {
	t.Parallel()
	a := NewAuthorization(Provider{PasteStateless: true}, Endpoint{}, "https://as.example/code")
	for text, want := range map[string]string{
		"CODE": "CODE", " 'CODE'\r\n": "CODE", "CO\nDE": "CODE", "\x1b[200~CODE\x1b[201~": "CODE", "code: CODE": "CODE",
		"It says CODE now": "", "CODE#wrong": "", "one two": "",
	} {
		if got, err := a.Pasted(text); got.Reveal() != want || want == "" && err == nil {
			t.Errorf("%q: got %q, %v", text, got.Reveal(), err)
		}
	}
}
