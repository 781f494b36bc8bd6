package apikeyui_test

import (
	"context"
	"errors"
	"fmt"
	"html/template"
	"io"
	"log"
	"net/http"
	"net/http/httptest"
	"strings"

	"github.com/keyturn/apikey"
	"github.com/keyturn/apikey/apikeyui"
	"github.com/keyturn/apikey/memstore"
)

// The page behind a login of the host's own.
func ExampleHandler() {
	manager, err := apikey.New(memstore.New(), &apikey.Options{Peppers: []apikey.Secret{apikey.EphemeralPepper()}})
	if err != nil {
		log.Fatal(err)
	}
	type session struct{ customer, user string }
	sessions := map[string]session{"4f1c": {"customer-17", "ada@example.com"}}

	options := &apikeyui.Options{
		Owner: func(r *http.Request) (owner, actor string, err error) {
			cookie, err := r.Cookie("session")
			if err != nil {
				return "", "", err
			}
			s, ok := sessions[cookie.Value]
			if !ok {
				return "", "", errors.New("no such session")
			}
			return s.customer, s.user, nil
		},
		Scopes: []apikeyui.Scope{{Name: "orders:read", Description: "See orders"}},
		APIURL: "https://api.example.com/v1/orders",
	}
	pages, err := apikeyui.New(manager, options)
	if err != nil {
		log.Fatal(err)
	}
	mux := http.NewServeMux()
	mux.Handle("/account/keys/", http.StripPrefix("/account/keys", pages))

	_, err = manager.Issue(context.Background(), apikey.IssueParams{Owner: "customer-17", Name: "billing"})
	if err != nil {
		log.Fatal(err)
	}
	for _, cookie := range []string{"session=4f1c", "session=guessed"} {
		r := httptest.NewRequest("GET", "/account/keys/", nil)
		r.Header.Set("Cookie", cookie)
		w := httptest.NewRecorder()
		mux.ServeHTTP(w, r)
		fmt.Println(w.Code, strings.Contains(w.Body.String(), "billing"))
	}
	// Output:
	// 200 true
	// 403 false
}

// The content in a page of the host's own, which is light only: it says nothing
// of a color-scheme.
func ExampleOptions_layout() {
	page := template.Must(template.New("").Parse(`<!DOCTYPE html>
<html lang="en">
<head><meta charset="utf-8"><title>{{.Title}} - Example Orders</title>{{.Head}}</head>
<body><h1>Example Orders</h1>{{.Content}}</body>
</html>
`))
	manager, err := apikey.New(memstore.New(), &apikey.Options{Peppers: []apikey.Secret{apikey.EphemeralPepper()}})
	if err != nil {
		log.Fatal(err)
	}
	pages, err := apikeyui.New(manager, &apikeyui.Options{
		Owner:  func(*http.Request) (string, string, error) { return "customer-17", "", nil },
		Layout: func(w io.Writer, _ *http.Request, p apikeyui.Page) error { return page.Execute(w, p) },
	})
	if err != nil {
		log.Fatal(err)
	}
	w := httptest.NewRecorder()
	pages.ServeHTTP(w, httptest.NewRequest("GET", "/", nil))
	for _, part := range []string{"<title>API keys - Example Orders</title>", "script.js", "<h1>Example Orders</h1>", "Generate New Key"} {
		fmt.Println(strings.Contains(w.Body.String(), part))
	}
	// Output:
	// true
	// true
	// true
	// true
}

// Texts of the host's own, in German otherwise.
func ExampleTexts() {
	manager, err := apikey.New(memstore.New(), &apikey.Options{Peppers: []apikey.Secret{apikey.EphemeralPepper()}})
	if err != nil {
		log.Fatal(err)
	}
	texts := apikeyui.German()
	texts["list.title"] = "Zugänge"
	options := &apikeyui.Options{
		Owner: func(*http.Request) (string, string, error) { return "customer-17", "", nil },
		Texts: texts,
	}
	_, err = apikeyui.New(manager, options)
	fmt.Println(err)

	options.Texts["list.titel"] = "Zugänge"
	_, err = apikeyui.New(manager, options)
	fmt.Println(err)
	// Output:
	// <nil>
	// apikey: texts: must not hold "list.titel", which English has not
}
