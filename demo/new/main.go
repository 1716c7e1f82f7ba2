// Command shop is the rewrite of demo/legacy in Go: net/http, encoding/json, no dependencies.
//
// It is the *new* side of the demo. Most handlers are written as one writes them on the
// first day (json.NewEncoder and done); three of them took care to answer as the legacy
// does, byte for byte. Comments that start with DIVERGES name what differs, and why.
//
//	shop -data shop.json -listen 127.0.0.1:0
package main

import (
	"context"
	"flag"
	"fmt"
	"log"
	"net"
	"net/http"
	"os/signal"
	"syscall"
	"time"
)

const version = "shop-new/0.9"

func main() {
	data := flag.String("data", "", "the shop's data, as JSON")
	listen := flag.String("listen", "127.0.0.1:0", "address to listen on")
	flag.Parse()

	shop, err := loadShop(*data)
	if err != nil {
		log.Fatalf("shop: %v", err)
	}
	listener, err := net.Listen("tcp", *listen)
	if err != nil {
		log.Fatalf("shop: %v", err)
	}
	fmt.Printf("listening on %s\n", listener.Addr())

	server := &http.Server{Handler: withVersion(shop.routes()), ReadHeaderTimeout: 5 * time.Second}
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGINT, syscall.SIGTERM)
	defer stop()
	go func() {
		<-ctx.Done()
		deadline, cancel := context.WithTimeout(context.Background(), 2*time.Second)
		defer cancel()
		server.Shutdown(deadline)
	}()
	if err := server.Serve(listener); err != http.ErrServerClosed {
		log.Fatalf("shop: %v", err)
	}
}

func withVersion(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("X-App-Version", version)
		next.ServeHTTP(w, r)
	})
}
