package main

import (
	"context"
	"net/netip"
	"strings"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/peer"
	"google.golang.org/grpc/status"

	"github.com/keyturn/apikey"
)

// guard holds the interceptors, which let only calls with a valid key through.
type guard struct{ keys apikey.Validator }

func (g guard) unary(ctx context.Context, request any, info *grpc.UnaryServerInfo, handler grpc.UnaryHandler) (reply any, err error) {
	if ctx, err = g.admit(ctx, info.FullMethod); err == nil {
		reply, err = handler(ctx, request)
	}
	return reply, err
}

// stream checks the key at the beginning of a stream only. A handler that
// sends for hours calls Validate again from time to time.
func (g guard) stream(srv any, s grpc.ServerStream, info *grpc.StreamServerInfo, handler grpc.StreamHandler) error {
	ctx, err := g.admit(s.Context(), info.FullMethod)
	if err == nil {
		err = handler(srv, admitted{s, ctx})
	}
	return err
}

// admitted is a stream whose context holds the key.
type admitted struct {
	grpc.ServerStream
	ctx context.Context
}

func (s admitted) Context() context.Context { return s.ctx }

// admit returns the context of a call with its key, or the status that refuses
// the call. The key comes as "authorization: Bearer" and the token. No key, or
// two, count as a bad one: two lines together are no token. A method that is
// not in scopes is never admitted, since the empty text is no scope.
func (g guard) admit(ctx context.Context, method string) (context.Context, error) {
	lines := strings.Join(metadata.ValueFromIncomingContext(ctx, "authorization"), ",")
	scheme, token, _ := strings.Cut(lines, " ")
	if !strings.EqualFold(scheme, "Bearer") {
		token = ""
	}
	var from netip.AddrPort
	if p, ok := peer.FromContext(ctx); ok {
		from, _ = netip.ParseAddrPort(p.Addr.String()) // on an error the zero one, which is no address
	}
	key, err := g.keys.Validate(ctx, token, apikey.From(from.Addr()), apikey.Scope(scopes[method]))
	switch err { // refusals are these very values; what is none says nothing about the key
	case nil:
		return apikey.NewContext(ctx, key), nil
	case apikey.ErrScope, apikey.ErrAddress:
		return nil, status.Error(codes.PermissionDenied, err.Error())
	case apikey.ErrInvalid, apikey.ErrDeleted, apikey.ErrReplaced, apikey.ErrOwnerDisabled, apikey.ErrDisabled, apikey.ErrExpired:
		return nil, status.Error(codes.Unauthenticated, err.Error())
	}
	return nil, status.Error(codes.Unavailable, apikey.ErrUnavailable.Error())
}
