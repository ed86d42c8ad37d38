package broker

import (
	"github.com/authferry/authferry/broker/pool"
)

// Holds returns every hold that is running, by pool and rank.
func (b *Broker) Holds() ([]pool.AccountHold, error) {
	views, err := b.List()
	if err != nil {
		return nil, err
	}
	all := []pool.AccountHold{}
	for _, v := range views {
		for _, h := range v.Holds {
			all = append(all, pool.AccountHold{ID: v.ID, Label: v.Label, HoldView: h})
		}
	}
	return all, nil
}
