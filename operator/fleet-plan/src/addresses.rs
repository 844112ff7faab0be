//! Where clients find the copies of a Mirror.

use fleet_api::mirror::Route;

use crate::fleet::{Fleet, Place};

impl<'a> Fleet<'a> {
    /// The URL of the copy in one region, for clients outside where there is one for them, else of its Service.
    pub fn url(&self, place: &Place) -> String {
        let base = self.spec.outside(place.region);
        self.below(base.unwrap_or_else(|| self.service_url(place)))
    }

    /// The same by what clients outside can use now: a route leads them nowhere before it is accepted.
    pub fn url_now(&self, place: &Place, is_accepted: bool) -> String {
        match place.region.public_url.is_some() || is_accepted {
            true => self.url(place),
            false => self.below(self.service_url(place)),
        }
    }

    fn below(&self, base: String) -> String {
        format!("{base}/{}/", self.mirror.serving_path())
    }

    fn service_url(&self, place: &Place) -> String {
        let scheme = match self.tls_secret() {
            Some(_) => "https",
            None => "http",
        };
        format!("{scheme}://{}.{}.svc", place.service, self.namespace)
    }

    /// The route that is declared for a region, with its host: it is of the first replica, as the Service to which it leads.
    pub fn route_of(&self, place: &Place) -> Option<(&'a Route, &'a str)> {
        let route = self
            .spec
            .serving
            .route
            .as_ref()
            .filter(|_| place.is_first())?;
        let mut regions = self.spec.regions.iter();
        let region = regions.find(|region| region.name == place.region.name)?;
        Some((route, region.host.as_deref()?))
    }
}
