package main

import (
	"context"
	"fmt"
	"strings"
	"time"

	"github.com/authferry/authferry/broker/brokertest"
)

type serveCmd struct {
	Addr        string        `default:"127.0.0.1:0" help:"Where to listen; loopback only."`
	Rotation    string        `default:"strict" help:"What happens to a refresh token that was used: fixed, rotate, strict, grace-same, grace-new, grace-previous, kills-access, keeps-old, omit-refresh or blank-refresh."`
	Grace       time.Duration `default:"30s" help:"For how long the grace-… rotations forgive."`
	TTL         time.Duration `name:"ttl" default:"30s" help:"How long an access token lives."`
	RefreshTTL  time.Duration `help:"How long a refresh token lives; for ever by default."`
	Latency     time.Duration `default:"0s" help:"How long the token endpoint takes."`
	Users       []string      `default:"ada@example.com,bob@example.com" help:"Who can log in."`
	Consent     string        `enum:"ask,approve,deny" default:"ask" help:"What the login page does: ask, approve or deny."`
	ClientID    string        `name:"client-id" default:"authferry-sim" help:"The client that may log people in."`
	Quota       int           `help:"API requests that each user has in a window; no limit by default."`
	QuotaWindow time.Duration `default:"1m" help:"How long that window is."`
	Dialect     string        `default:"retry-after" help:"How the API words a refusal: ${dialects}."`
}

func (c *serveCmd) config() brokertest.Config {
	return brokertest.Config{
		Addr: c.Addr, Rotation: brokertest.Rotation(c.Rotation), Grace: c.Grace, AccessTTL: c.TTL, RefreshTTL: c.RefreshTTL,
		Latency: c.Latency, Users: c.Users, Consent: brokertest.Consent(c.Consent), ClientID: c.ClientID,
		Quota: brokertest.Quota{Requests: c.Quota, Window: c.QuotaWindow, Dialect: brokertest.Dialect(c.Dialect)},
	}
}

// Run serves until ctx ends.
func (c *serveCmd) Run(ctx context.Context, out *screen) error {
	s, err := brokertest.Start(c.config())
	if err != nil {
		return err
	}
	defer s.Close()
	control := s.URL + "/_control"
	issue := fmt.Sprintf(`curl -s %s -d '{"issue":%q}'`, control, c.Users[0])
	out.title("Authorization server on " + s.URL)
	out.para(fmt.Sprintf("Rotation %s, access tokens for %s, users %s.", c.Rotation, c.TTL, strings.Join(c.Users, ", ")))
	out.line("")
	out.para("Make it known to authferry:")
	out.commands("authferry provider add sim --issuer " + s.URL + " --client-id " + c.ClientID +
		" --scope openid --scope email --scope offline_access --api-origin " + s.URL)
	out.para("Log in, or import a login that is ready:")
	out.commands(
		"authferry login sim --label Personal",
		issue+" | authferry import grant sim --label Work",
	)
	out.para("Use it, see the ledger, let the next refresh fail:")
	out.commands(
		"authferry header --account Work | curl -H @- "+s.URL+"/api/hello",
		"curl -s "+control,
		fmt.Sprintf(`curl -s %s -d '{"fault":"503","on":"refresh"}'`, control),
	)
	out.para("Let every account have five requests a minute, and watch the next one take over:")
	out.commands(
		fmt.Sprintf(`curl -s %s -d '{"quota":{"requests":5,"dialect":"anthropic","window":"1m"}}'`, control),
		"authferry token --json                  # its lease goes into the report",
		`echo '{"lease":"LEASE","status":429,"headers":{"retry-after":"30"}}' | authferry report --next`,
		"authferry status",
	)
	out.para("Everything on it is invented. Ctrl-C ends it.")
	<-ctx.Done()
	return nil
}

func dialects() string {
	var names []string
	for _, d := range brokertest.Dialects() {
		names = append(names, string(d))
	}
	return strings.Join(names, ", ")
}
