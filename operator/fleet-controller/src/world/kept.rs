//! What is known of one kind of object: the newest state of each, by the Mirror it belongs to.
//!
//! Two sources feed it: the watch, and the answers to our own writes. The latter make a plan see what the plan before
//! it did, however late the watch is; so an older version never replaces a newer one, and what we deleted does not come
//! back by an event from before.

mod gone;

use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};
use std::sync::{Arc, RwLock, RwLockReadGuard, RwLockWriteGuard};

use fleet_types::{lock_read, lock_write};

use self::gone::Gone;
use super::ObjectName;

/// One object as it enters.
#[derive(Debug, Clone)]
pub struct Item<T> {
    /// The Mirror (or, for Upstreams, the Upstream) that it belongs to.
    pub group: ObjectName,
    pub name: String,
    pub uid: String,
    /// The API server's version; compared as a number.
    pub version: u64,
    pub value: T,
}

/// The objects of one kind.
pub struct Kept<T> {
    inner: RwLock<Inner<T>>,
    /// Whether the second state asks for another decision than the first.
    matters: fn(&T, &T) -> bool,
}

struct Inner<T> {
    groups: HashMap<ObjectName, BTreeMap<String, Entry<T>>>,
    /// By what else an object is looked for, if by anything.
    refers_to: fn(&T) -> Option<ObjectName>,
    /// Group and name of the objects that refer to something.
    referring: HashMap<ObjectName, BTreeSet<(ObjectName, String)>>,
    /// Uids of what is gone and an answer or an event from before may still talk about.
    gone: Gone,
    /// What a new list has brought so far.
    listed: Vec<Item<T>>,
}

struct Entry<T> {
    uid: String,
    version: u64,
    value: Arc<T>,
}

impl<T> Kept<T> {
    pub fn new(matters: fn(&T, &T) -> bool) -> Self {
        Kept::referring(matters, |_| None)
    }

    /// Objects that are found by what they refer to as well.
    pub fn referring(matters: fn(&T, &T) -> bool, refers_to: fn(&T) -> Option<ObjectName>) -> Self {
        let inner = Inner {
            groups: HashMap::new(),
            refers_to,
            referring: HashMap::new(),
            gone: Gone::default(),
            listed: Vec::new(),
        };
        Kept {
            inner: RwLock::new(inner),
            matters,
        }
    }

    /// The objects of one group, by name.
    pub fn group(&self, group: &ObjectName) -> Vec<Arc<T>> {
        self.read()
            .groups
            .get(group)
            .into_iter()
            .flat_map(BTreeMap::values)
            .map(|entry| entry.value.clone())
            .collect()
    }

    pub fn has(&self, group: &ObjectName) -> bool {
        self.read().groups.contains_key(group)
    }

    /// The group that has an object of that name in a namespace.
    pub fn group_of(&self, object: &ObjectName) -> Option<ObjectName> {
        let inner = self.read();
        let mut groups = inner.groups.iter();
        let found = groups.find(|(group, entries)| {
            group.namespace == object.namespace && entries.contains_key(&object.name)
        });
        found.map(|(group, _)| group.clone())
    }

    pub fn get(&self, group: &ObjectName, name: &str) -> Option<Arc<T>> {
        self.read()
            .groups
            .get(group)?
            .get(name)
            .map(|entry| entry.value.clone())
    }

    /// The version that was last seen of an object.
    pub fn version(&self, group: &ObjectName, name: &str) -> Option<u64> {
        self.read()
            .groups
            .get(group)?
            .get(name)
            .map(|entry| entry.version)
    }

    /// All objects for which `wanted` says so, each with its group, in the order of the groups.
    pub fn named(&self, wanted: impl Fn(&T) -> bool) -> Vec<(ObjectName, Arc<T>)> {
        let inner = self.read();
        let entries = inner
            .groups
            .iter()
            .flat_map(|(group, entries)| entries.values().map(move |entry| (group, entry)));
        let wanted = entries.filter(|(_, entry)| wanted(&entry.value));
        let mut found: Vec<_> = wanted
            .map(|(group, entry)| (group.clone(), entry.value.clone()))
            .collect();
        found.sort_by(|(a, _), (b, _)| a.cmp(b));
        found
    }

    /// The objects that refer to something, each with its group, in the order of the groups.
    pub fn referring_to(&self, object: &ObjectName) -> Vec<(ObjectName, Arc<T>)> {
        let inner = self.read();
        let referring = inner.referring.get(object).into_iter().flatten();
        let found = referring.filter_map(|(group, name)| {
            let entry = inner.groups.get(group)?.get(name)?;
            Some((group.clone(), entry.value.clone()))
        });
        found.collect()
    }

    /// Takes in a state. Where it asks for a decision: the state before it, if there was one.
    pub fn replace(&self, item: Item<T>) -> Option<Option<Arc<T>>> {
        let mut inner = self.write();
        if inner.gone.has(&item.uid) {
            return None;
        }
        let entries = inner.groups.get(&item.group);
        let before = entries.and_then(|entries| entries.get(&item.name));
        if before.is_some_and(|before| before.uid == item.uid && before.version > item.version) {
            return None;
        }
        let matters = before.is_none_or(|before| {
            before.uid != item.uid || (self.matters)(&before.value, &item.value)
        });
        let before = before.map(|before| before.value.clone());
        inner.insert(
            item.group,
            item.name,
            entry(item.uid, item.version, item.value),
        );
        matters.then_some(before)
    }

    /// Takes in a state. True where it asks for a decision.
    pub fn put(&self, item: Item<T>) -> bool {
        self.replace(item).is_some()
    }

    /// An object is gone: the watch says so, or we deleted it.
    pub fn remove(&self, group: &ObjectName, name: &str, uid: &str) {
        let mut inner = self.write();
        inner.gone.note(uid);
        inner.forget(group, name, uid);
    }

    /// Forgets whatever has that name.
    pub fn remove_name(&self, group: &ObjectName, name: &str) {
        let mut inner = self.write();
        let Some(uid) = inner
            .groups
            .get(group)
            .and_then(|entries| entries.get(name))
            .map(|entry| entry.uid.clone())
        else {
            return;
        };
        inner.forget(group, name, &uid);
    }

    /// The names of the objects of one group.
    pub fn names(&self, group: &ObjectName) -> Vec<String> {
        self.read()
            .groups
            .get(group)
            .into_iter()
            .flat_map(BTreeMap::keys)
            .cloned()
            .collect()
    }

    /// A list of everything begins.
    pub fn list_begins(&self) {
        self.write().listed.clear();
    }

    pub fn listed(&self, item: Item<T>) {
        self.write().listed.push(item);
    }

    /// The list is complete: what is not in it is gone. Gives back the groups that ask for a decision.
    pub fn list_ends(&self) -> HashSet<ObjectName> {
        let mut inner = self.write();
        let listed = std::mem::take(&mut inner.listed);
        let mut before = std::mem::take(&mut inner.groups);
        inner.referring.clear();
        // Every group that had something or has something now: whatever was missed while there was no watch.
        let mut touched: HashSet<ObjectName> = before.keys().cloned().collect();
        for item in listed {
            touched.insert(item.group.clone());
            let known = before
                .get_mut(&item.group)
                .and_then(|entries| entries.remove(&item.name));
            let newer = known.filter(|known| known.uid == item.uid && known.version > item.version);
            let entry = newer.unwrap_or_else(|| entry(item.uid, item.version, item.value));
            inner.insert(item.group, item.name, entry);
        }
        touched
    }

    // A panic while the lock was held leaves whole entries; every change is a single step.
    fn read(&self) -> RwLockReadGuard<'_, Inner<T>> {
        lock_read(&self.inner)
    }

    fn write(&self) -> RwLockWriteGuard<'_, Inner<T>> {
        lock_write(&self.inner)
    }
}

fn entry<T>(uid: String, version: u64, value: T) -> Entry<T> {
    Entry {
        uid,
        version,
        value: Arc::new(value),
    }
}

impl<T> Inner<T> {
    fn insert(&mut self, group: ObjectName, name: String, entry: Entry<T>) {
        let key = (group.clone(), name.clone());
        let now = (self.refers_to)(&entry.value);
        let before = self.groups.entry(group).or_default().insert(name, entry);
        if let Some(before) = before {
            self.unrefer(&before.value, &key);
        }
        now.map(|object| self.referring.entry(object).or_default().insert(key));
    }

    fn forget(&mut self, group: &ObjectName, name: &str, uid: &str) {
        let Some(entries) = self.groups.get_mut(group) else {
            return;
        };
        if entries.get(name).is_none_or(|entry| entry.uid != uid) {
            return;
        }
        let gone = entries.remove(name);
        if entries.is_empty() {
            self.groups.remove(group);
        }
        let key = (group.clone(), name.to_owned());
        if let Some(gone) = gone {
            self.unrefer(&gone.value, &key);
        }
    }

    fn unrefer(&mut self, value: &T, key: &(ObjectName, String)) {
        let Some(object) = (self.refers_to)(value) else {
            return;
        };
        if let Some(referring) = self.referring.get_mut(&object) {
            referring.remove(key);
            if referring.is_empty() {
                self.referring.remove(&object);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn group() -> ObjectName {
        ObjectName::new("ns", "debian")
    }

    fn item(uid: &str, version: u64, value: u32) -> Item<u32> {
        Item {
            group: group(),
            name: "a".into(),
            uid: uid.into(),
            version,
            value,
        }
    }

    fn kept() -> Kept<u32> {
        Kept::new(|a, b| a != b)
    }

    #[test]
    fn an_older_event_does_not_undo_what_a_write_answered() {
        let kept = kept();
        assert!(kept.put(item("1", 5, 50)));
        assert!(!kept.put(item("1", 4, 40)));
        assert_eq!(kept.get(&group(), "a").as_deref(), Some(&50));
        assert!(!kept.put(item("1", 6, 50)), "nothing that matters changed");
        assert_eq!(kept.version(&group(), "a"), Some(6));
    }

    #[test]
    fn what_we_deleted_does_not_come_back_but_its_successor_does() {
        let kept = kept();
        kept.put(item("1", 5, 50));
        kept.remove(&group(), "a", "1");
        assert!(!kept.put(item("1", 6, 60)));
        assert_eq!(kept.get(&group(), "a"), None);
        assert!(kept.put(item("2", 7, 70)));
        kept.remove(&group(), "a", "1");
        assert_eq!(
            kept.get(&group(), "a").as_deref(),
            Some(&70),
            "a late deletion hit the successor"
        );
    }

    #[test]
    fn a_new_list_replaces_everything_except_newer_states_of_the_same_object() {
        let kept = kept();
        kept.put(item("1", 5, 50));
        kept.put(Item {
            name: "b".into(),
            ..item("9", 5, 90)
        });
        kept.list_begins();
        kept.listed(item("1", 4, 40));
        assert_eq!(
            kept.group(&group()).len(),
            2,
            "a list counts when it is complete"
        );
        assert_eq!(kept.list_ends(), HashSet::from([group()]));
        assert_eq!(kept.group(&group()), [Arc::new(50)]);
    }

    #[test]
    fn an_object_is_found_by_what_it_refers_to_now() {
        let tens =
            |value: &u32| (*value > 0).then(|| ObjectName::new("ns", (value / 10).to_string()));
        let kept: Kept<u32> = Kept::referring(|a, b| a != b, tens);
        let of = |tens: &str| -> Vec<u32> {
            let found = kept.referring_to(&ObjectName::new("ns", tens));
            found.iter().map(|(_, value)| **value).collect()
        };
        kept.put(item("1", 5, 50));
        kept.put(Item {
            name: "b".into(),
            ..item("9", 5, 51)
        });
        assert_eq!(of("5"), [50, 51]);
        kept.put(item("1", 6, 60));
        assert_eq!((of("5"), of("6")), (vec![51], vec![60]));
        kept.remove(&group(), "a", "1");
        assert_eq!((of("5"), of("6")), (vec![51], vec![]));
        kept.list_begins();
        kept.listed(item("2", 7, 70));
        kept.list_ends();
        assert_eq!((of("5"), of("7")), (vec![], vec![70]));
        kept.put(item("2", 8, 0));
        assert!(of("7").is_empty() && kept.read().referring.is_empty());
    }
}
