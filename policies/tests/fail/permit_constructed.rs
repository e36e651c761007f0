use portcullis_policies::Permit;

fn main() {
    let _permit = Permit { op: uuid::Uuid::nil(), call_digest: [0; 32] };
}
