package share_test

import (
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"testing"
	"time"

	"github.com/authferry/authferry/share"
	"github.com/authferry/authferry/share/sharetest"
	"github.com/authferry/authferry/testenv"
)

// newLockArena has machines that do what other programs do, with Redis (share.locker).
func newLockArena(t *testing.T, machines, accounts int, life time.Duration, r *rand.Rand) *arena {
	t.Helper()
	a := emptyArena(t, life, r)
	a.redis = sharetest.NewRedis(t)
	for i := range machines {
		a.all = append(a.all, &fighter{arena: a, name: fmt.Sprintf("m%d", i), host: fmt.Sprint(i)})
	}
	for n := range accounts {
		user := fmt.Sprintf("user%03d", n)
		g := a.server.Issue(user)
		text, err := json.Marshal(share.LockerTokens{Access: g.AccessToken, Refresh: g.RefreshToken})
		testenv.Must(t, err)
		testenv.Must(t, testenv.Err(a.redis.Do("SET", "token:"+user, string(text))))
		a.users = append(a.users, user)
	}
	return a
}

// tokens are a login's, as they are stored now; while Redis is away, ones that last.
func (a *arena) tokens(user string) (t share.LockerTokens) {
	text, err := a.redis.Do("GET", "token:"+user)
	if err != nil || json.Unmarshal([]byte(text), &t) != nil {
		t.Expires = time.Now().Add(time.Minute)
	}
	return t
}
