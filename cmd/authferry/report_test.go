package main

import (
	"encoding/json"
	"os"
	"strconv"
	"strings"
	"sync"
	"testing"

	"github.com/rogpeppe/go-internal/testscript"

	"github.com/authferry/authferry/broker"
	"github.com/authferry/authferry/broker/brokertest"
	"github.com/authferry/authferry/docs/schema"
	"github.com/authferry/authferry/proofs"
)

// answered FILE STATUS [NAME=VALUE]… writes a report: the API answered so to
// the token of the document on stdout. hold_scope= and attempt= are members of
// the report, other names are headers.
func answered(ts *testscript.TestScript, _ bool, args []string) {
	type document struct {
		Lease string    `json:"lease"`
		Next  *document `json:"next"`
	}
	var d document
	ts.Check(json.Unmarshal([]byte(ts.ReadFile("stdout")), &d))
	if d.Next != nil {
		d = *d.Next
	}
	status, err := strconv.Atoi(args[1])
	ts.Check(err)
	headers := map[string]string{}
	report := map[string]any{"lease": d.Lease, "status": status, "headers": headers}
	for _, arg := range args[2:] {
		name, value, _ := strings.Cut(arg, "=")
		switch name {
		case "hold_scope":
			report[name] = value
		case "attempt":
			report[name], err = strconv.Atoi(value)
			ts.Check(err)
		default:
			headers[name] = value
		}
	}
	data, err := json.Marshal(report)
	ts.Check(err)
	ts.Check(schema.CheckReport(string(data)))
	ts.Check(os.WriteFile(ts.MkAbs(args[0]), data, 0o600))
}

func FuzzReadReport(f *testing.F) {
	f.Add(`{"lease":"acc_aaaaaaaaaaaaaaaa.1","status":429,"headers":{"retry-after":["1","2"],"x":"y"},"body":"…","attempt":3}`)
	f.Add(`{"lease":1}`)
	f.Add(`[]`)
	f.Fuzz(func(t *testing.T, text string) {
		r, err := readReport(strings.NewReader(text))
		if err == nil && (r.Lease == "" || len(r.Body) > maxBody) {
			t.Errorf("%+v", r)
		}
	})
}

// A body over 64 KiB is cut, not refused; what is no report says why and quotes
// nothing of it.
func TestReadReport(t *testing.T) {
	long := `{"lease":"l","status":200,"body":"` + strings.Repeat("x", 1<<20) + `"}`
	r, err := readReport(strings.NewReader(long))
	if err != nil || len(r.Body) != maxBody {
		t.Fatalf("%d bytes, %v", len(r.Body), err)
	}
	for _, test := range []struct{ in, want string }{
		{"", "stdin is empty"},
		{"secret", "not a report in JSON"},
		{`{"lease":"l","status":200} secret`, "not a report in JSON"},
		{`{"lease":"l","status":"secret"}`, "status has a value of the wrong kind"},
		{`{"lease":"l","status":200,"headers":{"secret":7}}`, "wrong kind"},
		{`{"lease":"l","status":200,"headers":{"a":["b",{}]}}`, "wrong kind"},
		{`{"lease":"l"}`, "has no status"},
		{`{"status":1}`, "has no lease"},
		{`{"lease":"l","status":200,"body":"` + strings.Repeat("x", maxReport) + `"}`, "over 16 MB"},
	} {
		_, err := readReport(strings.NewReader(test.in))
		if err == nil || !strings.Contains(err.Error(), test.want) || strings.Contains(err.Error(), "secret") {
			t.Errorf("%.40s: %v, want %s", test.in, err, test.want)
		}
	}
}

// Many programs run into one limit at the same moment: the pool moves by one
// account, and all of them go on with the same one.
func TestProcessesReportOneLease(t *testing.T) {
	t.Parallel()
	users := []string{"ada", "bob", "cat"}
	l := &loop{t: t, dir: t.TempDir(), server: brokertest.New(t, brokertest.Config{Users: users})}
	l.populate(users)
	var first tokenDoc
	l.decode(l.authferry("", "token", "sim", "--json"), &first)
	report := `{"lease":"` + first.Lease + `","status":429,"headers":{"retry-after":["3600"]}}`
	verdicts := make([]verdictDoc, proofs.Size(16, 50))
	var wg sync.WaitGroup
	for i := range verdicts {
		wg.Go(func() {
			cmd := l.command(report, "report", "--next")
			out, err := cmd.Output()
			if err == nil {
				err = json.Unmarshal(out, &verdicts[i])
			}
			if err != nil {
				t.Errorf("%v: %s", err, out)
			}
		})
	}
	wg.Wait()
	for _, v := range verdicts {
		if !t.Failed() && (v.Action != broker.Switch || v.Next.Account.Label != "bob" || v.Account.Label != "ada") {
			t.Fatalf("%s from %s to %+v", v.Action, v.Account.Label, v.Next)
		}
	}
	var s broker.StatusView
	l.decode(l.authferry("", "status", "--json"), &s)
	if held := s.Pools[0].Accounts; s.Pools[0].Current != held[1].ID || len(held[0].Holds) != 1 || held[2].Holds != nil {
		t.Errorf("%+v", s.Pools[0])
	}
}
