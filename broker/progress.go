package broker

func forProvider(name string) func() string {
	return func() string { return "waiting for " + name + " to answer" }
}
