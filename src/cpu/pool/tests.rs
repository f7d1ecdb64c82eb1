use super::*;

#[test]
fn every_task_runs_once_for_any_numbers_of_threads_and_tasks() {
    for threads in [1, 2, 3, 8] {
        with_threads(threads, || {
            assert_eq!(super::threads(), threads);
            for tasks in [0, 1, 2, 3, 7, 100, 1000] {
                let counts: Vec<AtomicUsize> = (0..tasks).map(|_| AtomicUsize::new(0)).collect();
                for round in 1..=20 {
                    run(tasks, |i| {
                        counts[i].fetch_add(1, Ordering::Relaxed);
                    });
                    assert!(counts.iter().all(|count| count.load(Ordering::Relaxed) == round));
                }
            }
        });
    }
}

/// Few tasks for many threads: most tasks are claimed from other threads' parts, by several threads at once.
#[test]
fn every_task_in_parts_runs_once_however_threads_take_them_from_each_other() {
    for threads in [1, 2, 3, 8, 20] {
        with_threads(threads, || {
            for tasks in [0, 1, 2, 7, 20, 100] {
                let counts: Vec<AtomicUsize> = (0..tasks).map(|_| AtomicUsize::new(0)).collect();
                let count = |i: usize| {
                    counts[i].fetch_add(1, Ordering::Relaxed);
                };
                for round in 1..=500 {
                    run_in_parts(tasks, count);
                    let all = counts.iter().all(|count| count.load(Ordering::Relaxed) == round);
                    assert!(all, "{tasks} tasks on {threads} threads");
                }
                // Within a task, all tasks run on the same thread.
                run(2, |_| run_in_parts(tasks, count));
                assert!(counts.iter().all(|count| count.load(Ordering::Relaxed) == 502));
            }
        });
    }
}

#[test]
fn threads_that_fell_asleep_are_woken() {
    with_threads(3, || {
        for _ in 0..5 {
            std::thread::sleep(4 * SPIN);
            let seen = Mutex::new(std::collections::HashSet::new());
            let begun = Instant::now();
            // A task waits for a second thread, which may come late on a busy machine.
            run(6, |_| {
                lock(&seen).insert(std::thread::current().id());
                while lock(&seen).len() == 1 && begun.elapsed() < Duration::from_secs(60) {
                    std::thread::sleep(Duration::from_millis(1));
                }
            });
            assert!(lock(&seen).len() > 1, "the caller was left alone");
        }
    });
}

#[test]
fn pieces_are_the_slice() {
    let mut values = vec![0; 1003];
    with_threads(4, || {
        each_piece(&mut values, 10, |i, piece| {
            piece.iter_mut().enumerate().for_each(|(j, v)| *v = i * 10 + j)
        });
    });
    assert_eq!(values, (0..1003).collect::<Vec<_>>());
}

#[test]
fn jobs_within_tasks_and_of_several_threads_run() {
    with_threads(2, || {
        let sum = AtomicUsize::new(0);
        run(4, |i| {
            run(5, |j| {
                sum.fetch_add(i * j, Ordering::Relaxed);
            })
        });
        assert_eq!(sum.into_inner(), 60);
    });
    let sum = AtomicUsize::new(0);
    std::thread::scope(|scope| {
        for _ in 0..4 {
            scope.spawn(|| {
                (0..200).for_each(|_| {
                    run(10, |i| {
                        sum.fetch_add(i, Ordering::Relaxed);
                    })
                })
            });
        }
    });
    assert_eq!(sum.into_inner(), 4 * 200 * 45);
}

#[test]
fn a_panic_comes_to_the_caller_and_the_pool_goes_on() {
    with_threads(3, || {
        for bad in [0, 13, 49] {
            let ended = AtomicUsize::new(0);
            let caught = catch_unwind(AssertUnwindSafe(|| {
                run(50, |i| {
                    assert!(i != bad, "task {i}");
                    ended.fetch_add(1, Ordering::Relaxed);
                })
            }));
            assert!(caught.is_err());
            assert_eq!(ended.into_inner(), 49);
        }
        run(10, |_| {});
    });
}

/// The payload of a second panic must not be dropped while tasks run: the unwinding thread would leave a job that
/// other threads work on.
#[test]
fn panics_whose_values_panic_when_dropped_come_to_the_caller_after_all_tasks() {
    struct Bomb;
    impl Drop for Bomb {
        fn drop(&mut self) {
            panic!("dropped");
        }
    }
    with_threads(3, || {
        let ended = AtomicUsize::new(0);
        let caught = catch_unwind(AssertUnwindSafe(|| {
            run(100, |_| {
                ended.fetch_add(1, Ordering::Relaxed);
                std::panic::panic_any(Bomb);
            })
        }));
        assert_eq!(ended.into_inner(), 100);
        std::mem::forget(caught.expect_err("every task panics"));
        run(10, |_| {});
    });
}
