package doctor

// writable is never asked on Windows, where files have no such owners.
func writable(string) bool { return true }
