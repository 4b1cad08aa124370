// Package ecs finds nothing: no test reaches that cloud, and its client takes longer to compile than all the rest.
package ecs

import (
	"errors"

	"github.com/traefik/traefik/v3/pkg/config/dynamic"
	"github.com/traefik/traefik/v3/pkg/safe"
)

// Provider has no settings.
type Provider struct{}

// Init refuses.
func (*Provider) Init() error {
	return errors.New("the provider ecs is left out of this build")
}

// Provide gives nothing.
func (*Provider) Provide(chan<- dynamic.Message, *safe.Pool) error {
	return nil
}
