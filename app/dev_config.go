package app

import (
	"trunkline/ingest"
	"trunkline/topology"
)

// Credentials of the built-in tenant of `trunkline dev`. They are no secrets.
const (
	DevTenant         = "acme"
	DevToken          = "dev-token"
	DevSecret         = "webhook_secret_rotation_key"
	DevPreviousSecret = "previous_webhook_secret"
	DevClient         = "trunkline" // at both vendors' clouds
	DevClientSecret   = "dev-client-secret"
)

// DevConfig is the configuration of `trunkline dev`: one built-in tenant with
// both vendors, sized for one machine. replication is 1 on the embedded broker.
func DevConfig(brokers []string, registryURL string, replication int16) Config {
	c := Config{
		Kafka:      Kafka{Brokers: brokers, Replication: replication, MinISR: max(1, int(replication)-1)},
		Registry:   Registry{URL: registryURL},
		Partitions: 4,
		Tenants: []Tenant{{
			ID: DevTenant,
			Vendors: map[string]Credentials{
				topology.Genesys: {Tokens: []string{DevToken}},
				topology.CXone: {
					Tokens: []string{DevToken}, SigningSecrets: []string{DevSecret, DevPreviousSecret},
					Require: ingest.RequireEither,
				},
			},
		}},
	}
	return c.withDefaults()
}

// DevClouds are the base URLs of simulated clouds; empty: there is none.
type DevClouds struct {
	Genesys       string
	CXone         string
	CXoneServices string // before the lists that are polled
	// Reconcile has the edge ask for what deliveries missed; what it finds again are
	// records more than events happened.
	Reconcile bool
}

// AtClouds has the built-in tenant call the clouds: read their streams, ask for what
// deliveries missed, and verify with the keys that they publish.
func (c Config) AtClouds(at DevClouds) Config {
	of := c.Tenants[0].Vendors
	if at.Genesys != "" {
		v := of[topology.Genesys]
		v.API = API{URL: at.Genesys, OAuth: &OAuth{URL: at.Genesys, ClientID: DevClient, ClientSecret: DevClientSecret}}
		v.Reconcile = at.reconcile()
		v.Stream = &Stream{URL: at.Genesys + "/stream?topics=conversation,routing,interaction", PollURL: at.Genesys + "/events"}
		of[topology.Genesys] = v
	}
	if at.CXone != "" {
		v := of[topology.CXone]
		v.API = API{URL: at.CXoneServices, AccessKey: &AccessKey{URL: at.CXone, ID: DevClient, Secret: DevClientSecret}}
		v.Reconcile = at.reconcile()
		v.KeysURL = at.CXone + "/.well-known/jwks.json"
		of[topology.CXone] = v
	}
	return c
}

func (at DevClouds) reconcile() *Reconcile {
	if !at.Reconcile {
		return nil
	}
	return &Reconcile{}
}
