// Package apikeyui is the page on which customers see and change their own API
// keys: an [http.Handler] that a host mounts behind its own login.
//
//	pages, err := apikeyui.New(manager, &apikeyui.Options{
//		Owner: func(r *http.Request) (owner, actor string, err error) {
//			s, err := sessions.Of(r) // the host's own
//			return s.Customer, s.User, err
//		},
//		Scopes: []apikeyui.Scope{{Name: "orders:read", Description: "See orders"}},
//		APIURL: "https://api.example.com/v1/orders",
//	})
//	...
//	mux.Handle("/account/keys/", http.StripPrefix("/account/keys", pages))
//
// An owner lists and searches its keys, makes new ones, switches them off and
// on, regenerates, rotates, edits and deletes them, and sees what was done with
// each, when, by whom and why, and how much it was used on each of the last 90
// days. Everything goes through
// [apikey.Manager.ForOwner]: the pages can do no more than an OwnerManager can,
// on no other owner's keys, with no other scopes than Options.Scopes, and
// Options.Authorize of the Manager is asked as always. With
// Options.OwnerOptions, owners can have different scopes, rates and metadata. A new token is shown
// once, with its two halves, a curl line and a button that tests it; the test
// counts as one use.
//
// # Mounting
//
// The handler works under any prefix that is cut off before it, as
// http.StripPrefix does, also behind a proxy that rewrites addresses: all its
// links are relative. It answers everything below the prefix and keeps nothing
// between requests but its options: no session, no cookie. Several may be
// mounted, for example one for each language:
//
//	/                     GET the list, POST a search
//	/new                  GET asks, POST makes a key
//	/key/{id}             GET one key with its newest history
//	/key/{id}/history     GET all of it, newest first
//	/key/{id}/DIALOG      GET asks, POST does it: edit, disable, enable,
//	                      regenerate, rotate, finish, extend, delete
//	/key/{id}/test        POST a token of the key, to have it validated
//	/style.css, /script.js
//
// The login is the host's: what is not logged in should not reach the handler.
// The name of the owner must come from the session. A deadline for the calls
// of the store comes with the request's context; the handler adds none.
//
// The host passes the request on with the prefix cut off: without
// http.StripPrefix every address is answered 404. A proxy in front must leave
// the Host field as the browser sent it, where it is not HTTPS: forms are told
// from those of other sites by it.
//
// # With and without script
//
// Each dialog is a page of its own, so that all of it works without JavaScript.
// The script turns those pages into native dialog elements without a reload,
// leaves a person on the page and search of the list where a step began, adds
// copy buttons, and lets Delete wake up once the name of the key is typed. It
// may be blocked; nothing that protects a key depends on it. An answer that is
// no page of this package, such as the host's login after the end of a session,
// is shown as the host made it, if it is of the same origin.
//
// # Safety
//
// Changes are made by POST alone, and [http.CrossOriginProtection] refuses those
// of other origins, of other sites and of "null". Forms of http pages are
// rejected if the site is known to use https, by TLS or by X-Forwarded-Proto. Browsers tell the origin to
// sites on HTTPS and on localhost; over plain HTTP elsewhere, forms without
// the script are refused, because Referrer-Policy: no-referrer keeps the browser
// from naming the origin. Each form is for one revision of a key, and a form
// for a new key for one key of the owner that it was shown to: sent twice, from
// two tabs, by a reload or after another owner has logged in, it does nothing
// more and answers 409.
//
// A token stands in the direct answer to the form that asked for it, never in a
// redirect, an address, a cookie or a second answer. What was typed is shown
// again after a mistake, a limit or trouble of the store, but for a text with a
// token in it, an access secret alone or a piece of a token, which is neither
// kept nor shown. A search is sent as a form and cuts a token down to its
// access key, so that no secret gets into an address.
//
// No link makes a page state something. A page confirms a step that its address
// names ("the key was disabled") only if the step is the newest event of the
// key, at most 10 minutes old, and if the browser comes from a page of the same
// origin, as far as it states that. Everything else, such as "there was nothing
// to change", appears only in the response to a form.
//
// Damaged keys do not appear in the list. The list states that some are missing,
// and Observe gets the error that names them.
//
// A key of another owner, one that there is not and an id that is none have one
// and the same answer, 404. Nothing inline runs and nothing is loaded from
// elsewhere: the Content-Security-Policy begins with default-src 'none'. No
// answer but style sheet and script may be stored, and none may be framed.
//
//	status  when
//	400     a field or the form is wrong
//	403     another site, not logged in, locked, owner disabled, not authorized
//	404     no such page, or no such key of this owner
//	405     another method
//	409     changed since, made already, too many keys, another owner's form,
//	        not possible in this state
//	413     more than 64 KiB
//	422     a form for a new key that was used before with other details
//	429     Options.ReissueLimit of the Manager, with Retry-After
//	500     an invalid result of Owner or OwnerOptions, Layout
//	503     a store failure, also one in Owner or OwnerOptions; with the new token,
//	        if there is one that may work
//
// # Looks
//
// Options.Header and Footer are shown around the content, in its font and else
// as the host's style sheet says; Options.Layout puts the content into the
// host's own page instead, without ever seeing a token. The style sheet concerns the class apikeyui alone,
// and the class apikeyui-page, which the handler's own body has and that of a
// Layout may have for the same background. Rules of the host for whole elements,
// as nav { background: … }, do reach into the content.
//
// The scheme is that of the page around: light, unless the page says otherwise
// by <meta name="color-scheme" content="light dark"> or the property
// color-scheme, as the handler's own does. (Browsers know light-dark(), by which
// the style sheet does it, since 2024.) Colours and fonts are variables that
// Options.Stylesheet can set again:
//
//	.apikeyui, .apikeyui-page { --apikeyui-accent: light-dark(#0a7d5a, #6fd7b0); }
//
// They are --apikeyui-text, -quiet, -page, -card, -sunken, -line, -edge, -accent,
// -accent-text, -link, -good, -good-back, -warn, -warn-back, -bad, -bad-back,
// -bad-text, -plot-old, -shadow, -font and -mono. Every text can be replaced by
// Options.Texts; [German] is a second language.
//
// # Limits
//
// A page of the list has 25 keys. All keys of an owner who has no more are in
// the order of their names, pages of more in the order of the ids. A search
// looks at 1,000 keys at most before it offers to look further, and at those
// that Options.Authorize refuses besides. Times are shown in UTC. Uses are as of
// the Manager's last Flush, and days are counted whole. A regeneration and a
// rotation give a key the Manager's Options.Lifetime again, which the dialogs
// say; the host's metadata is not shown.
package apikeyui
