package main

import (
	"encoding/json"
	"errors"
	"io"
	"strconv"
	"time"

	"github.com/authferry/authferry/broker"
	"github.com/authferry/authferry/broker/fault"
	"github.com/authferry/authferry/broker/oauth"
	"github.com/authferry/authferry/broker/pool"
	"github.com/authferry/authferry/rawtext"
)

type reportCmd struct {
	// Whose is an account with --status, otherwise the PROVIDER of a selection.
	Whose string `arg:"" optional:"" name:"account" help:"With --status, the account that the answer was to; else the provider whose account to use next."`
	which
	jsonFlag
	Status     *int          `placeholder:"N" help:"Report this HTTP status of the account's current token, and read no report; 0: no answer came."`
	RetryAfter string        `placeholder:"D" help:"With --status: the answer asked to wait for so long, as 1h or 30 (seconds)."`
	Next       bool          `help:"Hand out the token to go on with in the same call."`
	MinTTL     time.Duration `name:"min-ttl" default:"${min_ttl}" help:"Refresh that token first if it is valid for less."`
}

// Help is shown below the flags.
func (c *reportCmd) Help() string {
	return "With --status the account is named, not pinned: --next may print another's token."
}

const (
	maxReport = 16 << 20 // of stdin: only a part of a body is used, but all of it must be read
	maxBody   = 64 << 10
)

// reportDoc is a caller's report on stdin.
type reportDoc struct {
	Lease     string               `json:"lease"`                // of the token that was used
	Status    *int                 `json:"status"`               // of the answer; 0: none came
	Headers   map[string]oneOrMore `json:"headers,omitempty"`    // of the answer
	Body      string               `json:"body,omitempty"`       // only its first 64 KiB are used
	HoldScope string               `json:"hold_scope,omitempty"` // scope of a limit that is about one model: model:opus, for example
	Attempt   int                  `json:"attempt,omitempty"`    // how often this request was sent
}

// oneOrMore is one string or a list of them.
type oneOrMore []string

func (s *oneOrMore) UnmarshalJSON(data []byte) error {
	if len(data) > 0 && data[0] == '[' {
		return json.Unmarshal(data, (*[]string)(s))
	}
	*s = make(oneOrMore, 1)
	return json.Unmarshal(data, &(*s)[0])
}

// verdictDoc is the answer to a report.
type verdictDoc struct {
	Action       broker.Action    `json:"action"`
	Account      pool.AccountView `json:"account"`           // of the report
	Hold         *pool.HoldView   `json:"hold,omitempty"`    // that the report made or found
	RetryAfterMS int64            `json:"retry_after_ms"`    // how long to wait; 0: not at all
	RetryAt      time.Time        `json:"retry_at,omitzero"` // until when
	Next         *tokenDoc        `json:"next,omitempty"`    // with --next: the token to continue with
	Login        *errorBody       `json:"login,omitempty"`   // why a login is needed, or would help, and the command
}

func (c *reportCmd) Run(a *app) error {
	s := selection{which: c.which}
	read := c.told
	if c.Status == nil {
		s.Provider = c.Whose
		read = func() (broker.ReportRequest, error) { return c.read(a) }
	}
	r, err := read()
	if err != nil {
		return err
	}
	if c.MinTTL < 0 {
		return &fault.Error{Code: fault.Usage, Message: "--min-ttl can't be negative"}
	}
	r.Next, r.MinTTL = c.Next, c.MinTTL
	res, err := a.broker.Report(a.ctx, s.resolve(), r)
	if err != nil {
		return err
	}
	d := verdictDoc{Action: res.Action, Account: res.Account, Hold: res.Hold,
		RetryAfterMS: (res.RetryAfter + time.Millisecond - 1).Milliseconds(), RetryAt: up(res.RetryAt)}
	if res.Next != nil {
		next := newTokenDoc(res.Next, time.Now())
		d.Next = &next
	}
	if res.Why != nil && (res.Action == broker.LogIn || res.Why.Refused) {
		why := newErrorBody(res.Why, a.term.hints.of(res.Why))
		d.Login = &why
	}
	return a.printJSON(d)
}

// told is the report that the flags make.
func (c *reportCmd) told() (broker.ReportRequest, error) {
	r := broker.ReportRequest{Account: c.Whose, Status: *c.Status, HoldScope: c.HoldScope, Header: map[string][]string{}}
	if c.Whose == "" {
		return r, &fault.Error{Code: fault.Usage, Message: "name the account whose token got that status"}
	}
	if c.RetryAfter == "" {
		return r, nil
	}
	seconds, err := strconv.ParseUint(c.RetryAfter, 10, 31)
	if err != nil {
		d, err := oauth.ParseLifetime(c.RetryAfter)
		if err != nil {
			return r, &fault.Error{Code: fault.Usage, Message: "invalid --retry-after: write it as 1h, 2d or 30 (seconds)"}
		}
		seconds = uint64((d + time.Second - 1) / time.Second) // #nosec G115 -- it is positive
	}
	r.Header["retry-after"] = []string{strconv.FormatUint(seconds, 10)}
	return r, nil
}

// read is the report on stdin.
func (c *reportCmd) read(a *app) (broker.ReportRequest, error) {
	if c.RetryAfter != "" {
		return broker.ReportRequest{}, &fault.Error{Code: fault.Usage, Message: "--retry-after goes with --status"}
	}
	in := a.in
	if isTerminal(in) {
		a.term.note("reading a report from the terminal; end it with Ctrl-D")
		in = a.input()
	}
	r, err := readReport(in)
	if err != nil && a.ctx.Err() != nil {
		return r, &fault.Error{Code: fault.Cancelled, Message: "interrupted; nothing was changed"}
	}
	return r, err
}

// readReport reads one report. Its errors don't quote it.
func readReport(in io.Reader) (broker.ReportRequest, error) {
	bad := func(why string) (broker.ReportRequest, error) {
		return broker.ReportRequest{}, &fault.Error{Code: fault.Usage, Message: why + "; nothing was changed",
			Next: []fault.Remedy{{Do: reportIt}}}
	}
	data, err := io.ReadAll(io.LimitReader(in, maxReport+1))
	switch {
	case err != nil:
		return bad("stdin can't be read")
	case len(data) == 0:
		return bad("stdin is empty")
	case len(data) > maxReport:
		return bad("the report on stdin is over 16 MB")
	}
	if data, err = rawtext.UTF8(data); err != nil {
		return bad("stdin is not a report in JSON: " + err.Error())
	}
	var d reportDoc
	if err := json.Unmarshal(data, &d); err != nil {
		if wrong, ok := errors.AsType[*json.UnmarshalTypeError](err); ok && wrong.Field != "" {
			return bad("the report's " + wrong.Field + " has a value of the wrong kind")
		}
		return bad("stdin is not a report in JSON")
	}
	switch {
	case d.Lease == "":
		return bad("the report has no lease")
	case d.Status == nil:
		return bad("the report has no status (0 means that no answer came)")
	}
	r := broker.ReportRequest{Lease: d.Lease, Status: *d.Status, Header: map[string][]string{},
		Body: []byte(d.Body[:min(len(d.Body), maxBody)]), HoldScope: d.HoldScope, Attempt: d.Attempt}
	for name, values := range d.Headers {
		r.Header[name] = values
	}
	return r, nil
}
