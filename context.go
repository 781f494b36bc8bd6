package apikey

import (
	"context"

	"github.com/keyturn/apikey/internal/keycontext"
)

// keyContext carries a Key in one allocation, where context.WithValue would
// take two.
type keyContext struct {
	context.Context
	key Key
}

func (c *keyContext) Value(name any) any {
	if name == (keycontext.Name{}) {
		return &c.key
	}
	return c.Context.Value(name)
}

// NewContext returns a context that carries a validated key; middleware calls
// it.
func NewContext(ctx context.Context, key Key) context.Context {
	return &keyContext{ctx, key}
}

// FromContext returns the key that the request was authenticated with, and
// whether there is one.
func FromContext(ctx context.Context) (Key, bool) {
	if key, ok := ctx.Value(keycontext.Name{}).(*Key); ok {
		return *key, true
	}
	return Key{}, false
}

// noKeyContext hides the key of an outer context.
type noKeyContext struct{ context.Context }

func (c noKeyContext) Value(name any) any {
	if name == (keycontext.Name{}) {
		return nil
	}
	return c.Context.Value(name)
}

// WithoutKey returns a context in which FromContext finds no key. Middleware
// calls it for an anonymous request whose context comes from an authenticated
// one.
func WithoutKey(ctx context.Context) context.Context { return noKeyContext{ctx} }
