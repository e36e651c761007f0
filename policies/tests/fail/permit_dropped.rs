#![deny(unused_must_use)]

use portcullis_policies::Permit;

fn drop_it(decide: impl Fn() -> Permit) {
    decide();
}

fn main() {}
