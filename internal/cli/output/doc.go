// Package output writes what commands found: text in rows for people, JSON for
// programs, colours where a terminal shows them, and files.
package output
