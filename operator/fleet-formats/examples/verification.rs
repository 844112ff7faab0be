//! How long it takes to judge one signature, in seconds: `verification KEYRING PACKAGE`, with `PACKAGE.sig` beside it. For
//! `bench/run.py`.

use std::collections::BTreeSet;
use std::error::Error;
use std::fs;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use fleet_formats::openpgp::{Keyring, Pinned, WebOfTrust};

/// As long as it is repeated.
const LASTS: Duration = Duration::from_secs(2);
fn main() -> Result<(), Box<dyn Error>> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let [keyring, package] = &arguments[..] else {
        return Err("verification KEYRING PACKAGE".into());
    };
    let signature = fs::read(format!("{package}.sig"))?;
    let content = fs::read(package)?;
    let web = WebOfTrust::new(Pinned {
        keyring: Keyring::parse(&fs::read(keyring)?)?,
        masters: None,
        disabled: BTreeSet::new(),
        marginals_needed: 3,
    });
    let since_1970 = SystemTime::now().duration_since(UNIX_EPOCH)?;
    let now = since_1970.as_secs().cast_signed();
    let (started, mut count) = (Instant::now(), 0u32);
    while started.elapsed() < LASTS {
        web.judge(&mut content.as_slice(), &signature, now)?;
        count += 1;
    }
    println!("{}", started.elapsed().as_secs_f64() / f64::from(count));
    Ok(())
}
