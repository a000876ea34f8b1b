package main

import (
	"context"
	"io"
	"log"
	"math/rand/v2"
	"net"
	"net/http"
	"net/http/httputil"
	"strconv"
	"sync"
	"sync/atomic"
	"time"

	"onlyvips.com/lab/internal/cause"
	"onlyvips.com/lab/internal/metrics"
)

// proxy sends each request where the current table says, once.
//
// Connections to pods are pooled, as production's are. Go's transport would send a GET again when a pooled connection
// breaks before the answer, although the pod may have had the request: `once` keeps it from that.
type proxy struct {
	table   atomic.Pointer[table]
	metrics *metrics.Registry
	reverse *httputil.ReverseProxy
}

// target is where one request goes.
type target struct {
	service, address string
	filters          []filter
}

type targetKey struct{}

func newProxy() *proxy {
	p := &proxy{metrics: metrics.New()}
	p.table.Store(compile(nil, nil, nil))
	p.reverse = &httputil.ReverseProxy{
		Rewrite:        rewrite,
		ModifyResponse: p.answered,
		ErrorHandler:   p.failed,
		ErrorLog:       log.New(log.Writer(), "", log.Flags()),
		BufferPool:     &buffers{},
		Transport: once{&http.Transport{
			DialContext:           (&net.Dialer{Timeout: 2 * time.Second}).DialContext,
			MaxIdleConnsPerHost:   100,
			DisableCompression:    true,
			ResponseHeaderTimeout: 30 * time.Second,
		}},
	}
	return p
}

// once sends a request at most once: what has a body that cannot be read again is not replayed by Go's transport.
type once struct{ transport *http.Transport }

func (o once) RoundTrip(r *http.Request) (*http.Response, error) {
	if r.Body == nil || r.Body == http.NoBody {
		r = r.Clone(r.Context())
		r.Body = struct{ io.ReadCloser }{http.NoBody}
	}
	r.GetBody = nil
	return o.transport.RoundTrip(r)
}

func (p *proxy) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	t := p.table.Load()
	e := t.find(r)
	if e == nil {
		p.refuse(w, "", http.StatusNotFound, "no-route")
		return
	}
	if e.problem != "" {
		p.refuse(w, "", http.StatusInternalServerError, e.problem)
		return
	}
	backend := choose(e.rule.BackendRefs, rand.IntN)
	if backend == nil {
		p.refuse(w, "", http.StatusInternalServerError, "no-backend")
		return
	}
	address := t.endpoint(backend)
	if address == "" {
		p.refuse(w, backend.Name, http.StatusServiceUnavailable, "no-endpoints")
		return
	}
	to := &target{backend.Name, address, append(e.rule.Filters[:len(e.rule.Filters):len(e.rule.Filters)], backend.Filters...)}
	p.reverse.ServeHTTP(w, r.WithContext(context.WithValue(r.Context(), targetKey{}, to)))
}

func to(r *http.Request) *target { return r.Context().Value(targetKey{}).(*target) }

func rewrite(r *httputil.ProxyRequest) {
	r.SetXForwarded()
	r.Out.URL.Scheme, r.Out.URL.Host = "http", to(r.In).address
	for _, f := range to(r.In).filters {
		f.Request.change(r.Out.Header)
	}
}

func (p *proxy) answered(r *http.Response) error {
	for _, f := range to(r.Request).filters {
		f.Response.change(r.Header)
	}
	p.count(to(r.Request).service, r.StatusCode)
	return nil
}

// failed answers for a pod that did not. A client that went away is nobody's failure.
func (p *proxy) failed(w http.ResponseWriter, r *http.Request, err error) {
	why := cause.Of(err)
	if r.Context().Err() != nil {
		p.count(to(r).service, 499)
		return
	}
	log.Printf("%s at %s: %v", to(r).service, to(r).address, err)
	p.refuse(w, to(r).service, http.StatusBadGateway, why)
}

func (p *proxy) refuse(w http.ResponseWriter, service string, code int, why string) {
	p.count(service, code)
	w.Header().Set("X-Gateway-Error", why)
	http.Error(w, why, code)
}

func (p *proxy) count(service string, code int) {
	p.metrics.Add("gateway_requests_total", metrics.Labels("service", service, "code", strconv.Itoa(code)), 1)
}

func (c *headerChange) change(h http.Header) {
	if c == nil {
		return
	}
	for _, v := range c.Set {
		h.Set(v.Name, v.Value)
	}
	for _, v := range c.Add {
		h.Add(v.Name, v.Value)
	}
	for _, name := range c.Remove {
		h.Del(name)
	}
}

// buffers saves the proxy from making 32 KiB of garbage with every request.
type buffers struct{ pool sync.Pool }

func (b *buffers) Get() []byte {
	if kept, ok := b.pool.Get().(*[]byte); ok {
		return *kept
	}
	return make([]byte, 32<<10)
}

func (b *buffers) Put(buffer []byte) { b.pool.Put(&buffer) }
