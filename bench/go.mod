// The bench, apart from the program, which it builds, runs and compares.
module github.com/authferry/authferry/bench

go 1.26.0

replace github.com/authferry/authferry => ../

require (
	github.com/authferry/authferry v0.0.0
	github.com/zalando/go-keyring v0.2.8
)

require (
	github.com/danieljoos/wincred v1.2.3 // indirect
	github.com/godbus/dbus/v5 v5.2.4 // indirect
	github.com/gofrs/flock v0.13.2 // indirect
	golang.org/x/sys v0.49.0 // indirect
	golang.org/x/text v0.43.0 // indirect
)
