package uitest

import (
	"context"

	"github.com/chromedp/cdproto/browser"
	"github.com/chromedp/cdproto/cdp"
	"github.com/chromedp/chromedp"
)

// grantClipboard lets the tests read what the pages wrote. Writing needs no
// permission after a click.
func (b *tab) grantClipboard() {
	b.t.Helper()
	c := chromedp.FromContext(b.ctx)
	_, err := chromedp.Run(b.ctx, func(ctx context.Context, _ *chromedp.Target) (cdp.Empty, error) {
		return cdp.Call(ctx, c.Browser, browser.SetPermission, browser.SetPermissionParams{
			Permission: &browser.PermissionDescriptor{Name: "clipboard-read"}, Setting: browser.PermissionSettingGranted,
			Origin: b.site.url, BrowserContextID: c.BrowserContextID,
		})
	})
	if err != nil {
		b.t.Fatal(err)
	}
}
