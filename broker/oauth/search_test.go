package oauth

import (
	"bytes"
	"compress/gzip"
	"compress/zlib"
	"encoding/binary"
	"encoding/json"
	"errors"
	"io"
	"strings"
	"testing"
	"time"
	"unicode/utf16"
)

// A 2xx whose new tokens can be found is never thrown away: the refresh token that
// was sent is spent by then.
func TestSearch(t *testing.T) {
	const tokens = `{"access_token":"new-at","token_type":"Bearer","expires_in":3600,"refresh_token":"new-rt"}`
	quoted := func(s string) string { b, _ := json.Marshal(s); return string(b) }
	for name, body := range map[string]string{
		"form":                            "access_token=new-at&refresh_token=new-rt&expires_in=3600",
		"form, raw semicolon":             "access_token=new-at&scope=a;b&expires_in=3600&refresh_token=new-rt",
		"form, stray percent sign":        "note=100%&access_token=new-at&expires_in=3600&refresh_token=new-rt&x=%zz",
		"form, semicolons between":        "access_token=new-at;refresh_token=new-rt;expires_in=3600;note=x",
		"form, ampersands as entities":    "access_token=new-at&amp;refresh_token=new-rt&amp;expires_in=3600",
		"form, a line each":               "token_type=bearer\r\naccess_token=new-at\r\nrefresh_token=new-rt\r\nexpires_in=3600\r\n",
		"form behind a page":              "<br />\n<b>Notice</b>: x in <b>t.php</b>\naccess_token=new-at&refresh_token=new-rt&expires_in=3600",
		"form behind a question mark":     "?access_token=new-at&refresh_token=new-rt&expires_in=3600",
		"the access token further in":     `{"refresh_token":"new-rt","token":{"access_token":"new-at","expires_in":3600}}`,
		"twice, the last one a blank":     `{"access_token":"new-at","expires_in":3600,"refresh_token":"new-rt","refresh_token":" "}`,
		"form with JSON in a field":       "result=" + strings.NewReplacer(`"`, "%22", "{", "%7B", "}", "%7D").Replace(tokens) + "&ok=1",
		"behind a notice":                 "<br />\n<b>Notice</b>: Undefined index: x in <b>/www/{t}.php</b> on line <b>7</b><br />\n" + tokens,
		"behind a warning with an open {": "Warning: it's an open { and a \" here\n" + tokens,
		"XSSI guard":                      ")]}',\n" + tokens,
		"XSSI guard, a loop":              "for(;;);" + tokens,
		"XSSI guard of its own":           "throw 1; <dont be evil> " + tokens,
		"byte order mark":                 "\ufeff" + tokens,
		"byte order mark inside":          "notice\n\ufeff" + tokens,
		"UTF-16, little end first":        inUTF16(binary.LittleEndian, "\ufeff"+tokens),
		"UTF-16, big end first":           inUTF16(binary.BigEndian, "\ufeff"+tokens),
		"UTF-16 without a mark":           inUTF16(binary.LittleEndian, tokens),
		"raw line end in a text":          "{\"note\":\"two\nlines\",\"access_token\":\"new-at\",\"refresh_token\":\"new-rt\",\"expires_in\":3600}",
		"raw control characters":          "{\"note\":\"\x00\x1b[0m\t\",\"access_token\":\"new-at\",\"refresh_token\":\"new-rt\",\"expires_in\":3600}",
		"NUL behind":                      tokens + "\x00\x00",
		"NaN":                             `{"x":NaN,"access_token":"new-at","expires_in":3600,"refresh_token":"new-rt"}`,
		"Infinity and undefined":          `{"x":-Infinity,"y":undefined,"z":[1,NaN,],"access_token":"new-at","expires_in":3600,"refresh_token":"new-rt"}`,
		"trailing comma":                  `{"access_token":"new-at","expires_in":3600,"refresh_token":"new-rt",}`,
		"no value":                        `{"x":,"access_token":"new-at","expires_in":3600,"refresh_token":"new-rt","y":}`,
		"no comma":                        `{"x":"1" "access_token":"new-at" "expires_in":3600 "refresh_token":"new-rt"}`,
		"unescaped quotation marks":       `{"x":"he said "hi"","access_token":"new-at","expires_in":3600,"refresh_token":"new-rt"}`,
		"an odd quotation mark":           `{"x":"5" disk","access_token":"new-at","expires_in":3600,"refresh_token":"new-rt"}`,
		"unknown escape":                  `{"x":"C:\dir \x","access_token":"new-at","expires_in":3600,"refresh_token":"new-rt"}`,
		"comments":                        "{/* one */ \"access_token\":\"new-at\", // two\n\"expires_in\":3600,\n\"refresh_token\":\"new-rt\"}",
		"a script's object":               `{access_token:'new-at', expires_in:3600, refresh_token:'new-rt'}`,
		"garbage behind":                  tokens + "<!-- served by 7 -->",
		"a brace too many":                tokens + "}",
		"JSON in a JSON text":             quoted(tokens),
		"JSON in a JSON text, twice":      quoted(quoted(tokens)),
		"JSON in a member":                `{"ok":true,"result":` + quoted(tokens) + `}`,
		"JSON in a member of a member":    `{"d":` + quoted(`{"body":`+quoted(tokens)+`}`) + `}`,
		"a list of one":                   "[" + tokens + "]",
		"lists in lists":                  "[[1,[" + tokens + "]]]",
		"a list of texts":                 "[" + quoted(tokens) + "]",
		"in data":                         `{"message":"success","code":0,"data":` + tokens + `}`,
		"in result":                       `{"result":{"token":` + tokens + `},"error":null}`,
		"in authed_user":                  `{"ok":true,"authed_user":` + tokens + `,"team":{"id":"T1"}}`,
		"in a member that nobody knows":   `{"a":{"b":[{"c":` + tokens + `}]}}`,
		"error ok":                        `{"data":` + tokens + `,"error":{"code":"ok","message":"","log_id":"7"}}`,
		"error none":                      `{"error":"","data":` + tokens + `}`,
		"a page around it":                "<html><script>var t = " + tokens + "; if (t) { go() }</script></html>",
		"a page with entities":            "<html><pre>" + strings.ReplaceAll(tokens, `"`, "&quot;") + "</pre></html>",
		"JSONP":                           "/**/callback(" + tokens + ");",
		"JSON in a script's text":         "window.t = JSON.parse(" + quoted(tokens) + ");",
		"an event stream":                 "event: token\ndata: " + tokens + "\n\n",
		"documents in a row":              `{"status":"pending"}` + "\n" + tokens + "\n" + `{"status":"done"}`,
		"the better document second":      `{"access_token":"other"}` + tokens,
		"twice, the last one empty":       `{"access_token":"new-at","expires_in":3600,"refresh_token":"new-rt","refresh_token":"","access_token":null}`,
		"twice, the first one empty":      `{"refresh_token":"","access_token":"","access_token":"new-at","expires_in":3600,"refresh_token":"new-rt"}`,
		"twice, the other one was sent":   `{"access_token":"new-at","expires_in":3600,"refresh_token":"new-rt","refresh_token":"afrt_secret"}`,
		"beside an echo":                  `{"request":{"grant_type":"refresh_token","refresh_token":"afrt_secret"},"response":` + tokens + `}`,
		"behind an echo":                  `{"grant_type":"refresh_token","access_token":"afrt_secret","refresh_token":"afrt_secret"}` + tokens,
		"a decoy without access token":    `{"refresh_token":"decoy"}` + "\n" + tokens,
		"a decoy in a person's text":      `{"user":{"bio":` + quoted(`{"access_token":"x","refresh_token":"decoy"}`) + `},"data":` + tokens + `}`,
		"quoted numbers":                  `[{"access_token":"new-at","expires_in":"3600","refresh_token":"new-rt"}]`,
		"other names":                     `{"accessToken":"new-at","refreshToken":"new-rt","expiresIn":3600}`,
		"cut behind the tokens":           `{"data":{"access_token":"new-at","expires_in":3600,"refresh_token":"new-rt","sco`,
		"gzip":                            squeezed(func(w io.Writer) io.WriteCloser { return gzip.NewWriter(w) }, tokens),
		"gzip in gzip":                    squeezed(func(w io.Writer) io.WriteCloser { return gzip.NewWriter(w) }, squeezed(func(w io.Writer) io.WriteCloser { return gzip.NewWriter(w) }, tokens)),
		"zlib":                            squeezed(func(w io.Writer) io.WriteCloser { return zlib.NewWriter(w) }, tokens),
	} {
		r, _ := fixed(t, 200, map[string]string{"Content-Type": "text/html"}, body)
		tok, err := r.refresh()
		if err != nil || tok.AccessToken.Reveal() != "new-at" || tok.RefreshToken.Reveal() != "new-rt" || tok.ExpiresIn != time.Hour {
			t.Errorf("%s: %+v, %v", name, tok, err)
		}
	}
}

// What is no new token, or is in an error.
func TestSearchFindsNothing(t *testing.T) {
	for body, want := range map[string]Class{
		`{"grant_type":"refresh_token","refresh_token":"afrt_secret"}`:                                     Unknown,
		`{"access_token":"afrt_secret","refresh_token":"afrt_secret"}`:                                     Unknown,
		`grant_type=refresh_token&refresh_token=afrt_secret`:                                               Unknown,
		`{"error":"invalid_grant","refresh_token":"afrt_secret"}`:                                          Dead,
		`{"error":"invalid_grant","data":{"access_token":"a","refresh_token":"r"}}`:                        Dead,
		`{"error":"invalid_grant","error_description":"{\"access_token\":\"a\",\"refresh_token\":\"r\"}"}`: Dead,
		`{"error":{"type":"invalid_grant","help":{"access_token":"a","refresh_token":"r"}}}`:               Dead,
		"\ufeff)]}'\n" + `{"error":"invalid_grant"}`:                                                       Dead,
		inUTF16(binary.LittleEndian, `{"error":"invalid_grant"}`):                                          Dead,
		`[{"error":"invalid_grant","x":{"access_token":"a","refresh_token":"r"}}]`:                         Unknown,
		`{"data":{"refresh_token":"r"}}`:                                                                   Unknown,
		`{"data":{"access_token":"a","refresh_token":"r`:                                                   Unknown,
		`{"data":{"access_token":"a"`:                                                                      Unknown,
		`{"access_token":"a","refresh_token":r}`:                                                           Unknown,
		`{"access_token":" ","refresh_token":"\n"}`:                                                        Unknown,
		`access_token=null&refresh_token=undefined`:                                                        Unknown,
		`{"access_token":"","refresh_token":""}`:                                                           Unknown,
		`<form><input name="access_token" value="x"></form>`:                                               Unknown,
		"{\"access_token\":\"a\x00b\",\"refresh_token\":\"r\"}":                                            BadToken,
	} {
		r, _ := fixed(t, 200, nil, body)
		if tok, err := r.refresh(); err == nil || err.Class != want {
			t.Errorf("%s: %v, %v; want %s", body, tok, err, want)
		}
	}
}

// A server that does not rotate names the old refresh token, or none.
func TestSearchWithoutRotation(t *testing.T) {
	for _, body := range []string{
		`{"data":{"access_token":"new-at"}}`, `[{"access_token":"new-at","refresh_token":"afrt_secret"}]`, `{"access_token":"new-at","expires_in":NaN}`,
		`{"access_token":"new-at","refresh_token":"afrt_secret","expi`,
		`{"access_token":"new-at","refresh_token":" \t"}`, `{"access_token":"new-at","refresh_token":"null"}`, `access_token=new-at&refresh_token=undefined`,
		`{"access_token":"new-at","refresh_token":["x"]}`, `[{"access_token":"new-at","refresh_token":"  "}]`,
	} {
		r, _ := fixed(t, 200, nil, body)
		if tok, err := r.refresh(); err != nil || tok.AccessToken.Reveal() != "new-at" || !tok.RefreshToken.Empty() {
			t.Errorf("%s: %v, %v", body, tok, err)
		}
	}
}

// Only a plain answer is beyond doubt.
func TestSalvaged(t *testing.T) {
	for body, want := range map[string]bool{
		`{"access_token":"a","refresh_token":"r"}`: false, "\ufeff" + `{"access_token":"a"}`: false, "access_token=a&refresh_token=r": false,
		`[{"access_token":"a","refresh_token":"r"}]`: true, `{"access_token":"a","refresh_token":"r","x`: true, `{"refresh_token":"r"}`: true,
		`{"x":"` + "\n" + `","access_token":"a","refresh_token":"r"}`: true,
	} {
		r, _ := fixed(t, 200, nil, body)
		if tok, err := r.refresh(); tok == nil || tok.Salvaged != want {
			t.Errorf("%s: %+v, %v", body, tok, err)
		}
	}
}

// No text keeps the reader busy.
func TestSearchEnds(t *testing.T) {
	for _, s := range []string{`{`, `[`, `"`, `\"`, `{"`, `{"a":`, `{"a":[`, `{"a":"{`, `'`, `{a`, `:`, `{"a" `, `&quot;`, `{&#34;`, "\x1f\x8b", `"{\"`, `{"a":{},`, `{"\\`, `;a=`} {
		for _, head := range []string{"", "{", `{"a":"`} {
			body := []byte(head + strings.Repeat(s, maxBody/len(s)))
			if m, ok := search(body, nil, nil); ok {
				t.Errorf("%.20q: %v", body, m)
			}
		}
	}
	deep := strings.Repeat(`{"a":`, 2*maxDepth) + `{"access_token":"a","refresh_token":"r"}`
	if _, ok := search([]byte(deep), errors.New("cut"), nil); ok {
		t.Log("found below the depth")
	}
}

func inUTF16(order binary.AppendByteOrder, s string) string {
	var b []byte
	for _, unit := range utf16.Encode([]rune(s)) {
		b = order.AppendUint16(b, unit)
	}
	return string(b)
}

func squeezed(by func(io.Writer) io.WriteCloser, s string) string {
	var b bytes.Buffer
	w := by(&b)
	_, _ = io.WriteString(w, s)
	_ = w.Close()
	return b.String()
}
