//! When secrets were last used, until it is written: at most once a minute for each.

use parking_lot::Mutex;

use crate::store::clients::Use;

/// What was used since it was last written.
#[derive(Default)]
pub struct SecretUses(Mutex<Vec<Use>>);

impl SecretUses {
    /// Notes a use.
    pub fn note(&self, used: Use) {
        self.0.lock().push(used);
    }

    /// Takes what has not been written yet: of each secret its latest use, in the order in which the file keeps them, so that
    /// each page of it is written once.
    #[must_use]
    pub fn take(&self) -> Vec<Use> {
        let mut uses = std::mem::take(&mut *self.0.lock());
        uses.sort_unstable_by(|(one, at), (other, other_at)| one.cmp(other).then(other_at.cmp(at)));
        uses.dedup_by(|(earlier, _), (secret, _)| earlier == secret);
        uses
    }

    /// Takes back what could not be written, for the next write.
    pub fn put_back(&self, uses: Vec<Use>) {
        self.0.lock().extend(uses);
    }
}

#[cfg(test)]
mod tests {
    use m2mint_keys::time::UnixTime;

    use super::*;

    fn used(client: &str, secret: i64, second: i64, from: Option<&str>) -> Use {
        let from = from.map(|from| from.parse().unwrap());
        ((client.into(), secret), (UnixTime::from_secs(1_800_000_000 + second), from))
    }

    #[test]
    fn of_several_uses_of_a_secret_the_latest_is_written_and_in_the_order_of_the_file() {
        let uses = SecretUses::default();
        uses.note(used("b", 1, 0, None));
        uses.note(used("a", 2, 60, Some("192.0.2.1")));
        uses.note(used("a", 2, 120, None));
        uses.note(used("a", 1, 0, None));
        let taken = uses.take();
        assert_eq!(taken, [used("a", 1, 0, None), used("a", 2, 120, None), used("b", 1, 0, None)]);
        assert!(uses.take().is_empty());
        uses.note(used("a", 1, 60, Some("192.0.2.1")));
        uses.put_back(taken);
        assert_eq!(
            uses.take(),
            [used("a", 1, 60, Some("192.0.2.1")), used("a", 2, 120, None), used("b", 1, 0, None)]
        );
    }
}
