package broker

import (
	"cmp"
	"context"
	"fmt"
	"net/url"

	"github.com/authferry/authferry/broker/record"

	"github.com/authferry/authferry/broker/folder"
)

// notRevoked says who did not end a login, and where a person can.
func notRevoked(g *record.Grant, err error) string {
	where := cmp.Or(g.Endpoint.Issuer, g.Endpoint.TokenEndpoint)
	if u, parseErr := url.Parse(where); parseErr == nil {
		where = u.Host
	}
	return fmt.Sprintf("the provider did not revoke the login: %v; it may still be valid: end it in the settings of your account at %s", err, where)
}

func endLogin(ctx context.Context, o *folder.Opened, g *record.Grant) error {
	e, err := o.Store.Endpoint(ctx, g)
	if err != nil {
		return err
	}
	if err := o.Store.CheckRevocation(ctx, g); err != nil {
		return err
	}
	ctx, over := o.Within(ctx, o.HTTPTimeout, func() string { return "waiting for the provider to revoke the login" })
	defer over()
	return o.Client.Revoke(ctx, e, g.RefreshToken, "refresh_token")
}
