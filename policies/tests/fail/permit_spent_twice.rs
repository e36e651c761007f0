use portcullis_policies::Permit;

fn spend(_: Permit) {}

fn twice(permit: Permit) {
    spend(permit);
    spend(permit);
}

fn main() {}
