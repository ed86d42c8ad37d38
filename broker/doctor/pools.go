package doctor

import (
	"context"
	"time"

	"github.com/authferry/authferry/broker/fault"
	"github.com/authferry/authferry/broker/index"
	"github.com/authferry/authferry/broker/pool"
	"github.com/authferry/authferry/share/pipe"
)

// pools checks what shared pools need here, and says how their engines last were. It asks
// none of them.
func (d *examination) pools(ctx context.Context) {
	if len(d.idx.Shares) == 0 {
		return
	}
	d.shareProgram(ctx)
	for i := range d.idx.Shares {
		p := &d.idx.Shares[i]
		name, doctor := "shared pool "+fault.Quote(p.Pool), fault.Remedy{Do: fault.ShareDoctor, Pool: p.Pool}
		last := "has not answered yet"
		if !p.SeenAt.IsZero() {
			last = "last answered " + pool.AtTime(p.SeenAt, time.Now())
		}
		switch p.Engine {
		case index.EngineRestored:
			d.try(name, Fail, doctor, "the engine has forgotten something, as after restoring a backup; nothing is refreshed until that is confirmed")
		case index.EngineUnreachable:
			d.try(name, Warning, doctor, "the engine can't be reached, and %s; tokens that are valid are handed out as ever", last)
		case index.EngineRefused:
			d.try(name, Fail, fault.Remedy{Do: fault.ShareLeave, Pool: p.Pool}, "this machine is no longer let in, and the engine %s; tokens that are valid are handed out until they end", last)
		default:
			d.say(name, OK, "this machine is %s, a %s; the engine %s", fault.Quote(p.Machine), p.Role, last)
		}
	}
}

// shareProgram checks whether the program for shared pools is there, and of this version.
func (d *examination) shareProgram(ctx context.Context) {
	const name = "authferry-share"
	cmd, err := d.f.ShareCommand(ctx, pipe.Command)
	if err == nil {
		err = pipe.Probe(cmd)
	}
	if err != nil {
		d.fail(name, err)
		return
	}
	d.say(name, OK, "is installed, and of this version")
}
