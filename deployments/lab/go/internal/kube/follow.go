package kube

import (
	"context"
	"encoding/json"
	"errors"
	"log"
	"time"
)

// Sink is told of one kind's objects: all of them after each list, then each change.
type Sink[T any] interface {
	Listed(objects []T)
	Changed(object T, deleted bool)
}

type list[T any] struct {
	Metadata struct {
		ResourceVersion string `json:"resourceVersion"`
	} `json:"metadata"`
	Items []T `json:"items"`
}

type event struct {
	Type   string          `json:"type"`
	Object json.RawMessage `json:"object"`
}

var errGone = errors.New("the watch must start over")

// Follow lists and watches until the context ends. While the apiserver is away the sink hears nothing and keeps what it
// has; a kind that is not served yet is waited for.
func Follow[T any](ctx context.Context, client *Client, path string, sink Sink[T]) {
	version, complaint := "", ""
	for ctx.Err() == nil {
		var err error
		if version == "" {
			version, err = listAll(ctx, client, path, sink)
		} else {
			version, err = watch(ctx, client, path, version, sink)
		}
		if err == nil {
			complaint = ""
			continue
		}
		if err.Error() != complaint {
			complaint = err.Error()
			log.Printf("%s: %v", path, err)
		}
		select {
		case <-ctx.Done():
		case <-time.After(300 * time.Millisecond):
		}
	}
}

func listAll[T any](ctx context.Context, client *Client, path string, sink Sink[T]) (string, error) {
	ctx, cancel := context.WithTimeout(ctx, 10*time.Second)
	defer cancel()
	body, err := client.get(ctx, path)
	if err != nil {
		return "", err
	}
	defer body.Close()
	var all list[T]
	if err := json.NewDecoder(body).Decode(&all); err != nil {
		return "", err
	}
	sink.Listed(all.Items)
	return all.Metadata.ResourceVersion, nil
}

// watch returns the version to go on from; none when it must list again.
func watch[T any](ctx context.Context, client *Client, path, version string, sink Sink[T]) (string, error) {
	body, err := client.get(ctx, path+"?watch=true&allowWatchBookmarks=true&timeoutSeconds=300&resourceVersion="+version)
	if err != nil {
		return "", err
	}
	defer body.Close()
	stream := json.NewDecoder(body)
	for {
		var e event
		if stream.Decode(&e) != nil { // the connection ended; what was missed is still to be had from this version on
			return version, nil
		}
		if e.Type == "ERROR" {
			return "", errGone
		}
		var head list[struct{}]
		var object T
		if err := errors.Join(json.Unmarshal(e.Object, &head), json.Unmarshal(e.Object, &object)); err != nil {
			return "", err
		}
		version = head.Metadata.ResourceVersion
		if e.Type != "BOOKMARK" {
			sink.Changed(object, e.Type == "DELETED")
		}
	}
}
