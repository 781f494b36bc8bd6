package apikeyhttp_test

import (
	"fmt"
	"log"
	"log/slog"
	"maps"
	"net"
	"net/http"
	"os"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/cryptotest"

	"github.com/keyturn/apikey"
	"github.com/keyturn/apikey/apikeyhttp"
	"github.com/keyturn/apikey/apikeytest"
)

// TestHostileRequests writes bad requests to a TCP connection as an attacker
// would: at least 500 for each way to carry a key and each route, and at least
// 20 of each class, counted by what net/http makes of them. What net/http
// refuses by itself is sent and checked too, but does not count.
func TestHostileRequests(t *testing.T) {
	cryptotest.SetGlobalRandom(t, 1)
	output := &rawLog{}
	keys := apikeytest.New(t, func(o *apikey.Options) { o.Observe = output.validated })
	fixture := newHostileKeys(t, keys)

	counts := &rawCounts{}
	var group sync.WaitGroup
	for _, carrier := range hostileCarriers(fixture) {
		options := carrier.options
		options.Observe = output.observed
		target := newRawTarget(t, newGuard(keys, &options), newGuard(keys, &options).Authenticate, output)
		inputs := hostileInputs(fixture, carrier)
		for i, route := range rawRoutes {
			group.Go(func() {
				for _, problem := range target.attack(carrier, route, shareOf(inputs, i), counts) {
					t.Errorf("%s, %s: %s", carrier.name, route.name, problem)
				}
			})
		}
	}
	group.Wait()

	counts.check(t)
	for _, problem := range output.problems() {
		t.Error(problem)
	}
	for _, secret := range fixture.secrets {
		apikeytest.AssertNoLeak(t, secret, output.all(), counts.all())
	}
}

// shareOf returns the inputs for one of the routes: in the long form all, else
// of a class so many that over all routes each is sent.
func shareOf(inputs []hostileInput, route int) (share []hostileInput) {
	of := map[string]int{}
	for _, input := range inputs {
		of[input.class]++
	}
	at := map[string]int{}
	for _, input := range inputs {
		n := at[input.class]
		at[input.class]++
		step := min(max((of[input.class]+14)/28, 1), len(rawRoutes))
		if hostileLong || input.shape != nil || (n+route)%step == 0 {
			share = append(share, input)
		}
	}
	return share
}

var hostileLong = os.Getenv("APIKEY_LONG") != ""

// TestHostileRequestsFindFaults lets middlewares that are wrong in one way each
// be attacked. Every one must be found out.
func TestHostileRequestsFindFaults(t *testing.T) {
	cryptotest.SetGlobalRandom(t, 2)
	keys := apikeytest.New(t)
	fixture := newHostileKeys(t, keys)
	carrier := hostileCarriers(fixture)[0]
	inputs := hostileInputs(fixture, carrier)
	inputs = append(inputs[:50:50], inputs[len(inputs)-50:]...)

	right := newGuard(keys, nil).Authenticate
	// wrongly is right but for long Authorization headers that hold no good key.
	wrongly := func(answer func(next http.Handler, w http.ResponseWriter, r *http.Request)) func(http.Handler) http.Handler {
		return func(next http.Handler) http.Handler {
			protected := right(next)
			return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
				value := r.Header.Get("Authorization")
				if len(value) < 40 || value == "Bearer "+fixture.token {
					protected.ServeHTTP(w, r)
					return
				}
				answer(next, w, r)
			})
		}
	}
	output := &rawLog{}
	faults := []struct {
		name         string
		authenticate func(http.Handler) http.Handler
		found        string
	}{
		{"none", right, ""},
		{"lets all through", func(next http.Handler) http.Handler { return next }, "status 200"},
		{"lets some through", wrongly(func(next http.Handler, w http.ResponseWriter, r *http.Request) {
			next.ServeHTTP(w, r)
		}), "status 200"},
		{"calls the handler all the same", wrongly(func(next http.Handler, w http.ResponseWriter, r *http.Request) {
			next.ServeHTTP(nowhere{http.Header{}}, r)
			right(next).ServeHTTP(w, r)
		}), "the handler was reached"},
		{"fails", wrongly(func(_ http.Handler, w http.ResponseWriter, r *http.Request) { w.WriteHeader(500) }), "status 500"},
		{"panics", wrongly(func(http.Handler, http.ResponseWriter, *http.Request) { panic("wrong") }), "no HTTP response"},
		{"tells what it got", wrongly(func(_ http.Handler, w http.ResponseWriter, r *http.Request) {
			http.Error(w, "bad key "+r.Header.Get("Authorization"), http.StatusUnauthorized)
		}), "bytes of the request"},
		{"tells it in a header", wrongly(func(next http.Handler, w http.ResponseWriter, r *http.Request) {
			w.Header().Set("X-Debug", r.Header.Get("Authorization")[:40])
			right(next).ServeHTTP(w, r)
		}), "bytes of the request"},
		{"tells more than it may", wrongly(func(_ http.Handler, w http.ResponseWriter, r *http.Request) {
			http.Error(w, fmt.Sprint(len(r.Header.Get("Authorization"))), http.StatusUnauthorized)
		}), "not one of the refusals"},
		{"logs two lines", wrongly(func(next http.Handler, w http.ResponseWriter, r *http.Request) {
			fmt.Fprintf(output, "%s\n%s\n", "refused", "level=INFO")
			right(next).ServeHTTP(w, r)
		}), "more than one line"},
	}
	for _, fault := range faults {
		t.Run(fault.name, func(t *testing.T) {
			*output = rawLog{}
			target := newRawTarget(t, newGuard(keys, nil), fault.authenticate, output)
			problems := target.attack(carrier, rawRoutes[0], inputs, &rawCounts{})
			problems = append(problems, output.problems()...)
			switch found := strings.Join(problems, "\n"); {
			case fault.found == "" && found != "":
				t.Error(found)
			case !strings.Contains(found, fault.found):
				t.Errorf("found only: %.2000s", found)
			}
		})
	}
}

// rawRoutes are the routes that are attacked. Each also has all paths below.
var rawRoutes = []rawRoute{
	{"Authenticate", "GET", "/open"},
	{"Require", "GET", "/orders"},
	{"HEAD", "HEAD", "/orders"},
	{"OPTIONS", "OPTIONS", "/orders"},
	{"POST", "POST", "/orders"},
	{"below a prefix", "GET", "/api/v1/orders"},
}

type rawRoute struct{ name, method, path string }

// rawTarget is a server under attack.
type rawTarget struct {
	address string

	mu   sync.Mutex
	seen map[string]rawSeen // by the client's address
}

// rawSeen is what came of the requests of a connection.
type rawSeen struct {
	forms   []string // what net/http parsed
	reached int      // calls of the protected handler
}

func newRawTarget(t *testing.T, guard *apikeyhttp.Guard, authenticate func(http.Handler) http.Handler, output *rawLog) *rawTarget {
	target := &rawTarget{seen: map[string]rawSeen{}}
	protected := http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		target.note(r, func(s *rawSeen) { s.reached++ })
		fmt.Fprintln(w, "welcome")
	})
	mux, below := http.NewServeMux(), http.NewServeMux()
	for _, slash := range []string{"", "/"} {
		mux.Handle("/open"+slash, authenticate(protected))
		mux.Handle("/orders"+slash, guard.Require("orders:read")(protected))
		below.Handle("/orders"+slash, guard.Require("orders:read")(protected))
	}
	mux.Handle("/api/v1/", http.StripPrefix("/api/v1", below))
	end := http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusNoContent) })
	access := slog.New(slog.NewJSONHandler(output, &slog.HandlerOptions{ReplaceAttr: withoutTime}))

	listener, err := net.Listen("tcp", "127.0.0.1:0")
	must(t, err)
	target.address = listener.Addr().String()
	server := &http.Server{
		ErrorLog:       log.New(output, "", 0),
		MaxHeaderBytes: 28 << 10, // and 4 KB that net/http adds
		Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			if r.URL.Path == "/end" {
				end.ServeHTTP(w, r)
				return
			}
			target.note(r, func(s *rawSeen) { s.forms = append(s.forms, parsedForm(r)) })
			mux.ServeHTTP(w, r)
			access.InfoContext(r.Context(), "request", "method", r.Method, "pattern", r.Pattern, "agent", r.UserAgent(), apikeyhttp.LogAttr(r.Context()))
		}),
	}
	var serving sync.WaitGroup
	serving.Go(func() { server.Serve(listener) })
	t.Cleanup(func() { server.Close(); serving.Wait() })
	return target
}

func (target *rawTarget) note(r *http.Request, change func(*rawSeen)) {
	target.mu.Lock()
	defer target.mu.Unlock()
	seen := target.seen[r.RemoteAddr]
	change(&seen)
	target.seen[r.RemoteAddr] = seen
}

// parsedForm is what the middlewares can know of a request.
func parsedForm(r *http.Request) string {
	var form strings.Builder
	fmt.Fprintf(&form, "%s %q %v %q", r.Method, r.URL.String(), r.URL.User, r.Host)
	for _, name := range slices.Sorted(maps.Keys(r.Header)) {
		fmt.Fprintf(&form, "\n%q: %q", name, r.Header[name])
	}
	return form.String()
}

// attack sends the inputs to a route and returns what was wrong, at most 20
// things.
func (target *rawTarget) attack(carrier hostileCarrier, route rawRoute, inputs []hostileInput, counts *rawCounts) (problems []string) {
	a := &rawAttack{client: rawClient{target: target}, carrier: carrier, route: route, counts: counts, refusals: map[string]string{}, novel: map[string]map[string]bool{}}
	defer a.client.close()
	if problem := a.begin(); problem != "" {
		return []string{problem}
	}
	for _, input := range inputs {
		if problem := a.try(input); problem != "" {
			problems = append(problems, fmt.Sprintf("%s: %s: %.300q", input.class, problem, input.request(route)))
			if len(problems) == 20 {
				break
			}
		}
	}
	return problems
}

// rawAttack is one on one route.
type rawAttack struct {
	client   rawClient
	carrier  hostileCarrier
	route    rawRoute
	counts   *rawCounts
	refusals map[string]string          // those that any bad request may get, and their names
	known    map[string]bool            // pieces of responses that were not made from a request
	novel    map[string]map[string]bool // by response, the pieces that are not known
}

// begin sends a good request, and harmless bad ones, to see how they are
// refused.
func (a *rawAttack) begin() string {
	good, err := a.client.exchange(a.route, hostileInput{hostileParts: a.carrier.good})
	if seen := a.client.seen(); err != nil || good[0].status != 200 || seen.reached != 1 {
		return fmt.Sprintf("a good request is refused: %v", err)
	}
	a.known = windows("HTTP/1.1 400 Bad Request\r\nContent-Type: text/plain; charset=utf-8\r\nConnection: close\r\n\r\n400 Bad Request")
	for name, parts := range a.carrier.samples {
		got, err := a.client.exchange(a.route, hostileInput{hostileParts: parts})
		if err != nil {
			return fmt.Sprintf("%s: %v", name, err)
		}
		if calls := a.client.seen().reached; got[0].status/100 != 4 || calls != 0 {
			return fmt.Sprintf("%s: status %d, and %d calls of the handler", name, got[0].status, calls)
		}
		a.refusals[got[0].text] = name
		maps.Copy(a.known, windows(got[0].text))
	}
	return ""
}

// try sends one input and says what was wrong.
func (a *rawAttack) try(input hostileInput) string {
	got, err := a.client.exchange(a.route, input)
	seen := a.client.seen()
	switch {
	case err != nil:
		return fmt.Sprint("no HTTP response: ", err)
	case got[0].status/100 != 4:
		return fmt.Sprint("status ", got[0].status)
	case seen.reached != 0:
		return "the handler was reached"
	case len(got) != 1 || len(seen.forms) > 1:
		return fmt.Sprintf("%d responses to %d requests", len(got), len(seen.forms))
	}
	response := got[0]
	if piece := a.reflected(response.text, input.texts(a.route)...); piece != "" {
		return fmt.Sprintf("the response holds bytes of the request, %q", piece)
	}
	a.counts.add(a.carrier.name, a.route.name, input.class, seen.forms, response.text)
	if len(seen.forms) == 0 {
		return "" // refused by net/http
	}
	name, isUnearned := a.refusals[response.text]
	earned, isEarned := hostileCodes[input.want]
	switch {
	case isEarned && (isUnearned || response.status != earned.status || a.route.method != "HEAD" &&
		!(strings.Contains(response.text, `"code":"`+input.want+`"`) && strings.Contains(response.text, earned.detail))):
		return fmt.Sprintf("status %d, want %s", response.status, input.want)
	case !isEarned && !isUnearned:
		return fmt.Sprintf("status %d, not one of the refusals", response.status)
	case !isEarned && input.want != "" && name != input.want:
		return fmt.Sprintf("refused as %s, want %s", name, input.want)
	}
	return ""
}

// reflected returns 8 bytes of the texts that stand in a response, but not in
// the known ones.
func (a *rawAttack) reflected(response string, texts ...string) string {
	novel, ok := a.novel[response]
	if !ok {
		novel = windows(response)
		maps.DeleteFunc(novel, func(window string, _ bool) bool { return a.known[window] })
		a.novel[response] = novel
	}
	if len(novel) == 0 {
		return ""
	}
	for _, text := range texts {
		for i := 0; i+8 <= len(text); i++ {
			if novel[text[i:i+8]] {
				return text[i : i+8]
			}
		}
	}
	return ""
}

// windows returns all 8 bytes in a row of a text.
func windows(text string) map[string]bool {
	all := make(map[string]bool, len(text))
	for i := 0; i+8 <= len(text); i++ {
		all[text[i:i+8]] = true
	}
	return all
}
