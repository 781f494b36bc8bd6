package main

import (
	"bytes"
	"context"
	"io"
	"net"
	"net/netip"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/health"
	healthpb "google.golang.org/grpc/health/grpc_health_v1"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/status"

	"github.com/keyturn/apikey"
	"github.com/keyturn/apikey/apikeytest"
	"github.com/keyturn/apikey/examples/frameworks/internal/demo"
)

// service is the health service, which notes who calls it.
type service struct {
	*health.Server
	mu    sync.Mutex
	calls []string
}

func (s *service) note(ctx context.Context, method string) {
	key, _ := apikey.FromContext(ctx)
	s.mu.Lock()
	defer s.mu.Unlock()
	s.calls = append(s.calls, method+" by "+key.Owner)
}

func (s *service) noted() []string {
	s.mu.Lock()
	defer s.mu.Unlock()
	calls := s.calls
	s.calls = nil
	return calls
}

func (s *service) Check(ctx context.Context, r *healthpb.HealthCheckRequest) (*healthpb.HealthCheckResponse, error) {
	s.note(ctx, "Check")
	return s.Server.Check(ctx, r)
}

func (s *service) List(ctx context.Context, r *healthpb.HealthListRequest) (*healthpb.HealthListResponse, error) {
	s.note(ctx, "List")
	return s.Server.List(ctx, r)
}

func (s *service) Watch(r *healthpb.HealthCheckRequest, stream healthpb.Health_WatchServer) error {
	s.note(stream.Context(), "Watch")
	return s.Server.Watch(r, stream)
}

// start serves on a real connection, which has a peer.
func start(t *testing.T, keys apikey.Validator, s *service) healthpb.HealthClient {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	server := newServer(keys, s)
	done := make(chan error, 1)
	go func() { done <- server.Serve(l) }()
	t.Cleanup(func() {
		server.Stop()
		if err := <-done; err != nil {
			t.Error(err)
		}
	})
	conn, err := grpc.NewClient(l.Addr().String(), grpc.WithTransportCredentials(insecure.NewCredentials()))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { conn.Close() })
	return healthpb.NewHealthClient(conn)
}

func TestGRPC(t *testing.T) {
	keys := apikeytest.New(t)
	s := &service{Server: health.NewServer()}
	client := start(t, keys, s)

	read := []string{"health:read"}
	issue := func(p apikey.IssueParams) apikey.Issued {
		p.Owner, p.Scopes = "ada", read
		return keys.MustIssue(t, p)
	}
	good, disabled, replaced, deleted := issue(apikey.IssueParams{}), issue(apikey.IssueParams{}), issue(apikey.IssueParams{}), issue(apikey.IssueParams{})
	expired := issue(apikey.IssueParams{Lifetime: apikey.Period{Time: time.Hour}})
	local := issue(apikey.IssueParams{Networks: []netip.Prefix{netip.MustParsePrefix("127.0.0.0/8")}})
	elsewhere := issue(apikey.IssueParams{Networks: []netip.Prefix{netip.MustParsePrefix("192.0.2.0/24")}})
	stranger := apikeytest.New(t).MustIssue(t, apikey.IssueParams{Scopes: read})
	closed := keys.MustIssue(t, apikey.IssueParams{Owner: "closed", Scopes: read})
	_, err1 := keys.Disable(t.Context(), disabled.Key.ID)
	_, err2 := keys.Regenerate(t.Context(), replaced.Key.ID)
	_, err3 := keys.Delete(t.Context(), deleted.Key.ID)
	_, err4 := keys.DisableOwner(t.Context(), "closed")
	for _, err := range []error{err1, err2, err3, err4} {
		if err != nil {
			t.Fatal(err)
		}
	}
	keys.Advance(time.Hour)

	bearer := func(i apikey.Issued) []string { return []string{"authorization", "Bearer " + i.Token.Reveal()} }
	with := func(pairs ...[]string) []string { return slices.Concat(pairs...) }
	const invalid = "apikey: invalid key"
	tests := []struct {
		name     string
		metadata []string
		down     bool
		code     codes.Code
		message  string
	}{
		{name: "good", metadata: bearer(good)},
		{name: "scheme in another case", metadata: []string{"Authorization", "bEARER " + good.Token.Reveal()}},
		{name: "bound to this network", metadata: bearer(local)},

		{name: "none", code: codes.Unauthenticated, message: invalid},
		{name: "empty", metadata: []string{"authorization", ""}, code: codes.Unauthenticated, message: invalid},
		{name: "scheme alone", metadata: []string{"authorization", "Bearer"}, code: codes.Unauthenticated, message: invalid},
		{name: "token alone", metadata: []string{"authorization", good.Token.Reveal()}, code: codes.Unauthenticated, message: invalid},
		{name: "another scheme", metadata: []string{"authorization", "Token " + good.Token.Reveal()}, code: codes.Unauthenticated, message: invalid},
		{name: "malformed", metadata: []string{"authorization", "Bearer nonsense"}, code: codes.Unauthenticated, message: invalid},
		{name: "unknown", metadata: bearer(stranger), code: codes.Unauthenticated, message: invalid},
		{name: "two", metadata: with(bearer(local), bearer(good)), code: codes.Unauthenticated, message: invalid},
		{name: "twice", metadata: with(bearer(good), bearer(good)), code: codes.Unauthenticated, message: invalid},
		{name: "list", metadata: []string{"authorization", "Bearer " + good.Token.Reveal() + ", " + good.Token.Reveal()}, code: codes.Unauthenticated, message: invalid},

		{name: "disabled", metadata: bearer(disabled), code: codes.Unauthenticated, message: "apikey: key is disabled"},
		{name: "replaced", metadata: bearer(replaced), code: codes.Unauthenticated, message: "apikey: key was replaced by a newer one"},
		{name: "deleted", metadata: bearer(deleted), code: codes.Unauthenticated, message: "apikey: key is deleted"},
		{name: "expired", metadata: bearer(expired), code: codes.Unauthenticated, message: "apikey: key has expired"},
		{name: "owner disabled", metadata: bearer(closed), code: codes.Unauthenticated, message: "apikey: owner is disabled"},
		{name: "bound to another network", metadata: with(bearer(elsewhere), []string{"x-forwarded-for", "192.0.2.7"}), code: codes.PermissionDenied, message: "apikey: key may not be used from this address"},

		{name: "store down", metadata: bearer(good), down: true, code: codes.Unavailable, message: "apikey: key cannot be checked now"},
		{name: "store down, malformed", metadata: []string{"authorization", "Bearer nonsense"}, down: true, code: codes.Unauthenticated, message: invalid},
	}
	methods := []struct {
		name string
		call func(ctx context.Context) error
	}{
		{"Check", func(ctx context.Context) error {
			_, err := client.Check(ctx, &healthpb.HealthCheckRequest{})
			return err
		}},
		{"Watch", func(ctx context.Context) error {
			stream, err := client.Watch(ctx, &healthpb.HealthCheckRequest{})
			if err == nil {
				_, err = stream.Recv()
			}
			return err
		}},
	}
	for _, test := range tests {
		for _, method := range methods {
			t.Run(test.name+"/"+method.name, func(t *testing.T) {
				if test.down {
					keys.Store.Fail(apikeytest.Failure{Method: apikeytest.Lookup, Forever: true})
					defer keys.Store.Recover()
				}
				ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
				defer cancel()
				got := status.Convert(method.call(metadata.AppendToOutgoingContext(ctx, test.metadata...)))
				if got.Code() != test.code || got.Message() != test.message {
					t.Errorf("%v %q; want %v %q", got.Code(), got.Message(), test.code, test.message)
				}
				var want []string
				if test.code == codes.OK {
					want = []string{method.name + " by ada"}
				}
				if diff := cmp.Diff(want, s.noted()); diff != "" {
					t.Errorf("calls (-want +got):\n%s", diff)
				}
				for _, i := range []apikey.Issued{good, local, elsewhere, disabled} {
					apikeytest.AssertNoLeak(t, i.Token, got.String())
				}
			})
		}
	}

	t.Run("lacking the scope", func(t *testing.T) {
		_, err := client.List(metadata.AppendToOutgoingContext(t.Context(), bearer(good)...), &healthpb.HealthListRequest{})
		if got := status.Convert(err); got.Code() != codes.PermissionDenied || got.Message() != "apikey: key lacks the scope" {
			t.Error(err)
		}
		if calls := s.noted(); calls != nil {
			t.Error(calls)
		}
	})
}

// TestMethodWithoutScope: a method that was forgotten in scopes is refused to
// every key, and to every Validator that heeds its needs.
func TestMethodWithoutScope(t *testing.T) {
	keys := apikeytest.New(t)
	issued := keys.MustIssue(t, apikey.IssueParams{Scopes: []string{"health:*"}})
	ctx := metadata.NewIncomingContext(t.Context(), metadata.Pairs("authorization", "Bearer "+issued.Token.Reveal()))
	if _, err := (guard{keys}).admit(ctx, healthpb.Health_Check_FullMethodName); err != nil {
		t.Error(err)
	}
	if _, err := (guard{keys}).admit(ctx, "/other/Method"); status.Code(err) != codes.Unavailable {
		t.Error(err)
	}
}

// TestScopes: every method of the server has one, so that none is forgotten.
func TestScopes(t *testing.T) {
	for name, info := range newServer(apikeytest.Deny(nil), health.NewServer()).GetServiceInfo() {
		for _, method := range info.Methods {
			if full := "/" + name + "/" + method.Name; scopes[full] == "" {
				t.Errorf("%s needs no scope", full)
			}
		}
	}
}

func TestDemo(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	var out bytes.Buffer
	err := demo.Run(ctx, "127.0.0.1:0", &out, func(l net.Listener, keys apikey.Validator) error {
		server := newServer(keys, health.NewServer())
		defer server.Stop()
		return server.Serve(l)
	}, func(w io.Writer, addr, token string) error {
		defer cancel()
		return show(w, addr, token)
	})
	if err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{"OK SERVING\n", "code = Unauthenticated desc = apikey: invalid key\n", "code = PermissionDenied desc = apikey: key lacks the scope\n"} {
		if !strings.Contains(out.String(), want) {
			t.Errorf("%q is not in\n%s", want, out.String())
		}
	}
}
