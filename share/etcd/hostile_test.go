package etcd_test

import (
	"context"
	"encoding/binary"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/authferry/authferry/share/engine"
	"github.com/authferry/authferry/share/etcd"
	"github.com/authferry/authferry/testenv"
	pb "go.etcd.io/etcd/api/v3/etcdserverpb"
	"google.golang.org/grpc"
)

// hollow answers everything with nothing in it.
type hollow struct{ pb.UnimplementedKVServer }

func (hollow) Range(context.Context, *pb.RangeRequest) (*pb.RangeResponse, error) {
	return &pb.RangeResponse{}, nil
}

func (hollow) Txn(context.Context, *pb.TxnRequest) (*pb.TxnResponse, error) {
	return &pb.TxnResponse{}, nil
}

func plain(t *testing.T, address string) *etcd.Engine {
	t.Helper()
	e, err := etcd.Open(etcd.Config{Endpoints: []string{"http://" + address}})
	testenv.Must(t, err)
	t.Cleanup(func() { testenv.Check(t, e.Close()) })
	return e
}

// A server whose answers have nothing in them breaks nothing.
func TestHollowAnswers(t *testing.T) {
	t.Parallel()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	testenv.Must(t, err)
	server := grpc.NewServer()
	pb.RegisterKVServer(server, hollow{})
	go func() { _ = server.Serve(l) }()
	t.Cleanup(server.Stop)
	e := plain(t, l.Addr().String())
	if got, _, err := e.Get(testenv.Patience(t), "a"); err != nil || got.Version != 0 {
		t.Errorf("Get = %+v, %v", got, err)
	}
	if got, won, err := e.Swap(testenv.Patience(t), "a", 1, []byte("x")); err != nil || won || got.Version != 0 {
		t.Errorf("Swap = %+v, %v, %v", got, won, err)
	}
}

// An answer that says it is enormous isn't waited for.
func TestEnormousAnswer(t *testing.T) {
	t.Parallel()
	server := httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", "application/grpc")
		w.Header().Set("Trailer", "Grpc-Status")
		_, _ = w.Write(binary.BigEndian.AppendUint32([]byte{0}, 1<<30))
		w.Header().Set("Grpc-Status", "0")
	}))
	server.Config.Protocols = new(http.Protocols)
	server.Config.Protocols.SetUnencryptedHTTP2(true)
	server.Start()
	t.Cleanup(server.Close)
	e := plain(t, server.Listener.Addr().String())
	_, _, err := e.List(testenv.Patience(t), "a")
	if err == nil || !strings.Contains(err.Error(), "larger than max") {
		t.Errorf("List = %v", err)
	}
	wantKind(t, "List", err, engine.ErrUnreachable)
	_, _, err = e.Swap(testenv.Patience(t), "a", 1, []byte("x"))
	wantKind(t, "Swap", err, engine.ErrUnknown)
}
