// Package uitest holds the tests of the pages of apikeyui in a real browser.
//
// They drive Chromium, as Debian installs it, and are skipped where there is
// none, unless CI=true: then they fail. The normal form takes about a minute of a small
// machine; APIKEY_LONG=1 tries every combination.
//
// testdata/axe.min.js is axe-core 4.14.1 of Deque Systems, unchanged, under the
// Mozilla Public License 2.0 in testdata/axe.LICENSE. It is a test tool: no
// program and no page that is shown to people contains it.
package uitest
