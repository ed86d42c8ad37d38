package broker

// newReserve opens nothing: there is no such limit.
func newReserve() (*reserve, error) { return &reserve{}, nil }

func (r *reserve) release() {}
