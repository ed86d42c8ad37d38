package brokertest

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/authferry/authferry/testenv"
)

// Every named fault strikes once, does to the refresh token what it says, and
// leaves the next request alone.
func TestEveryNamedFault(t *testing.T) {
	for _, name := range FaultNames() {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			f := Faults()[name]
			s := New(t, Config{Rotation: GraceNew})
			g := s.Issue(ada)
			f.Drip = min(f.Drip, time.Microsecond)
			s.Inject(f)
			ctx, cancel := context.WithCancel(t.Context())
			defer cancel()
			if f.Stall != "" {
				go func() {
					_ = s.WaitFor(t.Context(), func(l Ledger) bool { return l.Inflight[ada] > 0 })
					cancel()
				}()
			}
			form := "grant_type=refresh_token&client_id=authferry-sim&refresh_token=" + g.RefreshToken
			r, err := http.NewRequestWithContext(ctx, http.MethodPost, s.URL+"/token", strings.NewReader(form))
			testenv.Must(t, err)
			r.Header.Set("Content-Type", "application/x-www-form-urlencoded")
			answer, err := do(t, s, r)
			switch broken := f.Reset != "" && f.Reset != CutIdle || f.Stall != ""; {
			case broken && err == nil:
				t.Fatalf("an answer came: %d %.100s", answer.status, answer.body)
			case !broken && err != nil:
				t.Fatalf("no answer: %v", err)
			case !broken && f.Status != 0 && answer.status != f.Status:
				t.Errorf("status %d, want %d", answer.status, f.Status)
			}
			l := s.Ledger()
			early := f.Reset == CutAccept || f.Reset == CutRequest
			if spent := !l.Families[0].RefreshTokens[0].SpentAt.IsZero(); spent != (f.works() && !early) && f.Stall == "" {
				t.Errorf("the refresh token is spent: %v", spent)
			}
			if name == "idle-close" {
				return
			}
			if n := s.PendingFaults(); n != 0 {
				t.Fatalf("%d faults are left", n)
			}
			expect(t, "the next request", refresh(t, s, l.Families[0].RefreshTokens[0].Token), 200)
		})
	}
}

func TestFaultsReadAsMeant(t *testing.T) {
	s := New(t, Config{Rotation: KeepsOld})
	g := s.Issue(ada)
	strike := func(name string) got {
		t.Helper()
		s.Inject(Faults()[name])
		return refresh(t, s, g.RefreshToken)
	}
	if a := strike("bom"); !bytes.HasPrefix(a.body, []byte("\ufeff{")) {
		t.Errorf("bom: %.20q", a.body)
	}
	if a := strike("truncated"); a.json != nil {
		t.Errorf("truncated: %s", a.body)
	}
	if a := strike("huge"); len(a.body) < 10<<20 {
		t.Errorf("huge: %d bytes", len(a.body))
	}
	if a := strike("form"); !strings.Contains(string(a.body), "access_token=afat_") {
		t.Errorf("form: %s", a.body)
	}
	if a := strike("duplicate"); strings.Count(string(a.body), `"access_token"`) != 2 || !strings.HasPrefix(a.text("access_token"), "afat_") {
		t.Errorf("duplicate: %s", a.body)
	}
	if a := strike("gzip"); a.text("access_token") == "" {
		t.Errorf("gzip: %.20q", a.body)
	}
	if a := strike("content-type"); !strings.HasPrefix(a.header.Get("Content-Type"), "text/html") || a.text("access_token") == "" {
		t.Errorf("content-type: %v", a.header)
	}
	if a := strike("no-type"); a.header["Content-Type"] != nil {
		t.Errorf("no-type: %v", a.header)
	}
	if a := strike("expires-string"); a.json["expires_in"] != "3600" {
		t.Errorf("expires-string: %s", a.body)
	}
	if a := strike("expires-1e400"); !strings.Contains(string(a.body), "1e400") {
		t.Errorf("expires-1e400: %s", a.body)
	}
	if a := strike("scope-reduced"); a.text("scope") != "openid" {
		t.Errorf("scope-reduced: %s", a.body)
	}
	if a := strike("429-date"); a.header.Get("Retry-After") == "" {
		t.Errorf("429-date: %v", a.header)
	}
	if a := strike("redirect-307-other"); a.header.Get("Location") != s.OtherURL()+"/token" {
		t.Errorf("redirect: %v", a.header)
	}
	ahead, err := http.ParseTime(strike("date-ahead").header.Get("Date"))
	if err != nil || time.Until(ahead) < 4*time.Hour {
		t.Errorf("date-ahead: %v %v", ahead, err)
	}
	s.Inject(Faults()["subject-changed"])
	r := mustPost(t, s, "/token", "grant_type", "refresh_token", "client_id", "authferry-sim", "refresh_token", g.RefreshToken)
	if parts := strings.Split(r.text("id_token"), "."); len(parts) != 3 {
		t.Errorf("subject-changed: %s", r.body)
	}
}

// Every dialect is the whole answer, spelled as it says; a refusal has none.
func TestSpelled(t *testing.T) {
	plain := jsonReply(200, map[string]any{"access_token": "A", "expires_in": 60, "refresh_token": "R"})
	want := map[Spoil]string{
		SpoilForm:       "access_token=A&expires_in=60&refresh_token=R",
		SpoilSemicolon:  "note=a;b&access_token=A&expires_in=60&refresh_token=R",
		SpoilPercent:    "note=100%&access_token=A&expires_in=60&refresh_token=R",
		SpoilBOM:        "\ufeff" + string(plain.body),
		SpoilGuard:      ")]}',\n" + string(plain.body),
		SpoilNotice:     "<br />\n<b>Warning</b>:  Undefined array key {\"scope\"} in <b>/srv/token.php</b> on line <b>7</b><br />\n" + string(plain.body) + "\n",
		SpoilLineEnds:   "{\"note\":\"two\r\nlines\"," + string(plain.body[1:]),
		SpoilNaN:        `{"load":NaN,` + string(plain.body[1:]),
		SpoilText:       `"{\"access_token\":\"A\",\"expires_in\":60,\"refresh_token\":\"R\"}"`,
		SpoilList:       "[" + string(plain.body) + "]",
		SpoilData:       `{"code":0,"message":"success","data":` + string(plain.body) + "}",
		SpoilAuthedUser: `{"ok":true,"authed_user":` + string(plain.body) + "}",
		SpoilNumbers:    `{"access_token":"A","expires_in":"60","refresh_token":"R"}`,
		SpoilDuplicate:  `{"access_token":"not-this-one","expires_in":60,"refresh_token":"not-this-one",` + string(plain.body[1:]),
	}
	for _, spoil := range Spelled() {
		a, err := spoil.apply(answer{200, plain.header.Clone(), plain.body})
		if err != nil || want[spoil] != "" && string(a.body) != want[spoil] {
			t.Errorf("%s: %v\n%s\nwant\n%s", spoil, err, a.body, want[spoil])
		}
		refused := invalidGrant("no").answer(ShapeRFC)
		if a, err := spoil.apply(refused); err != nil || !bytes.Equal(a.body, refused.body) {
			t.Errorf("%s: a refusal: %v %s", spoil, err, a.body)
		}
	}
}

// An odd token is odd for the client only: the server knows it.
func TestOddTokensWork(t *testing.T) {
	for name, f := range Faults() {
		if f.Append == nil {
			continue
		}
		s := New(t, Config{})
		s.Inject(f)
		first := refresh(t, s, s.Issue(ada).RefreshToken)
		expect(t, name, first, 200)
		expect(t, name+": the next refresh", refresh(t, s, first.text("refresh_token")), 200)
	}
}

func TestFaultsChooseTheirRequests(t *testing.T) {
	s := New(t, Config{Rotation: Fixed})
	a, b := s.Issue(ada), s.Issue(bob)
	s.Inject(
		Fault{On: OnRefresh, User: bob, Status: 503, Times: 2},
		Fault{On: OnAPI, Status: 500, Skip: 1},
		Fault{On: OnUserinfo, Status: 502, Times: -1},
	)
	for i, want := range []int{503, 503, 200} {
		expect(t, "ada", refresh(t, s, a.RefreshToken), 200)
		expect(t, "bob", refresh(t, s, b.RefreshToken), want)
		expect(t, "api", get(t, s, "/api/x", a.AccessToken), []int{200, 500, 200}[i])
		expect(t, "userinfo", get(t, s, "/userinfo", a.AccessToken), 502)
	}
	s.ClearFaults()
	expect(t, "userinfo", get(t, s, "/userinfo", a.AccessToken), 200)
}

// A connection that has served a request is closed at the next one; a client
// that asks anew gets its answer.
func TestIdleClose(t *testing.T) {
	s := New(t, Config{})
	s.Inject(Fault{On: OnAPI, Reset: CutIdle})
	client := &http.Client{Transport: &http.Transport{}}
	defer client.CloseIdleConnections()
	key := s.IssueKey(ada)
	ask := func(c *http.Client, method string) error {
		r, err := http.NewRequestWithContext(t.Context(), method, s.URL+"/api/x", strings.NewReader("body"))
		testenv.Must(t, err)
		r.Header.Set("X-Api-Key", key)
		resp, err := c.Do(r)
		if err == nil {
			_, _ = discard(resp.Body)
			_ = resp.Body.Close()
		}
		return err
	}
	testenv.Must(t, ask(client, http.MethodPost))
	if err := ask(client, http.MethodPost); err == nil {
		t.Error("the second request on the connection was answered")
	}
	testenv.Check(t, ask(s.Client(), http.MethodPost))
}

// A test can hold an answer back, see that the request is in flight, and kill
// whoever waits for it.
func TestUntil(t *testing.T) {
	s := New(t, Config{})
	g := s.Issue(ada)
	release := make(chan struct{})
	s.Inject(Fault{Until: release})
	done := make(chan got)
	go func() { done <- refresh(t, s, g.RefreshToken) }()
	testenv.Must(t, s.WaitFor(t.Context(), func(l Ledger) bool { return l.Inflight[ada] == 1 && l.Refreshes(ada) == 1 }))
	select {
	case a := <-done:
		t.Fatalf("answered while held back: %d", a.status)
	default:
	}
	close(release)
	expect(t, "answer", <-done, 200)
}

// What follows a redirect with a token is caught at the other host.
func TestElsewhere(t *testing.T) {
	s := New(t, Config{})
	s.Inject(Faults()["redirect-307-other"])
	resp, err := http.Post(s.URL+"/token", "application/x-www-form-urlencoded", strings.NewReader("refresh_token=x"))
	testenv.Must(t, err)
	_ = resp.Body.Close()
	if l := s.Ledger(); l.Elsewhere != 1 || l.ElsewhereBytes == 0 {
		t.Errorf("elsewhere: %d requests, %d bytes", l.Elsewhere, l.ElsewhereBytes)
	}
}

func TestErrorShapes(t *testing.T) {
	for shape, want := range map[Shape]string{
		"":          `{"error":"invalid_grant","error_description":"refresh token already used"}`,
		ShapeObject: `{"error":{"message":"refresh token already used","type":"invalid_grant"},"type":"error"}`,
		ShapeNested: `{"error":{"code":"refresh_token_reused","message":"refresh token already used","param":null,"type":"invalid_request_error"}}`,
		ShapeText:   `{"message":"Refresh token already used"}`,
	} {
		s := New(t, Config{Rotation: Rotate, Errors: shape})
		g := s.Issue(ada)
		refresh(t, s, g.RefreshToken)
		if a := refresh(t, s, g.RefreshToken); a.status != 400 || string(a.body) != want {
			t.Errorf("%q: %d %s", shape, a.status, a.body)
		}
	}
}

func TestTLS(t *testing.T) {
	for kind, works := range map[TLS]bool{TLSGood: true, TLSExpired: false, TLSWrongHost: false} {
		s := New(t, Config{TLS: kind})
		r, err := http.NewRequestWithContext(t.Context(), http.MethodGet, s.URL+"/.well-known/openid-configuration", nil)
		testenv.Must(t, err)
		if _, err = do(t, s, r); (err == nil) != works {
			t.Errorf("%s: %v", kind, err)
		}
	}
	s := New(t, Config{TLS: TLSStall})
	ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
	defer cancel()
	r, err := http.NewRequestWithContext(ctx, http.MethodGet, s.URL, nil)
	testenv.Must(t, err)
	if _, err = do(t, s, r); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("a handshake that never ends: %v", err)
	}
}

func TestOnlyLoopback(t *testing.T) {
	for _, addr := range []string{"0.0.0.0:0", ":0", "192.0.2.1:0", "example.com:0", "nonsense"} {
		if s, err := Start(Config{Addr: addr}); err == nil {
			s.Close()
			t.Errorf("%s was accepted", addr)
		}
	}
	if _, err := Start(Config{Rotation: "never"}); err == nil {
		t.Error("an unknown rotation was accepted")
	}
}

// Faults arrive over HTTP; whatever is sent there must not break the server.
func FuzzFaultJSON(f *testing.F) {
	f.Add(`{"status":503,"delay":"1s","after":true}`)
	f.Add(`{"set":{"expires_in":"3600"},"spoil":"gzip","pad":3}`)
	f.Add(`{"drip":"x"}`)
	f.Fuzz(func(_ *testing.T, text string) {
		var fault Fault
		if json.Unmarshal([]byte(text), &fault) != nil {
			return
		}
		fault.Pad = min(max(fault.Pad, 0), 1024)
		a := jsonReply(200, map[string]any{"access_token": "afat_x", "refresh_token": "afrt_x"})
		_, _ = fault.change(a, time.Now(), "http://a", "http://b")
	})
}

func FuzzReadParams(f *testing.F) {
	f.Add("application/json", []byte(`{"grant_type":"refresh_token"}`))
	f.Add("application/x-www-form-urlencoded; charset=utf-8", []byte("a=b&c=%64"))
	f.Fuzz(func(t *testing.T, contentType string, body []byte) {
		params, _, err := readParams(contentType, body)
		if (err == nil) != (params != nil) {
			t.Errorf("params %v with error %v", params, err)
		}
	})
}
