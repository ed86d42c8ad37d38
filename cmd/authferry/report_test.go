package main

import (
	"encoding/json"
	"os"
	"strconv"
	"strings"
	"testing"

	"github.com/rogpeppe/go-internal/testscript"
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
