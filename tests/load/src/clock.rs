//! Time in microseconds since the program started, and wake-ups finer than tokio's milliseconds.

use std::sync::LazyLock;
use std::time::{Duration, Instant};

use rustix::fd::OwnedFd;
use rustix::time::{
    Itimerspec, TimerfdClockId, TimerfdFlags, TimerfdTimerFlags, Timespec, timerfd_create,
    timerfd_settime,
};
use tokio::io::Interest;
use tokio::io::unix::AsyncFd;

static START: LazyLock<Instant> = LazyLock::new(Instant::now);

/// Microseconds since the first call.
pub fn micros() -> u64 {
    START.elapsed().as_micros() as u64
}

/// A timer of the kernel's own resolution: an open-loop sender whose ticks came late would report
/// its own lateness as the server's.
pub struct Timer {
    fd: AsyncFd<OwnedFd>,
}

impl Timer {
    pub fn new() -> std::io::Result<Timer> {
        let flags = TimerfdFlags::NONBLOCK | TimerfdFlags::CLOEXEC;
        let fd = timerfd_create(TimerfdClockId::Monotonic, flags)?;
        // SAFETY: an `OwnedFd` stays open, and the same, as long as the `AsyncFd` that owns it.
        #[allow(unsafe_code)]
        let fd = unsafe { AsyncFd::register_with_interest(fd, Interest::READABLE) }?;
        Ok(Timer { fd })
    }

    /// Sleeps until [`micros`] is at least `deadline`.
    pub async fn until(&self, deadline: u64) -> std::io::Result<()> {
        let now = micros();
        if deadline <= now {
            return Ok(());
        }
        let wait = Duration::from_micros(deadline - now);
        let zero = Timespec { tv_sec: 0, tv_nsec: 0 };
        let value = Timespec { tv_sec: wait.as_secs() as i64, tv_nsec: wait.subsec_nanos().into() };
        let once = Itimerspec { it_interval: zero, it_value: value };
        timerfd_settime(self.fd.get_ref(), TimerfdTimerFlags::empty(), &once)?;
        loop {
            let mut ready = self.fd.readable().await?;
            let read = ready.try_io(|fd| Ok(rustix::io::read(fd.get_ref(), &mut [0_u8; 8])?));
            if let Ok(outcome) = read {
                return outcome.map(drop);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_timer_wakes_within_a_millisecond_and_never_early() {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_io().build().unwrap();
        runtime.block_on(async {
            let timer = Timer::new().unwrap();
            let mut shortest_delay = u64::MAX;
            for _ in 0..20 {
                let deadline = micros() + 700;
                timer.until(deadline).await.unwrap();
                assert!(micros() >= deadline);
                shortest_delay = shortest_delay.min(micros() - deadline);
            }
            assert!(shortest_delay < 1000, "{shortest_delay} µs late at best");
        });
    }
}
