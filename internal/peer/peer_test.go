package peer

import (
	"bytes"
	"log/slog"
	"testing"
)

func TestKey(t *testing.T) {
	tests := []struct {
		peer Peer
		want string
	}{
		{Peer{}, "unknown"},
		{Peer{}.keyed(), "uid/0"}, // root in a PID namespace that is not visible
		{Peer{User: 1000}, "uid/1000"},
		{Peer{User: 4294967294}, "uid/4294967294"},
		{Peer{Process: 7}, "uid/0"},
		{Peer{Process: 7, Container: id}, "container/" + id},
		{Peer{User: 1000, Process: 7, Cgroup: "/user.slice/user-1000.slice"}, "cgroup/user.slice/user-1000.slice"},
		{Peer{Process: 7, Cgroup: "/"}, "cgroup/"},
		{Peer{User: 1000, Process: 7, Pod: uid, Container: id}, "pod/" + uid},
		{Peer{Pod: staticUID}, "pod/" + staticUID},
	}
	for _, test := range tests {
		if key := test.peer.Key(); key != test.want {
			t.Errorf("%#v: %s, want %s", test.peer, key, test.want)
		}
		if test.peer != (Peer{}) && test.peer.keyed().Key() != test.want {
			t.Errorf("%#v: %s when cached", test.peer, test.peer.keyed().Key())
		}
	}
	p := Peer{Pod: uid}.keyed()
	if n := testing.AllocsPerRun(10, func() { _ = p.Key() }); n != 0 {
		t.Errorf("Key allocates %v times", n)
	}
}

func TestLogValue(t *testing.T) {
	tests := []struct {
		peer Peer
		want string
	}{
		{Peer{}, "msg=m\n"},
		{Peer{}.keyed(), "msg=m peer.uid=0\n"},
		{Peer{User: 1000}, "msg=m peer.uid=1000\n"},
		{Peer{User: 1000, Process: 7}.unidentified(), "msg=m peer.unidentified=true peer.pid=7 peer.uid=1000\n"},
		{Peer{User: 1000, Process: 7}, "msg=m peer.pid=7 peer.uid=1000\n"},
		{Peer{Process: 7, Cgroup: "/init.scope"}, "msg=m peer.cgroup=/init.scope peer.pid=7 peer.uid=0\n"},
		{Peer{Process: 7, Container: id}, "msg=m peer.container=9bca8d63d5fa peer.pid=7 peer.uid=0\n"},
		{Peer{Process: 7, Pod: uid, Container: id}, "msg=m peer.pod=" + uid + " peer.container=9bca8d63d5fa peer.pid=7 peer.uid=0\n"},
		{Peer{Pod: uid, Namespace: "team-a", Name: "job"}, "msg=m peer.pod=" + uid + " peer.namespace=team-a peer.name=job peer.uid=0\n"},
		{Peer{Pod: uid, Container: "short"}, "msg=m peer.pod=" + uid + " peer.container=short peer.uid=0\n"},
	}
	for _, test := range tests {
		var line bytes.Buffer
		log := slog.New(slog.NewTextHandler(&line, &slog.HandlerOptions{ReplaceAttr: func(_ []string, a slog.Attr) slog.Attr {
			if a.Key == slog.TimeKey || a.Key == slog.LevelKey {
				return slog.Attr{}
			}
			return a
		}}))
		if log.Info("m", "peer", test.peer); line.String() != test.want {
			t.Errorf("%#v: %s, want %s", test.peer, line.String(), test.want)
		}
	}
}
