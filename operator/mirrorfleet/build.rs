//! Addresses in the program's tables are packed: else two megabytes of them are read at each start, and are in memory for
//! as long as it runs.

fn main() {
    println!("cargo::rerun-if-changed=build.rs");
    println!("cargo::rustc-link-arg-bins=-Wl,-z,pack-relative-relocs");
}
