package brokertest

import (
	"encoding/json"
	"net/http"
	"strings"
)

// answer is a whole HTTP response; handlers return one, so that a fault can
// change it before a byte is sent.
type answer struct {
	status int
	header http.Header
	body   []byte
}

func reply(status int, contentType, body string) answer {
	h := http.Header{"Cache-Control": {"no-store"}}
	if contentType != "" {
		h.Set("Content-Type", contentType)
	}
	return answer{status, h, []byte(body)}
}

func jsonReply(status int, v any) answer {
	body, err := json.Marshal(v)
	if err != nil {
		return reply(http.StatusInternalServerError, "text/plain", err.Error())
	}
	return reply(status, "application/json", string(body))
}

func redirect(to string) answer {
	a := reply(http.StatusFound, "", "")
	a.header.Set("Location", to)
	return a
}

// Shape is how the token endpoint words a refusal.
type Shape string

// The shapes known from real servers.
const (
	ShapeRFC    Shape = "rfc"    // {"error":"invalid_grant","error_description":"…"}
	ShapeObject Shape = "object" // {"type":"error","error":{"type":"invalid_grant","message":"…"}}
	ShapeNested Shape = "nested" // {"error":{"message":"…","code":"refresh_token_reused"}}
	ShapeText   Shape = "text"   // {"message":"…"}, no code anywhere
)

// refusal is an OAuth error (RFC 6749 section 5.2). Kin is the provider's own
// code for it, where the shape has a place for one.
type refusal struct {
	status int
	code   string
	text   string
	kin    string
}

func invalidGrant(text string) *refusal {
	return &refusal{http.StatusBadRequest, "invalid_grant", text, "refresh_token_invalidated"}
}

func invalidRequest(text string) *refusal {
	return &refusal{status: http.StatusBadRequest, code: "invalid_request", text: text}
}

func (r *refusal) answer(shape Shape) answer {
	code := r.code
	if r.kin != "" {
		code = r.kin
	}
	switch shape {
	case ShapeObject:
		return jsonReply(r.status, map[string]any{"type": "error", "error": map[string]string{"type": r.code, "message": r.text}})
	case ShapeNested:
		return jsonReply(r.status, map[string]any{"error": map[string]any{
			"message": r.text, "type": "invalid_request_error", "param": nil, "code": code,
		}})
	case ShapeText:
		return jsonReply(r.status, map[string]string{"message": strings.ToUpper(r.text[:1]) + r.text[1:]})
	}
	return jsonReply(r.status, map[string]string{"error": r.code, "error_description": r.text})
}
