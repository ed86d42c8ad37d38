package folder

import (
	"errors"
	"testing"
	"testing/synctest"
	"time"
)

// New tokens are kept in memory for as long as this process has asked the keystore in
// vain; that it was stopped for hours, in a write or between two, costs no try.
func TestPersistenceOfAStoppedProcess(t *testing.T) {
	refused := errors.New("refused")
	synctest.Test(t, func(t *testing.T) {
		p := Patience{Deadline: time.Now().Add(StorePatience)}
		tries := 0
		if err := p.Until(func() error {
			if tries++; tries <= 3 {
				time.Sleep(3 * time.Hour)
				return refused
			}
			return nil
		}); err != nil || tries != 4 {
			t.Errorf("%v after %d tries", err, tries)
		}
		began := time.Now()
		if err := p.Until(func() error { time.Sleep(time.Minute); return refused }); err == nil || time.Since(began) > time.Hour {
			t.Errorf("%v after %v", err, time.Since(began))
		}
	})
}
