//! Patterns and words that several fields' rules share.

/// Names that become part of our objects' names: a DNS label that begins with a letter (Services demand it).
pub const NAME: &str = "^[a-z]([-a-z0-9]*[a-z0-9])?$";
/// What the message of such a wrong name says.
pub const NAME_MESSAGE: &str = "a name begins with a lower-case letter, goes on with lower-case letters, digits and dashes, does not end in a dash, and has at most 63 characters";
/// Names of Secrets and ConfigMaps.
pub const OBJECT_NAME: &str = "^[a-z0-9]([-.a-z0-9]*[a-z0-9])?$";
/// The same where nothing is allowed too.
pub const OBJECT_NAME_OR_EMPTY: &str = "^([a-z0-9]([-.a-z0-9]*[a-z0-9])?)?$";
/// Networks by their look: whether a prefix is too long, and whether an address is one, is for the planner to tell. `self`
/// is the list.
pub const NETWORKS: &str = "self.all(n, n.matches('^[0-9A-Fa-f.:]+/[0-9]{1,3}$'))";
/// A host name, as it names a trace file too; see [`crate::names`].
pub const HOST_NAME: &str = "self.matches('^[A-Za-z0-9]([-.A-Za-z0-9]*[A-Za-z0-9])?$')";
/// The same, or nothing.
pub const HOST_NAME_OR_EMPTY: &str =
    "self == '' || self.matches('^[A-Za-z0-9]([-.A-Za-z0-9]*[A-Za-z0-9])?$')";
/// Each region tells of itself under another name; `self` is the Mirror's spec.
pub const TRACE_NAMES: &str = "!has(self.regions) || self.regions.all(r, !has(r.traceName) || self.regions.exists_one(s, has(s.traceName) && s.traceName == r.traceName))";
pub const TRACE_NAMES_MESSAGE: &str =
    "regions[].traceName is one region's own: write another one for each, or leave it out";
/// Keys of Secrets and ConfigMaps, without those that a mounted volume cannot hold.
pub const DATA_KEY: &str = "^[A-Za-z0-9_-][-._A-Za-z0-9]*$";
/// Names of a sources.list, see [`crate::names`]; `self` is the list.
pub const SUITES: &str = "self.all(s, s.matches('^(\\\\./|([A-Za-z0-9][A-Za-z0-9+._~-]*/)*[A-Za-z0-9][A-Za-z0-9+._~-]*/?)$'))";
pub const COMPONENTS: &str =
    "self.all(c, c.matches('^([A-Za-z0-9][A-Za-z0-9+._~-]*/)*[A-Za-z0-9][A-Za-z0-9+._~-]*$'))";
pub const ARCHITECTURES: &str = "self.all(a, a.matches('^[A-Za-z0-9][A-Za-z0-9+._~-]*$'))";
/// The same for one name.
pub const ALIAS: &str =
    "self.matches('^([A-Za-z0-9][A-Za-z0-9+._~-]*/)*[A-Za-z0-9][A-Za-z0-9+._~-]*$')";
/// Names of a pacman.conf; see [`crate::names`].
pub const REPOS: &str = "self.all(r, r.matches('^[A-Za-z0-9_][A-Za-z0-9@._+-]*$'))";
/// Folders of pacman's repositories, in which `$repo` and `$arch` stand for names.
pub const LAYOUT: &str =
    "self.matches('^(\\\\.|[A-Za-z0-9$][A-Za-z0-9$@+._~-]*(/[A-Za-z0-9$][A-Za-z0-9$@+._~-]*)*)$')";
/// A region follows another one that is declared; `self` is the Mirror's spec.
pub const FOLLOWS_ANOTHER: &str = "!has(self.regions) || self.regions.all(r, !has(r.follows) || (r.follows != r.name && self.regions.exists(s, s.name == r.follows)))";
pub const FOLLOWS_ANOTHER_MESSAGE: &str = "regions[].follows names another region that is declared: write the name of one of the others, or leave it out; a region that others follow cannot be removed before they follow another one";
/// It leads to one that fetches, in one step or two.
pub const FOLLOWS_THE_HUB: &str = "!has(self.regions) || self.regions.all(r, !has(r.follows) || self.regions.exists(s, s.name == r.follows && (!has(s.follows) || self.regions.exists(t, t.name == s.follows && !has(t.follows)))))";
pub const FOLLOWS_THE_HUB_MESSAGE: &str = "regions[].follows must lead to the region that fetches in one step or two: let it name that region, or one that follows that region; regions cannot follow each other in a circle";
/// Where regions follow or have several copies, one fetches.
pub const ONE_HUB: &str = "!has(self.regions) || self.regions.all(r, !has(r.follows) && (!has(r.replicas) || r.replicas == 1)) || self.regions.exists_one(r, !has(r.follows))";
pub const ONE_HUB_MESSAGE: &str = "where regions follow others, or have several replicas, exactly one fetches from the Upstream: give all regions but one follows, or none and one replica each";
/// One region takes over from the one that fetches.
pub const STANDBY: &str = "!has(self.regions) || self.regions.all(r, !has(r.standby) || !r.standby || (has(r.follows) && self.regions.exists_one(s, has(s.standby) && s.standby) && self.regions.exists(s, s.name == r.follows && !has(s.follows))))";
pub const STANDBY_MESSAGE: &str = "regions[].standby is for one region of a Mirror, and that follows the region that fetches: set it on one, and let that name the region without follows";
/// So many copies a status and a publication can bear. Counted are those that have a first replica, a second and so on: who
/// evaluates rules where there is no API server knows no sums.
pub const COPIES: &str = "!has(self.regions) || size(self.regions) + size(self.regions.filter(r, has(r.replicas) && r.replicas > 1)) + size(self.regions.filter(r, has(r.replicas) && r.replicas > 2)) + size(self.regions.filter(r, has(r.replicas) && r.replicas > 3)) <= 64";
pub const COPIES_MESSAGE: &str = "a Mirror has 64 replicas at most, over all its regions: declare fewer, or another Mirror for some of the regions";
/// Hosts are of a route; `self` is the Mirror's spec.
pub const HOSTS_OF_ROUTE: &str = "(has(self.serving) && has(self.serving.route)) == (has(self.regions) && self.regions.exists(r, has(r.host)))";
pub const HOSTS_OF_ROUTE_MESSAGE: &str = "serving.route leads to the regions that have a host: write regions[].host for one at least, and no host without serving.route (then publicUrl says where a region is reached)";
/// Two routes of one host would lead half of its clients to each region, or all to one.
pub const HOSTS_DIFFER: &str = "!has(self.regions) || self.regions.all(r, !has(r.host) || self.regions.exists_one(s, has(s.host) && s.host == r.host))";
pub const HOSTS_DIFFER_MESSAGE: &str =
    "two regions have the same host: a host leads to one region, write another one for the other";
/// One of several regions that publish together goes first.
pub const CANARY: &str = "!has(self.rollout) || !has(self.rollout.canary) || (has(self.regions) && self.regions.exists(r, has(r.follows)) && self.regions.exists(r, r.name == self.rollout.canary.region))";
pub const CANARY_MESSAGE: &str = "rollout.canary.region is one of several regions of which some follow another: write the name of one that is declared, or leave rollout.canary out; where there is one region, or each fetches for itself, none goes before the others";

#[cfg(test)]
mod tests {
    use crate::names;

    #[test]
    fn the_rules_of_the_resource_are_those_of_the_manifest() {
        let all =
            |name: &str, pattern: &str| format!("self.all({name}, {name}.matches('{pattern}'))");
        assert_eq!(super::SUITES, all("s", names::SUITE));
        assert_eq!(super::COMPONENTS, all("c", names::INDEX_NAME));
        assert_eq!(super::ARCHITECTURES, all("a", names::ARCHITECTURE));
        assert_eq!(
            super::ALIAS,
            format!("self.matches('{}')", names::INDEX_NAME)
        );
        assert_eq!(super::REPOS, all("r", names::REPO));
        assert_eq!(super::LAYOUT, format!("self.matches('{}')", names::LAYOUT));
        let host = format!("self.matches('{}')", names::HOST_NAME);
        assert_eq!(super::HOST_NAME, host);
        assert_eq!(super::HOST_NAME_OR_EMPTY, format!("self == '' || {host}"));
    }
}
