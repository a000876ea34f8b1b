package kube

import (
	"context"
	"fmt"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

type thing struct {
	Metadata struct {
		Name string `json:"name"`
	} `json:"metadata"`
}

// diary is a sink that writes down what it heard.
type diary chan string

func (d diary) Listed(things []thing) { d <- fmt.Sprintf("list of %d", len(things)) }

func (d diary) Changed(t thing, deleted bool) {
	d <- fmt.Sprintf("%s deleted=%v", t.Metadata.Name, deleted)
}

// TestFollowing is an apiserver that refuses the first list, breaks the first watch off, and ends the second as too old.
func TestFollowing(t *testing.T) {
	lists, watched := 0, []string{}
	event := func(kind, name, version string) string {
		return fmt.Sprintf(`{"type":%q,"object":{"metadata":{"name":%q,"resourceVersion":%q}}}`+"\n", kind, name, version)
	}
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		switch from := r.URL.Query().Get("resourceVersion"); {
		case r.Header.Get("Authorization") != "Bearer secret":
			t.Error("no token")
		case r.URL.Query().Get("watch") == "":
			if lists++; lists == 1 {
				http.Error(w, "no such kind yet", http.StatusNotFound)
				return
			}
			fmt.Fprintf(w, `{"metadata":{"resourceVersion":"%d0"},"items":[{"metadata":{"name":"a"}}]}`, lists)
		default:
			watched = append(watched, from)
			switch from {
			case "20":
				fmt.Fprint(w, event("ADDED", "b", "21"), event("BOOKMARK", "", "25"))
			case "25":
				fmt.Fprint(w, event("DELETED", "a", "26"), `{"type":"ERROR","object":{"code":410}}`)
			default:
				<-r.Context().Done()
			}
		}
	}))
	defer server.Close()
	path := filepath.Join(t.TempDir(), "kubeconfig")
	os.WriteFile(path, []byte(`{current-context: lab, contexts: [{name: lab, context: {cluster: c, user: u}}],
  clusters: [{name: c, cluster: {server: "`+server.URL+`/"}}], users: [{name: u, user: {token: secret}}]}`), 0o600)
	client, err := Open(path)
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
	heard := make(diary)
	done := make(chan struct{})
	go func() { defer close(done); Follow(ctx, client, "/things", heard) }()
	for _, want := range []string{"list of 1", "b deleted=false", "a deleted=true", "list of 1"} {
		if got := <-heard; got != want {
			t.Errorf("heard %q, want %q", got, want)
		}
	}
	cancel()
	<-done
	server.Close() // waits for the last watch
	if got := strings.Join(watched[:2], " "); got != "20 25" {
		t.Errorf("watched from %s", got)
	}
}
