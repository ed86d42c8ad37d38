package brokertest

import (
	"encoding/json"
	"fmt"
	"maps"
	"net/http"
	"slices"
	"strings"
	"time"
)

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
