//! What tokens allow: the sets of paths and topics that connections share, since a product's tokens carry a handful of
//! different ones. Knows no connection. Sets are taken and given back by `login`, and given back by `door`.

use std::collections::HashMap;
use std::rc::Rc;

use crate::config::settings::Auth;
use crate::protocol::subject::Patterns;

/// What a token lets its connection do.
#[derive(Debug, Default)]
pub(super) struct Permissions {
    pub paths: Patterns,
    pub topics: Patterns,
    /// The claims that they were made from, to find them again.
    claims: Option<PermissionClaims>,
}

type PermissionClaims = (Option<Vec<String>>, Option<Vec<String>>);

/// Every different set of permissions, once: a product's tokens carry a handful of them.
pub(super) struct PermissionSets {
    default: Rc<Permissions>,
    default_paths: Vec<String>,
    default_topics: Vec<String>,
    sets: HashMap<PermissionClaims, Rc<Permissions>, foldhash::fast::RandomState>,
}

impl PermissionSets {
    pub fn new(auth: &Auth) -> Self {
        Self {
            default: Rc::new(Permissions {
                paths: patterns(&auth.default_paths),
                topics: patterns(&auth.default_topics),
                claims: None,
            }),
            default_paths: auth.default_paths.clone(),
            default_topics: auth.default_topics.clone(),
            sets: HashMap::default(),
        }
    }

    pub fn len(&self) -> usize {
        self.sets.len()
    }

    pub fn get(&mut self, claims: PermissionClaims) -> Rc<Permissions> {
        if claims.0.is_none() && claims.1.is_none() {
            return self.default.clone();
        }
        let (default_paths, default_topics) = (&self.default_paths, &self.default_topics);
        let set = self.sets.entry(claims).or_insert_with_key(|claims| {
            Rc::new(Permissions {
                paths: patterns(claims.0.as_ref().unwrap_or(default_paths)),
                topics: patterns(claims.1.as_ref().unwrap_or(default_topics)),
                claims: Some(claims.clone()),
            })
        });
        set.clone()
    }

    /// A connection does not need them any more; the last one takes the set with it.
    pub fn give_back(&mut self, permissions: Rc<Permissions>) {
        // Two: this one and the map's. After a reload the map may hold another set of these claims.
        if let Some(claims) = &permissions.claims
            && Rc::strong_count(&permissions) == 2
            && self.sets.get(claims).is_some_and(|set| Rc::ptr_eq(set, &permissions))
        {
            self.sets.remove(claims);
        }
    }
}

fn patterns(texts: &[String]) -> Patterns {
    texts.iter().map(String::as_str).collect()
}
