package setup

// Clients are the programs that can be set up, in the order in which they are
// listed.
func Clients() []Client {
	return []Client{openCode, claudeCode, codex, git, golang, docker, kubernetes, cargo, terraform, cursor, vscode, claudeDesktop, zed, goose, mcpServer, proxyService}
}

// Find returns the client of that name, or of one that people also call it by.
func Find(name string) (Client, bool) {
	switch name {
	case "claude":
		name = claudeCode.Name
	case "kubectl", "k8s":
		name = kubernetes.Name
	case "code":
		name = vscode.Name
	}
	for _, c := range Clients() {
		if c.Name == name {
			return c, true
		}
	}
	return Client{}, false
}
