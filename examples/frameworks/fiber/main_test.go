package main

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/gofiber/fiber/v3"
	"github.com/google/go-cmp/cmp"

	"github.com/keyturn/apikey"
	"github.com/keyturn/apikey/apikeyhttp"
	"github.com/keyturn/apikey/apikeytest"
	"github.com/keyturn/apikey/examples/frameworks/internal/frameworktest"
	"github.com/keyturn/apikey/examples/frameworks/internal/orders"
)

func TestFiber(t *testing.T) { frameworktest.Run(t, serve) }

// keeper is a Validator that keeps the tokens it is given, and what they were.
type keeper struct{ tokens, copies []string }

func (k *keeper) Validate(_ context.Context, token string, _ ...apikey.Requirement) (apikey.Key, error) {
	k.tokens, k.copies = append(k.tokens, token), append(k.copies, strings.Clone(token))
	return apikey.Key{}, nil
}

// TestQuery: a token from the query, for hosts that turn that carrier on, is
// not written over by the next request on its connection either.
func TestQuery(t *testing.T) {
	k := &keeper{}
	app := fiber.New()
	app.Use(middleware(newGuard(t, k, &apikeyhttp.Options{Carriers: apikeyhttp.Query}).Authenticate))
	app.Get("/", func(c fiber.Ctx) error { return c.SendStatus(fiber.StatusNoContent) })
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	done := make(chan error, 1)
	go func() { done <- app.Listener(l, fiber.ListenConfig{DisableStartupMessage: true}) }()
	defer func() { l.Close(); <-done }()

	c, err := net.Dial("tcp", l.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	c.SetDeadline(time.Now().Add(time.Minute)) // a hang becomes a failure
	answers := bufio.NewReader(c)
	want := []string{"first", "other", "third"}
	for _, token := range want {
		fmt.Fprintf(c, "GET /?api_key=%s HTTP/1.1\r\nHost: x\r\n\r\n", token)
		got, err := http.ReadResponse(answers, nil)
		if err != nil {
			t.Fatal(err)
		}
		got.Body.Close()
	}
	if diff := cmp.Diff(want, k.copies); diff != "" {
		t.Error(diff)
	}
	if diff := cmp.Diff(want, k.tokens); diff != "" {
		t.Errorf("tokens after later requests (-want +got):\n%s", diff)
	}
}

func newGuard(t *testing.T, v apikey.Validator, options *apikeyhttp.Options) *apikeyhttp.Guard {
	t.Helper()
	guard, err := apikeyhttp.New(v, options)
	if err != nil {
		t.Fatal(err)
	}
	return guard
}

type panicking struct{}

func (panicking) Validate(context.Context, string, ...apikey.Requirement) (apikey.Key, error) {
	panic("the Validator is broken")
}

// TestPanic: the adaptor runs a middleware in a goroutine of its own, whose
// panic must neither end the program nor let the request through.
func TestPanic(t *testing.T) {
	book := &orders.Book{}
	r := httptest.NewRequest("GET", "/orders", nil)
	r.Header.Set("X-API-Key", "any")
	got, err := routes(newGuard(t, panicking{}, nil), book).Test(r)
	if err != nil {
		t.Fatal(err)
	}
	defer got.Body.Close()
	if asked := book.Asked(); got.StatusCode != 500 || len(asked) > 0 {
		t.Error(got.Status, asked)
	}
}

// TestRemoveCredential: what a proxy behind would pass on.
func TestRemoveCredential(t *testing.T) {
	keys := apikeytest.New(t)
	token := keys.MustIssue(t, apikey.IssueParams{}).Token.Reveal()
	options := &apikeyhttp.Options{Carriers: apikeyhttp.Bearer | apikeyhttp.Header | apikeyhttp.Basic | apikeyhttp.Query}
	app, guard := fiber.New(), newGuard(t, keys, options)
	app.Use(middleware(guard.Authenticate), middleware(guard.StripCredential))
	app.Get("/", func(c fiber.Ctx) error {
		return c.SendString(c.Request().Header.String() + c.Request().URI().String())
	})
	for name, request := range map[string]*http.Request{
		"Authorization": httptest.NewRequest("GET", "/?kept=2", nil),
		"X-Api-Key":     httptest.NewRequest("GET", "/?kept=2", nil),
		"query":         httptest.NewRequest("GET", "/?api_key="+token+"&kept=2", nil),
	} {
		request.Header.Set("Kept", "1")
		switch name {
		case "Authorization":
			request.Header.Set(name, "Bearer "+token)
		case "X-Api-Key":
			request.Header.Set(name, token)
		}
		response, err := app.Test(request)
		if err != nil {
			t.Fatal(err)
		}
		body, err := io.ReadAll(response.Body)
		if err != nil {
			t.Fatal(err)
		}
		// The first line is what was sent, as c.OriginalURL() is.
		_, seen, _ := strings.Cut(string(body), "\r\n")
		if response.StatusCode != 200 || strings.Contains(seen, token) || !strings.Contains(seen, "Kept: 1") || !strings.Contains(seen, "kept=2") {
			t.Errorf("%s: %d %s", name, response.StatusCode, body)
		}
	}
}
