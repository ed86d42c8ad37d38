package doctor

import (
	"github.com/authferry/authferry/broker/fault"
	"github.com/authferry/authferry/broker/folder"
	"github.com/authferry/authferry/broker/oauth"
)

func (d *examination) settings() {
	_, err := folder.LoadConfig(d.f)
	var ps *oauth.Providers
	if err == nil {
		ps, err = d.f.Providers()
	}
	if err != nil {
		d.fail("settings", err)
		return
	}
	for name, keys := range ps.Unknown() {
		d.try("settings", Warning, fault.Remedy{Do: fault.ShowProvider, Provider: name}, "%s", folder.Ignored(name, keys))
		return
	}
	d.say("settings", OK, "config.toml and providers.toml are readable")
}
