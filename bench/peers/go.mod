// Other keepers of secrets that authferry is measured against, apart from the
// program's own dependencies. It needs libsecret's headers to build.
module github.com/authferry/authferry/bench/peers

go 1.26.0

tool github.com/docker/docker-credential-helpers/secretservice/cmd

require github.com/docker/docker-credential-helpers v0.9.12 // indirect
