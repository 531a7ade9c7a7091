//! A bounded map that forgets what has not been asked for lately.

use std::collections::HashMap;

use crate::jid::BareJid;

/// Keeps between half of `weight_max` and all of it: when the young generation is full, it becomes
/// the old one and the old one goes. What is found among the old is young again.
pub(super) struct Cache<V> {
    young: HashMap<BareJid, (V, usize)>,
    old: HashMap<BareJid, (V, usize)>,
    young_weight: usize,
    half: usize,
}

impl<V: Clone> Cache<V> {
    pub(super) fn new(weight_max: usize) -> Cache<V> {
        Cache { young: HashMap::new(), old: HashMap::new(), young_weight: 0, half: weight_max / 2 }
    }

    pub(super) fn get(&mut self, key: &str) -> Option<V> {
        if let Some((value, _)) = self.young.get(key) {
            return Some(value.clone());
        }
        let (key, (value, weight)) = self.old.remove_entry(key)?;
        self.put(key, value.clone(), weight);
        Some(value)
    }

    pub(super) fn put(&mut self, key: BareJid, value: V, weight: usize) {
        if self.young_weight + weight > self.half {
            self.old = std::mem::take(&mut self.young);
            self.young_weight = 0;
        }
        self.old.remove(key.as_str());
        self.young_weight += weight;
        if let Some((_, before)) = self.young.insert(key, (value, weight)) {
            self.young_weight -= before;
        }
    }

    pub(super) fn remove(&mut self, key: &str) {
        self.old.remove(key);
        if let Some((_, weight)) = self.young.remove(key) {
            self.young_weight -= weight;
        }
    }

    pub(super) fn clear(&mut self) {
        self.young.clear();
        self.old.clear();
        self.young_weight = 0;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn jid(n: usize) -> BareJid {
        BareJid::parse(&format!("u{n}@example.org")).unwrap()
    }

    #[test]
    fn what_is_used_stays_and_the_rest_goes() {
        let mut cache = Cache::new(100);
        cache.put(jid(0), 0, 1);
        for n in 1..1000 {
            cache.put(jid(n), n, 1);
            assert_eq!(cache.get(jid(0).as_str()), Some(0), "after {n}");
            assert!(cache.young.len() + cache.old.len() <= 100);
        }
        assert_eq!(cache.get(jid(1).as_str()), None);
        assert_eq!(cache.get(jid(999).as_str()), Some(999));
    }

    #[test]
    fn removed_and_replaced_values_leave_no_weight() {
        let mut cache = Cache::new(100);
        for n in 0..10 {
            cache.put(jid(1), n, 5);
        }
        assert_eq!(cache.young_weight, 5);
        assert_eq!(cache.get(jid(1).as_str()), Some(9));
        cache.remove(jid(1).as_str());
        assert_eq!(cache.young_weight, 0);
        assert_eq!(cache.get(jid(1).as_str()), None);
    }
}
