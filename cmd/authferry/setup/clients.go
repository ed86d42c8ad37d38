package setup

// Clients are the programs that can be set up, in the order in which they are
// listed.
func Clients() []Client {
	return []Client{openCode, claudeCode, codex, git, golang, docker, kubernetes, cargo, terraform, mcpServer, proxyService}
}
