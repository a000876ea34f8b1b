// Command sample is the lab's application: any service, any version, with the faults its version is given.
//
// It stops as an ordinary Go server does: at SIGTERM it accepts nothing more at once, finishes what is in flight and
// exits 0. Whoever wants no request lost must have taken it out of the gateway before (that is what preStop is for).
package main

import (
	"context"
	"errors"
	"flag"
	"log"
	"net"
	"net/http"
	"os"
	"os/signal"
	"syscall"
)

func main() {
	name := flag.String("service", "backend", "which service this is")
	version := flag.String("version", "v1", "which version of it")
	flag.Parse()
	address := net.JoinHostPort(os.Getenv("POD_IP"), or(os.Getenv("PORT"), "8080"))
	faults := follow(or(os.Getenv("FAULTS_FILE"), "faults.json"), *name+":"+*version)
	server := &http.Server{Addr: address, Handler: newService(*name, *version, faults).handler()}
	stopped := make(chan struct{})
	go func() {
		defer close(stopped)
		asked, cancel := signal.NotifyContext(context.Background(), syscall.SIGTERM, os.Interrupt)
		defer cancel()
		<-asked.Done()
		log.Print("stopping")
		if err := server.Shutdown(context.Background()); err != nil {
			log.Print(err)
		}
	}()
	log.Printf("%s %s on %s", *name, *version, address)
	if err := server.ListenAndServe(); !errors.Is(err, http.ErrServerClosed) {
		log.Fatal(err)
	}
	<-stopped
}

func or(value, otherwise string) string {
	if value == "" {
		return otherwise
	}
	return value
}
