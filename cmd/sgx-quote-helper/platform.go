package main

import "errors"

// platform is the value of --platform.
type platform string

const (
	platformDCAP      platform = "dcap"
	platformSimulated platform = "simulated"
	platformUpstream  platform = "upstream"
)

func (p *platform) String() string { return string(*p) }
func (p *platform) Type() string   { return "platform" }

func (p *platform) Set(value string) error {
	switch name := platform(value); name {
	case platformDCAP, platformSimulated, platformUpstream:
		*p = name
		return nil
	}
	return errors.New("unknown platform: must be dcap, upstream or simulated")
}
