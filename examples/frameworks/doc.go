// Package frameworks holds nothing: the examples are the commands below it.
package frameworks
