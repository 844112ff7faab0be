//! A document of npm's registry: read, and shown with and without what is held back. The first byte says which versions are.
#![no_main]

use fleet_formats::npm::{Address, Form, PackageName, Packument, Place, View};

const UPSTREAM: &str = "https://registry.example.org";

libfuzzer_sys::fuzz_target!(|content: &[u8]| {
    let Some((first, content)) = content.split_first() else {
        return;
    };
    if let Ok(path) = std::str::from_utf8(content) {
        let _ = Form::wanted(Some(path));
        if let Ok(Address::Tarball(name, file)) = Address::read(path) {
            assert!(PackageName::new(name.as_str()).is_ok() && !file.contains('/'));
        }
    }
    let name = PackageName::new("p").expect("a name");
    let Ok(packument) = Packument::read(content, &name) else {
        return;
    };
    let value: serde_json::Value = match serde_json::from_slice(content) {
        Ok(value) => value,
        // A number that no float holds is one all the same.
        Err(error) if error.to_string().contains("out of range") => return,
        Err(error) => panic!("what we take is JSON: {error}"),
    };
    let count = packument.versions().len();
    assert_eq!(
        value["versions"]
            .as_object()
            .map_or(0, serde_json::Map::len),
        count
    );
    let here = |here| Place {
        package: &name,
        upstream: UPSTREAM,
        here,
    };
    let hidden: Vec<bool> = (0..count)
        .map(|number| first >> (number % 8) & 1 == 1)
        .collect();
    let shown = written(&View {
        packument: &packument,
        place: here("http://here/npm"),
        hidden: &hidden,
    });
    let left = hidden.iter().filter(|hidden| !**hidden).count();
    assert_eq!(
        shown["versions"]
            .as_object()
            .map_or(0, serde_json::Map::len),
        left
    );
});

fn written(view: &View<'_, '_>) -> serde_json::Value {
    let mut out = Vec::new();
    view.write(&mut out).expect("memory takes everything");
    serde_json::from_slice(&out).expect("what is shown is JSON")
}
