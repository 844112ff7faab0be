//! Where an entry of sources says that an archive is.

use url::Url;

/// A URI of sources.list as a URL and the login in it; errors say why it cannot be mirrored.
pub fn address(uri: &str) -> Result<(Url, Option<(String, String)>), String> {
    let scheme = uri.split(':').next().unwrap_or_default();
    let uri = match scheme {
        "http" | "https" | "file" => uri.to_owned(),
        "copy" => uri.replacen("copy:", "file:", 1),
        "cdrom" => return Err("a CD-ROM cannot be mirrored".to_owned()),
        other if other.starts_with("mirror") => {
            return Err(format!(
                "{other:?} is a list of mirrors; name one of them with http or https"
            ));
        }
        other if other.starts_with("tor") => {
            return Err(format!("{other:?} needs Tor, which is not supported"));
        }
        other => {
            return Err(format!(
                "{other:?} is not supported; http, https and file are"
            ));
        }
    };
    let mut url = Url::parse(&uri).map_err(|error| format!("its URI cannot be read: {error}"))?;
    let login = login(&url);
    // Both fail only for URLs that cannot hold a login.
    let _ = url.set_username("");
    let _ = url.set_password(None);
    url.set_query(None);
    url.set_fragment(None);
    if !url.path().ends_with('/') {
        url.set_path(&format!("{}/", url.path()));
    }
    Ok((url, login))
}

fn login(url: &Url) -> Option<(String, String)> {
    let decode = |text: &str| percent_decode(text);
    (!url.username().is_empty()).then(|| {
        (
            decode(url.username()),
            decode(url.password().unwrap_or_default()),
        )
    })
}

fn percent_decode(text: &str) -> String {
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.as_bytes();
    while let Some((first, after)) = rest.split_first() {
        let escaped = after
            .get(..2)
            .filter(|_| *first == b'%')
            .and_then(|digits| hex::decode(digits).ok());
        match escaped {
            Some(decoded) => {
                bytes.extend(decoded);
                rest = &after[2..];
            }
            None => {
                bytes.push(*first);
                rest = after;
            }
        }
    }
    String::from_utf8_lossy(&bytes).into_owned()
}
