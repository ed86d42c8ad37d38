package share

import (
	"crypto/rand"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"os"
	"time"

	"github.com/authferry/authferry/broker/fault"
	"github.com/authferry/authferry/broker/folder"
	"github.com/authferry/authferry/share/sharetest"
)

func init() { roles["locker"] = locker }

// locker is a process of the arena that does what other programs do for a login that several
// machines have. The tokens are in one place, here Redis. Who refreshes has a lock there that
// ends by itself (SET NX PX), and looks again once it has it. Who has waited for that lock for
// too long goes on without it.
func locker([]string) error {
	hurry()
	atArenaPoints()
	l := &lockerAt{socket: os.Getenv("ARENA_REDIS"), user: os.Getenv("ARENA_ID"), endpoint: os.Getenv("ARENA_PROVIDER")}
	out := struct{ Error *fault.Carried }{fault.Carry(l.refresh())}
	return json.NewEncoder(os.Stdout).Encode(out)
}

// The times of such programs, as short as all others in the arena.
const (
	lockLasts  = 3 * time.Second
	lockWaited = 4 * time.Second
)

type lockerAt struct{ socket, user, endpoint string }

// LockerTokens are what a login has, as the locker stores it.
type LockerTokens struct {
	Access, Refresh string
	Expires         time.Time
}

func (l *lockerAt) do(command ...string) (string, error) {
	c, err := sharetest.DialRedis(l.socket)
	if err != nil {
		return "", err
	}
	defer func() { _ = c.Close() }()
	return c.Do(command...)
}

func (l *lockerAt) read() (t LockerTokens, err error) {
	text, err := l.do("GET", "token:"+l.user)
	if err != nil {
		return t, fault.Errorf(fault.EngineUnreachable, "no tokens").Because(err)
	}
	return t, json.Unmarshal([]byte(text), &t)
}

func (l *lockerAt) refresh() error {
	before, err := l.read()
	if err != nil || time.Now().Before(before.Expires) {
		return err
	}
	folder.Reached("S1")
	mine := rand.Text()
	for begun := time.Now(); ; time.Sleep(50 * time.Millisecond) {
		won, err := l.do("SET", "lock:"+l.user, mine, "NX", "PX", fmt.Sprint(lockLasts.Milliseconds()))
		if err == nil && won == "OK" || time.Since(begun) > lockWaited {
			break
		}
		if now, err := l.read(); err == nil && time.Now().Before(now.Expires) {
			return nil
		}
	}
	folder.Reached("S2")
	now, err := l.read()
	if err != nil {
		now = before
	} else if time.Now().Before(now.Expires) {
		return nil
	}
	folder.Reached("S3")
	folder.Reached("K7")
	answer, err := (&http.Client{Timeout: arenaPatience}).PostForm(l.endpoint, url.Values{"grant_type": {"refresh_token"}, "client_id": {"authferry-sim"}, "refresh_token": {now.Refresh}})
	if err != nil {
		return fault.Errorf(fault.ProviderUnreachable, "no answer").Because(err)
	}
	defer func() { _ = answer.Body.Close() }()
	var got struct {
		AccessToken  string `json:"access_token"`
		RefreshToken string `json:"refresh_token"`
		ExpiresIn    int    `json:"expires_in"`
	}
	if err := json.NewDecoder(answer.Body).Decode(&got); err != nil {
		return fault.Errorf(fault.ProviderUnreachable, "half an answer").Because(err)
	}
	folder.Reached("K11")
	if answer.StatusCode != http.StatusOK {
		folder.Reached("S6") // nothing is lost by this process's death any more
		return fault.Errorf(fault.LoginNeeded, "refused")
	}
	text, err := json.Marshal(LockerTokens{got.AccessToken, got.RefreshToken, time.Now().Add(time.Duration(got.ExpiresIn) * time.Second)})
	if err != nil {
		return err
	}
	err = errors.New("not stored")
	for begun := time.Now(); err != nil && time.Since(begun) < tellFor; time.Sleep(50 * time.Millisecond) {
		_, err = l.do("SET", "token:"+l.user, string(text))
	}
	folder.Reached("S6")
	_, _ = l.do("EVAL", `if redis.call("get", KEYS[1]) == ARGV[1] then redis.call("del", KEYS[1]) end return ""`, "1", "lock:"+l.user, mine) // else it ends by itself
	if err != nil {
		return fault.Errorf(fault.EngineUnreachable, "not stored").Because(err)
	}
	return nil
}
