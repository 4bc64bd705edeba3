//! The threads that a server runs on.

use std::future::Future;
use std::process::ExitCode;
use std::time::Duration;

/// How long disk work on other threads may go on after the server has ended.
const REST: Duration = Duration::from_millis(200);

/// Runs a server's main future on a runtime with a thread per processor, and at least two: an
/// append to a slow disk on one of them leaves the other to answer.
///
/// Before that, the limit of open files is raised to what the system allows this process, as a JVM
/// does: each segment takes two, each connection one.
pub fn run(main: impl Future<Output = ExitCode>) -> ExitCode {
    raise_open_files();
    let processors = std::thread::available_parallelism().map_or(2, usize::from);
    run_on(processors.max(2), main)
}

/// Runs a client's main future on this thread and all that it starts on one other, as in the Java clients: more
/// would wake one another more often than they help.
pub fn run_client(main: impl Future<Output = ExitCode>) -> ExitCode {
    run_on(1, main)
}

fn run_on(threads: usize, main: impl Future<Output = ExitCode>) -> ExitCode {
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(threads)
        .thread_name("kafka")
        .enable_all()
        .build();
    match runtime {
        Ok(runtime) => {
            let code = runtime.block_on(main);
            runtime.shutdown_timeout(REST);
            code
        }
        Err(e) => {
            eprintln!("cannot start threads: {e}");
            ExitCode::FAILURE
        }
    }
}

#[cfg(unix)]
fn raise_open_files() {
    use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
    let limit = getrlimit(Resource::Nofile);
    let most = Rlimit {
        current: limit.maximum,
        maximum: limit.maximum,
    };
    // What it was is what it stays if the system refuses: then connections wait in its queue sooner.
    let _ = setrlimit(Resource::Nofile, most);
}

/// There is no such limit.
#[cfg(not(unix))]
fn raise_open_files() {}
