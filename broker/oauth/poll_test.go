package oauth

import (
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/authferry/authferry/broker/brokertest"
	"github.com/authferry/authferry/keystore"
	"github.com/authferry/authferry/testenv"
)

// What servers say to a poll, and how it is understood.
func TestPollDialects(t *testing.T) {
	const refused = "refused" // anything else that ends the login
	for name, row := range map[string]struct {
		status int
		body   string
		want   string
	}{
		"RFC 8628":                  {400, `{"error":"authorization_pending"}`, pollPending},
		"Google":                    {428, `{"error":"authorization_pending","error_description":"Precondition Required"}`, pollPending},
		"GitHub":                    {200, `{"error":"authorization_pending"}`, pollPending},
		"GitHub as a form":          {200, `error=authorization_pending&error_description=The+request+is+still+pending`, pollPending},
		"Twitch":                    {400, `{"status":400,"message":"authorization_pending"}`, pollPending},
		"romm":                      {400, `{"detail":"authorization_pending"}`, pollPending},
		"Trakt":                     {400, ``, pollPending},
		"Trakt, expired":            {410, ``, pollExpired},
		"Trakt, denied":             {418, ``, pollDenied},
		"Trakt, too fast":           {429, ``, pollFaster},
		"Trakt, unknown code":       {404, ``, refused},
		"Trakt, used code":          {409, ``, refused},
		"nothing, not refused":      {202, ``, pollPending},
		"no content":                {204, ``, pollPending},
		"accepted":                  {202, `{"retry":5}`, pollPending},
		"a state":                   {200, `{"status":"pending"}`, pollPending},
		"one level down":            {200, `{"data":{"status":"PENDING"}}`, pollPending},
		"as an object":              {403, `{"error":{"code":"authorization_pending","message":"wait"}}`, pollPending},
		"one level down, result":    {200, `{"success":false,"result":{"status":"pending"}}`, pollPending},
		"AWS":                       {400, `{"__type":"AuthorizationPendingException"}`, pollPending},
		"AWS, with its namespace":   {400, `{"__type":"com.amazonaws.ssooidc#AuthorizationPendingException"}`, pollPending},
		"a list":                    {400, `{"success":false,"errors":[{"errorType":"authorization_pending"}]}`, pollPending},
		"camelCase":                 {400, `{"errorCode":"authorizationPending"}`, pollPending},
		"in words":                  {400, `{"error":"E1","message":"Authorization pending."}`, pollPending},
		"plain text":                {400, "authorization_pending\n", pollPending},
		"a JSON text":               {400, `"authorization_pending"`, pollPending},
		"a form of other members":   {400, `message=authorization_pending&x=1`, pollPending},
		"too fast":                  {400, `{"error":"slow_down"}`, pollFaster},
		"too fast, 429":             {429, `{"error":"slow_down"}`, pollFaster},
		"too fast, 403":             {403, `{"error":"slow_down","error_description":"Forbidden"}`, pollFaster},
		"denied":                    {400, `{"error":"access_denied"}`, pollDenied},
		"denied, 403":               {403, `{"error":"access_denied"}`, pollDenied},
		"Microsoft":                 {400, `{"error":"authorization_declined","error_description":"AADSTS70000"}`, pollDenied},
		"rejected":                  {400, `{"error":"rejected"}`, pollDenied},
		"cancelled":                 {400, `{"error":"user_cancelled"}`, pollDenied},
		"expired":                   {400, `{"error":"expired_token"}`, pollExpired},
		"Microsoft's older":         {400, `{"error":"code_expired"}`, pollExpired},
		"unknown code":              {400, `{"error":"bad_verification_code"}`, refused},
		"another client":            {401, `{"error":"invalid_client"}`, refused},
		"a text about pending":      {400, `{"error":"invalid_request","error_description":"no authorization_pending here, go away"}`, refused},
		"a long text":               {400, `{"error":"` + strings.Repeat("pending", 50) + `"}`, refused},
		"the code of another field": {400, `{"error":"invalid_request","hint":"authorization_pending"}`, refused},
		"a page":                    {400, `<html>pending</html>`, refused},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
				w.WriteHeader(row.status)
				_, _ = w.Write([]byte(row.body))
			}))
			defer s.Close()
			d := &Device{endpoint: Endpoint{TokenEndpoint: s.URL, ClientID: "c"}, code: keystore.NewSecret("d")}
			tok, said, err := (&Client{}).poll(t.Context(), d, url.Values{"device_code": {"d"}})
			if tok != nil || err == nil {
				t.Fatalf("%+v, %v", tok, err)
			}
			if failed, _ := errors.AsType[*Error](err); said != strings.TrimSuffix(row.want, refused) || row.want == refused && failed.Class != Misconfigured && failed.Class != Dead {
				t.Errorf("%q, %v", said, err)
			}
		})
	}
}

// What a server asks for is kept between the polls.
func TestPollPauses(t *testing.T) {
	answers := []struct {
		status int
		header string
		body   string
	}{
		{400, "", `{"error":"authorization_pending"}`}, {429, "40", ``}, {400, "", ``}, {400, "", `{"error":"slow_down"}`},
		{400, "90", `{"error":"authorization_pending"}`}, {502, "", `<html>`}, {200, "", `access_token=a&token_type=bearer`},
	}
	n := 0
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		a := answers[n]
		n++
		if a.header != "" {
			w.Header().Set("Retry-After", a.header)
		}
		w.WriteHeader(a.status)
		_, _ = w.Write([]byte(a.body))
	}))
	defer s.Close()
	pauses := paced(t, nil)
	d := &Device{endpoint: Endpoint{TokenEndpoint: s.URL, ClientID: "c"}, code: keystore.NewSecret("d"), interval: time.Second, ExpiresAt: time.Now().Add(time.Hour)}
	tok, err := (&Client{}).Redeem(t.Context(), d)
	if err != nil || tok.AccessToken.Reveal() != "a" {
		t.Fatal(err)
	}
	var got strings.Builder
	for _, p := range *pauses {
		fmt.Fprint(&got, int(p.Seconds()), " ")
	}
	if got.String() != "1 1 40 6 11 90 60 " {
		t.Errorf("pauses: %s", got.String())
	}
}

// The answer that begins a login by code, as servers write it.
func TestDeviceDialects(t *testing.T) {
	for name, row := range map[string]struct {
		body     string
		want     string // code, user code, address, complete address
		interval time.Duration
		life     time.Duration
	}{
		"RFC 8628":      {`{"device_code":"d","user_code":"U","verification_uri":"https://as.example/d","verification_uri_complete":"https://as.example/d?U","expires_in":60,"interval":7}`, "d U https://as.example/d https://as.example/d?U", 7 * time.Second, time.Minute},
		"a form":        {"device_code=d&expires_in=60&interval=7&user_code=U&verification_uri=https%3A%2F%2Fas.example%2Fd", "d U https://as.example/d ", 7 * time.Second, time.Minute},
		"Google":        {`{"device_code":"d","user_code":"U","verification_url":"https://as.example/d","expires_in":60,"interval":7}`, "d U https://as.example/d ", 7 * time.Second, time.Minute},
		"camelCase":     {`{"deviceCode":"d","userCode":"U","verificationUri":"https://as.example/d","verificationUriComplete":"https://as.example/d?U","expiresIn":60,"interval":7}`, "d U https://as.example/d https://as.example/d?U", 7 * time.Second, time.Minute},
		"no times":      {`{"device_code":"d","user_code":"U","verification_uri":"https://as.example/d"}`, "d U https://as.example/d ", devicePause, deviceLife},
		"null times":    {`{"device_code":"d","user_code":"U","verification_uri":"https://as.example/d","expires_in":null,"interval":null}`, "d U https://as.example/d ", devicePause, deviceLife},
		"times as text": {`{"device_code":"d","user_code":"U","verification_uri":"https://as.example/d","expires_in":"60","interval":"7"}`, "d U https://as.example/d ", 7 * time.Second, time.Minute},
		"negative":      {`{"device_code":"d","user_code":"U","verification_uri":"https://as.example/d","expires_in":-1,"interval":-1}`, "d U https://as.example/d ", devicePause, deviceLife},
		"milliseconds":  {`{"device_code":"d","user_code":"U","verification_uri":"https://as.example/d","expires_in":60,"interval":5000}`, "d U https://as.example/d ", devicePause, time.Minute},
		"no pause":      {`{"device_code":"d","user_code":"U","verification_uri":"https://as.example/d","expires_in":60,"interval":0.001}`, "d U https://as.example/d ", time.Second, time.Minute},
		"no scheme":     {`{"device_code":"d","user_code":"U","verification_uri":"as.example:8443/d"}`, "d U https://as.example:8443/d ", devicePause, deviceLife},
		"half a scheme": {`{"device_code":"d","user_code":"U","verification_uri":"//as.example/d"}`, "d U https://as.example/d ", devicePause, deviceLife},
		"numbers":       {`{"device_code":12345678901234567,"user_code":123456,"verification_uri":"https://as.example/d"}`, "12345678901234567 123456 https://as.example/d ", devicePause, deviceLife},
		"wrapped":       {`{"code":0,"data":{"device_code":"d","user_code":"U","verification_uri":"https://as.example/d"}}`, "d U https://as.example/d ", devicePause, deviceLife},
		"result":        {`{"success":true,"result":{"device_code":"d","user_code":"U","verification_uri":"https://as.example/d"}}`, "d U https://as.example/d ", devicePause, deviceLife},
		"all in ms":     {`{"device_code":"d","user_code":"U","verification_uri":"https://as.example/d","expires_in":600000,"interval":5000}`, "d U https://as.example/d ", devicePause, 600000 * time.Second},
		"one address":   {`{"device_code":"d","user_code":"U","verification_uri_complete":"https://as.example/d?U"}`, "d U https://as.example/d?U https://as.example/d?U", devicePause, deviceLife},
		"a script":      {`{"device_code":"d","user_code":"U","verification_uri":"javascript:alert(1)"}`, "", 0, 0},
		"a user name":   {`{"device_code":"d","user_code":"U","verification_uri":"me@as.example"}`, "", 0, 0},
		"no address":    {`{"device_code":"d","user_code":"U"}`, "", 0, 0},
		"a refusal":     {`error=unauthorized_client&device_code=d&user_code=U&verification_uri=as.example`, "", 0, 0},
	} {
		s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { _, _ = w.Write([]byte(row.body)) }))
		d, err := (&Client{}).AuthorizeDevice(t.Context(), Provider{DeviceAuthorizationEndpoint: s.URL}, Endpoint{})
		s.Close()
		if (err == nil) != (row.want != "") {
			t.Errorf("%s: %v", name, err)
		}
		if err != nil {
			continue
		}
		got := strings.Join([]string{d.code.Reveal(), d.UserCode, d.VerificationURI, d.VerificationURIComplete}, " ")
		if life := time.Until(d.ExpiresAt); got != row.want || d.interval != row.interval || life > row.life || life < row.life-30*time.Second {
			t.Errorf("%s: %s, every %v, for %v", name, got, d.interval, life)
		}
	}
}

// Where nobody said how the token endpoint takes the client's secret, a login finds
// out, with its code; a refresh never does.
func TestSecretByBasic(t *testing.T) {
	for name, row := range map[string]struct {
		status int
		body   string
		style  string
		tried  int
	}{
		"invalid_client":       {401, `{"error":"invalid_client"}`, "", 2},
		"invalid_client, 400":  {400, `{"error":"invalid_client"}`, "", 2},
		"invalid_request":      {400, `{"error":"invalid_request","error_description":"Missing Authorization header"}`, "", 2},
		"no error code":        {401, `{"message":"Unauthorized","error":401}`, "", 2},
		"the code is bad":      {400, `{"error":"invalid_grant"}`, "", 1},
		"the scope is bad":     {400, `{"error":"invalid_scope"}`, "", 1},
		"for now":              {503, ``, "", 1},
		"told: in the body":    {401, `{"error":"invalid_client"}`, AuthParams, 1},
		"told: without secret": {401, `{"error":"invalid_client"}`, AuthNone, 1},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			var tried, basic int
			s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
				tried++
				if user, secret, ok := r.BasicAuth(); ok && user == "c%2F1" && secret == "hush%3A+1" && r.PostFormValue("client_secret") == "" {
					basic++
					_, _ = w.Write([]byte(`{"access_token":"a"}`))
					return
				}
				w.WriteHeader(row.status)
				_, _ = w.Write([]byte(row.body))
			}))
			defer s.Close()
			e := Endpoint{TokenEndpoint: s.URL, ClientID: "c/1", ClientSecret: keystore.NewSecret("hush: 1"), AuthStyle: row.style}
			a := NewAuthorization(Provider{}, e, "http://127.0.0.1/cb")
			_, err := (&Client{}).Exchange(t.Context(), a, keystore.NewSecret("code"))
			want := row.style
			if row.tried == 2 {
				want = AuthHeader
			}
			if (err == nil) != (row.tried == 2) || tried != row.tried || a.AuthStyle() != want {
				t.Errorf("%d requests, style %q: %v", tried, a.AuthStyle(), err)
			}
			tried = 0
			if _, err := (&Client{}).Refresh(t.Context(), e, keystore.NewSecret("r"), nil); err == nil || tried != 1 {
				t.Errorf("a refresh token was sent %d times: %v", tried, err)
			}
		})
	}
}

// A refused second way leaves the first refusal to be told, and nothing to be kept.
func TestSecretRefusedBothWays(t *testing.T) {
	n := 0
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		n++
		w.WriteHeader(http.StatusBadRequest)
		_, _ = w.Write([]byte([]string{`{"error":"invalid_client"}`, `{"error":"invalid_grant"}`}[n-1]))
	}))
	defer s.Close()
	a := NewAuthorization(Provider{}, Endpoint{TokenEndpoint: s.URL, ClientID: "c", ClientSecret: keystore.NewSecret("hush")}, "http://127.0.0.1/cb")
	_, err := (&Client{}).Exchange(t.Context(), a, keystore.NewSecret("code"))
	if failed, _ := errors.AsType[*Error](err); failed == nil || failed.Code != "invalid_client" || a.AuthStyle() != "" || n != 2 {
		t.Errorf("%v, %q, %d requests", err, a.AuthStyle(), n)
	}
}

func TestDeviceSecretByBasic(t *testing.T) {
	_, c, p, e := loginRig(t, brokertest.Config{ClientSecret: "hush", ClientAuth: "client_secret_basic"})
	e.AuthStyle, e.ClientSecret = "", keystore.NewSecret("hush")
	paced(t, nil)
	d, err := c.AuthorizeDevice(t.Context(), p, e)
	testenv.Must(t, err)
	if d.AuthStyle() != AuthHeader {
		t.Errorf("%q", d.AuthStyle())
	}
	d.endpoint.AuthStyle = "" // the device endpoint wanted no secret
	if _, err := c.Redeem(t.Context(), d); err != nil || d.AuthStyle() != AuthHeader {
		t.Errorf("%q, %v", d.AuthStyle(), err)
	}
}
