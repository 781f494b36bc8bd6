// Echo protects routes of github.com/labstack/echo/v5 with API keys. The glue
// is in glue.go.
//
//	go run ./examples/frameworks/echo
//
// A key that is bound to networks is checked against the peer of the
// connection, not against echo's Context.RealIP.
package main

import (
	"io"
	"net"
	"net/http"
	"time"

	"github.com/labstack/echo/v5"

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
	server := &http.Server{Handler: routes(guard, book), ReadHeaderTimeout: 10 * time.Second}
	return server.Serve(l)
}

func routes(guard *apikeyhttp.Guard, book *orders.Book) *echo.Echo {
	list := func(c *echo.Context) error {
		key, _ := apikey.FromContext(c.Request().Context())
		return c.String(http.StatusOK, book.List(key.Owner))
	}
	place := func(c *echo.Context) error {
		order, err := io.ReadAll(http.MaxBytesReader(c.Response(), c.Request().Body, 1000))
		if err != nil {
			return c.String(http.StatusRequestEntityTooLarge, "the order is too long")
		}
		key, _ := apikey.FromContext(c.Request().Context())
		return c.String(http.StatusOK, book.Place(key.Owner, string(order)))
	}
	canRead, canWrite := middleware(guard.Require("orders:read")), middleware(guard.Require("orders:write"))
	e := echo.New()
	e.Use(middleware(guard.Authenticate))
	e.GET("/orders", list, canRead, visit(book))
	e.HEAD("/orders", list, canRead, visit(book))
	e.POST("/orders", place, canWrite, visit(book))
	return e
}

// visit is a middleware behind Require.
func visit(book *orders.Book) echo.MiddlewareFunc {
	return func(next echo.HandlerFunc) echo.HandlerFunc {
		return func(c *echo.Context) error {
			key, _ := apikey.FromContext(c.Request().Context())
			book.Visit(key.Owner)
			return next(c)
		}
	}
}
