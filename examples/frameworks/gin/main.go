// Gin protects routes of github.com/gin-gonic/gin with API keys. The glue is
// in glue.go.
//
//	go run ./examples/frameworks/gin
//
// Gin's Context.ClientIP believes X-Forwarded-For of anyone, unless told
// otherwise by Engine.SetTrustedProxies. A key that is bound to networks is
// not checked against it, but against the peer of the connection.
package main

import (
	"io"
	"net"
	"net/http"
	"time"

	"github.com/gin-gonic/gin"

	"github.com/keyturn/apikey"
	"github.com/keyturn/apikey/apikeyhttp"
	"github.com/keyturn/apikey/examples/frameworks/internal/demo"
	"github.com/keyturn/apikey/examples/frameworks/internal/orders"
)

func main() {
	gin.SetMode(gin.ReleaseMode)
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

func routes(guard *apikeyhttp.Guard, book *orders.Book) *gin.Engine {
	list := func(c *gin.Context) {
		key, _ := apikey.FromContext(c.Request.Context())
		c.String(http.StatusOK, "%s", book.List(key.Owner))
	}
	place := func(c *gin.Context) {
		order, err := io.ReadAll(http.MaxBytesReader(c.Writer, c.Request.Body, 1000))
		if err != nil {
			c.String(http.StatusRequestEntityTooLarge, "the order is too long")
			return
		}
		key, _ := apikey.FromContext(c.Request.Context())
		c.String(http.StatusOK, "%s", book.Place(key.Owner, string(order)))
	}
	canRead, canWrite := middleware(guard.Require("orders:read")), middleware(guard.Require("orders:write"))
	engine := gin.New()
	engine.Use(gin.Recovery(), middleware(guard.Authenticate))
	engine.GET("/orders", canRead, visit(book), list)
	engine.HEAD("/orders", canRead, visit(book), list)
	engine.POST("/orders", canWrite, visit(book), place)
	return engine
}

// visit is a middleware behind Require.
func visit(book *orders.Book) gin.HandlerFunc {
	return func(c *gin.Context) {
		key, _ := apikey.FromContext(c.Request.Context())
		book.Visit(key.Owner)
	}
}
