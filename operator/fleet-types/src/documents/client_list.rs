//! Where clients find the regions of a Mirror: what a serving pod is told, so that it answers them without the controller.

use std::cmp::Reverse;
use std::net::IpAddr;

use ipnet::IpNet;
use serde::{Deserialize, Serialize};

/// The regions that clients may be sent to, the first choice first. What is the same for all clients is decided by who
/// writes it; which of them is near to one client, by who reads it.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct ClientList {
    pub regions: Vec<ListedRegion>,
    /// Whether each of these regions has whatever never changes of what any of them serves.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub together: bool,
    /// Networks of the proxies whose word counts for where a client is and how it asks.
    #[serde(with = "networks", skip_serializing_if = "Vec::is_empty")]
    pub trusted_proxies: Vec<IpNet>,
}

/// A region that clients may be sent to.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct ListedRegion {
    pub name: String,
    /// Of the copy, with a slash at its end.
    pub url: String,
    /// Networks whose clients are sent here first.
    #[serde(default, with = "networks", skip_serializing_if = "Vec::is_empty")]
    pub clients: Vec<IpNet>,
    /// Nobody knows that it answers: it comes after all others.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub doubtful: bool,
}

impl ClientList {
    /// The regions for a client at this address: first those whose network holds it, the longest prefix before others;
    /// regions that are alike in this stay in the order of the list.
    pub fn nearest_first(&self, client: IpAddr) -> Vec<&ListedRegion> {
        let client = client.to_canonical();
        let mut regions: Vec<&ListedRegion> = self.regions.iter().collect();
        regions.sort_by_key(|region| (region.doubtful, Reverse(region.nearness(client))));
        regions
    }

    /// Whether what a proxy at this address says of its client counts.
    pub fn trusts(&self, proxy: IpAddr) -> bool {
        holds(&self.trusted_proxies, proxy.to_canonical()).is_some()
    }
}

impl ListedRegion {
    fn nearness(&self, client: IpAddr) -> Option<u8> {
        holds(&self.clients, client)
    }
}

/// As text: an address and the length of its prefix.
mod networks {
    use ipnet::IpNet;
    use serde::de::Error;
    use serde::{Deserialize, Deserializer, Serializer};

    pub fn serialize<S: Serializer>(networks: &[IpNet], serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_seq(networks.iter().map(ToString::to_string))
    }

    pub fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Vec<IpNet>, D::Error> {
        let texts = Vec::<String>::deserialize(deserializer)?;
        let networks = texts.iter().map(|text| text.parse());
        networks.collect::<Result<_, _>>().map_err(D::Error::custom)
    }
}

/// The length of the longest prefix that holds an address.
fn holds(networks: &[IpNet], address: IpAddr) -> Option<u8> {
    let holding = networks.iter().filter(|network| network.contains(&address));
    holding.map(IpNet::prefix_len).max()
}

/// How one region stands in a list.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum ListForm {
    /// For apt's methods `mirror+http` and `mirror+https`, as apt-transport-mirror(1) describes it.
    Apt,
    /// For `Include` in a pacman.conf. The folder of a repository below the copy, in which `$repo` and `$arch` stand for
    /// names; `.` for the copy itself.
    Pacman { folder: String },
}

impl ListForm {
    /// The line of the region that is tried as the `rank`th, from 1. `url` ends in a slash.
    ///
    /// apt draws lots, file by file, among regions of the same priority, so no two have the same.
    pub fn line(&self, url: &str, rank: usize) -> String {
        match self {
            ListForm::Apt => format!("{url}\tpriority:{rank}\n"),
            ListForm::Pacman { folder } if folder == "." => {
                format!("Server = {}\n", url.trim_end_matches('/'))
            }
            ListForm::Pacman { folder } => format!("Server = {url}{folder}\n"),
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn region(name: &str, clients: &[&str]) -> ListedRegion {
        ListedRegion {
            name: name.to_owned(),
            url: format!("https://{name}.example.org/debian/"),
            clients: clients.iter().map(|net| net.parse().unwrap()).collect(),
            doubtful: false,
        }
    }

    fn names(list: &ClientList, client: &str) -> Vec<String> {
        let regions = list.nearest_first(client.parse().unwrap());
        regions.iter().map(|region| region.name.clone()).collect()
    }

    #[test]
    fn the_longest_network_comes_first_and_then_the_declared_order() {
        let mut list = ClientList {
            regions: vec![
                region("eu", &["10.0.0.0/8"]),
                region("us", &["10.1.0.0/16", "2001:db8::/32"]),
                region("asia", &["10.1.0.0/16"]),
                region("far", &[]),
            ],
            trusted_proxies: Vec::new(),
            ..ClientList::default()
        };
        for (client, wanted) in [
            ("10.1.2.3", ["us", "asia", "eu", "far"]),
            ("::ffff:10.1.2.3", ["us", "asia", "eu", "far"]),
            ("10.2.0.1", ["eu", "us", "asia", "far"]),
            ("2001:db8::1", ["us", "eu", "asia", "far"]),
            ("192.0.2.1", ["eu", "us", "asia", "far"]),
            ("::1", ["eu", "us", "asia", "far"]),
        ] {
            assert_eq!(names(&list, client), wanted, "{client}");
        }
        list.regions[1].doubtful = true;
        assert_eq!(names(&list, "10.1.2.3"), ["asia", "eu", "far", "us"]);
    }

    #[test]
    fn a_document_of_another_version_is_read_too() {
        let read: ClientList = serde_json::from_str(r#"{"regions": [], "more": 1}"#).unwrap();
        assert_eq!(read, ClientList::default());
        let list = ClientList {
            regions: vec![region("eu", &["10.0.0.0/8"])],
            trusted_proxies: vec!["192.0.2.0/24".parse().unwrap()],
            ..ClientList::default()
        };
        let text = serde_json::to_string(&list).unwrap();
        assert_eq!(serde_json::from_str::<ClientList>(&text).unwrap(), list);
        assert!(!text.contains("doubtful"), "{text}");
    }

    #[test]
    fn lines_are_written_as_clients_read_them() {
        let url = "https://eu.example.org/arch/";
        let pacman = |folder: &str| {
            let folder = folder.to_owned();
            ListForm::Pacman { folder }.line(url, 2)
        };
        assert_eq!(ListForm::Apt.line(url, 2), format!("{url}\tpriority:2\n"));
        assert_eq!(
            pacman("$repo/os/$arch"),
            format!("Server = {url}$repo/os/$arch\n")
        );
        assert_eq!(pacman("."), "Server = https://eu.example.org/arch\n");
    }

    proptest! {
        /// Whoever asks, all regions are told, each once, and no doubtful one before one that is not.
        #[test]
        fn nobody_is_left_out(
            nets in prop::collection::vec((prop::collection::vec((any::<u32>(), 0u8..=32), 0..4), any::<bool>()), 1..8),
            client: u32,
        ) {
            let regions = nets.iter().enumerate().map(|(number, (nets, doubtful))| ListedRegion {
                clients: nets.iter().map(|(at, length)| {
                    let net = ipnet::Ipv4Net::new((*at).into(), *length).unwrap();
                    IpNet::V4(net)
                }).collect(),
                doubtful: *doubtful,
                ..region(&number.to_string(), &[])
            });
            let list = ClientList { regions: regions.collect(), ..ClientList::default() };
            let told = list.nearest_first(IpAddr::V4(client.into()));
            let mut names: Vec<_> = told.iter().map(|region| region.name.as_str()).collect();
            prop_assert!(told.windows(2).all(|pair| pair[0].doubtful <= pair[1].doubtful));
            names.sort_unstable();
            names.dedup();
            prop_assert_eq!(names.len(), list.regions.len());
        }
    }
}
