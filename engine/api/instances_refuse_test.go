package api_test

import (
	"context"
	"errors"
	"io"
	"net/http"
	"net/http/httptest"
	"testing"
	"time"
)

// An instance that is turned away has to hear so while its request goes on: it would wait for a welcome otherwise, and its
// connection would stand, which is worst when there are too many.
func TestAnInstanceIsRefusedBeforeItsRequestEnds(t *testing.T) {
	s := serve(t, newWorld(t, "checkout"), nil)
	plain := httptest.NewServer(s.api.Handler()) // without a time for the request, which would end it too
	t.Cleanup(func() {
		plain.CloseClientConnections() // which otherwise are waited for, should one of them stand
		plain.Close()
	})
	for name, c := range map[string]struct {
		authorization string
		status        int
	}{
		"no token":              {"", http.StatusUnauthorized},
		"a token nobody knows":  {"Bearer unheard-of", http.StatusUnauthorized},
		"no instances are kept": {"Bearer " + secretOf("instance-checkout"), http.StatusServiceUnavailable},
	} {
		t.Run(name, func(t *testing.T) {
			ctx, cancel := context.WithTimeoutCause(t.Context(), patience, errors.New("no answer while the request goes on"))
			defer cancel()
			body, lines := io.Pipe()
			defer func() { _ = lines.Close() }()
			// The client waits for whoever reads the body, also when its time is over.
			defer context.AfterFunc(ctx, func() { _ = lines.Close() })()
			go func() { _, _ = lines.Write([]byte("{\"hello\":{\"instance\":\"web-1\",\"session\":\"s\"}}\n")) }() // refused or not
			r, err := http.NewRequestWithContext(ctx, http.MethodPost, plain.URL+"/api/v1/instances/stream?scope=checkout", body)
			if err != nil {
				t.Fatal(err)
			}
			r.Header.Set("Authorization", c.authorization)
			began := time.Now()
			resp, err := http.DefaultClient.Do(r)
			if err != nil {
				t.Fatalf("after %v: %v", time.Since(began), context.Cause(ctx))
			}
			defer func() { _ = resp.Body.Close() }()
			if resp.StatusCode != c.status || !resp.Close {
				t.Errorf("answered %s, and the connection is closed: %v", resp.Status, resp.Close)
			}
		})
	}
}
