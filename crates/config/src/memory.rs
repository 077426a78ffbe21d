//! How much memory there is for this process.

use std::fs::read_to_string;

/// The least that `auto` stands for, in bytes.
const AUTO_MIN: u64 = 256 << 20;
/// Such a part of all memory is what `auto` stands for.
const AUTO_PART: u64 = 8;

/// What `auto` stands for, in bytes.
pub(crate) fn auto() -> u64 {
    let limits = [cgroup(), machine()].into_iter().flatten();
    limits.min().map_or(AUTO_MIN, |all| (all / AUTO_PART).max(AUTO_MIN))
}

/// The limit of the control group, if it has one.
fn cgroup() -> Option<u64> {
    let files = ["/sys/fs/cgroup/memory.max", "/sys/fs/cgroup/memory/memory.limit_in_bytes"];
    let limit = |file: &&str| read_to_string(file).ok()?.trim().parse().ok();
    files.iter().filter_map(limit).min()
}

/// The machine's, where the system tells.
fn machine() -> Option<u64> {
    let text = read_to_string("/proc/meminfo").ok()?;
    let line = text.lines().find_map(|line| line.strip_prefix("MemTotal:"))?;
    line.trim().strip_suffix("kB")?.trim().parse::<u64>().ok()?.checked_mul(1024)
}

#[cfg(test)]
mod tests {
    #[test]
    fn auto_is_some_of_what_there_is() {
        let auto = super::auto();
        assert!(auto >= super::AUTO_MIN);
        assert!(super::machine().is_none_or(|all| auto <= all.max(super::AUTO_MIN)));
    }
}
