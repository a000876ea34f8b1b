// Command gateway is a data plane that obeys HTTPRoutes, as unkind as production's: it never retries, it learns of every
// change one to five seconds late, and until then sends requests to pods that are going away.
package main

import (
	"context"
	"flag"
	"log"
	"net/http"
	"os/signal"
	"syscall"
	"time"

	"onlyvips.com/lab/internal/kube"
)

func main() {
	kubeconfig := flag.String("kubeconfig", "", "how to reach the apiserver")
	namespace := flag.String("namespace", "production", "whose routes, services and pods")
	listen := flag.String("listen", "127.0.0.1:8080", "where requests come in")
	admin := flag.String("admin", "127.0.0.1:8081", "where /healthz, /metrics and /state are")
	min := flag.Duration("delay-min", time.Second, "the least a change is late")
	max := flag.Duration("delay-max", 5*time.Second, "the most a change is late")
	flag.Parse()
	client, err := kube.Open(*kubeconfig)
	if err != nil {
		log.Fatal(err)
	}
	if *max < *min {
		log.Fatal("-delay-max is less than -delay-min")
	}
	ctx, cancel := signal.NotifyContext(context.Background(), syscall.SIGTERM, syscall.SIGINT)
	defer cancel()
	proxy := newProxy()
	plane := newPlane(proxy, *min, *max)
	go plane.follow(ctx, client, *namespace)
	go func() { log.Fatal(http.ListenAndServe(*admin, plane.admin())) }()
	server := &http.Server{Addr: *listen, Handler: proxy}
	go func() { log.Fatal(server.ListenAndServe()) }()
	<-ctx.Done()
}
