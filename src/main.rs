//! The `coucou` program: hands its arguments to [`coucou::cli`] and ends with the exit code that
//! comes back.

use std::process::ExitCode;

fn main() -> ExitCode {
    coucou::cli::main()
}
