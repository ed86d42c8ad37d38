package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/authferry/authferry/broker/brokertest"
)

type demoCmd struct {
	Authferry string        `placeholder:"PATH" help:"Use this authferry instead of building one."`
	Callers   int           `default:"32" help:"How many processes ask at once."`
	Kill      int           `default:"8" help:"How many of them are killed."`
	Latency   time.Duration `default:"100ms" help:"How long the token endpoint takes."`
}

// The users of the simulated provider, and the labels of their accounts.
const (
	personal, personalUser = "Personal", "ada@example.com"
	work, workUser         = "Work", "ada@work.example"
)

// firstTTL is short, so that both tokens run out while somebody watches; what
// a refresh yields lasts, so that one refresh is enough however slow the
// machine is.
const firstTTL, laterTTL = 2 * time.Second, time.Hour

// Validate is called by kong.
func (c *demoCmd) Validate() error {
	if c.Callers < 1 || c.Callers > 256 || c.Kill < 0 || c.Kill >= c.Callers {
		return errors.New("--callers is from 1 to 256, and --kill below it")
	}
	return nil
}

// Run plays the demo; errClaims means that it went through and a claim did not
// hold.
func (c *demoCmd) Run(ctx context.Context, out *screen) error {
	dir, err := os.MkdirTemp("", "authferry-demo-")
	if err != nil {
		return err
	}
	d := &demo{screen: out, demoCmd: *c, stage: stage{dir: dir}}
	defer func() { d.strike() }()
	out.title("authferry demo")
	if d.program = c.Authferry; d.program == "" {
		if d.program, err = build(ctx, out, dir); err != nil {
			return err
		}
	} else if d.program, err = filepath.Abs(d.program); err != nil {
		return err
	}
	ctx, cancel := context.WithTimeoutCause(ctx, 20*time.Second, errors.New("the demo takes longer than 20 s, which it should not"))
	defer cancel()
	claims, err := d.play(ctx)
	if cause := context.Cause(ctx); err != nil && cause != nil {
		out.line("")
		out.para("Stopped early; nothing is left behind.")
		return cause
	}
	if err != nil {
		return err
	}
	return out.conclude(append(claims,
		claim{"processes left behind", 0, d.orphans, "a process had to be ended at the end"},
		claim{"folders left behind", 0, d.strike(), "the temporary folder " + dir + " could not be removed"},
	))
}

type demo struct {
	*screen
	demoCmd
	stage
	server  *brokertest.Server
	models  *modelAPI
	hold    chan struct{} // closed: the server may answer
	orphans int           // processes that settle had to end
}

// play runs all acts; nothing of it is left running when it returns.
func (d *demo) play(ctx context.Context) ([]claim, error) {
	var err error
	d.server, err = brokertest.Start(brokertest.Config{
		Rotation: brokertest.Strict, AccessTTL: firstTTL, Latency: d.Latency,
		Users: []string{personalUser, workUser},
	})
	if err != nil {
		return nil, err
	}
	defer d.server.Close()
	d.models = d.newModelAPI()
	defer d.models.Close()
	defer func() {
		d.orphans = d.settle(func() bool {
			l := d.server.Ledger()
			return l.Inflight[personalUser]+l.Inflight[workUser] == 0
		})
	}()
	defer d.release()
	if err := d.prepare(ctx); err != nil {
		return nil, err
	}
	first, err := d.actOne(ctx)
	if err != nil {
		return nil, err
	}
	second, err := d.actTwo(ctx)
	if err != nil {
		return nil, err
	}
	third, err := d.actThree(ctx)
	if err != nil {
		return nil, err
	}
	fourth, err := d.actFour(ctx)
	return slices.Concat(first, second, third, fourth), err
}

// prepare makes a keystore, a provider and two accounts, all in the stage.
func (d *demo) prepare(ctx context.Context) error {
	d.para("An authorization server runs on this machine, at " + d.server.URL + ". It is as strict as they come: " +
		"a refresh token works once, and whoever sends it a second time ends the login.")
	if err := d.run(ctx, "", "keystore", "init", "--key-file", filepath.Join(d.dir, "key")); err != nil {
		return err
	}
	if err := d.run(ctx, "", "provider", "add", "sim", "--issuer", d.server.URL, "--client-id", "authferry-sim", "--api-origin", d.models.URL, "--api-origin", d.server.URL); err != nil {
		return err
	}
	issued := time.Now()
	for _, a := range []struct{ label, user string }{{personal, personalUser}, {work, workUser}} {
		grant, err := json.Marshal(d.server.Issue(a.user)) // #nosec G117 -- an invented token, and authferry's stdin is where it belongs
		if err != nil {
			return err
		}
		if err := d.run(ctx, string(grant), "import", "grant", "sim", "--label", a.label); err != nil {
			return err
		}
	}
	if err := d.server.Configure(func(c *brokertest.Config) { c.AccessTTL = laterTTL }); err != nil {
		return err
	}
	d.line("")
	d.para(fmt.Sprintf("authferry has two accounts there, %q and %q, in sealed files in a temporary folder. Their access tokens run out in %s.", personal, work, firstTTL))
	return sleep(ctx, firstTTL-time.Since(issued))
}

// block lets the server take the next refresh of user and keep its answer.
func (d *demo) block(user string) {
	d.hold = make(chan struct{})
	d.server.Inject(brokertest.Fault{On: brokertest.OnRefresh, User: user, Until: d.hold})
}

func (d *demo) release() {
	if d.hold != nil {
		close(d.hold)
		d.hold = nil
	}
}

// arrived waits until a refresh of user is in flight.
func (d *demo) arrived(ctx context.Context, user string) error {
	return d.server.WaitFor(ctx, func(l brokertest.Ledger) bool { return l.Inflight[user] > 0 })
}

func (d *demo) actOne(ctx context.Context) ([]claim, error) {
	d.title(fmt.Sprintf("Act 1: %d programs want the token at the moment it expires", d.Callers))
	d.para(fmt.Sprintf("%d processes run `authferry token --account %s`. While the provider's answer to the refresh is on its way, %d of them are killed (kill -9, their whole process group).",
		d.Callers, personal, d.Kill))
	before := d.server.Ledger()
	d.block(personalUser)
	began := time.Now()
	herd, err := d.herd(ctx)
	if err != nil {
		return nil, err
	}
	var last time.Time
	counts := struct{ served, killed, good int }{}
	d.explain(herd)
	for _, c := range herd {
		switch {
		case c.killed():
			counts.killed++
		case c.problem == nil:
			counts.served++
			if c.done.After(last) {
				last = c.done
			}
			if c.served.AccessToken == herd[len(herd)-1].served.AccessToken && d.works(ctx, c.served.AccessToken) {
				counts.good++
			}
		}
	}
	l := d.server.Ledger()
	lived := d.Callers - d.Kill
	claims := []claim{
		{"killed in mid-refresh", d.Kill, counts.killed, "some processes had ended before they were to be killed"},
		{"served", lived, counts.served, "a process that lived got no token"},
		{"served with the one new token", lived, counts.good, "a process got a token that does not work"},
		{"requests to the token endpoint", 1, l.TokenRequests - before.TokenRequests, "the token endpoint was not asked exactly once"},
		{"times the refresh token was sent", 1, firstSends(l, personalUser), "the refresh token was not sent exactly once"},
		{"refresh tokens used a second time", 0, len(l.Reuse) - len(before.Reuse), "a refresh token was used twice"},
		{"logins lost", 0, l.Revoked() - before.Revoked(), "a login was lost"},
	}
	d.table(claims)
	if !last.IsZero() {
		d.para(fmt.Sprintf("The last of them had the token %.2f s after the first had asked.", last.Sub(began).Seconds()))
	}
	return claims, nil
}

// herd starts all callers, kills some while the answer is on its way, and
// waits for the rest.
func (d *demo) herd(ctx context.Context) ([]*caller, error) {
	var herd []*caller
	ended := make(chan struct{})
	started := 0
	var failure error
	for range d.Callers {
		c, err := d.ask(ctx, personal)
		if err != nil {
			failure = err
			break
		}
		herd = append(herd, c)
		started++
		go func() { c.wait(); ended <- struct{}{} }()
	}
	if failure == nil {
		failure = d.arrived(ctx, personalUser)
	}
	if failure == nil {
		for _, c := range herd[:d.Kill] {
			c.kill()
		}
	}
	d.release()
	for range started {
		<-ended
	}
	if failure == nil {
		failure = ctx.Err()
	}
	return herd, failure
}

func (d *demo) actTwo(ctx context.Context) ([]claim, error) {
	d.title("Act 2: the only program that waits for the refresh is killed")
	d.para(fmt.Sprintf("One process asks for the token of %q and is killed while its refresh request is at the provider: the old refresh token is spent, and nobody is there to take the new one. Then the next process asks.", work))
	before := d.server.Ledger()
	d.block(workUser)
	first, err := d.ask(ctx, work)
	if err != nil {
		return nil, err
	}
	ended := make(chan struct{})
	go func() { first.wait(); close(ended) }()
	err = d.arrived(ctx, workUser)
	first.kill()
	<-ended
	d.release()
	if err != nil {
		return nil, err
	}
	next, err := d.ask(ctx, work)
	if err != nil {
		return nil, err
	}
	next.wait()
	if ctx.Err() != nil {
		return nil, ctx.Err()
	}
	d.explain([]*caller{next})
	l := d.server.Ledger()
	claims := []claim{
		{"killed in mid-refresh", 1, count(first.killed()), "the process had ended before it was to be killed"},
		{"next process served", 1, count(next.problem == nil && d.works(ctx, next.served.AccessToken)), "the next process got no token that works"},
		{"requests to the token endpoint", 1, l.TokenRequests - before.TokenRequests, "the token endpoint was not asked exactly once"},
		{"times the refresh token was sent", 1, firstSends(l, workUser), "the refresh token was not sent exactly once"},
		{"refresh tokens used a second time", 0, len(l.Reuse) - len(before.Reuse), "a refresh token was used twice"},
		{"logins lost", 0, l.Revoked() - before.Revoked(), "a login was lost"},
	}
	d.table(claims)
	if next.problem == nil {
		d.para("authferry refreshes in a process of its own, out of reach of whatever ends the caller, and stores the new tokens before anyone sees them.")
		d.line("")
	}
	return claims, nil
}

// explain says why processes that were not killed went without a token.
func (d *demo) explain(herd []*caller) {
	why := map[string]int{}
	for _, c := range herd {
		if c.problem != nil && !c.killed() {
			why[c.problem.Error()]++
		}
	}
	for _, text := range slices.Sorted(maps.Keys(why)) {
		d.line("")
		d.para(fmt.Sprintf("%d not served: %s", why[text], text))
	}
}

// works uses a token at the API.
func (d *demo) works(ctx context.Context, token string) bool {
	r, err := http.NewRequestWithContext(ctx, http.MethodGet, d.server.URL+"/api/hello", nil)
	if err != nil {
		return false
	}
	r.Header.Set("Authorization", "Bearer "+strings.TrimSpace(token))
	resp, err := d.server.Client().Do(r)
	if err != nil {
		return false
	}
	_ = resp.Body.Close()
	return resp.StatusCode == http.StatusOK
}

// firstSends is how often the refresh token that user's login began with came
// to the token endpoint.
func firstSends(l brokertest.Ledger, user string) int {
	sends := 0
	for _, f := range l.Of(user) {
		sends += len(f.RefreshTokens[0].Sends)
	}
	return sends
}

func count(holds bool) int {
	if holds {
		return 1
	}
	return 0
}

func sleep(ctx context.Context, d time.Duration) error {
	select {
	case <-time.After(d):
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}
