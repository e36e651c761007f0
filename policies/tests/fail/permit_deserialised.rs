use portcullis_policies::Permit;

fn main() {
    let _permit: Permit = serde_json::from_str("{}").unwrap();
}
