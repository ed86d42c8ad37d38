package share

import (
	"os"
	"testing"

	"github.com/authferry/authferry/testenv"
)

func TestMain(m *testing.M) { os.Exit(testenv.Alone(m).Run()) }
