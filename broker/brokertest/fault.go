package brokertest

import (
	"encoding/json"
	"fmt"
	"maps"
	"net/http"
	"reflect"
	"slices"
	"strings"
	"sync"
	"time"
)

// Endpoint says where a Fault strikes.
type Endpoint string

// The endpoints.
const (
	OnToken      Endpoint = "token"   // the token endpoint, whatever is asked of it
	OnRefresh    Endpoint = "refresh" // the token endpoint with grant_type=refresh_token
	OnDevice     Endpoint = "device_authorization"
	OnAuthorize  Endpoint = "authorize"
	OnRevoke     Endpoint = "revoke"
	OnIntrospect Endpoint = "introspect"
	OnUserinfo   Endpoint = "userinfo"
	OnMetadata   Endpoint = "metadata"
	OnAPI        Endpoint = "api"
	OnRegister   Endpoint = "register"
	OnMCP        Endpoint = "mcp"
)

// Cut is a place in an exchange.
type Cut string

// The places, in their order.
const (
	CutAccept     Cut = "accept"      // as soon as the connection is there, whatever it is for
	CutRequest    Cut = "request"     // after the request's header, before its body is read
	CutHeaders    Cut = "headers"     // the request is read, not a byte is answered
	CutMidHeaders Cut = "mid-headers" // after the first bytes of the answer's header
	CutMidBody    Cut = "mid-body"    // after half of the answer's body
	// CutIdle is as CutRequest, on a connection that has served a request
	// before; others are left alone.
	CutIdle Cut = "idle"
)

// Fault is one thing that goes wrong. The zero value of every field means
// "nothing of the kind". Its JSON form, for /_control, writes durations as
// "1.5s".
type Fault struct {
	On    Endpoint `json:"on,omitempty"`    // empty: OnToken
	User  string   `json:"user,omitempty"`  // only requests that carry a token of this user
	Skip  int      `json:"skip,omitempty"`  // so many matching requests go well first
	Times int      `json:"times,omitempty"` // zero: once; negative: until ClearFaults

	// After lets the server do its work first, so that a refresh token is
	// spent. It is implied where the fault only spoils the server's own answer.
	After bool `json:"after,omitempty"`

	Delay time.Duration   `json:"-"` // before the answer
	Until <-chan struct{} `json:"-"` // the answer waits until it is closed
	Reset Cut             `json:"reset,omitempty"`
	Stall Cut             `json:"stall,omitempty"` // CutHeaders, CutMidHeaders or CutMidBody: silence from there on
	Drip  time.Duration   `json:"-"`               // between any two bytes of the body

	// Status, Header and Body replace the answer. In header values "{self}"
	// and "{other}" stand for the URLs of the server and of OtherURL.
	Status int               `json:"status,omitempty"`
	Header map[string]string `json:"header,omitempty"`
	Body   string            `json:"body,omitempty"`

	// What follows changes the server's own answer.
	Set  map[string]json.RawMessage `json:"set,omitempty"`  // members of a JSON answer
	Drop []string                   `json:"drop,omitempty"` // members left out
	// Append lengthens string members; the server knows a token by its longer
	// name from then on.
	Append  map[string]string `json:"append,omitempty"`
	Subject string            `json:"subject,omitempty"` // another user, in ID token and userinfo
	Spoil   Spoil             `json:"spoil,omitempty"`
	Pad     int               `json:"pad,omitempty"` // bytes of white space before the body

	DateOffset time.Duration `json:"-"` // how wrong the Date header is
}

type durations struct {
	Delay      string `json:"delay,omitempty"`
	Drip       string `json:"drip,omitempty"`
	DateOffset string `json:"date_offset,omitempty"`
}

// UnmarshalJSON reads the form that /_control takes.
func (f *Fault) UnmarshalJSON(data []byte) error {
	type plain Fault
	var in struct {
		plain
		durations
	}
	if err := json.Unmarshal(data, &in); err != nil {
		return err
	}
	*f = Fault(in.plain)
	for _, d := range []struct {
		text string
		to   *time.Duration
	}{{in.durations.Delay, &f.Delay}, {in.durations.Drip, &f.Drip}, {in.durations.DateOffset, &f.DateOffset}} {
		if d.text == "" {
			continue
		}
		var err error
		if *d.to, err = time.ParseDuration(d.text); err != nil {
			return err
		}
	}
	return nil
}

func (f Fault) isZero() bool { return reflect.ValueOf(f).IsZero() }

func (f Fault) meets(on Endpoint, user string) bool {
	where := f.On
	if where == "" {
		where = OnToken
	}
	return (where == on || where == OnToken && on == OnRefresh) && (f.User == "" || f.User == user)
}

// works reports whether the server does what it was asked to do.
func (f Fault) works() bool {
	return f.After || f.Status == 0 && f.Body == "" && f.Reset != CutHeaders && f.Stall != CutHeaders
}

// change makes the answer that is sent out of the server's own one.
func (f Fault) change(a answer, now time.Time, self, other string) (answer, error) {
	if f.Status != 0 || f.Body != "" {
		a = reply(f.Status, "application/json", f.Body)
		set(&a.status, http.StatusOK)
	} else if a.status == 0 {
		return a, nil // nothing of it will be sent
	}
	var err error
	if a.status < 300 && len(f.Set)+len(f.Drop)+len(f.Append) > 0 {
		if a.body, err = f.edit(a.body); err != nil {
			return a, err
		}
	}
	if a, err = f.Spoil.apply(a); err != nil {
		return a, err
	}
	a.body = append(slices.Repeat([]byte(" "), f.Pad), a.body...)
	place := placeholders("{self}", self, "{other}", other)
	for name, value := range f.Header {
		a.header.Set(name, place.Replace(value))
	}
	if f.DateOffset != 0 {
		a.header.Set("Date", now.Add(f.DateOffset).UTC().Format(http.TimeFormat))
	}
	return a, nil
}

func (f Fault) edit(body []byte) ([]byte, error) {
	var fields map[string]json.RawMessage
	if err := json.Unmarshal(body, &fields); err != nil {
		return nil, fmt.Errorf("the answer is no JSON object: %w", err)
	}
	maps.Copy(fields, f.Set)
	for _, name := range f.Drop {
		delete(fields, name)
	}
	for name, tail := range f.Append {
		var value string
		if err := json.Unmarshal(fields[name], &value); err != nil {
			return nil, fmt.Errorf("the answer has no text in %s", name)
		}
		longer, err := json.Marshal(value + tail)
		if err != nil {
			return nil, err
		}
		fields[name] = longer
	}
	return json.Marshal(fields)
}

type faults struct {
	mu      sync.Mutex
	pending []*Fault
}

// take returns the first pending fault that match accepts, and counts it.
func (q *faults) take(match func(Fault) bool) (Fault, bool) {
	q.mu.Lock()
	defer q.mu.Unlock()
	for i, f := range q.pending {
		if !match(*f) {
			continue
		}
		if f.Skip > 0 {
			f.Skip--
			return Fault{}, false
		}
		taken := *f
		if f.Times == 1 {
			q.pending = slices.Delete(q.pending, i, i+1)
		} else if f.Times > 0 {
			f.Times--
		}
		return taken, true
	}
	return Fault{}, false
}

// Inject queues faults; each strikes the next requests that it matches.
func (s *Server) Inject(list ...Fault) {
	s.faults.mu.Lock()
	defer s.faults.mu.Unlock()
	for _, f := range list {
		set(&f.Times, 1)
		s.faults.pending = append(s.faults.pending, &f)
	}
}

// ClearFaults forgets every pending fault.
func (s *Server) ClearFaults() {
	s.faults.mu.Lock()
	defer s.faults.mu.Unlock()
	s.faults.pending = nil
}

// PendingFaults is how many faults have not struck as often as they should.
func (s *Server) PendingFaults() int {
	s.faults.mu.Lock()
	defer s.faults.mu.Unlock()
	return len(s.faults.pending)
}

// FaultNames lists the names of Faults in alphabetical order.
func FaultNames() []string { return slices.Sorted(maps.Keys(Faults())) }

// Faults returns known misbehaviours of token endpoints by name, ready for
// Inject. Those whose name ends in "-after" spend the refresh token first; the
// ones that only spoil the server's own answer do so too.
func Faults() map[string]Fault {
	all := map[string]Fault{
		"reset-accept":      {Reset: CutAccept},
		"reset-request":     {Reset: CutRequest},
		"reset-headers":     {Reset: CutHeaders},
		"reset-mid-headers": {Reset: CutMidHeaders},
		"reset-mid-body":    {Reset: CutMidBody},
		"drop-after":        {Reset: CutHeaders, After: true},
		"idle-close":        {Reset: CutIdle},
		"stall":             {Stall: CutHeaders},
		"stall-after":       {Stall: CutHeaders, After: true},
		"stall-mid-headers": {Stall: CutMidHeaders},
		"stall-mid-body":    {Stall: CutMidBody},
		"drip":              {Drip: time.Second},

		"html":        {Status: 200, Header: htmlType, Body: portal},
		"html-after":  {Status: 200, Header: htmlType, Body: portal, After: true},
		"html-502":    {Status: 502, Header: htmlType, Body: "<html><body><h1>502 Bad Gateway</h1></body></html>"},
		"empty":       {Status: 200},
		"empty-after": {Status: 200, After: true},
		"no-token":    {Drop: []string{"access_token"}},
		"huge":        {Pad: 10 << 20},
		"truncated":   {Spoil: SpoilTruncate},

		"429":                 {Status: 429},
		"429-text":            {Status: 429, Header: map[string]string{"Content-Type": "text/plain"}, Body: "slow down"},
		"error-rfc":           {Status: 400, Body: `{"error":"invalid_grant","error_description":"refresh token not found or invalid"}`},
		"error-object":        {Status: 400, Body: `{"type":"error","error":{"type":"invalid_grant","message":"Refresh token not found or invalid"}}`},
		"error-nested":        {Status: 401, Body: `{"error":{"message":"Your refresh token has already been used to generate a new access token.","type":"invalid_request_error","param":null,"code":"refresh_token_reused"}}`},
		"error-text":          {Status: 400, Body: `{"message":"The provided refresh token is invalid or expired"}`},
		"error-401":           {Status: 401, Body: `{"error":"invalid_grant"}`},
		"error-401-empty":     {Status: 401},
		"error-403":           {Status: 403, Body: `{"error":"access_denied"}`},
		"error-200":           {Status: 200, Body: `{"error":"invalid_grant","error_description":"refresh token not found or invalid"}`},
		"invalid-client":      {Status: 401, Body: `{"error":"invalid_client"}`},
		"unauthorized-client": {Status: 400, Body: `{"error":"unauthorized_client"}`},
		"invalid-scope":       {Status: 400, Body: `{"error":"invalid_scope"}`},
		"slow-down":           {Status: 400, Body: `{"error":"slow_down"}`},
		"pending":             {Status: 400, Body: `{"error":"authorization_pending"}`},

		"scope-reduced":   member("scope", "openid"),
		"subject-changed": {Subject: "mallory@example.com"},
		"token-type-mac":  member("token_type", "mac"),
		"token-type-odd":  member("token_type", "bEARER"),
		"refresh-omitted": {Drop: []string{"refresh_token"}},
		"refresh-blank":   member("refresh_token", ""),
		"refresh-null":    {Set: map[string]json.RawMessage{"refresh_token": json.RawMessage("null")}},

		"expires-missing": {Drop: []string{"expires_in"}},
		"date-ahead":      {DateOffset: 5 * time.Hour},
		"date-behind":     {DateOffset: -5 * time.Hour},
	}
	for _, spoil := range Spelled() {
		all[string(spoil)] = Fault{Spoil: spoil}
	}
	for name, value := range map[string]string{
		"seconds": "30", "float": "1.5", "zero": "0", "negative": "-5", "absurd": "99999999999", "garbage": "soon",
		"date":      time.Now().Add(30 * time.Second).UTC().Format(http.TimeFormat),
		"past-date": time.Now().Add(-time.Hour).UTC().Format(http.TimeFormat),
	} {
		all["429-"+name] = Fault{Status: 429, Header: map[string]string{"Retry-After": value}, Body: `{"error":"rate_limited"}`}
	}
	all["429-ms"] = Fault{Status: 429, Header: map[string]string{"Retry-After-Ms": "1500"}}
	for _, status := range []int{500, 502, 503, 504} {
		name := fmt.Sprint(status)
		all[name] = Fault{Status: status, Body: `{"error":"server_error"}`}
		all[name+"-after"] = Fault{Status: status, Body: `{"error":"server_error"}`, After: true}
		page := fmt.Sprintf("<html><body><h1>%d %s</h1></body></html>", status, http.StatusText(status))
		all["gateway-"+name] = Fault{Status: status, Header: htmlType, Body: page}
		all["gateway-"+name+"-after"] = Fault{Status: status, Header: htmlType, Body: page, After: true}
	}
	for _, status := range []int{302, 307, 308} {
		for where, to := range map[string]string{"self": "{self}/token", "other": "{other}/token"} {
			all[fmt.Sprintf("redirect-%d-%s", status, where)] = Fault{Status: status, Header: map[string]string{"Location": to}}
		}
	}
	for name, raw := range map[string]string{
		"string": `"3600"`, "word": `"soon"`, "float": "3600.5", "zero": "0", "negative": "-5", "null": "null",
		"huge": "9223372036854775807", "1e18": "1e18", "1e400": "1e400", "object": `{"seconds":3600}`, "bool": "true",
	} {
		all["expires-"+name] = Fault{Set: map[string]json.RawMessage{"expires_in": json.RawMessage(raw)}}
	}
	for name, odd := range map[string]string{
		"2600": strings.Repeat("x", 2600), "4200": strings.Repeat("x", 4200), "64k": strings.Repeat("x", 64<<10),
		"newline": "a\nb", "quotes": `a"b'c\d`, "unicode": "schlüssel-鍵-🔑", "nul": "a\x00b", "space": " a b ",
	} {
		all["access-"+name] = Fault{Append: map[string]string{"access_token": odd}}
		all["refresh-"+name] = Fault{Append: map[string]string{"refresh_token": odd}}
	}
	return all
}

var htmlType = map[string]string{"Content-Type": "text/html; charset=utf-8"}

const portal = "<!doctype html><title>Welcome</title><p>Please accept the terms of this network.</p>"

func member(name, value string) Fault {
	raw, err := json.Marshal(value)
	if err != nil {
		panic(err) // a string always encodes
	}
	return Fault{Set: map[string]json.RawMessage{name: raw}}
}
