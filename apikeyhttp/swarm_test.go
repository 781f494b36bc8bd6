package apikeyhttp_test

import (
	"context"
	"fmt"
	"io"
	"log"
	"math/rand/v2"
	"net"
	"net/http"
	"os"
	"runtime"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/keyturn/apikey"
	"github.com/keyturn/apikey/apikeyhttp"
	"github.com/keyturn/apikey/apikeytest"
)

// TestSwarm lets 64 clients send requests with 1,000 keys, half of them over
// HTTP/1.1 and half over HTTP/2, of which some are cancelled on the way, while
// some of the keys are disabled, enabled and rotated. Whatever happens, a
// handler must see the key that was sent, with its scopes.
func TestSwarm(t *testing.T) {
	total := 20_000
	if os.Getenv("APIKEY_LONG") != "" {
		total = 1_000_000
	}
	before := runtime.NumGoroutine()
	s := newSwarm(t)
	s.run(t, right, total)
	awaitGoroutines(t, before)
	for _, fault := range s.faults {
		t.Error(fault)
	}
	for _, p := range s.protocols {
		t.Logf("%s: %d requests: %d answered 200, %d answered 403, %d answered 401, %d cancelled (%d of them while the handler waited); %d connections",
			p.name, p.requests.Load(), p.ok.Load(), p.lacking.Load(), p.ended.Load(), p.cancelled.Load(), p.waited.Load(), p.connections.Load())
		if sum := p.ok.Load() + p.lacking.Load() + p.ended.Load() + p.cancelled.Load(); sum != int64(total/2) || p.requests.Load() != sum {
			t.Errorf("%s: %d outcomes", p.name, sum)
		}
		for _, count := range []*atomic.Int64{&p.ok, &p.lacking, &p.ended, &p.cancelled, &p.waited} {
			if count.Load() == 0 {
				t.Errorf("%s: not all outcomes were seen", p.name)
			}
		}
	}
	t.Logf("management: %d changes of %d keys", s.changes.Load(), len(s.keys)/swarmManaged)
}

const (
	swarmClients = 64
	swarmKeys    = 1000
	swarmManaged = 20 // one key in so many is changed meanwhile
	swarmGroups  = 10 // of keys; a key may see what is its group's
)

// swarm is what clients, server and management share.
type swarm struct {
	manager   *apikeytest.Manager
	keys      []*swarmKey
	protocols []*swarmProtocol
	url       string
	changes   atomic.Int64
	cancels   sync.Map // by the number of a request: ends it from within the handler

	mu     sync.Mutex
	faults []string // at most 20
}

type swarmKey struct {
	number    int
	id, owner string
	token     atomic.Pointer[string] // the newest
	managed   bool
	disabled  bool // only management reads it
}

// swarmProtocol counts what came of the requests over one protocol.
type swarmProtocol struct {
	name                                                                        string
	transports                                                                  []*http.Transport
	requests, ok, lacking, ended, cancelled, waited, wrong, connections, number atomic.Int64
}

func newSwarm(t *testing.T) *swarm {
	s := &swarm{manager: apikeytest.New(t)}
	for i := range swarmKeys {
		issued := s.manager.MustIssue(t, apikey.IssueParams{Owner: fmt.Sprint("owner-", i), Scopes: []string{fmt.Sprint("group:", i%swarmGroups)}})
		key := &swarmKey{number: i, id: issued.Key.ID, owner: issued.Key.Owner, managed: i%swarmManaged == 0}
		token := issued.Token.Reveal()
		key.token.Store(&token)
		s.keys = append(s.keys, key)
	}
	for _, name := range []string{"HTTP/1.1", "HTTP/2.0"} {
		p := &swarmProtocol{name: name}
		for range 4 {
			transport := &http.Transport{MaxIdleConnsPerHost: swarmClients, Protocols: new(http.Protocols)}
			transport.Protocols.SetHTTP1(name == "HTTP/1.1")
			transport.Protocols.SetUnencryptedHTTP2(name != "HTTP/1.1")
			transport.DialContext = func(ctx context.Context, network, address string) (net.Conn, error) {
				p.connections.Add(1)
				return new(net.Dialer).DialContext(ctx, network, address)
			}
			p.transports = append(p.transports, transport)
		}
		s.protocols = append(s.protocols, p)
	}
	return s
}

// protect makes the middleware of a route that needs a scope.
type protect func(guard *apikeyhttp.Guard, scope string) func(http.Handler) http.Handler

func right(guard *apikeyhttp.Guard, scope string) func(http.Handler) http.Handler {
	return guard.Require(scope)
}

// guard returns the Guard that is tested, with all the carriers of the matrix
// turned on.
func (s *swarm) guard() *apikeyhttp.Guard {
	options := &apikeyhttp.Options{}
	for _, carrier := range carriers {
		options.Carriers |= carrier.carrier
	}
	return newGuard(s.manager, options)
}

// run serves and sends requests, and returns when nothing is under way.
func (s *swarm) run(t *testing.T, protect protect, total int) {
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	must(t, err)
	s.url = "http://" + listener.Addr().String()
	mux := http.NewServeMux()
	for group := range swarmGroups {
		mux.Handle(fmt.Sprint("GET /", group), protect(s.guard(), fmt.Sprint("group:", group))(http.HandlerFunc(s.serve)))
	}
	output := &rawLog{}
	server := &http.Server{Handler: mux, ErrorLog: log.New(output, "", 0), Protocols: new(http.Protocols)}
	server.Protocols.SetHTTP1(true)
	server.Protocols.SetUnencryptedHTTP2(true)
	var serving, managing, clients sync.WaitGroup
	serving.Go(func() { server.Serve(listener) })

	ticks := make(chan struct{})
	managing.Go(func() { s.manage(ticks) })
	for i := range swarmClients {
		p := s.protocols[i%len(s.protocols)]
		random := rand.New(rand.NewPCG(uint64(total), uint64(i)))
		transport := p.transports[i/len(s.protocols)%len(p.transports)]
		clients.Go(func() {
			for p.number.Add(1) <= int64(total/len(s.protocols)) {
				s.send(p, transport, random)
				if random.IntN(64) == 0 {
					ticks <- struct{}{}
				}
			}
		})
	}
	clients.Wait()
	close(ticks)
	managing.Wait()
	for _, p := range s.protocols {
		for _, transport := range p.transports {
			transport.CloseIdleConnections()
		}
	}
	must(t, server.Close())
	serving.Wait()
	if all := output.all(); strings.Contains(all, "panic") {
		s.fail(all)
	}
}

// serve answers with who called. A request that says so is cancelled by its
// client at this very moment.
func (s *swarm) serve(w http.ResponseWriter, r *http.Request) {
	before, _ := apikey.FromContext(r.Context())
	if cancel, ok := s.cancels.LoadAndDelete(r.Header.Get("Number")); ok {
		cancel.(func())()
		<-r.Context().Done()
	}
	for range len(r.Header.Get("Yields")) {
		runtime.Gosched()
	}
	after, _ := apikey.FromContext(r.Context())
	if owner := r.Header.Get("Sent-By"); before.Owner != owner || after.Owner != owner {
		s.fail(fmt.Sprintf("a request of %s is served as of %s and %s", owner, before.Owner, after.Owner))
	}
	for _, key := range []apikey.Key{before, after} {
		fmt.Fprintln(w, key.ID, key.Owner, key.AccessKey())
	}
}

// send sends one request with any of the keys, and checks the answer.
func (s *swarm) send(p *swarmProtocol, transport *http.Transport, random *rand.Rand) {
	key := s.keys[random.IntN(len(s.keys))]
	token, lacks, group := *key.token.Load(), random.IntN(8) == 0, key.number%swarmGroups
	if lacks {
		group = (group + 1 + random.IntN(swarmGroups-1)) % swarmGroups
	}
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	r, err := http.NewRequestWithContext(ctx, http.MethodGet, fmt.Sprintf("%s/%d", s.url, group), nil)
	if err != nil {
		s.fail(err.Error())
		return
	}
	carriers[random.IntN(len(carriers))].set(r, token)
	r.Header.Set("Sent-By", key.owner)
	r.Header.Set("Yields", strings.Repeat("y", random.IntN(5)))
	var cancelling sync.WaitGroup
	inHandler := false
	switch yields := random.IntN(300); random.IntN(32) {
	case 0:
		number := fmt.Sprint(p.name, p.requests.Load(), random.Uint64())
		r.Header.Set("Number", number)
		s.cancels.Store(number, func() { inHandler = true; cancel() })
		defer s.cancels.Delete(number)
	case 1:
		cancelling.Go(func() {
			for range yields {
				runtime.Gosched()
			}
			cancel()
		})
	}
	defer cancelling.Wait()

	p.requests.Add(1)
	response, err := transport.RoundTrip(r)
	var body []byte
	if err == nil {
		body, err = io.ReadAll(response.Body)
		response.Body.Close()
	}
	if err != nil {
		if ctx.Err() == nil {
			s.fail(fmt.Sprintf("%s: %v", p.name, err))
			return
		}
		p.cancelled.Add(1)
		if inHandler {
			p.waited.Add(1)
		}
		return
	}
	switch response.StatusCode {
	case 200:
		p.ok.Add(1)
	case 401:
		p.ended.Add(1)
	case 403:
		p.lacking.Add(1)
	}
	fault := swarmFault(key, token, lacks, response.StatusCode, string(body))
	if fault == "" && response.Proto != p.name {
		fault = "answered over " + response.Proto
	}
	if fault != "" {
		p.wrong.Add(1)
		s.fail(fmt.Sprintf("%s, %s: %s", p.name, key.owner, fault))
	}
}

// swarmFault says what is wrong with an answer to a request with a token of a
// key, for what needs its scope or one that it lacks.
func swarmFault(key *swarmKey, token string, lacks bool, status int, body string) string {
	hasCode := func(code string) bool { return strings.Contains(body, `"code":"`+code+`"`) }
	line := fmt.Sprintln(key.id, key.owner, token[:strings.LastIndexByte(token, '_')])
	switch {
	case status == 200 && !lacks && body == line+line:
	case status == 403 && lacks && hasCode("insufficient_scope"):
	case status == 401 && key.managed && (hasCode("disabled") || hasCode("replaced")):
	default:
		return fmt.Sprintf("status %d (scope lacking: %t): %q, want %q twice", status, lacks, body, line)
	}
	return ""
}

// manage makes one change for each tick, and checks that it has come into
// force when the call returns.
func (s *swarm) manage(ticks <-chan struct{}) {
	random := rand.New(rand.NewPCG(1, 1))
	ctx := context.Background()
	for range ticks {
		key := s.keys[random.IntN(len(s.keys)/swarmManaged)*swarmManaged]
		var err error
		switch {
		case key.disabled:
			_, err = s.manager.Enable(ctx, key.id)
			key.disabled = false
		case random.IntN(4) == 0:
			var rotated apikey.Issued
			rotated, err = s.manager.Rotate(ctx, key.id, time.Hour)
			token := rotated.Token.Reveal()
			key.token.Store(&token)
		default:
			_, err = s.manager.Disable(ctx, key.id)
			key.disabled = true
		}
		if err != nil {
			s.fail(err.Error())
			continue
		}
		s.changes.Add(1)
		if _, err := s.manager.Validate(ctx, *key.token.Load()); (err != nil) != key.disabled {
			s.fail(fmt.Sprintf("%s, disabled: %t: %v", key.owner, key.disabled, err))
		}
	}
}

func (s *swarm) fail(fault string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if len(s.faults) < 20 {
		s.faults = append(s.faults, fault)
	}
}

// awaitGoroutines waits until there are no more goroutines than before. Those
// of closed connections end by themselves; a minute is for those that do not.
func awaitGoroutines(t *testing.T, before int) {
	t.Helper()
	for start := time.Now(); runtime.NumGoroutine() > before; runtime.Gosched() {
		if time.Since(start) > time.Minute {
			stacks := make([]byte, 1<<16)
			t.Fatalf("%d goroutines, %d before: %s", runtime.NumGoroutine(), before, stacks[:runtime.Stack(stacks, true)])
		}
	}
}
