// Fiber protects routes of github.com/gofiber/fiber/v3 with API keys. The glue
// is in glue.go.
//
//	go run ./examples/frameworks/fiber
//
// A key that is bound to networks is checked against the peer of the
// connection, not against fiber's Ctx.IP, which Config.ProxyHeader changes.
package main

import (
	"net"

	"github.com/gofiber/fiber/v3"
	"github.com/gofiber/fiber/v3/middleware/recover"

	"github.com/keyturn/apikey"
	"github.com/keyturn/apikey/apikeyhttp"
	"github.com/keyturn/apikey/examples/frameworks/internal/demo"
	"github.com/keyturn/apikey/examples/frameworks/internal/orders"
)

func main() {
	demo.Main(func(l net.Listener, keys apikey.Validator) error { return serve(l, keys, &orders.Book{}) }, demo.Curl)
}

func serve(l net.Listener, keys apikey.Validator, book *orders.Book) error {
	guard, err := apikeyhttp.New(keys, nil)
	if err != nil {
		return err
	}
	return routes(guard, book).Listener(l, fiber.ListenConfig{DisableStartupMessage: true})
}

func routes(guard *apikeyhttp.Guard, book *orders.Book) *fiber.App {
	canRead, canWrite := middleware(guard.Require("orders:read")), middleware(guard.Require("orders:write"))
	app := fiber.New(fiber.Config{BodyLimit: 1000})
	// Without recover a panic, also one in a middleware, ends the program.
	app.Use(recover.New())
	app.Get("/orders", canRead, visit(book), func(c fiber.Ctx) error {
		key, _ := apikey.FromContext(c.Context())
		return c.SendString(book.List(key.Owner))
	})
	app.Post("/orders", canWrite, visit(book), func(c fiber.Ctx) error {
		key, _ := apikey.FromContext(c.Context())
		return c.SendString(book.Place(key.Owner, string(c.Body())))
	})
	// Whatever is no route asks for a key too, so that nobody without one learns
	// which routes exist. In front of the routes it would validate their keys twice:
	// see glue.go.
	app.Use(middleware(guard.Authenticate))
	return app
}

// visit is a middleware behind Require.
func visit(book *orders.Book) fiber.Handler {
	return func(c fiber.Ctx) error {
		key, _ := apikey.FromContext(c.Context())
		book.Visit(key.Owner)
		return c.Next()
	}
}
