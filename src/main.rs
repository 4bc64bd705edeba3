//! The one binary. Everything lives in the library.

use std::process::ExitCode;

fn main() -> ExitCode {
    kafka::tools::main(std::env::args_os())
}
