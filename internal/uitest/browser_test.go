package uitest

import (
	"context"
	"flag"
	"fmt"
	"os"
	"os/exec"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/chromedp/cdproto/audits"
	"github.com/chromedp/cdproto/cdp"
	"github.com/chromedp/cdproto/emulation"
	"github.com/chromedp/cdproto/log"
	"github.com/chromedp/cdproto/network"
	"github.com/chromedp/cdproto/page"
	"github.com/chromedp/cdproto/runtime"
	"github.com/chromedp/chromedp"
)

// chromium is the one browser of all tests.
var chromium struct {
	once   sync.Once
	ctx    context.Context
	cancel context.CancelFunc
	err    error
}

func TestMain(m *testing.M) {
	flag.Parse()
	code := m.Run()
	if chromium.cancel != nil {
		chromium.cancel()
	}
	os.Exit(code)
}

// browserContext starts the browser, or skips the test where there is none.
func browserContext(t testing.TB) context.Context {
	t.Helper()
	chromium.once.Do(func() {
		var path string
		for _, name := range []string{"chromium", "chromium-browser", "google-chrome", "chrome"} {
			if path, chromium.err = exec.LookPath(name); chromium.err == nil {
				break
			}
		}
		if chromium.err != nil {
			return
		}
		// Without a sandbox, since root cannot have one. Only pages of these
		// tests are ever opened.
		options := append(chromedp.DefaultExecAllocatorOptions[:],
			chromedp.ExecPath(path), chromedp.NoSandbox, chromedp.DisableGPU,
			chromedp.Flag("disable-component-update", true), chromedp.Flag("lang", "en-US"))
		allocator, stop := chromedp.NewExecAllocator(context.Background(), options...)
		var cancel context.CancelFunc
		chromium.ctx, cancel = chromedp.NewContext(allocator)
		chromium.cancel = func() { cancel(); stop() }
		chromium.err = chromedp.Do(chromium.ctx)
	})
	switch {
	case chromium.err == nil:
	case os.Getenv("CI") == "true":
		t.Fatalf("with CI=true these tests need Chromium: %v", chromium.err)
	default:
		t.Skipf("no Chromium: %v", chromium.err)
	}
	return chromium.ctx
}

// look is how a person looks at the pages.
type look struct {
	noScript bool
	phone    bool
	dark     bool
}

func (l look) String() string {
	choose := func(b bool, yes, no string) string {
		if b {
			return yes
		}
		return no
	}
	return choose(l.noScript, "no script", "script") + ", " + choose(l.phone, "phone", "wide") + ", " + choose(l.dark, "dark", "light")
}

const phoneWidth = 360

// tab is one tab of the browser, with what went wrong in it.
type tab struct {
	t    testing.TB
	ctx  context.Context
	site *site
	look look

	allowed   string // a problem that the test makes itself
	elsewhere bool   // other sites are opened on purpose: what they do is no mistake

	views []string // that axe-core looked at

	mu        sync.Mutex
	problems  []string
	addresses []string // of all requests
}

// tab opens an empty tab. At the end of the test, whatever the console told,
// violations of the policy, dialogs of scripts and requests to other origins
// fail it.
func (s *site) tab(t testing.TB, l look) *tab {
	t.Helper()
	browser := browserContext(t)
	b := &tab{t: t, site: s, look: l}
	ctx, cancel := chromedp.NewContext(browser, chromedp.WithNewBrowserContext(), chromedp.WithListener(b.listen))
	t.Cleanup(func() { cancel(); b.verdict() })
	b.start(ctx)
	return b
}

func (b *tab) start(ctx context.Context) {
	b.t.Helper()
	b.ctx = ctx
	if err := chromedp.Do(ctx); err != nil { // not limited: the tab lives as long as its first call
		b.t.Fatal(err)
	}
	width, height := int64(1200), int64(900)
	if b.look.phone {
		width, height = phoneWidth, 740
	}
	call(b, audits.Enable, cdp.Empty{})
	call(b, emulation.SetDeviceMetricsOverride, emulation.SetDeviceMetricsOverrideParams{
		Width: width, Height: height, DeviceScaleFactor: 1, Mobile: b.look.phone,
	})
	call(b, emulation.SetFocusEmulationEnabled, emulation.SetFocusEmulationEnabledParams{Enabled: true})
	call(b, emulation.SetScriptExecutionDisabled, emulation.SetScriptExecutionDisabledParams{Value: b.look.noScript})
	b.dark(b.look.dark)
}

func (b *tab) dark(dark bool) {
	b.t.Helper()
	scheme := "light"
	if dark {
		scheme = "dark"
	}
	call(b, emulation.SetEmulatedMedia, emulation.SetEmulatedMediaParams{
		Features: []*emulation.MediaFeature{{Name: "prefers-color-scheme", Value: scheme}},
	})
}

// listen must not call the browser.
func (b *tab) listen(event any) {
	b.mu.Lock()
	defer b.mu.Unlock()
	problem := func(format string, args ...any) { b.problems = append(b.problems, fmt.Sprintf(format, args...)) }
	switch event := event.(type) {
	case *log.EventEntryAdded:
		// The network tells each answer of 400 and above as an error: those
		// the site counts by itself.
		if event.Entry.Source == log.EntrySourceNetwork && strings.Contains(event.Entry.Text, "responded with a status of") {
			return
		}
		problem("log %s %s: %s", event.Entry.Source, event.Entry.Level, event.Entry.Text)
	case *runtime.EventConsoleAPICalled:
		problem("console.%s", event.Type)
	case *runtime.EventExceptionThrown:
		problem("exception: %s", event.ExceptionDetails.Text)
	case *audits.EventIssueAdded:
		if event.Issue.Code == audits.InspectorIssueCodeContentSecurityPolicyIssue {
			problem("violation of the policy: %+v", event.Issue.Details.ContentSecurityPolicyIssueDetails)
		}
	case *page.EventJavascriptDialogOpening:
		problem("a script opened a dialog: %s", event.Message)
	case *network.EventRequestWillBeSent:
		b.addresses = append(b.addresses, event.Request.URL)
	}
}

// verdict fails the test for what went wrong.
func (b *tab) verdict() {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.elsewhere {
		return
	}
	for _, p := range b.problems {
		if b.allowed != "" && strings.Contains(p, b.allowed) {
			continue
		}
		b.t.Errorf("in the browser: %s", p)
	}
	for _, address := range b.addresses {
		// The icons of a date field and of the browser's own pages are in
		// data: addresses; those of a page would violate its policy.
		if !strings.HasPrefix(address, b.site.url+"/") && address != "about:blank" && !strings.HasPrefix(address, "data:") {
			b.t.Errorf("a request to another origin: %s", address)
		}
	}
}

// allow says which problem the test makes itself.
func (b *tab) allow(problem string) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.allowed = problem
}

// patience is how long a test waits for what must come: much longer than it
// takes, for the sake of machines that do something else as well.
const patience = 20 * time.Second

// call sends one command to the browser.
func call[P, R any](b *tab, command cdp.Command[P, R], params P) R {
	b.t.Helper()
	r, err := try(b, command, params)
	if err != nil {
		b.t.Fatalf("%s: %v", command.Method, err)
	}
	return r
}

func try[P, R any](b *tab, command cdp.Command[P, R], params P) (R, error) {
	ctx, cancel := context.WithTimeout(b.ctx, patience)
	defer cancel()
	return chromedp.Run(ctx, func(ctx context.Context, target *chromedp.Target) (R, error) {
		return cdp.Call(ctx, target, command, params)
	})
}
