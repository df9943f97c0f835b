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
