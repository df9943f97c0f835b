package embedded

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"time"
)

// RegistryConfig says where a [Registry] listens and which broker keeps its
// schemas.
type RegistryConfig struct {
	// Addr is the host:port to listen on; port 0 takes a free one.
	Addr string

	// Kafka are the brokers, host:port each.
	Kafka []string
}

// Registry is a schema registry over HTTP with the API of Confluent's, for Avro
// schemas without references. Subjects and schemas are never deleted.
type Registry struct {
	url    string
	server *http.Server
	log    *schemaLog
	served chan error
}

// StartRegistry loads the schemas from the broker's topic `_schemas`, which it
// makes when missing, and serves them. ctx bounds the start. A port in use is an
// error that is syscall.EADDRINUSE.
func StartRegistry(ctx context.Context, cfg RegistryConfig) (*Registry, error) {
	ln, err := new(net.ListenConfig).Listen(ctx, "tcp", cfg.Addr)
	if err != nil {
		return nil, fmt.Errorf("start registry: %w", err)
	}
	r, err := startRegistry(ctx, cfg, ln)
	if err != nil {
		return nil, errors.Join(fmt.Errorf("start registry: %w", err), ln.Close())
	}
	return r, nil
}

func startRegistry(ctx context.Context, cfg RegistryConfig, ln net.Listener) (*Registry, error) {
	log, err := openSchemaLog(ctx, cfg.Kafka)
	if err != nil {
		return nil, err
	}
	subjects := newSubjects(log.append)
	if err := log.load(ctx, subjects.apply); err != nil {
		log.close()
		return nil, err
	}
	r := &Registry{
		url:    "http://" + ln.Addr().String(),
		server: &http.Server{Handler: registryHandler(subjects), ReadHeaderTimeout: 10 * time.Second},
		log:    log,
		served: make(chan error, 1),
	}
	go func() { r.served <- r.server.Serve(ln) }()
	return r, nil
}

// URL returns the address of the registry, http://host:port.
func (r *Registry) URL() string { return r.url }

// Close answers the requests that are under way, for at most two seconds, and
// stops. It is called once.
func (r *Registry) Close() error {
	ctx, cancel := context.WithTimeout(context.Background(), 2*time.Second)
	defer cancel()
	err := r.server.Shutdown(ctx)
	if err != nil {
		err = r.server.Close()
	}
	if served := <-r.served; !errors.Is(served, http.ErrServerClosed) {
		err = errors.Join(err, served)
	}
	r.log.close()
	if err != nil {
		return fmt.Errorf("close registry: %w", err)
	}
	return nil
}
