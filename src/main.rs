//! The m2mint binary: hands over to the command line.

#![forbid(unsafe_code)]

fn main() -> std::process::ExitCode {
    m2mint::cli::main()
}
