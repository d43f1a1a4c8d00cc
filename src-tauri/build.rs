//! Checks the configuration and makes what Tauri needs of it.

fn main() {
    // The window is in the program: a new UI is a new program.
    println!("cargo:rerun-if-changed=../ui/dist");
    tauri_build::build();
}
