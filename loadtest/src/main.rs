//! The binary: hands over to `cli` and exits with what it says.

use std::process::ExitCode;

fn main() -> ExitCode {
    longwire_load::cli::main()
}
