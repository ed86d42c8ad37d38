package account

import (
	"testing"

	"github.com/authferry/authferry/broker/fault"
	"github.com/authferry/authferry/broker/index"
)

// A login into a pool that is another provider's, or that can't be, is refused before
// anybody consents to it.
func TestLoginIntoAPool(t *testing.T) {
	idx := &index.Index{}
	for id, a := range map[string]index.Account{"acc_aaaaaaaaaaaaaaaa": {Provider: "sim", Pool: "Work"}, "acc_bbbbbbbbbbbbbbbb": {Provider: "sim", Pool: "sim"}} {
		a.ID, a.Label, a.Kind = id, id, index.KindOAuth
		idx.Enlist(a)
	}
	for _, test := range []struct {
		req  LoginRequest
		want fault.Code
	}{
		{LoginRequest{Provider: "other", Pool: "wORK"}, fault.Fenced},
		{LoginRequest{Provider: "other", Pool: "a/b"}, fault.Usage},
		{LoginRequest{Provider: "other", Pool: "mine"}, ""},
		{LoginRequest{Provider: "work"}, fault.Fenced}, // called as another one's pool
		{LoginRequest{Provider: "sim"}, ""},            // it has accounts
		{LoginRequest{Provider: "sim", Pool: "WORK"}, ""},
	} {
		_, err := renewable(idx, test.req, index.KindOAuth)
		if test.want == "" && err != nil || test.want != "" && fault.CodeOf(err) != test.want {
			t.Errorf("%+v: %v", test.req, err)
		}
	}
}
