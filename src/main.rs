//! The m2mint binary: hands over to the command line.

fn main() -> std::process::ExitCode {
    m2mint::cli::main()
}
