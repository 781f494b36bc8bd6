// Package apikeyui is the self-service page.
package apikeyui
