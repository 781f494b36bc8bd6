package main

import (
	"net/http"
	"net/http/httptest"
	"testing"

	"github.com/labstack/echo/v5"

	"github.com/keyturn/apikey"
	"github.com/keyturn/apikey/apikeyhttp"
	"github.com/keyturn/apikey/apikeytest"
	"github.com/keyturn/apikey/examples/frameworks/internal/frameworktest"
)

func TestEcho(t *testing.T) { frameworktest.Run(t, serve) }

// TestResponse: middlewares before and behind the glue have one Response, so
// that its hooks, its status and its size are there once.
func TestResponse(t *testing.T) {
	var before, behind http.ResponseWriter
	e := echo.New()
	e.Use(func(next echo.HandlerFunc) echo.HandlerFunc {
		return func(c *echo.Context) error {
			before = c.Response()
			return next(c)
		}
	}, middleware(newGuard(t).Authenticate))
	e.GET("/", func(c *echo.Context) error {
		behind = c.Response()
		return c.NoContent(http.StatusNoContent)
	})
	r := httptest.NewRequest("GET", "/", nil)
	r.Header.Set("X-API-Key", "any")
	w := httptest.NewRecorder()
	e.ServeHTTP(w, r)
	if w.Code != http.StatusNoContent || before != behind {
		t.Errorf("status %d, Response %p before and %p behind", w.Code, before, behind)
	}
}

func newGuard(t *testing.T) *apikeyhttp.Guard {
	t.Helper()
	guard, err := apikeyhttp.New(apikeytest.Allow(apikey.Key{Owner: "ada"}), nil)
	if err != nil {
		t.Fatal(err)
	}
	return guard
}

// TestError: what a handler returns reaches echo's error handler.
func TestError(t *testing.T) {
	e := echo.New()
	e.Use(middleware(newGuard(t).Authenticate))
	e.GET("/", func(c *echo.Context) error { return echo.NewHTTPError(http.StatusTeapot, "") })
	r := httptest.NewRequest("GET", "/", nil)
	r.Header.Set("X-API-Key", "any")
	w := httptest.NewRecorder()
	e.ServeHTTP(w, r)
	if w.Code != http.StatusTeapot {
		t.Error(w.Code)
	}
}
