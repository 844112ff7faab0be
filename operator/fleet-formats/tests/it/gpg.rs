//! A GnuPG home of its own, with a frozen clock.

use std::io::Write;
use std::path::Path;
use std::process::{Command, Output, Stdio};

use fleet_formats::openpgp::Keyring;
use tempfile::TempDir;

/// 2023-11-14T22:13:20Z, when keys and signatures of these tests are made unless they say otherwise.
pub const MADE_AT: i64 = 1_700_000_000;
pub const DAY: i64 = 86_400;

pub struct Gpg {
    home: TempDir,
}

impl Gpg {
    pub fn new() -> Gpg {
        let home = tempfile::Builder::new().prefix("gpg").tempdir().unwrap();
        Gpg { home }
    }

    pub fn home(&self) -> &Path {
        self.home.path()
    }

    /// Runs gpg at `at` and returns its standard output.
    pub fn run(&self, at: i64, arguments: &[&str], input: &[u8]) -> Vec<u8> {
        let output = self.try_run(at, arguments, input);
        let errors = String::from_utf8_lossy(&output.stderr).into_owned();
        assert!(output.status.success(), "gpg {arguments:?}: {errors}");
        output.stdout
    }

    fn try_run(&self, at: i64, arguments: &[&str], input: &[u8]) -> Output {
        let clock = format!("--faked-system-time={at}!");
        let mut child = Command::new("gpg")
            .env("GNUPGHOME", self.home())
            .env("LC_ALL", "C")
            .args([
                "--batch",
                "--no-tty",
                "--yes",
                "--quiet",
                "--pinentry-mode=loopback",
                "--passphrase=",
            ])
            .args([
                clock.as_str(),
                "--allow-weak-digest-algos",
                "--trust-model=always",
            ])
            .args(arguments)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .expect("these tests need gpg");
        let mut stdin = child.stdin.take().unwrap();
        let input = input.to_vec();
        let writer = std::thread::spawn(move || drop(stdin.write_all(&input)));
        let output = child.wait_with_output().unwrap();
        writer.join().unwrap();
        output
    }

    /// Makes a primary key that may sign; returns its fingerprint.
    pub fn key(&self, name: &str, algorithm: &str, at: i64, lifetime: &str) -> String {
        self.run(
            at,
            &[
                "--quick-generate-key",
                name,
                algorithm,
                "sign,cert",
                lifetime,
            ],
            b"",
        );
        self.fingerprint(name)
    }

    pub fn fingerprint(&self, name: &str) -> String {
        self.fingerprints(name).remove(0)
    }

    /// Of the primary key and its subkeys, in order.
    pub fn fingerprints(&self, name: &str) -> Vec<String> {
        let listing = self.run(MADE_AT, &["--with-colons", "--list-keys", name], b"");
        let listing = String::from_utf8(listing).unwrap();
        let lines = listing.lines().filter(|line| line.starts_with("fpr:"));
        lines
            .map(|line| line.split(':').nth(9).unwrap().to_owned())
            .collect()
    }

    pub fn subkey(&self, primary: &str, algorithm: &str, at: i64, lifetime: &str) -> String {
        self.run(
            at,
            &["--quick-add-key", primary, algorithm, "sign", lifetime],
            b"",
        );
        self.fingerprints(primary).pop().unwrap()
    }

    pub fn export(&self, names: &[&str]) -> Vec<u8> {
        self.run(MADE_AT, &[&["--export"], names].concat(), b"")
    }

    pub fn keyring(&self, names: &[&str]) -> Keyring {
        Keyring::parse(&self.export(names)).unwrap()
    }

    /// Signs in clear text by each of the keys (`!` after a fingerprint means exactly that subkey).
    pub fn clearsign(&self, at: i64, signers: &[&str], options: &[&str], text: &[u8]) -> Vec<u8> {
        self.run(
            at,
            &[&users(signers)[..], options, &["--clearsign"]].concat(),
            text,
        )
    }

    /// In armour, as apt demands.
    pub fn detached(&self, at: i64, signers: &[&str], options: &[&str], text: &[u8]) -> Vec<u8> {
        self.run(
            at,
            &[
                &users(signers)[..],
                &["--armor"],
                options,
                &["--detach-sign"],
            ]
            .concat(),
            text,
        )
    }

    /// Revokes a primary key by the certificate that gpg made with it.
    pub fn revoke(&self, fingerprint: &str) {
        let path = self
            .home()
            .join(format!("openpgp-revocs.d/{fingerprint}.rev"));
        let certificate = std::fs::read_to_string(path)
            .unwrap()
            .replace(":-----BEGIN", "-----BEGIN");
        self.run(MADE_AT, &["--import"], certificate.as_bytes());
    }

    /// The verdicts of gpgv, now: the words of its status lines, for example `GOODSIG`.
    pub fn gpgv(&self, keyring: &[u8], signed: &[u8], payload: Option<&[u8]>) -> Vec<String> {
        let file = |name: &str, bytes: &[u8]| {
            let path = self.home().join(name);
            std::fs::write(&path, bytes).unwrap();
            path
        };
        let mut command = Command::new("gpgv");
        command.env("GNUPGHOME", self.home()).args([
            "--status-fd=1",
            "--weak-digest=SHA1",
            "--keyring",
        ]);
        command
            .arg(file("trusted.gpg", keyring))
            .arg(file("signed", signed));
        command.args(payload.map(|payload| file("payload", payload)));
        let output = command
            .stderr(Stdio::null())
            .output()
            .expect("these tests need gpgv");
        let status = String::from_utf8_lossy(&output.stdout).into_owned();
        let words = status
            .lines()
            .filter_map(|line| line.strip_prefix("[GNUPG:] ")?.split(' ').next());
        let verdicts = [
            "GOODSIG",
            "BADSIG",
            "EXPSIG",
            "EXPKEYSIG",
            "REVKEYSIG",
            "NO_PUBKEY",
            "ERRSIG",
        ];
        words
            .filter(|word| verdicts.contains(word))
            .map(str::to_owned)
            .collect()
    }
}

impl Drop for Gpg {
    fn drop(&mut self) {
        // The agent that gpg started for this home; it would outlive the test.
        let _ = Command::new("gpgconf")
            .env("GNUPGHOME", self.home())
            .args(["--kill", "gpg-agent"])
            .status();
    }
}

fn users<'a>(signers: &[&'a str]) -> Vec<&'a str> {
    signers
        .iter()
        .flat_map(|signer| ["--local-user", signer])
        .collect()
}

/// The real time, which gpgv judges by.
pub fn now() -> i64 {
    let since = std::time::SystemTime::now()
        .duration_since(std::time::UNIX_EPOCH)
        .unwrap();
    since.as_secs() as i64
}
