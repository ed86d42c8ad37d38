package keystoretest

import "os"

// Windows has no such signals, and no Secret Service to send them to.
var signalStop, signalCont = os.Interrupt, os.Interrupt
