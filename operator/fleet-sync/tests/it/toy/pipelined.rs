//! Signatures over pipelined connections: no index gives their digests, and none ends up beside the wrong package.

use fleet_formats::seam::SignaturePolicy;

use super::{PUBLISHED, Shop};
use crate::support::raw::{Asked, RawServer, Reply, plain};
use crate::support::{sync, told};

const COUNT: usize = 40;
/// In the middle of the others.
const ODD: &str = "core/package-20.pkg.sig";

/// Many packages, each with a signature of its own size.
async fn stocked() -> Shop {
    let mut shop = Shop::new().await;
    for number in 0..COUNT {
        let name: &'static str = format!("package-{number}").leak();
        shop.publish("core", name, &format!("content of {name}"));
        // So that not even a length tells one from another.
        let place = shop.path(&format!("core/{name}.pkg.sig"));
        std::fs::write(place, format!("signature {number:03}")).unwrap();
    }
    shop
}

async fn copied(
    shop: &Shop,
    script: impl Fn(&Asked, &[u8]) -> Option<Reply> + Send + Sync + 'static,
) -> RawServer {
    let server = RawServer::start(shop.path(""), script).await;
    let mut options = shop.options_at(&server.url);
    options.trust.signatures = SignaturePolicy::None;
    let report = sync(&options).await;
    assert_eq!(told(&report), PUBLISHED, "{report:?}");
    for number in 0..COUNT {
        let path = format!("core/package-{number}.pkg.sig");
        let served = shop.served(&path).unwrap();
        assert_eq!(
            String::from_utf8_lossy(&served),
            format!("signature {number:03}")
        );
    }
    server
}

#[tokio::test(flavor = "multi_thread")]
async fn signatures_share_round_trips_with_packages() {
    let shop = stocked().await;
    let server = copied(&shop, |_, _| None).await;
    let asked = server.asked();
    let signatures = asked.iter().filter(|asked| asked.path.ends_with(".sig"));
    let shared = signatures.filter(|asked| asked.waiting > 1).count();
    assert!(shared > COUNT / 2, "{shared} of {COUNT}: {asked:?}");
    // Those that are the last on their connections have nobody to vouch for them.
    let twice = asked.iter().filter(|asked| asked.before > 0).count();
    assert!(twice <= 8, "{twice}: {asked:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn an_answer_that_is_lost_or_comes_twice_gives_no_signature_to_the_wrong_package() {
    let shop = stocked().await;
    let lost = copied(&shop, |asked, _| {
        (asked.path == ODD && asked.before == 0).then(|| Reply::Bytes(Vec::new()))
    });
    lost.await;
    std::fs::remove_dir_all(shop.dir.path().join("store")).unwrap();
    let twice = copied(&shop, |asked, content| {
        (asked.path == ODD && asked.before == 0)
            .then(|| Reply::Bytes([plain(content), plain(content)].concat()))
    });
    twice.await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_not_there_is_believed_where_what_follows_is_right() {
    let mut shop = Shop::new().await;
    for number in 0..COUNT {
        let name: &'static str = format!("package-{number}").leak();
        shop.publish("core", name, &format!("content of {name}"));
    }
    std::fs::remove_file(shop.path(ODD)).unwrap();
    let server = RawServer::start(shop.path(""), |_, _| None).await;
    let mut options = shop.options_at(&server.url);
    options.trust.signatures = SignaturePolicy::Optional;
    let report = sync(&options).await;
    assert_eq!(told(&report), PUBLISHED, "{report:?}");
    assert_eq!(shop.entry(ODD), None);
    assert!(shop.is_served("core/package-19.pkg.sig"));
    let twice = server
        .asked()
        .iter()
        .filter(|asked| asked.before > 0)
        .count();
    assert!(twice <= 8, "{twice}: {:?}", server.asked());
}
