//! What the public items of a room show of foreign crates.

use std::collections::BTreeSet;

use syn::visit::{self, Visit};

use super::modules::{Modules, Place};
use super::reader::Written;
use super::{assert_none, made_up, real};

/// Crates that must not show in the public items of a room: users of the room would depend on
/// them as well.
const HIDDEN: [(&str, &str); 1] = [("layer", "fred")];

/// Collects the paths in the signatures of public items; what is in their bodies is not public.
#[derive(Default)]
struct Exposed {
    paths: BTreeSet<Written>,
    /// Public types of the file, whose impls of traits are public as well.
    types: BTreeSet<String>,
}

/// All paths of one part of a file.
struct Paths<'a>(&'a mut BTreeSet<Written>);

impl<'ast> Visit<'ast> for Paths<'_> {
    fn visit_path(&mut self, path: &'ast syn::Path) {
        self.0.insert(path.segments.iter().map(|segment| segment.ident.to_string()).collect());
        visit::visit_path(self, path);
    }

    fn visit_block(&mut self, _: &'ast syn::Block) {}

    fn visit_attribute(&mut self, _: &'ast syn::Attribute) {}
}

fn is_public(visibility: &syn::Visibility) -> bool {
    matches!(visibility, syn::Visibility::Public(_))
}

/// Paths of everything that is imported by `tree`.
fn handed_on(tree: &syn::UseTree, mut before: Written, into: &mut BTreeSet<Written>) {
    match tree {
        syn::UseTree::Path(path) => {
            before.push(path.ident.to_string());
            handed_on(&path.tree, before, into);
        }
        syn::UseTree::Group(group) => {
            group.items.iter().for_each(|tree| handed_on(tree, before.clone(), into));
        }
        syn::UseTree::Name(syn::UseName { ident })
        | syn::UseTree::Rename(syn::UseRename { ident, .. }) => {
            before.push(ident.to_string());
            into.insert(before);
        }
        syn::UseTree::Glob(_) => {
            before.push("*".to_owned());
            into.insert(before);
        }
    }
}

impl Exposed {
    fn of(text: &str) -> BTreeSet<Written> {
        let file = syn::parse_file(text).unwrap();
        let mut exposed = Self::default();
        for item in &file.items {
            match item {
                syn::Item::Struct(item) if is_public(&item.vis) => exposed.name(&item.ident),
                syn::Item::Enum(item) if is_public(&item.vis) => exposed.name(&item.ident),
                _ => {}
            }
        }
        file.items.iter().for_each(|item| exposed.item(item));
        exposed.paths
    }

    fn name(&mut self, of: &syn::Ident) {
        self.types.insert(of.to_string());
    }

    fn item(&mut self, item: &syn::Item) {
        let mut paths = Paths(&mut self.paths);
        match item {
            syn::Item::Fn(item) if is_public(&item.vis) => paths.visit_signature(&item.sig),
            syn::Item::Struct(item) if is_public(&item.vis) => {
                let public = item.fields.iter().filter(|field| is_public(&field.vis));
                public.for_each(|field| paths.visit_type(&field.ty));
                paths.visit_generics(&item.generics);
            }
            syn::Item::Enum(item) if is_public(&item.vis) => paths.visit_item_enum(item),
            syn::Item::Type(item) if is_public(&item.vis) => paths.visit_item_type(item),
            syn::Item::Trait(item) if is_public(&item.vis) => paths.visit_item_trait(item),
            syn::Item::Const(item) if is_public(&item.vis) => paths.visit_type(&item.ty),
            syn::Item::Static(item) if is_public(&item.vis) => paths.visit_type(&item.ty),
            syn::Item::Use(item) if is_public(&item.vis) => {
                handed_on(&item.tree, Vec::new(), &mut self.paths);
            }
            syn::Item::Impl(item) => self.implementation(item),
            _ => {}
        }
    }

    fn implementation(&mut self, item: &syn::ItemImpl) {
        let mut paths = Paths(&mut self.paths);
        for method in &item.items {
            if let syn::ImplItem::Fn(method) = method
                && is_public(&method.vis)
            {
                paths.visit_signature(&method.sig);
            }
        }
        let syn::Type::Path(of) = &*item.self_ty else { return };
        let of = of.path.segments.last().map(|of| of.ident.to_string());
        if let Some((of_trait, _)) = &item.trait_
            && of.is_some_and(|of| self.types.contains(&of))
        {
            paths.visit_path(of_trait);
        }
    }
}

fn exposing(modules: &Modules) -> Vec<String> {
    let known: BTreeSet<&str> = modules.files.iter().map(|file| file.source.room()).collect();
    let missing = HIDDEN.iter().filter(|(room, _)| !known.contains(room));
    let mut complaints: Vec<_> = missing.map(|(room, _)| format!("{room} has no file")).collect();
    for file in &modules.files {
        let room = file.source.room();
        let hidden: Vec<_> = HIDDEN.iter().filter(|(of, _)| *of == room).collect();
        if hidden.is_empty() {
            continue;
        }
        for path in Exposed::of(&file.source.text) {
            let Place::Elsewhere(path) = modules.expand(file, &path) else { continue };
            if hidden.iter().any(|(_, name)| path.first().is_some_and(|first| first == name)) {
                complaints.push(format!("{} shows {}", file.source.path, path.join("::")));
            }
        }
    }
    complaints
}

#[test]
fn public_items_of_the_layer_show_no_type_of_fred() {
    assert_none(&exposing(real()));
}

#[test]
fn finds_a_hidden_crate_in_every_kind_of_public_item() {
    for text in [
        "pub fn f(client: &fred::Client) {}",
        "use fred::Client; pub fn f() -> Option<Client> { None }",
        "use fred::types as known; pub struct A { pub value: Vec<known::Value> }",
        "pub enum A { Of(fred::Value) }",
        "pub type A = fred::Value;",
        "pub const A: fred::Value = 1;",
        "pub trait A { fn f(&self, value: fred::Value); }",
        "struct A; impl A { pub fn f(&self) -> fred::Value { todo!() } }",
        "pub struct A; impl From<fred::Error> for A {}",
        "pub use fred::{types::Value as Text};",
    ] {
        let found = exposing(&made_up(&[("src/layer/a.rs", text)]));
        assert_eq!(found.len(), 1, "{text}: {found:?}");
    }
}

#[test]
fn a_hidden_crate_may_be_used_within_the_room() {
    let text = "use fred::Client; pub struct A { client: Client }
        impl A { fn f(&self) -> fred::Value { fred::Value } pub(super) fn g(_: Client) {} }
        pub fn f() { fred::f() } struct B; impl From<fred::Error> for B {}";
    assert_none(&exposing(&made_up(&[
        ("src/layer/a.rs", text),
        ("src/hub/a.rs", "pub use fred::A;"),
    ])));
}
