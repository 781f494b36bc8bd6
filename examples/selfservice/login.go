package main

import (
	"errors"
	"log/slog"
	"net/http"
	"time"

	"github.com/alexedwards/scs/v2"
)

// login knows who is logged in.
type login struct {
	accounts *accounts
	sessions *scs.SessionManager
}

// userKey is the one value in a session: the e-mail address of an account.
const userKey = "user"

func newLogin(a *accounts) *login {
	sessions := scs.New() // they are kept in memory, and end with the program
	sessions.Lifetime = 12 * time.Hour
	sessions.Cookie.Name = "selfservice"
	sessions.Cookie.HttpOnly = true
	sessions.Cookie.SameSite = http.SameSiteLaxMode
	sessions.Cookie.Persist = false
	return &login{a, sessions}
}

// user returns who is logged in, if anyone is.
func (l *login) user(r *http.Request) (account, bool) {
	a, ok := l.accounts.byEmail[l.sessions.GetString(r.Context(), userKey)]
	return a, ok
}

// owner is what apikeyui.Options.Owner asks for. Both names come from the
// session, and nothing else of the request is looked at.
func (l *login) owner(r *http.Request) (owner, actor string, err error) {
	a, ok := l.user(r)
	if !ok {
		return "", "", errors.New("nobody is logged in")
	}
	return a.customer, a.email, nil
}

// required sends to the login who is not logged in.
func (l *login) required(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if _, ok := l.user(r); !ok {
			protect(w.Header())
			http.Redirect(w, r, loginPath, http.StatusSeeOther)
			return
		}
		next.ServeHTTP(w, r)
	})
}

// loginPage is what the template of the login shows.
type loginPage struct {
	Email string // as it was typed
	Wrong bool
}

func (l *login) show(w http.ResponseWriter, r *http.Request) {
	if _, ok := l.user(r); ok {
		protect(w.Header())
		http.Redirect(w, r, pagesPath, http.StatusSeeOther)
		return
	}
	writeLogin(w, http.StatusOK, loginPage{})
}

func (l *login) logIn(w http.ResponseWriter, r *http.Request) {
	protect(w.Header())
	r.Body = http.MaxBytesReader(w, r.Body, 4<<10)
	if err := r.ParseForm(); err != nil {
		http.Error(w, "The form is not understood.", http.StatusBadRequest)
		return
	}
	email := r.PostForm.Get("email")
	a, ok, err := l.accounts.check(r.Context(), email, r.PostForm.Get("password"))
	if err != nil {
		fail(w, r, err)
		return
	}
	if !ok {
		writeLogin(w, http.StatusForbidden, loginPage{email, true})
		return
	}
	// A new token, so that one that somebody put into the browser before is
	// worth nothing.
	if err := l.sessions.RenewToken(r.Context()); err != nil {
		fail(w, r, err)
		return
	}
	l.sessions.Put(r.Context(), userKey, a.email)
	http.Redirect(w, r, pagesPath, http.StatusSeeOther)
}

// logOut ends the session on the server. The cookie alone would not do: a copy
// of it could be elsewhere.
func (l *login) logOut(w http.ResponseWriter, r *http.Request) {
	protect(w.Header())
	if err := l.sessions.Destroy(r.Context()); err != nil {
		fail(w, r, err)
		return
	}
	http.Redirect(w, r, loginPath, http.StatusSeeOther)
}

func fail(w http.ResponseWriter, r *http.Request, err error) {
	slog.ErrorContext(r.Context(), "login", "error", err)
	http.Error(w, "Not available right now. Try again in a moment.", http.StatusServiceUnavailable)
}
