package brokertest

import (
	"crypto/rand"
	"fmt"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"time"
)

const deviceGrant = "urn:ietf:params:oauth:grant-type:device_code"

// device is one device authorization (RFC 8628).
type device struct {
	code     string
	userCode string
	scope    string
	expires  time.Time
	interval time.Duration
	polled   time.Time
	user     string // who approved it
	denied   bool
	redeemed bool
}

// deviceAuthorization is the endpoint of RFC 8628 section 3.1.
func (r *request) deviceAuthorization() answer {
	if refused := r.authenticate(); refused != nil {
		return refused.answer(r.cfg.Errors)
	}
	d := &device{
		code: token("afdc_"), userCode: userCode(), scope: r.params.Get("scope"),
		expires: r.server.Now().Add(r.cfg.DeviceTTL), interval: r.cfg.DeviceInterval,
	}
	switch r.cfg.Consent {
	case Approve:
		d.user = r.cfg.SignedIn
	case Deny:
		d.denied = true
	}
	r.server.books.change(func() {
		r.server.books.counts.DeviceRequests++
		r.server.books.devices[d.code] = d
	})
	out := map[string]any{
		"device_code": d.code, "user_code": d.userCode,
		"verification_uri":          r.server.URL + "/device",
		"verification_uri_complete": r.server.URL + "/device?user_code=" + url.QueryEscape(d.userCode),
		"expires_in":                int(r.cfg.DeviceTTL / time.Second),
	}
	if whole := int(d.interval / time.Second); whole > 0 {
		out["interval"] = whole
	}
	return jsonReply(http.StatusOK, out)
}

// userCode has no vowels and no look-alikes (RFC 8628 section 6.1).
func userCode() string {
	const letters = "BCDFGHJKLMNPQRSTVWXZ"
	text := make([]byte, 8)
	_, _ = rand.Read(text)
	for i, b := range text {
		text[i] = letters[int(b)%len(letters)]
	}
	return string(text[:4]) + "-" + string(text[4:])
}

// poll answers a device's token request (RFC 8628 section 3.5).
func (b *books) poll(now time.Time, r *request) (*family, pair, *refusal) {
	d := b.devices[r.params.Get("device_code")]
	if d == nil || d.redeemed {
		return nil, pair{}, invalidGrant("unknown device code")
	}
	hasty := !d.polled.IsZero() && now.Sub(d.polled) < d.interval
	d.polled = now
	switch {
	case !now.Before(d.expires):
		return nil, pair{}, &refusal{status: http.StatusBadRequest, code: "expired_token", text: "the device code expired"}
	case hasty:
		d.interval += 5 * time.Second
		return nil, pair{}, &refusal{status: http.StatusBadRequest, code: "slow_down", text: "polling too fast"}
	case d.denied:
		return nil, pair{}, &refusal{status: http.StatusBadRequest, code: "access_denied", text: "the user said no"}
	case d.user == "":
		return nil, pair{}, &refusal{status: http.StatusBadRequest, code: "authorization_pending", text: "the user has not decided yet"}
	}
	d.redeemed = true
	f, p := b.open(now, r.cfg, d.user, d.scope, "")
	return f, p, nil
}

// DecideDevice settles the device authorization with this user code: user
// approves it, or with an empty user it is denied.
func (s *Server) DecideDevice(code, user string) error {
	code = strings.ToUpper(strings.TrimSpace(code))
	err := fmt.Errorf("no device authorization is waiting for %q", code)
	now := s.Now()
	s.books.change(func() {
		for _, d := range s.books.devices {
			if d.userCode == code && d.user == "" && !d.denied && now.Before(d.expires) {
				d.user, d.denied, err = user, user == "", nil
			}
		}
	})
	return err
}

func (r *request) devicePage() answer {
	p := r.params
	if r.Method != http.MethodPost {
		return htmlReply(http.StatusOK, pageData{
			Title: "Connect a device", Text: "Enter the code that the terminal shows.",
			Users: userList(r.cfg, r.cfg.SignedIn), AskCode: true, UserCode: p.Get("user_code"),
		})
	}
	user, title := "", "Denied"
	if p.Get("decision") == string(Approve) && slices.Contains(r.cfg.Users, p.Get("user")) {
		user, title = p.Get("user"), "Approved"
	}
	if err := r.server.DecideDevice(p.Get("user_code"), user); err != nil {
		return htmlReply(http.StatusNotFound, pageData{Title: "Unknown code", Text: err.Error()})
	}
	return htmlReply(http.StatusOK, pageData{Title: title, Text: "You can close this page."})
}
