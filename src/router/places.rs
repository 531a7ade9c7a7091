//! What features keep between stanzas: one value of each type, made when it is first asked for.

use std::any::{Any, TypeId};
use std::collections::HashMap;
use std::sync::Arc;

use parking_lot::RwLock;

/// Values by their type. The router holds them and knows none of them.
#[derive(Default)]
pub struct Places(RwLock<HashMap<TypeId, Arc<dyn Any + Send + Sync>>>);

impl Places {
    /// The value of this type.
    pub fn get<T: Any + Default + Send + Sync>(&self) -> Arc<T> {
        let key = TypeId::of::<T>();
        let known = self.0.read().get(&key).cloned();
        let place = known.unwrap_or_else(|| {
            self.0.write().entry(key).or_insert_with(|| Arc::new(T::default())).clone()
        });
        // It was put there under its own type.
        place.downcast().unwrap_or_default()
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicU8, Ordering};

    use super::*;

    #[test]
    fn each_type_has_one_place() {
        let places = Places::default();
        places.get::<AtomicU8>().store(7, Ordering::Relaxed);
        assert_eq!(places.get::<AtomicU8>().load(Ordering::Relaxed), 7);
        assert_eq!(*places.get::<u64>(), 0);
    }
}
