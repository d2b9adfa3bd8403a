package main

import (
	"errors"
	"log/slog"

	"github.com/confcom/confcom/internal/platform/simulated"
	"github.com/confcom/confcom/internal/quoting"
)

// platformName is the flag that says what makes the quotes.
type platformName string

const platformSimulated platformName = "simulated"

func (p *platformName) String() string { return string(*p) }
func (p *platformName) Type() string   { return "platform" }

func (p *platformName) Set(value string) error {
	if platformName(value) != platformSimulated {
		return errors.New("unknown platform; the one of this version is simulated")
	}
	*p = platformName(value)
	return nil
}

// open returns the platform. It never falls back to another than was asked for.
func (p platformName) open(node string, log *slog.Logger) (quoting.Platform, error) {
	if p != platformSimulated {
		return nil, errors.New("no --platform: this version makes no quotes with SGX hardware; " +
			"for a platform in software, whose quotes prove nothing, pass --platform=simulated")
	}
	log.Warn("SIMULATED platform: its quotes prove nothing", "node", node)
	return simulated.New(node)
}
