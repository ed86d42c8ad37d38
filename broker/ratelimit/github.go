package ratelimit

// gitHub reads the hourly quota of GitHub's REST API. Others use these names with other
// units, so it requires a header that only GitHub sends.
func (said *reading) gitHub() {
	if said.header["x-github-request-id"] == "" || said.header["x-ratelimit-remaining"] != "0" {
		return
	}
	said.add(signal{kind: Spent, window: true, source: "x-ratelimit-remaining"}.
		until(signal{at: said.stamp(said.header["x-ratelimit-reset"]), source: "x-ratelimit-reset"}))
}

// refusedByGitHub reports whether a 403 is a limit: the hourly quota is used up, or
// requests came too fast (a "secondary" limit, which has a Retry-After).
func (said *reading) refusedByGitHub() bool {
	h := said.header
	return h["x-github-request-id"] != "" && (h["x-ratelimit-remaining"] == "0" || h["retry-after"] != "")
}
