package place

import (
	"slices"
	"testing"

	"github.com/authferry/authferry/testenv"
)

// A table of mounts says which paths are one directory, and which are on a server.
func TestMounts(t *testing.T) {
	table, err := parseMounts(`22 27 0:21 / /proc rw,relatime - proc proc rw
27 1 254:0 / / rw,relatime shared:1 - ext4 /dev/vda rw
30 27 254:0 /home/ada/job /srv/alias rw,relatime - ext4 /dev/vda rw
31 27 254:0 /home/ada/job/sub /mnt/two\040words rw - ext4 /dev/vda rw
32 27 0:50 / /mnt/nfs rw - nfs4 server:/ rw
33 32 0:51 / /mnt/nfs/local rw - tmpfs tmpfs rw
34 27 0:52 / /mnt/fuse rw - fuse.sshfs ada@host: rw
35 27 254:1 / /hidden rw - ext4 /dev/vdb rw
36 27 254:0 /hidden /over rw - ext4 /dev/vda rw
37 27 0:53 / /auto rw - autofs map rw
38 37 254:2 / /auto/disk rw - ext4 /dev/vdc rw
39 27 0:54 / /pool rw - zfs pool rw
40 30 0:55 / /srv/alias/sub rw - tmpfs tmpfs rw
41 27 0:56 / /merged rw - overlay o rw,lowerdir=/home/ada/two\040words:relative:/srv,upperdir=/home/ada/up,workdir=/home/ada/wk,lowerdir+=/opt/a
`)
	testenv.Must(t, err)
	m := &Mounts{table: table, top: topMount(table), home: "/home/ada/.config/authferry"}
	m.own = m.at(m.home)
	for path, names := range map[string][]string{
		"/home/ada/job":       {"/srv/alias"},
		"/home/ada/job/x":     {"/srv/alias/x"},
		"/home/ada/job/sub/x": {"/mnt/two words/x"}, // something else is over /srv/alias/sub
		"/srv/alias/x":        {"/home/ada/job/x"},
		"/mnt/two words":      {"/home/ada/job/sub"},
		"/srv/alias/sub":      nil,
		"/over/x":             nil, // /hidden is hidden
		"/home/ada/jobs":      nil,
		"/hidden/x":           nil,
		"/":                   nil,
	} {
		if got := m.namesOf(path); !slices.Equal(got, names) {
			t.Errorf("%s is also %q, want %q", path, got, names)
		}
	}
	for path, names := range map[string][]string{
		"/merged": {"/home/ada/two words", "/srv", "/home/ada/up", "/opt/a"}, "/merged/x": {"/home/ada/two words/x", "/srv/x", "/home/ada/up/x", "/opt/a/x"}, "/home/ada/up": nil, "/": nil,
	} {
		if got := m.layersOf(path); !slices.Equal(got, names) {
			t.Errorf("below %s is %q, want %q", path, got, names)
		}
	}
	for path, remote := range map[string]bool{
		"/": false, "/home/ada": false, "/mnt": false, "/mnt/nfs": true, "/mnt/nfs/x": true, "/mnt/nfsx": false, "/mnt/nfs/local/x": false,
		"/mnt/fuse/x": true, "/auto": true, "/auto/x": true, "/auto/disk/x": false, "/pool/x": false, "//server/x": true, `\\server\x`: true,
	} {
		if m.onServer(path) != remote {
			t.Errorf("%s is on a server: %v", path, !remote)
		}
	}
	if m.own = m.at("/mnt/nfs/home"); m.onServer("/mnt/nfs/x") || !m.onServer("/mnt/fuse/x") {
		t.Error("a folder on a server may look there, and at no other one")
	}
	if m := (&Mounts{}); !m.onServer("/x") {
		t.Error("without a table nobody knows")
	}
	for _, text := range []string{"x", "1 2 3 4\n", "22 27 0:21 / /proc rw\n"} {
		if _, err := parseMounts(text); err == nil {
			t.Errorf("%q is a table", text)
		}
	}
}
