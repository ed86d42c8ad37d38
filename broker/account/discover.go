package account

import (
	"context"
	"errors"

	"github.com/authferry/authferry/broker/fault"
	"github.com/authferry/authferry/broker/folder"
	"github.com/authferry/authferry/broker/oauth"
)

// Discover reads a provider's endpoints from its issuer's discovery document.
func Discover(ctx context.Context, f *folder.Folder, issuer string) (oauth.Provider, error) {
	if err := oauth.CheckURL(issuer); err != nil {
		return oauth.Provider{}, fault.Errorf(fault.Usage, "invalid issuer URL").Because(err)
	}
	timed, over := f.Within(ctx, f.HTTPTimeout, forProvider(issuer))
	defer over()
	p, err := f.Client.Discover(timed, issuer)
	if err != nil && ctx.Err() != nil {
		return p, fault.Errorf(fault.Cancelled, "interrupted; nothing was changed")
	}
	if err != nil {
		failed := fault.Errorf(fault.ProviderUnreachable, "discovery at %s failed", issuer).
			Try(fault.Remedy{Do: fault.Again, Name: "token-endpoint", Value: "URL"}).Because(err)
		if e, ok := errors.AsType[*oauth.Error](err); ok {
			if next, ok := e.Remedy(); ok {
				failed.Next = []fault.Remedy{next}
			}
		}
		return p, failed
	}
	return p, nil
}

func forProvider(name string) func() string {
	return func() string { return "waiting for " + name + " to answer" }
}
