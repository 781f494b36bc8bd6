package apikey

import "context"

type actorKey struct{}

// WithActor returns a context whose changes are recorded as made by actor, for
// example the logged-in user, a job or a support ticket. An actor has at most
// 255 bytes of printable text; with any other, a change fails with a FieldError
// for "actor". Without an actor, a change through an OwnerManager is recorded as
// made by its owner, and any other change as made by "".
func WithActor(ctx context.Context, actor string) context.Context {
	return context.WithValue(ctx, actorKey{}, actor)
}

// ActorFrom returns the actor that WithActor put into the context, or "".
func ActorFrom(ctx context.Context) string {
	actor, _ := ctx.Value(actorKey{}).(string)
	return actor
}
