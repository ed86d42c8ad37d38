package oauth

import (
	"context"
	"errors"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/authferry/authferry/broker/brokertest"
	"github.com/authferry/authferry/keystore"
	"github.com/authferry/authferry/testenv"
)

// paced makes pauses short and lists them; between runs in each.
func paced(t *testing.T, between func(n int)) *[]time.Duration {
	t.Helper()
	var pauses []time.Duration
	before := pause
	t.Cleanup(func() { pause = before })
	pause = func(ctx context.Context, d time.Duration) error {
		pauses = append(pauses, d)
		if between != nil {
			between(len(pauses))
		}
		return ctx.Err()
	}
	return &pauses
}

func TestDeviceLogin(t *testing.T) {
	s, c, p, e := loginRig(t, brokertest.Config{Consent: brokertest.Ask, DeviceInterval: 3 * time.Second})
	d, err := c.AuthorizeDevice(t.Context(), p, e)
	testenv.Must(t, err)
	if d.VerificationURI != s.URL+"/device" || !strings.Contains(d.VerificationURIComplete, d.UserCode) || d.interval != 3*time.Second {
		t.Errorf("%+v", d)
	}
	pauses := paced(t, func(n int) {
		switch n {
		case 3:
			s.Advance(time.Minute) // the server thinks that there was a pause
			testenv.Check(t, s.DecideDevice(d.UserCode, "bob@example.com"))
		case 1:
			s.Advance(time.Minute)
		}
	})
	tok, err := c.Redeem(t.Context(), d)
	testenv.Must(t, err)
	id, err := c.Identify(t.Context(), p, e, tok, "")
	if err != nil || id.Name != "bob@example.com" {
		t.Errorf("%+v %v", id, err)
	}
	// pending, then too fast, so five seconds more from there on
	if got := *pauses; len(got) != 3 || got[0] != 3*time.Second || got[1] != 3*time.Second || got[2] != 8*time.Second {
		t.Errorf("pauses: %v", got)
	}
}

func TestDeviceRefusals(t *testing.T) {
	for name, row := range map[string]struct {
		cfg  brokertest.Config
		late time.Duration
		want string
	}{
		"denied":  {brokertest.Config{Consent: brokertest.Deny}, 0, "access_denied"},
		"expired": {brokertest.Config{Consent: brokertest.Ask}, time.Hour, "expired_token"},
	} {
		t.Run(name, func(t *testing.T) {
			s, c, p, e := loginRig(t, row.cfg)
			d, err := c.AuthorizeDevice(t.Context(), p, e)
			testenv.Must(t, err)
			paced(t, func(int) { s.Advance(row.late) })
			_, err = c.Redeem(t.Context(), d)
			if refused, ok := errors.AsType[*RefusedError](err); !ok || refused.Code != row.want {
				t.Errorf("%v", err)
			}
		})
	}
	// by this machine's clock, when the server can't be asked any more
	d := &Device{ExpiresAt: time.Now().Add(-time.Second)}
	paced(t, nil)
	if _, err := (&Client{}).Redeem(t.Context(), d); err == nil || err.Error() != "the code was not entered in time" {
		t.Errorf("%v", err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := (&Client{}).Redeem(ctx, d); !errors.Is(err, context.Canceled) {
		t.Errorf("%v", err)
	}
}

// Trouble on the way is waited out, with longer and longer pauses.
func TestDeviceTrouble(t *testing.T) {
	s, c, p, e := loginRig(t, brokertest.Config{})
	d, err := c.AuthorizeDevice(t.Context(), p, e)
	testenv.Must(t, err)
	for _, fault := range []string{"503", "reset-accept", "429-seconds"} {
		s.Inject(brokertest.Faults()[fault])
	}
	pauses := paced(t, nil)
	testenv.Must(t, testenv.Err(c.Redeem(t.Context(), d)))
	if got := *pauses; len(got) != 4 || got[1] != 10*time.Second || got[2] != 20*time.Second || got[3] < 29*time.Second {
		t.Errorf("pauses: %v", got)
	}
}

func TestDeviceAnswers(t *testing.T) {
	for body, good := range map[string]bool{
		`{"device_code":"d","user_code":"U","verification_uri":"https://as.example/d"}`:                                                   true,
		`{"device_code":"d","user_code":"U","verification_url":"https://as.example/d","interval":"7"}`:                                    true,
		`{"device_code":"d","user_code":"U","verification_uri":"https://as.example/d","verification_uri_complete":"javascript:alert(1)"}`: true,
		`{"device_code":"d","user_code":"U","verification_uri":"file:///etc/passwd"}`:                                                     false,
		`{"device_code":"d","user_code":"U","verification_uri":"http://evil.example"}`:                                                    false,
		`{"device_code":"d","verification_uri":"https://as.example/d"}`:                                                                   false,
		`{"device_code":"d","user_code":"` + strings.Repeat("x", 65) + `","verification_uri":"https://as.example/d"}`:                     false,
		`{"error":"unauthorized_client"}`: false,
		`{"device_code":"d","user_c`:      false,
		`<html>`:                          false,
		``:                                false,
	} {
		s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { _, _ = w.Write([]byte(body)) }))
		d, err := (&Client{}).AuthorizeDevice(t.Context(), Provider{DeviceAuthorizationEndpoint: s.URL}, Endpoint{})
		s.Close()
		if (err == nil) != good {
			t.Errorf("%s: %v", body, err)
		}
		if err == nil && (strings.HasPrefix(d.VerificationURIComplete, "javascript") || time.Until(d.ExpiresAt) <= 0 || d.interval <= 0) {
			t.Errorf("%s: %+v", body, d)
		}
	}
}

// A client's secret is for the server that has the token endpoint.
func TestDeviceSecret(t *testing.T) {
	var came string
	s := httptest.NewServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		_ = r.ParseForm()
		came = r.Form.Get("client_secret") + r.Header.Get("Authorization")
	}))
	defer s.Close()
	p := Provider{DeviceAuthorizationEndpoint: s.URL + "/device"}
	for tokenEndpoint, want := range map[string]string{s.URL + "/token": "hush", "https://as.example/token": ""} {
		e := Endpoint{TokenEndpoint: tokenEndpoint, ClientID: "c", ClientSecret: keystore.NewSecret("hush")}
		_, _ = (&Client{}).AuthorizeDevice(t.Context(), p, e)
		if came != want {
			t.Errorf("token endpoint %s: %q came", tokenEndpoint, came)
		}
	}
}
