//! What processes have used so far, read from `/proc` (Linux).

use std::collections::HashSet;
use std::fs;
use std::ops::Sub;

use crate::error::{Error, Result};

/// CPU time and disk writes of a process and its descendants since they started.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Usage {
    /// Seconds in user mode and in the kernel, all threads, ended ones too.
    pub cpu_seconds: f64,
    /// Bytes that had to go to the disk (`write_bytes` of `/proc/PID/io`).
    pub written_bytes: u64,
}

impl Sub for Usage {
    type Output = Usage;

    fn sub(self, earlier: Usage) -> Usage {
        Usage {
            cpu_seconds: self.cpu_seconds - earlier.cpu_seconds,
            written_bytes: self.written_bytes.saturating_sub(earlier.written_bytes),
        }
    }
}

/// The processes of a server: those named and all that they started.
#[derive(Clone, Debug)]
pub struct Processes {
    roots: Vec<u32>,
}

impl Processes {
    pub fn new(roots: Vec<u32>) -> Processes {
        Processes { roots }
    }

    /// This program.
    pub fn own() -> Processes {
        Processes { roots: vec![std::process::id()] }
    }

    pub fn is_empty(&self) -> bool {
        self.roots.is_empty()
    }

    /// CPU time has the kernel's tick as its grain, 10 ms.
    pub fn usage(&self) -> Result<Usage> {
        let tick = rustix::param::clock_ticks_per_second() as f64;
        let mut sum = Usage::default();
        for pid in self.all()? {
            let stat = read(pid, "stat")?;
            let fields: Vec<&str> = after_name(&stat).split(' ').collect();
            // Fields 14 and 15 of proc_pid_stat(5): utime, stime; the name is field 2.
            let ticks = |field: usize| fields[field - 3].parse::<u64>().unwrap_or(0);
            sum.cpu_seconds += (ticks(14) + ticks(15)) as f64 / tick;
            // Another user's process hides its disk use; its CPU is still worth having.
            let io = fs::read_to_string(format!("/proc/{pid}/io")).unwrap_or_default();
            sum.written_bytes += number_after(&io, "\nwrite_bytes:");
        }
        Ok(sum)
    }

    /// Resident memory in bytes. Pages shared between the processes count once each.
    pub fn resident_bytes(&self) -> Result<u64> {
        let mut sum = 0;
        for pid in self.all()? {
            let kib = match fs::read_to_string(format!("/proc/{pid}/smaps_rollup")) {
                Ok(rollup) => number_after(&rollup, "\nRss:"),
                Err(_) => number_after(&read(pid, "status")?, "\nVmRSS:"),
            };
            sum += kib * 1024;
        }
        Ok(sum)
    }

    fn all(&self) -> Result<HashSet<u32>> {
        let mut found: HashSet<u32> = self.roots.iter().copied().collect();
        let mut queue = self.roots.clone();
        while let Some(pid) = queue.pop() {
            let tasks = fs::read_dir(format!("/proc/{pid}/task"))
                .map_err(|source| Error::Process { pid, source })?;
            for task in tasks.flatten() {
                let children = fs::read_to_string(task.path().join("children")).unwrap_or_default();
                for child in children.split_whitespace().filter_map(|text| text.parse().ok()) {
                    if found.insert(child) {
                        queue.push(child);
                    }
                }
            }
        }
        Ok(found)
    }
}

fn read(pid: u32, file: &str) -> Result<String> {
    fs::read_to_string(format!("/proc/{pid}/{file}"))
        .map_err(|source| Error::Process { pid, source })
}

/// The fields of `/proc/PID/stat` from the third on: a name may contain spaces and parentheses.
fn after_name(stat: &str) -> &str {
    stat.rsplit_once(") ").map_or("", |(_, rest)| rest)
}

fn number_after(text: &str, label: &str) -> u64 {
    let rest = text.split_once(label).map_or("", |(_, rest)| rest);
    rest.split_whitespace().next().and_then(|text| text.parse().ok()).unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn own_use_is_seen() {
        let before = Processes::own().usage().unwrap();
        let started = std::time::Instant::now();
        while started.elapsed().as_millis() < 60 {
            std::hint::spin_loop();
        }
        let used = Processes::own().usage().unwrap() - before;
        assert!(used.cpu_seconds >= 0.01, "{used:?}");
        assert!(Processes::own().resident_bytes().unwrap() > 500_000);
    }

    #[test]
    fn a_name_with_a_parenthesis_is_no_obstacle() {
        assert_eq!(after_name("1 (a) b) S 0 1"), "S 0 1");
        assert_eq!(number_after("rchar: 1\nwrite_bytes: 42\n", "\nwrite_bytes:"), 42);
    }
}
