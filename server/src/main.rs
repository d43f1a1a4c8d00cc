//! `voip-server`: the server on its own, and what its administrator does at the shell.

mod cli;

fn main() -> std::process::ExitCode {
    cli::main()
}
