//! By whom signatures are judged, and the signatures of databases.

use fleet_types::Reason;

use super::roots::unreadable;
use crate::openpgp::WebOfTrust;
use crate::seam::{Rejected, RootContent, SignaturePolicy, Trust, VerifyContext};

/// By whom signatures are judged; none where they are not.
pub(super) fn judge_of(trust: &Trust) -> Result<Option<&WebOfTrust>, Rejected> {
    match (trust.signatures, &trust.web) {
        (SignaturePolicy::None, _) => Ok(None),
        (_, Some(web)) => Ok(Some(web)),
        (_, None) => {
            let message = "signatures are to be judged, but the upstream names no keyring; set trust.keyringRef";
            Err(Rejected::new(Reason::KeyringNotFound, message))
        }
    }
}

/// Judges the signature of a database, or that there is none where one `is_required` at all; who signed. What does not fit
/// may be of two states, and is read once more.
pub(super) fn judge(
    signed: &RootContent,
    signature: Option<&RootContent>,
    is_required: bool,
    context: &VerifyContext<'_>,
) -> Result<Vec<String>, Rejected> {
    let policy = context.trust.indices;
    let Some(web) = judge_of(context.trust)?.filter(|_| policy != SignaturePolicy::None) else {
        return Ok(Vec::new());
    };
    let Some(signature) = signature else {
        return match policy {
            SignaturePolicy::Required if is_required => {
                let message = format!(
                    "{} has no signature beside it (trust.databases: Required)",
                    signed.path
                );
                Err(Rejected::unsettled(Reason::SignatureMissing, message))
            }
            _ => Ok(Vec::new()),
        };
    };
    let mut content = signed.open().map_err(|error| unreadable(signed, &error))?;
    let judged = web.judge(&mut content, &signature.bytes()?, context.now);
    judged.map_err(|rejected| {
        Rejected::unsettled(rejected.reason, rejected.message).at(&signature.path)
    })
}
