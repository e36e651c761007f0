use portcullis_policies::Permit;

fn store(permit: &Permit) -> String {
    serde_json::to_string(permit).unwrap()
}

fn main() {}
