package setup

import (
	"testing"

	"github.com/authferry/authferry/testenv"
)

// Whatever a file holds: either it is refused, or what is put in can be taken out
// again to the byte, and putting it in twice is the same as once. Nothing panics.
func FuzzThereAndBack(f *testing.F) {
	clients := edited()
	for i, c := range clients {
		for _, text := range files[c.Name] {
			for _, style := range styles {
				f.Add(i, []byte(style(text)))
			}
		}
	}
	for _, c := range Clients() {
		if c.Remote == nil {
			continue
		}
		clients = append(clients, reaching(c, ""))
		for _, text := range serverFiles[c.Name] {
			f.Add(len(clients)-1, []byte(text))
		}
	}
	for i := range clients {
		f.Add(i, []byte("# authferry setup go: begin (lines: 1); x\nGOAUTH=\n# authferry setup go: end"))
		f.Add(i, []byte("{\"apiKeyHelper\": \"authferry helper api-key\", \"mcp\": {\"authferry\": {\"command\": [\"authferry\"]}},}"))
		f.Add(i, []byte(`{"mcp":{"authferry":{"command":["authferry"],"Command":["authferry"]}}}`))
		f.Add(i, []byte("users:\n- name: authferry\n  user:\n    exec:\n      args:\n      - helper\n      - kubernetes\n      command: /a/b\n        c/authferry\n"))
		f.Add(i, []byte("users: []\r\n# authferry setup kubernetes: begin (lines: \n# authferry setup kubernetes: end"))
		f.Add(i, []byte("users: []\r\n# authferry setup kubernetes: begin (lines: 0)\r\n# authferry setup kubernetes: end"))
	}
	f.Fuzz(func(t *testing.T, which int, now []byte) {
		c := clients[(which%len(clients)+len(clients))%len(clients)]
		if c.Name == "git" {
			return // asks git, at every try
		}
		m := Machine{OS: "linux", Home: "/home/me", Binary: "/opt/bin/authferry", Getenv: func(string) string { return "" }, LookPath: func(string) (string, error) { return "", nil }}
		all, err := c.Files(m, choice)
		testenv.Must(t, err)
		others, err := c.Files(m, second)
		testenv.Must(t, err)
		for i, file := range all {
			if file.Link != "" {
				continue
			}
			without, err := file.Take(now)
			if err != nil {
				continue
			}
			put, err := file.Put(now)
			if err != nil {
				continue
			}
			if !file.Current(put) {
				t.Errorf("%s: not current: %q", c.Name, put)
			}
			again, err := file.Put(put)
			if err != nil || !same(again, put) {
				t.Errorf("%s: put twice:\n%q, %v\nonce:\n%q", c.Name, again, err, put)
			}
			taken, err := file.Take(put)
			if err != nil {
				t.Errorf("%s: can't be taken out of %q: %v", c.Name, put, err)
			}
			if same(without, now) && !same(taken, now) {
				t.Errorf("%s: taken out:\n%q\nwas:\n%q", c.Name, taken, now)
			}
			if c.Joins {
				joins(t, c.Name, others[i], put)
			}
		}
	})
}

// joins wants what other puts beside what stands there to come out again alone.
func joins(t *testing.T, client string, other File, put []byte) {
	t.Helper()
	if none, err := other.Take(put); err != nil || !same(none, put) {
		return // it is there already
	}
	both, err := other.Put(put)
	if err != nil {
		return
	}
	if alone, err := other.Take(both); err != nil || !same(alone, put) {
		t.Errorf("%s: of\n%q\nthe first alone is\n%q, %v\nwas\n%q", client, both, alone, err, put)
	}
}
