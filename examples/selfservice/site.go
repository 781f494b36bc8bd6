package main

import (
	"bytes"
	"embed"
	"html/template"
	"io"
	"log/slog"
	"net/http"

	"github.com/keyturn/apikey"
	"github.com/keyturn/apikey/apikeyui"
)

const (
	pagesPath  = "/keys/"
	loginPath  = "/login"
	logoutPath = "/logout"
	stylePath  = "/site.css"
)

//go:embed page.html login.html site.css
var files embed.FS

var templates = template.Must(template.ParseFS(files, "*.html"))

// newSite returns all that the server answers: the pages behind a login, and
// the API behind keys. The address is where browsers find it.
func newSite(keys *apikey.Manager, a *accounts, url string) (http.Handler, error) {
	login := newLogin(a)
	options := &apikeyui.Options{
		Owner:       login.owner,
		Scopes:      scopes,
		MaxLifetime: maxLifetime,
		APIURL:      url + whoamiPath,
		Layout:      login.layout,
		Observe: func(r *http.Request, o apikey.Observation) {
			slog.ErrorContext(r.Context(), "page", "path", r.URL.Path, "apikey", o)
		},
	}
	keyPages, err := apikeyui.New(keys, options)
	if err != nil {
		return nil, err
	}

	pages := http.NewServeMux()
	pages.Handle("GET /{$}", http.RedirectHandler(pagesPath, http.StatusSeeOther))
	pages.HandleFunc("GET "+stylePath, style)
	pages.HandleFunc("GET "+loginPath, login.show)
	pages.HandleFunc("POST "+loginPath, login.logIn)
	pages.HandleFunc("POST "+logoutPath, login.logOut)
	pages.Handle(pagesPath, login.required(http.StripPrefix(pagesPath[:len(pagesPath)-1], keyPages)))

	api, err := api(keys)
	if err != nil {
		return nil, err
	}
	// What comes with a cookie must come from this site. That goes for the
	// login too: nobody is to be logged in as somebody else unawares.
	protection := http.NewCrossOriginProtection()
	mux := http.NewServeMux()
	mux.Handle(apiPath, api)
	mux.Handle("/", protection.Handler(login.sessions.LoadAndSave(pages)))
	return mux, nil
}

// layout writes the site's own frame around a page: who is logged in, and the
// way out.
func (l *login) layout(w io.Writer, r *http.Request, page apikeyui.Page) error {
	user, _ := l.user(r)
	return templates.ExecuteTemplate(w, "page.html", struct {
		apikeyui.Page
		Email, Customer string
	}{page, user.email, user.customer})
}

func writeLogin(w http.ResponseWriter, status int, page loginPage) {
	protect(w.Header())
	var body bytes.Buffer
	if err := templates.ExecuteTemplate(&body, "login.html", page); err != nil {
		http.Error(w, "The page cannot be shown.", http.StatusInternalServerError)
		return
	}
	w.Header().Set("Content-Type", "text/html; charset=utf-8")
	w.WriteHeader(status)
	w.Write(body.Bytes())
}

func style(w http.ResponseWriter, r *http.Request) {
	w.Header().Set("X-Content-Type-Options", "nosniff")
	http.ServeFileFS(w, r, files, "site.css")
}

// protect does for the pages of the login what package apikeyui does for its
// own: nothing is loaded from elsewhere, runs inline, is framed or is kept.
func protect(h http.Header) {
	h.Set("Content-Security-Policy", "default-src 'none'; style-src 'self'; form-action 'self'; "+
		"base-uri 'none'; frame-ancestors 'none'")
	h.Set("X-Content-Type-Options", "nosniff")
	h.Set("Referrer-Policy", "no-referrer")
	h.Set("Cross-Origin-Opener-Policy", "same-origin")
	h.Set("Cache-Control", "no-store")
}
