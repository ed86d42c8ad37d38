package main

import (
	"fmt"

	"github.com/authferry/authferry/broker/folder"
)

type configCmd struct {
	Get  configGetCmd  `cmd:"" help:"Print one setting."`
	Set  configSetCmd  `cmd:"" help:"Change one setting."`
	List configListCmd `cmd:"" help:"Print all settings."`
}

type configGetCmd struct {
	jsonFlag
	Key string `arg:""`
}

func (c *configGetCmd) Run(a *app) error {
	v, err := folder.ConfigGet(a.folder, c.Key)
	if err != nil {
		return err
	}
	if c.JSON {
		return a.printJSON(map[string]any{c.Key: v})
	}
	_, err = fmt.Fprintln(a.out, v)
	return err
}

type configSetCmd struct {
	jsonFlag
	Key   string `arg:""`
	Value string `arg:""`
}

func (c *configSetCmd) Run(a *app) error {
	if err := folder.ConfigSet(a.ctx, a.folder, c.Key, c.Value); err != nil {
		return err
	}
	if !c.JSON {
		return nil
	}
	return (&configGetCmd{c.jsonFlag, c.Key}).Run(a)
}

type configListCmd struct{ jsonFlag }

func (c *configListCmd) Run(a *app) error {
	all := map[string]any{}
	for _, key := range folder.ConfigKeys() {
		v, err := folder.ConfigGet(a.folder, key)
		if err != nil {
			return err
		}
		all[key] = v
		if !c.JSON {
			if _, err := fmt.Fprintf(a.out, "%s = %v\n", key, v); err != nil {
				return err
			}
		}
	}
	if c.JSON {
		return a.printJSON(all)
	}
	return nil
}
