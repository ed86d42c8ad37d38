package brokertest

import (
	"encoding/json"
	"fmt"
	"maps"
	"net/http"
	"reflect"
	"slices"
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
