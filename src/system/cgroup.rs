//! The memory limits of the control groups that the process is in (Linux).
//!
//! Version 2 has one hierarchy; version 1 has a separate hierarchy for memory. A container may see its own group as the
//! root of either. A group's limit also holds for all groups below it.

use std::path::Path;

use crate::system::files;

/// Memory limits of a process, in bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// The limit of the tightest group.
    pub total: u64,
    /// What can still be allocated. The page cache counts as free, since the kernel gives it up when memory is short.
    pub free: u64,
}

/// Returns the limits of this process; `None` if no group has a limit.
pub fn limits() -> Option<Limits> {
    let groups = files::of_system(Path::new("/proc/self/cgroup")).ok()?;
    limits_below(Path::new("/sys/fs/cgroup"), &groups)
}

/// Returns the limits of a process in `groups` (the text of `/proc/self/cgroup`), with the hierarchies mounted at
/// `root`.
fn limits_below(root: &Path, groups: &str) -> Option<Limits> {
    let hierarchy = |line: &str| {
        let mut fields = line.splitn(3, ':').skip(1);
        let (controllers, path) = (fields.next()?, fields.next()?);
        match controllers {
            "" => limits_along(root, path, ["memory.max", "memory.current"]),
            _ if controllers.split(',').any(|name| name == "memory") => {
                let files = ["memory.limit_in_bytes", "memory.usage_in_bytes"];
                limits_along(&root.join("memory"), path, files)
            }
            _ => None,
        }
    };
    groups.lines().filter_map(hierarchy).reduce(tighter)
}

/// Returns the tightest limits of the group at `path` and its ancestors. Some of them may not be visible from a
/// container.
fn limits_along(root: &Path, path: &str, files: [&str; 2]) -> Option<Limits> {
    let own = root.join(path.trim_start_matches('/'));
    let around = own.ancestors().take_while(|group| group.starts_with(root));
    around.filter_map(|group| of_group(group, files)).reduce(tighter)
}

fn of_group(group: &Path, [limit, used]: [&str; 2]) -> Option<Limits> {
    let read = |name| files::of_system(&group.join(name)).ok();
    let number = |name| read(name)?.trim().parse::<u64>().ok();
    // Without a limit the file holds "max", which is not a number.
    let total = number(limit)?;
    let statistics = read("memory.stat").unwrap_or_default();
    let of_files = |name: &str| {
        let value = |line: &str| line.strip_prefix(name)?.trim().parse::<u64>().ok();
        statistics.lines().find_map(value).unwrap_or(0)
    };
    // Version 1 reports the totals of the groups below under separate names.
    let totals: u64 = ["total_inactive_file ", "total_active_file "].map(of_files).iter().sum();
    let own: u64 = ["inactive_file ", "active_file "].map(of_files).iter().sum();
    let taken = number(used)?.saturating_sub(totals.max(own));
    Some(Limits { total, free: total.saturating_sub(taken) })
}

fn tighter(a: Limits, b: Limits) -> Limits {
    Limits { total: a.total.min(b.total), free: a.free.min(b.free) }
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    fn group(root: &Path, path: &str, files: &[(&str, &str)]) {
        fs::create_dir_all(root.join(path)).unwrap();
        files.iter().for_each(|(name, text)| fs::write(root.join(path).join(name), text).unwrap());
    }

    #[test]
    fn the_tightest_of_nested_groups_counts() {
        let root = tempfile::tempdir().unwrap();
        let stat = ("memory.stat", "anon 5\ninactive_file 100\nactive_file 200\n");
        group(root.path(), "", &[("memory.stat", "inactive_file 7\n")]);
        group(root.path(), "a", &[("memory.max", "1000\n"), ("memory.current", "900\n"), stat]);
        group(root.path(), "a/b", &[("memory.max", "max\n"), ("memory.current", "850\n"), stat]);
        let below = |groups| limits_below(root.path(), groups);
        let expected = Some(Limits { total: 1000, free: 400 });
        assert_eq!(below("0::/a/b\n"), expected);
        // A group that is not visible, as in a container.
        assert_eq!(below("0::/a/elsewhere\n"), expected);
        assert_eq!(below("0::/elsewhere\n"), None);
        assert_eq!(below(""), None);
    }

    #[test]
    fn version_1_has_a_hierarchy_of_its_own_for_memory() {
        let root = tempfile::tempdir().unwrap();
        let files = [
            ("memory.limit_in_bytes", "2000\n"),
            ("memory.usage_in_bytes", "1500\n"),
            ("memory.stat", "inactive_file 1\ntotal_inactive_file 300\ntotal_active_file 200\n"),
        ];
        group(root.path(), "memory/job", &files);
        let groups = "5:cpu,cpuacct:/job\n4:hugetlb,memory:/job\n0::/\n";
        assert_eq!(limits_below(root.path(), groups), Some(Limits { total: 2000, free: 1000 }));
        assert_eq!(limits_below(root.path(), "5:cpu:/job\n"), None);
    }
}
