//! Chooses the default number of threads that compute: one per core, and only the fast cores if there are several kinds.
//!
//! Two threads of a core share its units and caches, which the kernels keep busy, and a slow core delays the end of
//! every job. The rule is that of llama.cpp (`common/common.cpp`), except that two threads compute on a single core: a
//! virtual machine may report two processors as one core, and one thread would then compute at half the rate.

use std::num::NonZero;

/// Returns the default number of threads that compute, within the process's CPU affinity and its control group's quota.
pub fn threads() -> usize {
    let allowed = std::thread::available_parallelism().map_or(1, NonZero::get);
    cores().map_or(allowed, |cores| cores.clamp(1, allowed))
}

#[cfg(target_os = "linux")]
fn cores() -> Option<usize> {
    linux::cores()
}

/// Returns the number of performance cores on Apple silicon, or of all cores on an Intel Mac, whose cores are equal.
#[cfg(target_os = "macos")]
fn cores() -> Option<usize> {
    let mut count: libc::c_int = 0;
    let mut size = size_of_val(&count);
    // SAFETY: the name ends with a NUL; `size` is the size of `count`, and the result is a number of that size.
    #[allow(unsafe_code)]
    let result = unsafe {
        let (count, size) = ((&raw mut count).cast(), &raw mut size);
        libc::sysctlbyname(c"hw.perflevel0.physicalcpu".as_ptr(), count, size, std::ptr::null_mut(), 0)
    };
    let fast = usize::try_from(count).ok().filter(|count| result == 0 && *count > 0);
    fast.or_else(sysinfo::System::physical_core_count)
}

#[cfg(not(any(target_os = "linux", target_os = "macos")))]
fn cores() -> Option<usize> {
    sysinfo::System::physical_core_count()
}

#[cfg(target_os = "linux")]
mod linux {
    use std::collections::HashSet;
    use std::path::Path;

    use crate::system::files;

    /// Upper limit for CPU numbers in the kernel's lists.
    const MOST_CPUS: usize = 1 << 16;

    /// Returns the number of cores that this thread may compute on; `None` if the kernel does not list its CPUs.
    pub fn cores() -> Option<usize> {
        let status = files::of_system(Path::new("/proc/thread-self/status")).ok()?;
        let allowed = status.lines().find_map(|line| line.strip_prefix("Cpus_allowed_list:"))?;
        Some(cores_among(Path::new("/sys/devices"), &list(allowed)?)).filter(|cores| *cores > 0)
    }

    /// Counts the fast cores among the CPUs `allowed`, reading the topology below `root` (`/sys/devices`).
    fn cores_among(root: &Path, allowed: &[usize]) -> usize {
        let fast = fast(root, allowed);
        let siblings = |cpu: &usize| {
            let file = root.join(format!("system/cpu/cpu{cpu}/topology/thread_siblings_list"));
            // A CPU whose topology is unknown counts as a core.
            files::of_system(&file).map_or_else(|_| cpu.to_string(), |list| list.trim().to_string())
        };
        let cores: HashSet<String> = fast.iter().map(siblings).collect();
        match cores.len() {
            1 => fast.len().min(2),
            cores => cores,
        }
    }

    /// Keeps the CPUs that are not much slower than the fastest.
    fn fast(root: &Path, allowed: &[usize]) -> Vec<usize> {
        // Only Intel processors with two kinds of cores have this file.
        let named = files::of_system(&root.join("cpu_core/cpus")).ok().and_then(|text| list(&text));
        if let Some(named) = named {
            let fast: Vec<usize> = allowed.iter().copied().filter(|cpu| named.contains(cpu)).collect();
            return if fast.is_empty() { allowed.to_vec() } else { fast };
        }
        // Arm systems report a capacity per CPU. Frequencies are a weaker hint, so they come last.
        for file in ["cpu_capacity", "cpufreq/cpuinfo_max_freq"] {
            let speed = |cpu: &usize| {
                let file = root.join(format!("system/cpu/cpu{cpu}/{file}"));
                files::of_system(&file).ok()?.trim().parse::<u64>().ok()
            };
            if let Some(speeds) = allowed.iter().map(speed).collect::<Option<Vec<u64>>>() {
                let fastest = speeds.iter().copied().max().unwrap_or(0);
                // Big cores have at least 0.75 of a prime core's capacity, little ones less than 0.5.
                let is_fast = |speed: u64| speed.saturating_mul(3) >= fastest.saturating_mul(2);
                let both = allowed.iter().zip(speeds);
                return both.filter(|(_, speed)| is_fast(*speed)).map(|(cpu, _)| *cpu).collect();
            }
        }
        allowed.to_vec()
    }

    /// Parses a list as the kernel writes it, `0-3,8`.
    fn list(text: &str) -> Option<Vec<usize>> {
        let mut numbers = Vec::new();
        for range in text.trim().split(',') {
            let (first, last) = range.split_once('-').unwrap_or((range, range));
            let [first, last] = [first, last].map(|number| number.parse::<usize>().ok());
            numbers.extend(first?..=last.filter(|last| *last < MOST_CPUS)?);
        }
        Some(numbers)
    }

    // The lint exempts test functions but not their helpers, where a failure also fails the test.
    #[cfg(test)]
    #[allow(clippy::unwrap_used)]
    mod tests {
        use std::fs;

        use super::*;

        /// Creates the files of a simulated machine; keys are paths below its root.
        fn machine(files: &[(String, String)]) -> tempfile::TempDir {
            let root = tempfile::tempdir().unwrap();
            for (path, text) in files {
                let path = root.path().join(path);
                fs::create_dir_all(path.parent().unwrap()).unwrap();
                fs::write(path, format!("{text}\n")).unwrap();
            }
            root
        }

        /// Creates one file per CPU.
        fn each(file: &str, values: &[&str]) -> Vec<(String, String)> {
            let path = |cpu: usize| format!("system/cpu/cpu{cpu}/{file}");
            values.iter().enumerate().map(|(cpu, value)| (path(cpu), value.to_string())).collect()
        }

        fn siblings(lists: &[&str]) -> Vec<(String, String)> {
            each("topology/thread_siblings_list", lists)
        }

        #[track_caller]
        fn check(files: &[(String, String)], cores: &[(&str, usize)]) {
            let root = machine(files);
            for (allowed, cores) in cores {
                assert_eq!(cores_among(root.path(), &list(allowed).unwrap()), *cores, "{allowed}");
            }
        }

        #[test]
        fn two_threads_of_a_core_count_once() {
            let files = siblings(&["0,4", "1,5", "2,6", "3,7", "0,4", "1,5", "2,6", "3,7"]);
            check(&files, &[("0-7", 4), ("0-3", 4), ("0-1,4-5", 2), ("2-4", 3)]);
            let neighbours = siblings(&["0-1", "0-1", "2-3", "2-3"]);
            check(&neighbours, &[("0-3", 2), ("1,2", 2)]);
        }

        /// One reported core may be two physical cores in a virtual machine.
        #[test]
        fn a_machine_of_one_core_computes_on_two_of_its_threads() {
            check(&siblings(&["0-1", "0-1"]), &[("0-1", 2), ("1", 1)]);
            check(&siblings(&["0-3", "0-3", "0-3", "0-3"]), &[("0-3", 2)]);
        }

        #[test]
        fn without_siblings_or_without_a_topology_every_cpu_is_a_core() {
            check(&siblings(&["0", "1"]), &[("0-1", 2), ("1", 1)]);
            check(&[], &[("0-5", 6), ("3", 1)]);
        }

        /// The CPUs of an i7-12700: 8 fast cores with two threads each, 4 slow cores with one.
        #[test]
        fn of_intels_two_kinds_the_fast_cores_count_unless_only_slow_ones_are_allowed() {
            let lists: Vec<String> = (0..16usize)
                .map(|cpu| format!("{}-{}", cpu / 2 * 2, cpu / 2 * 2 + 1))
                .chain((16..20).map(|cpu: usize| cpu.to_string()))
                .collect();
            let mut files = siblings(&lists.iter().map(String::as_str).collect::<Vec<_>>());
            files.push(("cpu_core/cpus".into(), "0-15".into()));
            files.push(("cpu_atom/cpus".into(), "16-19".into()));
            check(&files, &[("0-19", 8), ("14-19", 2), ("16-19", 4), ("0-3,16-17", 2)]);
        }

        #[test]
        fn cores_much_slower_than_the_fastest_do_not_count() {
            let mut files = siblings(&["0", "1", "2", "3", "4", "5", "6", "7"]);
            files.extend(each("cpu_capacity", &["325", "325", "325", "325", "870", "870", "870", "1024"]));
            check(&files, &[("0-7", 4), ("0-3", 4), ("0-4", 1)]);
            let mut files = siblings(&["0-1", "0-1", "2-3", "2-3"]);
            let frequencies = each("cpufreq/cpuinfo_max_freq", &["5000000", "5000000", "3000000", "3000000"]);
            files.extend(frequencies);
            check(&files, &[("0-3", 2), ("2-3", 2)]);
            // Cores of one kind whose boost frequencies differ a little.
            let frequencies = each("cpufreq/cpuinfo_max_freq", &["5700000", "5450000", "5300000"]);
            check(&frequencies, &[("0-2", 3)]);
        }

        #[test]
        fn lists_are_the_kernels() {
            assert_eq!(list(" 0-2,5,7-8\n"), Some(vec![0, 1, 2, 5, 7, 8]));
            for wrong in ["", "a", "1-", "0-99999999999", "1,,2"] {
                assert_eq!(list(wrong), None, "{wrong}");
            }
        }

        #[test]
        fn this_machine_has_cores_and_no_more_than_it_may_use() {
            let allowed = std::thread::available_parallelism().unwrap().get();
            assert!((1..=allowed).contains(&super::super::threads()));
        }
    }
}
