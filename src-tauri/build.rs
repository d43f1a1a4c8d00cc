//! Checks the configuration and makes what Tauri needs of it.

fn main() {
    tauri_build::build();
}
