//! The byte budget against what the process may have.

use crate::config::shown_size;
use k2_model::{Error, Result};
use std::path::{Path, PathBuf};

/// What the process may have.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Limit {
    /// The container's (cgroup) limit, in bytes.
    Container(u64),
    /// No container: the machine's memory, in bytes.
    Machine(u64),
    /// The system does not tell.
    Unknown,
}

/// A budget of more than 80 % leaves no room for what is not in it: code, metadata, librdkafka, the allocator.
pub(super) fn judge(budget: u64, limit: Limit) -> (String, Result<()>) {
    let (name, most) = match limit {
        Limit::Container(bytes) => ("the container's limit", bytes),
        Limit::Machine(bytes) => ("the machine's memory", bytes),
        Limit::Unknown => return (format!("memory budget {}", shown_size(budget)), Ok(())),
    };
    let room = most / 5 * 4;
    let mib = most >> 20;
    let what = format!("memory budget {} of {mib}MiB, {name}", shown_size(budget));
    if budget <= room {
        return (what, Ok(()));
    }
    let error = Error::config(format!("memory budget {} is more than 80 % of {name}, {mib}MiB", shown_size(budget)));
    (what, Err(error.fix(format!("set memory.budget to {}MiB or less, or raise the limit", room >> 20))))
}

/// The limit of this process.
pub(super) fn limit() -> Limit {
    let membership = std::fs::read_to_string("/proc/self/cgroup").unwrap_or_default();
    let limits = files(&membership).into_iter().filter_map(|file| parse(&std::fs::read_to_string(file).ok()?));
    let machine = std::fs::read_to_string("/proc/meminfo").ok().and_then(|text| total(&text));
    match (limits.min(), machine) {
        (Some(limit), Some(machine)) if limit >= machine => Limit::Machine(machine),
        (Some(limit), _) => Limit::Container(limit),
        (None, Some(machine)) => Limit::Machine(machine),
        (None, None) => Limit::Unknown,
    }
}

/// The files that may hold a limit: those of our group and of every group around it, of cgroup v2 and v1. In a container
/// the path in `membership` is often the host's and not there; then the root is the container's own.
fn files(membership: &str) -> Vec<PathBuf> {
    let mut files = Vec::new();
    for line in membership.lines() {
        let mut parts = line.splitn(3, ':').skip(1);
        let (Some(controllers), Some(path)) = (parts.next(), parts.next()) else { continue };
        let (root, file) = if controllers.is_empty() {
            ("/sys/fs/cgroup", "memory.max")
        } else if controllers.split(',').any(|c| c == "memory") {
            ("/sys/fs/cgroup/memory", "memory.limit_in_bytes")
        } else {
            continue;
        };
        let group = Path::new(root).join(path.trim_start_matches('/'));
        files.extend(group.ancestors().take_while(|a| a.starts_with(root)).map(|a| a.join(file)));
    }
    files
}

/// A limit in bytes; none for `max`.
fn parse(text: &str) -> Option<u64> {
    text.trim().parse().ok()
}

/// `MemTotal` of /proc/meminfo, in bytes.
fn total(meminfo: &str) -> Option<u64> {
    let kib: u64 =
        meminfo.lines().find_map(|l| l.strip_prefix("MemTotal:"))?.trim().trim_end_matches(" kB").parse().ok()?;
    kib.checked_mul(1024)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used, clippy::print_stdout)]
    use super::*;

    const MIB: u64 = 1 << 20;

    #[test]
    fn the_default_fits_the_container_of_the_contract() {
        let (what, result) = judge(384 * MIB, Limit::Container(512 * MIB));
        assert_eq!(what, "memory budget 384MiB of 512MiB, the container's limit");
        assert!(result.is_ok());
    }

    #[test]
    fn too_large_a_budget_names_the_one_that_fits() {
        let (_, result) = judge(384 * MIB, Limit::Container(400 * MIB));
        assert_eq!(
            result.unwrap_err().to_string(),
            "memory budget 384MiB is more than 80 % of the container's limit, 400MiB. \
             set memory.budget to 320MiB or less, or raise the limit"
        );
        assert!(judge(320 * MIB, Limit::Container(400 * MIB)).1.is_ok());
        assert!(judge(u64::MAX, Limit::Machine(MIB)).1.is_err());
        assert!(judge(u64::MAX, Limit::Unknown).1.is_ok());
    }

    #[test]
    fn limits_are_looked_for_in_every_group_around_ours() {
        let paths = |membership: &str| -> Vec<String> {
            files(membership).into_iter().map(|p| p.display().to_string()).collect()
        };
        assert_eq!(paths("0::/"), ["/sys/fs/cgroup/memory.max"]);
        assert_eq!(
            paths("0::/a/b\n"),
            ["/sys/fs/cgroup/a/b/memory.max", "/sys/fs/cgroup/a/memory.max", "/sys/fs/cgroup/memory.max"]
        );
        assert_eq!(
            paths("5:cpu:/x\n4:memory:/d\n1:name=systemd:/x"),
            ["/sys/fs/cgroup/memory/d/memory.limit_in_bytes", "/sys/fs/cgroup/memory/memory.limit_in_bytes"]
        );
    }

    #[test]
    fn what_the_kernel_writes() {
        assert_eq!(parse("max\n"), None);
        assert_eq!(parse("536870912\n"), Some(512 * MIB));
        assert_eq!(total("MemTotal:        8000000 kB\nMemFree: 1 kB\n"), Some(8_192_000_000));
    }
}
