//! Who holds a place under the session policy: `sessions.per_user_max` and `sessions.one_per_device`. A pure table
//! that decides each login that a reactor asks about; `outbox` carries its decisions out. Only logins that asked are in
//! it, so a limit that is switched on by a reload counts the logins from then on.

use std::collections::HashMap;

use crate::config::{Sessions as Policy, WhenFull};
use crate::links::ConnectionId;

/// What a login's claim leads to.
#[derive(Debug, PartialEq, Eq)]
pub struct Decision {
    /// Whether the login goes on.
    pub admitted: bool,
    /// Connections that lose their place to it, to be closed. They are out of the table already.
    pub replaced: Vec<ConnectionId>,
}

#[derive(Debug)]
struct Place {
    connection: ConnectionId,
    device: Option<Box<str>>,
}

/// The places of all users, each user's oldest first.
#[derive(Debug, Default)]
pub struct Registry {
    users: HashMap<Box<str>, Vec<Place>>,
}

impl Registry {
    /// Decides a login. A connection that holds a place already keeps it.
    pub fn claim(
        &mut self,
        policy: &Policy,
        connection: ConnectionId,
        user: &str,
        device: Option<Box<str>>,
    ) -> Decision {
        // Taken out and put back below, so that a user who ends up with nothing has no entry.
        let mut places = self.users.remove(user).unwrap_or_default();
        let decision = decide(policy, &mut places, connection, device);
        if !places.is_empty() {
            self.users.insert(user.into(), places);
        }
        decision
    }

    /// A connection is gone. One that lost its place before is not in the table any more; that is no error.
    pub fn release(&mut self, connection: ConnectionId, user: &str) {
        if let Some(places) = self.users.get_mut(user) {
            places.retain(|place| place.connection != connection);
            if places.is_empty() {
                self.users.remove(user);
            }
        }
    }
}

fn decide(policy: &Policy, places: &mut Vec<Place>, connection: ConnectionId, device: Option<Box<str>>) -> Decision {
    let admitted = |replaced| Decision {
        admitted: true,
        replaced,
    };
    if places.iter().any(|place| place.connection == connection) {
        return admitted(Vec::new());
    }
    // A connection that names no device clashes with none.
    let clashes = |place: &Place| policy.one_per_device && device.is_some() && place.device == device;
    let staying = places.iter().filter(|place| !clashes(place)).count();
    let max = if policy.per_user_max == 0 {
        usize::MAX
    } else {
        policy.per_user_max
    };
    if staying >= max && policy.when_full == WhenFull::Reject {
        return Decision {
            admitted: false,
            replaced: Vec::new(),
        };
    }
    let mut replaced = Vec::new();
    // More than one place too many only after a reload lowered the limit.
    let mut oldest = (staying + 1).saturating_sub(max);
    places.retain(|place| {
        let goes = clashes(place) || oldest > 0;
        if goes {
            oldest -= usize::from(!clashes(place));
            replaced.push(place.connection);
        }
        !goes
    });
    places.push(Place { connection, device });
    admitted(replaced)
}

#[cfg(test)]
mod tests;
