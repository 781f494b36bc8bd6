//go:build linux

package dbtest

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"math/rand/v2"
	"net/http"
	"net/http/httptest"
	"slices"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/matryer/is"

	"github.com/keyturn/apikey"
	"github.com/keyturn/apikey/apikeyhttp"
	"github.com/keyturn/apikey/apikeytest"
)

// load is an HTTP server, and clients that call it all the time.
type load struct {
	store    apikey.Store
	manager  *apikey.Manager
	callers  []caller
	errs     map[string]error // of Validate, by access key, from a database that answers
	server   *httptest.Server
	deadline atomic.Int64 // of a request, as the host has it
	ended    atomic.Bool
	group    sync.WaitGroup

	mu       sync.Mutex
	now      *epoch
	uses     map[string]int64 // by key, as Validate told them
	left     int              // Validate was told that the client has left
	totals   map[string]map[string]int
	order    []string // of totals
	problems []error
}

// newLoad starts the server and its clients. wrap, if not nil, puts another
// Validator in the place of the Manager.
func newLoad(t *testing.T, store apikey.Store, wrap func(apikey.Validator) apikey.Validator) *load {
	t.Helper()
	is := is.New(t)
	l := &load{store: store, errs: map[string]error{}, uses: map[string]int64{}, totals: map[string]map[string]int{}}
	var err error
	l.manager, err = apikey.New(store, &apikey.Options{Peppers: []apikey.Secret{apikey.NoPepper()}, Observe: l.observe})
	is.NoErr(err)
	l.makeCallers(t)
	l.deadline.Store(int64(longest))
	var validator apikey.Validator = l.manager
	if wrap != nil {
		validator = wrap(validator)
	}
	guard, err := apikeyhttp.New(validator, nil)
	is.NoErr(err)
	h := guard.Require("orders:read")(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		key, _ := apikey.FromContext(r.Context())
		io.WriteString(w, key.ID)
	}))
	l.server = httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		ctx, cancel := context.WithTimeout(r.Context(), time.Duration(l.deadline.Load()))
		defer cancel()
		h.ServeHTTP(w, r.WithContext(ctx))
	}))
	l.server.Client().Transport.(*http.Transport).MaxIdleConnsPerHost = workers
	l.enter(epoch{name: "up", state: isUp, need: 20})
	for n := range workers + leaving {
		l.group.Go(func() {
			for i := n; !l.ended.Load(); i++ {
				l.call(n, i%len(l.callers))
			}
		})
	}
	t.Cleanup(l.stop) // also of a test that has failed on its way
	return l
}

func (l *load) stop() {
	l.ended.Store(true)
	l.group.Wait()
	l.server.Close() // waits for all handlers
}

// makeCallers issues the keys.
func (l *load) makeCallers(t *testing.T) {
	t.Helper()
	is := is.New(t)
	ctx := t.Context()
	issue := func(m *apikey.Manager, owner, scope string) apikey.Issued {
		issued, err := m.Issue(ctx, apikey.IssueParams{Owner: owner, Name: "load", Scopes: []string{scope}})
		is.NoErr(err)
		return issued
	}
	add := func(name string, i apikey.Issued, right answer, err error) {
		l.callers = append(l.callers, caller{name: name, token: i.Token.Reveal(), key: i.Key.ID, right: right})
		l.errs[i.AccessKey()] = err
	}
	refused := func(code string) answer { return answer{401, code, false, true} }
	for n := range 3 {
		good := issue(l.manager, "acme", "orders:*")
		add(fmt.Sprint("good ", n), good, answer{status: 200, code: good.Key.ID}, nil)
	}
	add("without the scope", issue(l.manager, "acme", "stock:read"), answer{403, "insufficient_scope", false, true}, nil)
	disabled := issue(l.manager, "acme", "orders:read")
	_, err := l.manager.Disable(ctx, disabled.Key.ID)
	is.NoErr(err)
	add("disabled", disabled, refused("disabled"), apikey.ErrDisabled)
	add("owner disabled", issue(l.manager, "gone", "orders:read"), refused("owner_disabled"), apikey.ErrOwnerDisabled)
	_, err = l.manager.DisableOwner(ctx, "gone")
	is.NoErr(err)

	// Two tokens of another program. The database knows the access key of one.
	elsewhere := apikeytest.New(t)
	for _, name := range []string{"unknown", "wrong secret"} {
		other := issue(elsewhere.Manager, "acme", "orders:read")
		if name == "wrong secret" {
			r, err := l.store.Get(ctx, l.callers[0].key, "")
			is.NoErr(err)
			r.Key.ID, r.Key.Revision, r.Nonce = other.Key.ID, 0, nonceOf(1)
			r.Key.CredentialID, r.Credentials[0].ID = other.Key.CredentialID, other.Key.CredentialID
			mustCommit(t, l.store, commitOf(r))
		}
		other.Key.ID = ""
		add(name, other, refused("invalid_token"), apikey.ErrInvalid)
	}
	for name, token := range map[string]string{"malformed": l.callers[0].token + "x", "none": ""} {
		right := refused("invalid_token")
		if token == "" {
			right.code = "no_credential"
		}
		l.callers = append(l.callers, caller{name: name, token: token, right: right, offline: true})
	}
}

// run lets the outages come one after the other.
func (l *load) run(all []outage, rounds int) {
	if !l.await() {
		return
	}
	for range rounds {
		for _, o := range all {
			if !l.suffer(o) {
				return
			}
		}
	}
}

// suffer is one outage and what comes after it. It reports whether the next
// can come.
func (l *load) suffer(o outage) bool {
	deadline, down := longest, epoch{name: o.name + ", down", state: isDown, need: 20}
	if o.hangs {
		deadline, down.need, down.needLeft = shortest, 2, 20
		l.deadline.Store(int64(deadline))
		// Who has begun with the long one must be done before nothing answers.
		l.enter(epoch{name: o.name + ", soon", need: 1})
		if !l.await() {
			return false
		}
	}
	l.enter(epoch{name: o.name + ", begins"})
	o.begin()
	l.enter(down)
	ctx, cancel := context.WithTimeout(context.Background(), deadline)
	err := l.manager.Flush(ctx)
	cancel()
	if !errors.Is(err, apikey.ErrAborted) {
		l.wrong("%s: a flush returned %v", down.name, err)
	}
	fine := l.await()
	l.enter(epoch{name: o.name + ", ends"})
	o.end()
	l.deadline.Store(int64(longest))
	if !fine {
		return false
	}
	l.enter(epoch{name: o.name + ", back", need: 1, needRow: inRow})
	if !l.await() {
		return false
	}
	l.enter(epoch{name: "up", state: isUp, need: 20})
	return l.await()
}

// finish ends the clients, compares the uses that were counted with those that
// Validate told, and returns all that was wrong.
func (l *load) finish(t *testing.T) error {
	t.Helper()
	l.stop()
	ctx, cancel := context.WithTimeout(t.Context(), longest) // no connection may be left
	defer cancel()
	if err := l.manager.Flush(ctx); err != nil {
		l.wrong("%w", err)
	}
	for _, c := range l.callers {
		if c.key == "" {
			continue
		}
		r, err := l.store.Get(ctx, c.key, "")
		if err != nil {
			l.wrong("%w", err)
		} else if got := r.Credentials[0].Uses; got != l.uses[c.key] || (got > 0) != (c.right.status != 401) {
			l.wrong("%s: %d uses were counted, of %d", c.name, got, l.uses[c.key])
		}
	}
	for _, name := range l.order {
		var line strings.Builder
		for _, status := range slices.Sorted(maps.Keys(l.totals[name])) {
			fmt.Fprintf(&line, "  %s: %d", status, l.totals[name][status])
		}
		t.Logf("%-30s%s", name, line.String())
	}
	t.Logf("Validate was told %d times that the client had left", l.left)
	return errors.Join(l.problems...)
}

// call sends one request. The last clients leave before they have an answer,
// if it does not come soon.
func (l *load) call(client, n int) {
	c := &l.callers[n]
	ctx := context.Background()
	if client >= workers {
		var cancel context.CancelFunc
		ctx, cancel = context.WithTimeout(ctx, rand.N(shortest/5))
		defer cancel()
	}
	l.mu.Lock()
	began := l.now
	l.mu.Unlock()
	a, err := l.ask(ctx, c.token)
	l.mu.Lock()
	defer l.mu.Unlock()
	ended := l.now
	name, status := began.name, fmt.Sprint(a.status)
	if began != ended {
		name += ", and after"
	}
	if c.offline {
		status = "offline " + status
	}
	switch {
	case ctx.Err() != nil && err != nil:
		status = "left"
	case err != nil:
		l.wrongLocked("%s: %s: no answer: %w", name, c.name, err)
	case !c.accepts(began, ended, a):
		l.wrongLocked("%s: %s: answered %d %s (Retry-After %v, challenge %v)", name, c.name, a.status, a.code, a.later, a.challenge)
	}
	if l.totals[name] == nil {
		l.totals[name] = map[string]int{}
		l.order = append(l.order, name)
	}
	l.totals[name][status]++
	if began != ended || err != nil {
		return
	}
	if ended.settled[n]++; client < workers {
		ended.clients[client] = true
	}
	if a == c.right {
		ended.row++
	} else {
		ended.row = 0
		ended.tries++
	}
	ended.check(len(l.callers))
}

// ask sends a request and reads its answer.
func (l *load) ask(ctx context.Context, token string) (answer, error) {
	r, err := http.NewRequestWithContext(ctx, http.MethodGet, l.server.URL, nil)
	if err != nil {
		return answer{}, err
	}
	if token != "" {
		r.Header.Set("Authorization", "Bearer "+token)
	}
	response, err := l.server.Client().Do(r)
	if err != nil {
		return answer{}, err
	}
	defer response.Body.Close()
	body, err := io.ReadAll(response.Body)
	if err != nil {
		return answer{}, err
	}
	seconds, err := strconv.Atoi(response.Header.Get("Retry-After"))
	a := answer{response.StatusCode, string(body), err == nil && seconds > 0, response.Header.Get("WWW-Authenticate") != ""}
	if a.status != http.StatusOK {
		var problem struct{ Code string }
		if err := json.Unmarshal(body, &problem); err != nil {
			return answer{}, fmt.Errorf("%q: %w", body, err)
		}
		a.code = problem.Code
	}
	return a, nil
}

// observe is told of each Validate, also of those whose clients have left: it
// was right about the key, or says nothing about it.
func (l *load) observe(_ context.Context, o apikey.Observation) {
	l.mu.Lock()
	defer l.mu.Unlock()
	right, ok := l.errs[o.AccessKey]
	if !ok {
		right = apikey.ErrInvalid // of what is no token
	}
	switch {
	case o.Err == nil && right == nil:
		l.uses[o.KeyID]++
	case errors.Is(o.Err, apikey.ErrUnavailable) && o.KeyID == "":
		if errors.Is(o.Err, context.Canceled) {
			l.left++
			l.now.left++
			l.now.check(len(l.callers))
		}
	case o.Err == nil || !errors.Is(o.Err, right):
		l.wrongLocked("%s: Validate returned %v, not %v", l.now.name, o.Err, right)
	}
}

// enter begins an epoch.
func (l *load) enter(e epoch) {
	e.settled, e.clients, e.done = map[int]int{}, map[int]bool{}, make(chan struct{})
	l.mu.Lock()
	defer l.mu.Unlock()
	l.now = &e
}

// check closes done once there was enough of all.
func (e *epoch) check(callers int) {
	select {
	case <-e.done:
		return
	default:
	}
	enough := len(e.clients) == workers && len(e.settled) == callers && e.left >= e.needLeft
	for _, n := range e.settled {
		enough = enough && n >= e.need
	}
	if enough && e.row >= e.needRow || e.needRow > 0 && e.tries > maxTry {
		close(e.done)
	}
}

// await waits for the end of the epoch and reports whether there is another.
func (l *load) await() bool {
	l.mu.Lock()
	e := l.now
	l.mu.Unlock()
	select {
	case <-e.done:
	case <-time.After(patience):
		l.wrong("%s: waited %v", e.name, patience)
		return false
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	if e.row < e.needRow {
		l.wrongLocked("%s: not recovered after %d answers", e.name, e.tries)
		return false
	}
	return true
}

// wrong keeps what was wrong, as long as it is not much.
func (l *load) wrong(format string, values ...any) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.wrongLocked(format, values...)
}

func (l *load) wrongLocked(format string, values ...any) {
	if len(l.problems) < 20 {
		l.problems = append(l.problems, fmt.Errorf(format, values...))
	}
}
