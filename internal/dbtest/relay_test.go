package dbtest

import (
	"io"
	"net"
	"strings"
	"sync"
	"testing"
)

// relay is a TCP proxy in front of a server, as a load balancer is. New
// connections go to its target. Existing ones stay where they are.
type relay struct {
	listener net.Listener
	group    sync.WaitGroup

	mu       sync.Mutex
	target   [2]string // network and address
	open     map[net.Conn]bool
	accepted int
}

// newRelay starts a relay, which ends with the test.
func newRelay(t testing.TB, network, address string) *relay {
	t.Helper()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	r := &relay{listener: listener, target: [2]string{network, address}, open: map[net.Conn]bool{}}
	r.group.Go(r.serve)
	t.Cleanup(func() {
		listener.Close()
		r.cut()
		r.group.Wait()
	})
	return r
}

// address returns the host and port that clients connect to.
func (r *relay) address() string { return r.listener.Addr().String() }

// to sends new connections to another server.
func (r *relay) to(network, address string) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.target = [2]string{network, address}
}

// count returns how many connections were accepted so far.
func (r *relay) count() int {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.accepted
}

// cut closes all connections.
func (r *relay) cut() {
	r.mu.Lock()
	defer r.mu.Unlock()
	for conn := range r.open {
		conn.Close()
	}
}

func (r *relay) serve() {
	for {
		client, err := r.listener.Accept()
		if err != nil {
			return // closed
		}
		r.mu.Lock()
		r.accepted++
		target := r.target
		r.open[client] = true
		r.mu.Unlock()
		r.group.Go(func() { r.pass(client, target) })
	}
}

func (r *relay) pass(client net.Conn, target [2]string) {
	defer r.forget(client)
	server, err := net.Dial(target[0], target[1])
	if err != nil {
		return
	}
	r.mu.Lock()
	r.open[server] = true
	r.mu.Unlock()
	defer r.forget(server)
	var both sync.WaitGroup
	for _, way := range [2][2]net.Conn{{client, server}, {server, client}} {
		both.Go(func() {
			io.Copy(way[0], way[1])
			way[0].Close()
			way[1].Close()
		})
	}
	both.Wait()
}

func (r *relay) forget(conn net.Conn) {
	conn.Close()
	r.mu.Lock()
	defer r.mu.Unlock()
	delete(r.open, conn)
}

// dsn returns the data source name of the database "test" by way of the relay.
// The account can write only while the server takes writes.
func (r *relay) dsn(e Engine) string {
	if e.Dialect == MariaDB.Dialect {
		return "app:app@tcp(" + r.address() + ")/test"
	}
	return "postgres://postgres@" + r.address() + "/test?sslmode=disable"
}

// socket returns the Unix socket in a data source name.
func socket(e Engine, dsn string) string {
	if e.Dialect == MariaDB.Dialect {
		_, rest, _ := strings.Cut(dsn, "unix(")
		path, _, _ := strings.Cut(rest, ")")
		return path
	}
	_, host, _ := strings.Cut(dsn, "host=")
	host, _, _ = strings.Cut(host, "&")
	return host + "/.s.PGSQL.5432"
}
