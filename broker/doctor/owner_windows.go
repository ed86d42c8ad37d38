package doctor

// writable: where there are no owners, nobody asks.
func writable(string) bool { return true }
