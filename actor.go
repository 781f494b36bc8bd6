package apikey

import "context"

type actorKey struct{}

// WithActor returns a context under which every change is recorded as made by
// actor: whoever is logged in, a job's name, a support ticket. At most 255
// bytes of printable text; a change under another one is refused with a
// FieldError for "actor". Without an actor, a change through an OwnerManager
// is recorded as made by its owner, any other as made by "".
func WithActor(ctx context.Context, actor string) context.Context {
	return context.WithValue(ctx, actorKey{}, actor)
}

// ActorFrom returns the actor that WithActor put into the context, or "".
func ActorFrom(ctx context.Context) string {
	actor, _ := ctx.Value(actorKey{}).(string)
	return actor
}
