use portcullis_policies::Permit;

fn main() {
    let _permit: Permit = Default::default();
}
