package main

import (
	"testing"

	"github.com/keyturn/apikey/examples/frameworks/internal/frameworktest"
)

func TestChi(t *testing.T) { frameworktest.Run(t, serve) }
