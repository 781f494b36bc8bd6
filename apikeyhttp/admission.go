package apikeyhttp

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/netip"
	"sync/atomic"
	"time"

	"github.com/keyturn/apikey"
	"github.com/keyturn/apikey/internal/keycontext"
)

// Revalidate checks once more the key that a request was let in with: the same
// token, from the same address. A handler that serves one request for long, a
// stream or a WebSocket, calls it from time to time and stops at any error. A
// key that has lost a scope since is refused with apikey.ErrScope, whichever
// it was, so that what was allowed at the beginning of the stream still is.
//
// It returns the key as it is now, or an error of [apikey.Validator]. ctx must
// be the request's, or one made of it; behind no guard, or for an
// anonymous caller, there is nothing to check, and that is an error too. Like
// any check it counts as a use of the key, which shows that the key is still
// in use; a Limiter is not asked.
func Revalidate(ctx context.Context) (apikey.Key, error) {
	a := admissionIn(ctx).valid()
	if a == nil {
		return apikey.Key{}, errors.New("apikeyhttp: revalidate: no Guard has authenticated this request")
	}
	now, err := a.config.validator.Validate(ctx, a.hidden.token, apikey.From(a.client))
	if err != nil {
		return apikey.Key{}, err
	}
	for scope := range a.key.Scopes.All() {
		if !now.Scopes.Allows(scope) {
			return apikey.Key{}, fmt.Errorf("apikeyhttp: revalidate %s: %w", now.ID, apikey.ErrScope)
		}
	}
	return now, nil
}

// admission is the context of a request behind a guard, and what that guard
// found out. It belongs to one request. All
// fields but the atomic ones are written before the handlers behind the guard
// run.
type admission struct {
	context.Context
	config *config
	outer  *admission // of the guard before this one, if any

	// They are explained in reuse.go.
	hidden *hidden
	joined *admission // outer, if that has the same request
	passed atomic.Bool

	hasKey  bool       // key is valid
	key     apikey.Key // what the Validator returned, or your application made of it
	carrier Carrier    // of its token
	checked time.Time  // when the Validator was asked about that token
	limited bool       // config.limiter has taken the request
	client  netip.Addr
	failed  error   // of the Validator or the Limiter
	known   bool    // failed, but the secret was right
	refused *answer // if the request was rejected here

	noAddress bool // neither the client nor the connection has an address
	canceled  bool // the context had been canceled when the request was decided

	// needs is here because it would take an allocation of its own.
	needs [1]apikey.Requirement

	// decidedBy is the last admission that decided about the request, or the
	// first that rejected it. A handler may serve parts of its request at the
	// same time.
	decidedBy atomic.Pointer[admission]
}

type admissionKey struct{}

func (a *admission) Value(name any) any {
	switch {
	case name == (admissionKey{}):
		return a
	case name == (keycontext.Name{}) && a.hasKey:
		return &a.key
	}
	return a.Context.Value(name)
}

// String is what other contexts print of this one.
func (a *admission) String() string { return "apikeyhttp.request" }

// Format writes the same for every verb. With one that does not fit, fmt would
// print the fields.
func (a *admission) Format(f fmt.State, _ rune) { io.WriteString(f, a.String()) }

// admissionIn returns the admission of the last guard before a handler, or nil.
func admissionIn(ctx context.Context) *admission {
	a, _ := ctx.Value(admissionKey{}).(*admission)
	return a
}

// take makes the key the one that is valid.
func (a *admission) take(token string, carrier Carrier) {
	a.hidden.token, a.carrier, a.hasKey = token, carrier, true
}

// current returns the key of a decision that this admission uses. Your
// application may have narrowed it in the context since.
func (a *admission) current(before *admission) apikey.Key {
	key := before.key
	if changed, ok := apikey.FromContext(a.Context); ok && changed.ID == key.ID {
		return changed
	}
	return key
}

// valid returns the admission if it has a key for the handlers behind it, or
// nil. No handler sees the admission of a key that a Limiter then rejected.
func (a *admission) valid() *admission {
	if a == nil || !a.hasKey {
		return nil
	}
	return a
}

// tell reports a key that was let in or, with an answer, a rejection to the
// guards before, one of which may observe. It is called at most once.
func (a *admission) tell(refused *answer) {
	a.refused = refused
	for each := a; each != nil; each = each.joined {
		was := each.decidedBy.Load()
		if was == nil || was.refused == nil {
			each.decidedBy.CompareAndSwap(was, a)
		}
	}
}

// refuse writes an answer.
func (a *admission) refuse(w http.ResponseWriter, r *http.Request, refused *answer) {
	a.tell(refused)
	a.config.refuse(w, r, refused)
}
