package broker

import (
	"github.com/authferry/authferry/broker/fault"
	"github.com/authferry/authferry/broker/index"
)

// ExecEnv returns the names of the variables in which programs of the account's provider
// expect its token. Errors: Usage if none is known, or if the user's own providers can't be
// read.
func (b *Broker) ExecEnv(a *index.Account) ([]string, error) {
	ps, err := b.Providers()
	if err != nil {
		return nil, err
	}
	p, ok := ps.Get(a.Provider)
	if !ok {
		return nil, fault.Errorf(fault.Usage, "provider %s is unknown by now, so name the variable", a.Provider).Try(fault.Remedy{Do: fault.Again, Name: "env", Value: "NAME"})
	}
	names := p.Env
	if a.Kind == index.KindAPIKey {
		names = p.KeyEnv()
	}
	if len(names) == 0 {
		return nil, fault.Errorf(fault.Usage, "provider %s sets no variable for its token", a.Provider).Try(fault.Remedy{Do: fault.Again, Name: "env", Value: "NAME"})
	}
	return names, nil
}
