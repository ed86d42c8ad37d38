package oidc

import (
	"encoding/json"
	"errors"
	"net/http"
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/authferry/authferry/testenv"
)

func refusedWith(err error, code string) bool {
	var refused *RefusedError
	return errors.As(err, &refused) && refused.Code == code
}

func TestLogin(t *testing.T) {
	p := Start(t, "AT_TTL=7")
	ada, bob := p.Login(t, "ada"), p.Login(t, "bob")

	if got := p.Subject(t, ada.AccessToken); got != "ada" {
		t.Errorf("userinfo of ada's token: subject %q", got)
	}
	if got := p.Subject(t, bob.AccessToken); got != "bob" {
		t.Errorf("userinfo of bob's token: subject %q", got)
	}
	if ada.RefreshToken == "" || ada.IDToken == "" || ada.ExpiresIn != 7 {
		t.Errorf("refresh token %t, ID token %t, expires_in %d; want both, and 7",
			ada.RefreshToken != "", ada.IDToken != "", ada.ExpiresIn)
	}
	if got, want := p.Counters(t), (Counters{TokenRequests: 2, Codes: 2}); got != want {
		t.Errorf("counters %+v, want %+v", got, want)
	}
}

// A rotated refresh token that comes back costs the whole grant, and only that.
func TestReuseRevokesTheGrant(t *testing.T) {
	p := Start(t)
	ada, bob := p.Login(t, "ada"), p.Login(t, "bob")
	next, err := p.Refresh(ada.RefreshToken)
	testenv.Must(t, err)
	if next.RefreshToken == ada.RefreshToken || !p.Active(t, next.RefreshToken) {
		t.Fatal("the refresh did not rotate")
	}
	if _, err := p.Refresh(ada.RefreshToken); !refusedWith(err, "invalid_grant") {
		t.Errorf("reuse: %v, want invalid_grant", err)
	}
	if _, err := p.Refresh(next.RefreshToken); !refusedWith(err, "invalid_grant") {
		t.Errorf("refresh after reuse: %v, want invalid_grant", err)
	}
	if p.Active(t, next.AccessToken) {
		t.Error("the access token outlived its grant")
	}
	if _, err := p.Refresh(bob.RefreshToken); err != nil {
		t.Errorf("bob pays for ada's reuse: %v", err)
	}
	if got := p.Counters(t); got.Refreshes != 2 || got.Refused != 2 || got.Revoked == 0 {
		t.Errorf("counters %+v, want 2 refreshes, 2 refusals and a revocation", got)
	}
}

func TestFaults(t *testing.T) {
	p := Start(t)
	for _, test := range []struct {
		name      string
		fault     Fault
		spent     bool
		refreshes int
		status    int // 0: no answer
	}{
		{"refused", Fault{Times: 1, Status: 429, RetryAfter: "30"}, false, 0, 429},
		{"dropped before", Fault{Times: 1, Drop: Before}, false, 0, 0},
		{"dropped after", Fault{Times: 1, Drop: After}, true, 1, 0},
	} {
		t.Run(test.name, func(t *testing.T) {
			grant := p.Login(t, "ada")
			before := p.Counters(t)
			p.Fail(t, test.fault)
			_, err := p.Refresh(grant.RefreshToken)
			var refused *RefusedError
			if errors.As(err, &refused) != (test.status != 0) || err == nil {
				t.Fatalf("refresh: %v", err)
			}
			if refused != nil && refused.Status != test.status {
				t.Errorf("status %d, want %d", refused.Status, test.status)
			}
			after := p.Counters(t)
			if got := after.Refreshes - before.Refreshes; got != test.refreshes {
				t.Errorf("%d refreshes, want %d", got, test.refreshes)
			}
			_, err = p.Refresh(grant.RefreshToken)
			if test.spent && !refusedWith(err, "invalid_grant") || !test.spent && err != nil {
				t.Errorf("the next refresh: %v", err)
			}
		})
	}
}

func TestDelay(t *testing.T) {
	p := Start(t)
	grant := p.Login(t, "ada")
	p.Fail(t, Fault{Times: 1, Delay: 10 * time.Millisecond})
	testenv.Check(t, testenv.Err(p.Refresh(grant.RefreshToken)))
}

func TestDeviceFlow(t *testing.T) {
	p := Start(t)
	resp, err := http.PostForm(p.URL+"/device/auth", url.Values{"client_id": {ClientID}, "scope": {Scope}, "prompt": {"consent"}})
	testenv.Must(t, err)
	defer func() { _ = resp.Body.Close() }()
	var device struct {
		Code     string `json:"device_code"`
		Complete string `json:"verification_uri_complete"`
	}
	testenv.Must(t, json.NewDecoder(resp.Body).Decode(&device))
	form := url.Values{"grant_type": {"urn:ietf:params:oauth:grant-type:device_code"}, "device_code": {device.Code}}
	if _, err := p.token(form); !refusedWith(err, "authorization_pending") {
		t.Fatalf("before the person agreed: %v, want authorization_pending", err)
	}
	SignIn(t, device.Complete, "ada")
	grant, err := p.token(form)
	testenv.Must(t, err)
	if got := p.Subject(t, grant.AccessToken); got != "ada" {
		t.Errorf("subject %q", got)
	}
	if got := p.Counters(t).Devices; got != 1 {
		t.Errorf("%d device grants, want 1", got)
	}
}

func TestRevocation(t *testing.T) {
	p := Start(t)
	grant := p.Login(t, "ada")
	resp, err := http.PostForm(p.URL+"/token/revocation", url.Values{"client_id": {ClientID}, "token": {grant.RefreshToken}})
	testenv.Must(t, err)
	_ = resp.Body.Close()
	if p.Active(t, grant.RefreshToken) || p.Active(t, grant.AccessToken) {
		t.Error("revoking the refresh token left a token alive")
	}
}

// Fields are found however the page is laid out.
func TestAnswers(t *testing.T) {
	got := answers(`<input
	   value="a&amp;b" type="hidden" name="xsrf"/><input name=login><input name="login"><input name="password"><input value="x">`, "ada").Encode()
	want := "login=ada&password=any+will+do&xsrf=a%26b"
	if got != want {
		t.Errorf("got %s, want %s", got, want)
	}
	if _, _, err := Visit("http://127.0.0.1:0/", "ada"); err == nil || strings.Contains(err.Error(), "without end") {
		t.Errorf("a page that can't be reached: %v", err)
	}
}
