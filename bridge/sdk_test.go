package bridge

import (
	"context"
	"io"
	"net/http"
	"testing"

	"github.com/modelcontextprotocol/go-sdk/mcp"

	"github.com/authferry/authferry/testenv"
)

type greeting struct {
	Name string `json:"name"`
}

// sdkServer is a server by the official SDK.
func sdkServer(opt *mcp.StreamableHTTPOptions) func(user string) http.Handler {
	server := mcp.NewServer(&mcp.Implementation{Name: "sdk", Version: "1"}, nil)
	mcp.AddTool(server, &mcp.Tool{Name: "greet", Description: "says hello"}, func(_ context.Context, _ *mcp.CallToolRequest, g greeting) (*mcp.CallToolResult, any, error) {
		return &mcp.CallToolResult{Content: []mcp.Content{&mcp.TextContent{Text: "hello " + g.Name}}}, nil, nil
	})
	handler := mcp.NewStreamableHTTPHandler(func(*http.Request) *mcp.Server { return server }, opt)
	return func(string) http.Handler { return handler }
}

// connect is the official client, over a bridge.
func (w *world) connect(opt *mcp.ClientOptions) *mcp.ClientSession {
	w.t.Helper()
	inRead, inWrite := io.Pipe()
	outRead, outWrite := io.Pipe()
	done := make(chan error, 1)
	go func() {
		err := New(w.opt).Run(context.Background(), inRead, outWrite)
		_ = outWrite.Close()
		done <- err
	}()
	session, err := mcp.NewClient(&mcp.Implementation{Name: "test", Version: "1"}, opt).Connect(w.t.Context(), &mcp.IOTransport{Reader: outRead, Writer: inWrite}, nil)
	testenv.Must(w.t, err)
	w.t.Cleanup(func() {
		_ = session.Close()
		testenv.Check(w.t, <-done)
	})
	return session
}

// The official client and the official server, over a bridge between them.
func TestSDK(t *testing.T) {
	t.Parallel()
	for name, opt := range map[string]*mcp.StreamableHTTPOptions{
		"events": nil, "JSON": {JSONResponse: true}, "stateless": {Stateless: true},
	} {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t, sdkServer(opt), "ada")
			session := w.connect(nil)
			t.Log(session.InitializeResult().ProtocolVersion)
			tools, err := session.ListTools(t.Context(), nil)
			testenv.Must(t, err)
			if len(tools.Tools) != 1 {
				t.Errorf("%+v", tools)
			}
			res, err := session.CallTool(t.Context(), &mcp.CallToolParams{Name: "greet", Arguments: greeting{"Ada"}})
			testenv.Must(t, err)
			if text := res.Content[0].(*mcp.TextContent).Text; text != "hello Ada" {
				t.Errorf("it says %q", text)
			}
		})
	}
}
