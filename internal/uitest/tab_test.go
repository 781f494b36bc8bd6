package uitest

import (
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/chromedp/cdproto/cdp"
	"github.com/chromedp/cdproto/input"
	"github.com/chromedp/cdproto/page"
	"github.com/chromedp/cdproto/runtime"
	"github.com/chromedp/chromedp"

	"github.com/keyturn/apikey/apikeyui"
)

// text is an English text of the pages, by its name.
func text(name string) string {
	found := apikeyui.English()[name]
	if found == "" {
		panic("no text " + name)
	}
	return found
}

// eval evaluates an expression in the page, as the developer tools would: also
// where scripts are switched off.
func eval[T any](b *tab, expression string, args ...any) T {
	b.t.Helper()
	value, err := tryEval[T](b, expression, args...)
	if err != nil {
		b.t.Fatalf("%s: %v", expression, err)
	}
	return value
}

// tryEval puts the arguments into the expression as JSON, for each %s.
func tryEval[T any](b *tab, expression string, args ...any) (value T, err error) {
	for i, arg := range args {
		encoded, err := json.Marshal(arg)
		if err != nil {
			return value, err
		}
		args[i] = string(encoded)
	}
	if len(args) > 0 {
		expression = fmt.Sprintf(expression, args...)
	}
	result, err := try(b, runtime.Evaluate, runtime.EvaluateParams{
		Expression: expression, ReturnByValue: new(true), AwaitPromise: new(true),
	})
	switch {
	case err != nil:
		return value, err
	case result.ExceptionDetails != nil:
		return value, errors.New(result.ExceptionDetails.Exception.Description)
	case len(result.Result.Value) == 0:
		return value, nil
	}
	return value, json.Unmarshal(result.Result.Value, &value)
}

// wait waits until an expression is true. That it cannot be evaluated, while a
// page gives way to the next, is no mistake.
func (b *tab) wait(what, expression string, args ...any) {
	b.t.Helper()
	var err error
	for end := time.Now().Add(patience); time.Now().Before(end); time.Sleep(10 * time.Millisecond) {
		var ok bool
		if ok, err = tryEval[bool](b, expression, append([]any(nil), args...)...); ok {
			return
		}
	}
	b.t.Fatalf("waited in vain for %s (%v); at %s:\n%s", what, err,
		eval[string](b, "location.href"), eval[string](b, "document.documentElement.innerText"))
}

// front is what a person looks at: the open dialog, or the page.
const front = `(document.querySelector("dialog[open]") || document.body)`

// open goes to an address below the home of the pages.
func (b *tab) open(address string) {
	b.t.Helper()
	b.navigate(b.site.home + address)
}

func (b *tab) navigate(address string) {
	b.t.Helper()
	// What marks the old page is gone with it.
	if _, err := tryEval[bool](b, `window.left = true`); err != nil {
		b.t.Fatal(err)
	}
	if answer := call(b, page.Navigate, page.NavigateParams{URL: address}); answer.ErrorText != "" {
		b.t.Fatalf("%s: %s", address, answer.ErrorText)
	}
	b.wait("the page "+address, `!window.left && document.readyState === "complete"`)
}

// at waits until the heading of what is in front is a text.
func (b *tab) at(title string) {
	b.t.Helper()
	b.wait("the heading "+title, `document.readyState === "complete" &&
		(`+front+`.querySelector("h1")?.innerText ?? "").trim() === %s`, title)
}

// has waits until what is in front shows a text.
func (b *tab) has(text string) {
	b.t.Helper()
	b.wait("the text "+text, front+`.innerText.replace(/\s+/g, " ").includes(%s)`, strings.Join(strings.Fields(text), " "))
}

// shows reports whether what is in front has an element that fits.
func (b *tab) shows(selector string) bool {
	b.t.Helper()
	return eval[bool](b, front+`.querySelector(%s) !== null`, selector)
}

// notice waits for the confirmation of a step.
func (b *tab) notice(name string) {
	b.t.Helper()
	b.wait("the notice "+name, `document.readyState === "complete" && !document.querySelector("dialog[open]") &&
		(document.querySelector("#notice")?.innerText ?? "").includes(%s)`, text("done."+name))
}

// place finds an element, scrolls to it and says where its middle is: only
// there, where a person could hit it, it is clicked.
func (b *tab) place(selector string) (x, y float64) {
	b.t.Helper()
	b.wait("something to click: "+selector, `(() => {
		const e = `+front+`.querySelector(%s);
		if (!e || e.disabled) return false;
		e.scrollIntoView({block: "center", behavior: "instant"});
		const r = e.getClientRects()[0];
		if (!r) return false;
		const hit = document.elementFromPoint(r.x + r.width / 2, r.y + r.height / 2);
		return hit !== null && (e.contains(hit) || hit.contains(e));
	})()`, selector)
	at := eval[[]float64](b, `(() => {
		const r = `+front+`.querySelector(%s).getClientRects()[0];
		return [r.x + r.width / 2, r.y + r.height / 2];
	})()`, selector)
	return at[0], at[1]
}

func (b *tab) click(selector string) {
	b.t.Helper()
	x, y := b.place(selector)
	b.mouse(x, y, 1)
}

func (b *tab) doubleClick(selector string) {
	b.t.Helper()
	x, y := b.place(selector)
	b.mouse(x, y, 1)
	b.mouse(x, y, 2)
}

func (b *tab) mouse(x, y float64, count int64) {
	b.t.Helper()
	for _, kind := range []input.DispatchMouseEventType{"mousePressed", "mouseReleased"} {
		call(b, input.DispatchMouseEvent, input.DispatchMouseEventParams{
			Type: kind, X: x, Y: y, Button: input.MouseButtonLeft, ClickCount: count,
		})
	}
}

// fill types a text in place of what stands in a field.
func (b *tab) fill(selector, text string) {
	b.t.Helper()
	b.click(selector)
	if eval[bool](b, `(() => {
		const e = `+front+`.querySelector(%s);
		if (e.type === "date") { e.value = %s; return true; }
		e.focus();
		e.select();
		return false;
	})()`, selector, text) {
		return
	}
	if text == "" {
		b.press("\b")
		return
	}
	b.write(text)
}

// write types a text where the focus is.
func (b *tab) write(text string) {
	b.t.Helper()
	call(b, input.InsertText, input.InsertTextParams{Text: text})
}

// press presses a key, of package kb.
func (b *tab) press(key string, modifiers ...chromedp.Modifier) {
	b.t.Helper()
	if err := chromedp.Do(b.ctx, chromedp.KeyEvent(key, chromedp.KeyModifiers(modifiers...))); err != nil {
		b.t.Fatal(err)
	}
}

// submit clicks the button that does what a dialog asks.
func (b *tab) submit() {
	b.t.Helper()
	b.click(`form:not([role=search]):not([data-test]) button[type=submit]`)
}

// value returns what stands in a field or an element.
func (b *tab) value(selector string) string {
	b.t.Helper()
	return eval[string](b, `(e => e.value ?? e.textContent)(`+front+`.querySelector(%s))`, selector)
}

// token returns the token that is shown.
func (b *tab) token() string {
	b.t.Helper()
	b.at(text("issued.title"))
	token := b.value("#s-token")
	b.site.shown(token)
	return token
}

func (b *tab) reload() {
	b.t.Helper()
	eval[bool](b, `window.left = true`)
	call(b, page.Reload, page.ReloadParams{})
	b.wait("the page once more", `!window.left && document.readyState === "complete"`)
}

// history moves in the history of the tab, as the buttons Back and Forward do.
func (b *tab) history(step int64) {
	b.t.Helper()
	all := call(b, page.GetNavigationHistory, cdp.Empty{})
	to := all.Entries[all.CurrentIndex+step]
	call(b, page.NavigateToHistoryEntry, page.NavigateToHistoryEntryParams{EntryID: to.ID})
	for end := time.Now().Add(patience); time.Now().Before(end); time.Sleep(10 * time.Millisecond) {
		now, err := try(b, page.GetNavigationHistory, cdp.Empty{})
		if err == nil && now.CurrentIndex == all.CurrentIndex+step {
			b.wait("the page of the history", `document.readyState === "complete"`)
			return
		}
	}
	b.t.Fatalf("the history does not lead to %s", to.URL)
}
