//! What differs between two configurations, and what of it a SIGHUP may change. One list names every key and says
//! whether it is live or takes a restart. Called by `control`.

use super::settings::Settings;

/// Each key by its name, with its field.
macro_rules! keys {
    (
        restart { $($fixed:literal => $fixed_table:ident . $fixed_field:ident,)* }
        live { $($live:literal => $live_table:ident . $live_field:ident,)* }
    ) => {
        /// Their names, for the documentation's test.
        #[cfg(test)]
        pub(super) const RESTART_ONLY: &[&str] = &[$($fixed),*];

        impl Settings {
            /// The keys that differ in `new`, as `table.key`; secrets and the contents of files count.
            pub fn changes(&self, new: &Settings) -> Vec<&'static str> {
                let mut changed = self.restart_only_changes(new);
                $(if self.$live_table.$live_field != new.$live_table.$live_field {
                    changed.push($live);
                })*
                changed
            }

            /// The keys that differ in `new` but cannot change while running, as `table.key`.
            pub fn restart_only_changes(&self, new: &Settings) -> Vec<&'static str> {
                let mut changed = Vec::new();
                $(if self.$fixed_table.$fixed_field != new.$fixed_table.$fixed_field {
                    changed.push($fixed);
                })*
                changed
            }

            /// `self`, with the keys that cannot change while running taken from `running`: what a reload puts into
            /// force.
            pub fn keeping_restart_only(mut self, running: &Settings) -> Settings {
                $(self.$fixed_table.$fixed_field = running.$fixed_table.$fixed_field.clone();)*
                self
            }
        }
    };
}

keys! {
    restart {
        // Sockets and threads are made once, and a cluster knows this node by its name.
        "server.listen" => server.listen,
        "server.node" => server.node,
        "server.reactors" => server.reactors,
        "server.descriptor_table_per_reactor" => server.descriptor_table_per_reactor,
        "server.pin_reactors" => server.pin_reactors,
        // Connections were let in by the old policy; a new one would apply to some and not to others.
        "sessions.per_user_max" => sessions.per_user_max,
        "sessions.when_full" => sessions.when_full,
        "sessions.one_per_device" => sessions.one_per_device,
        // The bus keeps its connection and its subscriptions.
        "nats.url" => nats.url,
        "nats.prefix" => nats.prefix,
        "nats.credentials_file" => nats.credentials_file,
        "nats.user" => nats.user,
        "nats.password" => nats.password,
        "nats.token" => nats.token,
        "nats.tls_ca_file" => nats.tls_ca_file,
        "api.listen" => api.listen,
        "log.format" => log.format,
    }
    live {
        "server.origins" => server.origins,
        "server.trusted_proxies" => server.trusted_proxies,
        "server.connections_max" => server.connections_max,
        "auth.user_claim" => auth.user_claim,
        "auth.leeway" => auth.leeway_ms,
        "auth.require_exp" => auth.require_exp,
        "auth.issuer" => auth.issuer,
        "auth.audience" => auth.audience,
        "auth.default_paths" => auth.default_paths,
        "auth.default_topics" => auth.default_topics,
        "auth.keys" => auth.keys,
        "auth.jwks_file" => auth.jwks,
        "timeouts.handshake" => timeouts.handshake_ms,
        "timeouts.connect" => timeouts.connect_ms,
        "timeouts.ping" => timeouts.ping_ms,
        "timeouts.pong" => timeouts.pong_ms,
        "timeouts.call" => timeouts.call_ms,
        "timeouts.drain" => timeouts.drain_ms,
        "limits.message_bytes" => limits.message_bytes,
        "limits.push_bytes" => limits.push_bytes,
        "limits.outbound_bytes" => limits.outbound_bytes,
        "limits.outbound_total_bytes" => limits.outbound_total_bytes,
        "limits.messages_per_second" => limits.messages_per_second,
        "limits.logins_per_second" => limits.logins_per_second,
        "limits.connections_per_ip" => limits.connections_per_ip,
        "limits.topics_per_connection" => limits.topics_per_connection,
        "limits.history_bytes" => limits.history_bytes,
        // Those of `api.keys_file` too.
        "api.keys" => api.keys,
        "log.level" => log.level,
    }
}
