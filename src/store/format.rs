//! The format number of a data folder, and how older folders are brought up to date.

use super::families::Family;
use super::keys;
use super::rocks::Database;
use crate::{Error, Result};

/// What this program writes.
pub const FORMAT: u32 = 1 + UPGRADES.len() as u32;

/// `UPGRADES[n]` brings format n + 1 to n + 2. A step may run twice, if the process dies before the number is written.
const UPGRADES: &[fn(&Database) -> Result<()>] = &[perceptual_hashes];

/// Records of items may have hashes of pictures from here on; those without are read as they are.
fn perceptual_hashes(_: &Database) -> Result<()> {
    Ok(())
}

/// Checks the format number, upgrading or initialising as needed.
///
/// # Errors
/// [`Error::FailedPrecondition`] with `DATA_FORMAT_TOO_NEW`; [`Error::Corruption`] for an unreadable number.
pub(super) fn prepare(database: &Database, folder: &str) -> Result<()> {
    let Some(stored) = database.get(Family::Meta, keys::FORMAT)? else {
        // The server id is written after the number, so its presence alone means that the number got lost.
        if database.get(Family::Meta, keys::SERVER_ID)?.is_some() {
            return Err(Error::Corruption(format!("{folder} has no format number; restore it from a snapshot")));
        }
        return write(database, FORMAT);
    };
    let text = String::from_utf8_lossy(&stored);
    let found: u32 = text.parse().ok().filter(|&number| number > 0).ok_or_else(|| {
        Error::Corruption(format!("{folder} has the unreadable format number {text:?}; restore it from a snapshot"))
    })?;
    refuse_newer(found, folder)?;
    for step in found..FORMAT {
        UPGRADES[step as usize - 1](database)?;
        database.sync()?;
        write(database, step + 1)?;
    }
    Ok(())
}

/// Refuses what a newer program wrote.
///
/// # Errors
/// [`Error::FailedPrecondition`] with `DATA_FORMAT_TOO_NEW`.
pub(super) fn refuse_newer(found: u32, folder: &str) -> Result<()> {
    if found <= FORMAT {
        return Ok(());
    }
    Err(Error::FailedPrecondition {
        reason: "DATA_FORMAT_TOO_NEW",
        message: format!(
            "{folder} was written in format {found} by a newer Pictor and this one reads up to {FORMAT}; \
             start the newer version, or restore a snapshot taken before the upgrade"
        ),
    })
}

fn write(database: &Database, number: u32) -> Result<()> {
    database.put(Family::Meta, keys::FORMAT, number.to_string().as_bytes())?;
    database.sync()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_known_formats_are_opened() {
        let folder = tempfile::tempdir().expect("a folder");
        let database = Database::open(folder.path(), 16 << 20).expect("a database");
        assert_eq!(prepare(&database, "D"), Ok(()));
        let check = |stored: &str, expected: &str| {
            database.put(Family::Meta, keys::FORMAT, stored.as_bytes()).expect("a write");
            let found = prepare(&database, "D").map_or_else(|error| error.reason(), |()| "fine");
            assert_eq!(found, expected, "{stored:?}");
        };
        check("1", "fine");
        check("2", "fine");
        check("3", "DATA_FORMAT_TOO_NEW");
        check("4294967295", "DATA_FORMAT_TOO_NEW");
        check("4294967296", "DATA_CORRUPTION");
        check("0", "DATA_CORRUPTION");
        check("one", "DATA_CORRUPTION");
        check("", "DATA_CORRUPTION");
    }
}
