//! Latencies, counted in buckets whose width grows with the value.

/// Values up to 2^SUB_BITS µs are exact, larger ones within 1/2^(SUB_BITS-1) (below 1 %).
const SUB_BITS: u32 = 8;
const SUB: usize = 1 << SUB_BITS;
const HALF: usize = SUB / 2;

/// A histogram of microseconds, of fixed size: recording never allocates.
#[derive(Clone)]
pub struct Histogram {
    counts: Vec<u64>,
    total: u64,
    max: u64,
}

impl Default for Histogram {
    fn default() -> Histogram {
        Histogram { counts: vec![0; SUB + HALF * (64 - SUB_BITS as usize)], total: 0, max: 0 }
    }
}

impl Histogram {
    pub fn record(&mut self, micros: u64) {
        self.counts[bucket(micros)] += 1;
        self.total += 1;
        self.max = self.max.max(micros);
    }

    pub fn count(&self) -> u64 {
        self.total
    }

    /// The value in milliseconds that `part` (0 to 1) of all values do not exceed; 0 when empty.
    pub fn quantile_ms(&self, part: f64) -> f64 {
        let rank = ((self.total as f64 * part).ceil() as u64).max(1);
        let mut below = 0;
        for (index, count) in self.counts.iter().enumerate() {
            below += count;
            if below >= rank {
                return upper(index).min(self.max) as f64 / 1000.0;
            }
        }
        0.0
    }

    pub fn max_ms(&self) -> f64 {
        self.max as f64 / 1000.0
    }
}

fn bucket(value: u64) -> usize {
    if value < SUB as u64 {
        return value as usize;
    }
    let shift = value.ilog2() + 1 - SUB_BITS;
    SUB + (shift as usize - 1) * HALF + ((value >> shift) as usize - HALF)
}

/// The largest value of a bucket.
fn upper(index: usize) -> u64 {
    if index < SUB {
        return index as u64;
    }
    let shift = (index - SUB) / HALF + 1;
    let step = ((index - SUB) % HALF + HALF) as u64;
    ((step + 1) << shift).wrapping_sub(1)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn buckets_cover_every_value_once() {
        for value in (0..100_000).chain((17..64).map(|bit| 1 << bit)).chain([u64::MAX]) {
            let index = bucket(value);
            assert!(upper(index) >= value, "{value}");
            assert!(index == 0 || upper(index - 1) < value, "{value}");
        }
    }

    #[test]
    fn quantiles_of_a_uniform_range() {
        let mut histogram = Histogram::default();
        (1..=10_000).for_each(|micros| histogram.record(micros));
        for (part, expected) in [(0.5, 5.0), (0.95, 9.5), (0.99, 9.9), (1.0, 10.0)] {
            let value = histogram.quantile_ms(part);
            assert!((value / expected - 1.0).abs() < 0.01, "{part}: {value}");
        }
        assert_eq!(Histogram::default().quantile_ms(0.99), 0.0);
    }
}
