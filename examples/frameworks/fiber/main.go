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
	return routes(keys, book).Listener(l, fiber.ListenConfig{DisableStartupMessage: true})
}

func routes(keys apikey.Validator, book *orders.Book) *fiber.App {
	canRead, canWrite := middleware(apikeyhttp.Require("orders:read")), middleware(apikeyhttp.Require("orders:write"))
	app := fiber.New(fiber.Config{BodyLimit: 1000})
	// Without recover a panic, also one in a middleware, ends the program.
	app.Use(recover.New(), middleware(apikeyhttp.Authenticate(keys, nil)), visit(book))
	app.Get("/orders", canRead, func(c fiber.Ctx) error {
		key, _ := apikey.FromContext(c.Context())
		return c.SendString(book.List(key.Owner))
	})
	app.Post("/orders", canWrite, func(c fiber.Ctx) error {
		key, _ := apikey.FromContext(c.Context())
		return c.SendString(book.Place(key.Owner, string(c.Body())))
	})
	return app
}

// visit is a middleware behind Authenticate.
func visit(book *orders.Book) fiber.Handler {
	return func(c fiber.Ctx) error {
		key, _ := apikey.FromContext(c.Context())
		book.Visit(key.Owner)
		return c.Next()
	}
}
