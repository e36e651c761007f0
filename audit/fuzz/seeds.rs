//! Writes the seeds into `corpus/<target>/`, where `cargo fuzz` begins.

mod claims;

fn main() -> std::io::Result<()> {
    for target in claims::TARGETS {
        let folder = std::path::Path::new("corpus").join(target.name);
        std::fs::create_dir_all(&folder)?;
        for (number, seed) in (target.seeds)().iter().enumerate() {
            (target.claim)(seed);
            std::fs::write(folder.join(format!("seed-{number}")), seed)?;
        }
    }
    Ok(())
}
