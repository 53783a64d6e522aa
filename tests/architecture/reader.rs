//! What one file defines, imports and mentions, read by syn; unit tests left out where asked.

use std::collections::{BTreeMap, BTreeSet};

use proc_macro2::{Delimiter, Span, TokenStream, TokenTree};
use syn::visit::{self, Visit};

/// A path as it is written, such as `super::Shard`.
pub(super) type Written = Vec<String>;

/// A function and its length, from `fn` to its last brace.
pub(super) struct Function {
    pub(super) name: String,
    pub(super) line: usize,
    pub(super) lines: usize,
}

/// What was found in one file.
#[derive(Default)]
pub(super) struct Found {
    /// Names of items, of fields none.
    pub(super) defined: BTreeSet<String>,
    /// Structs, enums, unions, traits and type aliases, with their lines.
    pub(super) types: Vec<(String, usize)>,
    /// Imported names, with what they stand for.
    pub(super) imports: BTreeMap<String, Written>,
    /// Modules all of whose names are imported.
    pub(super) globs: Vec<Written>,
    /// Imports that are not handed on.
    pub(super) used: Vec<Written>,
    /// Paths in code, in attributes and in the arguments of macros.
    pub(super) mentioned: BTreeSet<Written>,
    /// Names of methods that are called.
    pub(super) called: BTreeSet<String>,
    /// Methods of inherent impls, by the name of their type.
    pub(super) methods: Vec<(String, String)>,
    pub(super) functions: Vec<Function>,
    /// Lines with `async` or `.await`.
    pub(super) asynchronous: Vec<usize>,
}

/// Reads `text`, which must be Rust. `tests` = unit tests within it count as well.
pub(super) fn read(path: &str, text: &str, tests: bool) -> Found {
    let file = syn::parse_file(text).unwrap_or_else(|error| panic!("{path}: {error}"));
    let mut reader = Reader { found: Found::default(), tests, blocks: 0 };
    reader.visit_file(&file);
    reader.found
}

struct Reader {
    found: Found,
    tests: bool,
    /// How many blocks of code are around: items within are private to them.
    blocks: usize,
}

fn line(span: Span) -> usize {
    span.start().line
}

impl Reader {
    fn skips(&self, attributes: &[syn::Attribute]) -> bool {
        let is_cfg_test = |attribute: &syn::Attribute| {
            let syn::Meta::List(list) = &attribute.meta else { return false };
            list.path.is_ident("cfg") && list.tokens.to_string() == "test"
        };
        !self.tests && attributes.iter().any(is_cfg_test)
    }

    fn define(&mut self, name: &syn::Ident) {
        if self.blocks == 0 {
            self.found.defined.insert(name.to_string());
        }
    }

    fn define_type(&mut self, name: &syn::Ident) {
        self.define(name);
        if self.blocks == 0 {
            self.found.types.push((name.to_string(), line(name.span())));
        }
    }

    fn function(&mut self, signature: &syn::Signature, block: &syn::Block) {
        let first = line(signature.fn_token.span);
        let last = block.brace_token.span.close().end().line;
        let name = signature.ident.to_string();
        self.found.functions.push(Function { name, line: first, lines: last + 1 - first });
    }

    fn import(&mut self, tree: &syn::UseTree, mut before: Written, handed_on: bool) {
        match tree {
            syn::UseTree::Path(path) => {
                before.push(path.ident.to_string());
                self.import(&path.tree, before, handed_on);
            }
            syn::UseTree::Group(group) => {
                for tree in &group.items {
                    self.import(tree, before.clone(), handed_on);
                }
            }
            syn::UseTree::Glob(_) => self.found.globs.push(before),
            syn::UseTree::Name(name) => {
                self.import_name(before, &name.ident, &name.ident, handed_on);
            }
            syn::UseTree::Rename(rename) => {
                self.import_name(before, &rename.ident, &rename.rename, handed_on);
            }
        }
    }

    fn import_name(
        &mut self,
        mut path: Written,
        name: &syn::Ident,
        local: &syn::Ident,
        handed_on: bool,
    ) {
        let is_self = name == "self";
        if !is_self {
            path.push(name.to_string());
        }
        let local = if local == "self" { path.last().cloned() } else { Some(local.to_string()) };
        if let Some(local) = local {
            self.found.imports.insert(local, path.clone());
        }
        if !handed_on {
            self.found.used.push(path);
        }
    }

    /// Paths and calls in what a macro or an attribute is given, which is not parsed.
    fn tokens(&mut self, tokens: TokenStream) {
        let mut path: Written = Vec::new();
        let (mut colons, mut after_dot) = (0, false);
        let finish = |path: &mut Written, found: &mut Found| {
            // `pub(crate)` uses nothing.
            let names_a_place = matches!(&path[..], [one] if one == "crate" || one == "super");
            if !path.is_empty() && !names_a_place {
                found.mentioned.insert(std::mem::take(path));
            }
            path.clear();
        };
        for token in tokens {
            match &token {
                TokenTree::Ident(ident) => {
                    let name = ident.to_string();
                    if after_dot {
                        if name == "await" {
                            self.found.asynchronous.push(line(ident.span()));
                        }
                        self.found.called.insert(name);
                    } else {
                        if name == "async" {
                            self.found.asynchronous.push(line(ident.span()));
                        }
                        if colons != 2 {
                            finish(&mut path, &mut self.found);
                        }
                        path.push(name);
                    }
                    (colons, after_dot) = (0, false);
                }
                TokenTree::Punct(punct) if punct.as_char() == ':' => colons += 1,
                other => {
                    finish(&mut path, &mut self.found);
                    colons = 0;
                    after_dot = matches!(other, TokenTree::Punct(punct) if punct.as_char() == '.');
                    if let TokenTree::Group(group) = other
                        && group.delimiter() != Delimiter::None
                    {
                        self.tokens(group.stream());
                    }
                }
            }
        }
        finish(&mut path, &mut self.found);
    }
}

impl<'ast> Visit<'ast> for Reader {
    fn visit_item(&mut self, item: &'ast syn::Item) {
        let attributes = match item {
            syn::Item::Const(item) => &item.attrs,
            syn::Item::Enum(item) => &item.attrs,
            syn::Item::Fn(item) => &item.attrs,
            syn::Item::Impl(item) => &item.attrs,
            syn::Item::Macro(item) => &item.attrs,
            syn::Item::Mod(item) => &item.attrs,
            syn::Item::Static(item) => &item.attrs,
            syn::Item::Struct(item) => &item.attrs,
            syn::Item::Trait(item) => &item.attrs,
            syn::Item::Type(item) => &item.attrs,
            syn::Item::Use(item) => &item.attrs,
            _ => return visit::visit_item(self, item),
        };
        if !self.skips(attributes) {
            visit::visit_item(self, item);
        }
    }

    fn visit_item_use(&mut self, item: &'ast syn::ItemUse) {
        let handed_on = !matches!(item.vis, syn::Visibility::Inherited);
        self.import(&item.tree, Vec::new(), handed_on);
    }

    fn visit_item_mod(&mut self, item: &'ast syn::ItemMod) {
        // A module in the file is the file's own; one in another file speaks for itself.
        if item.content.is_some() {
            self.define(&item.ident);
        }
        visit::visit_item_mod(self, item);
    }

    fn visit_item_struct(&mut self, item: &'ast syn::ItemStruct) {
        self.define_type(&item.ident);
        visit::visit_item_struct(self, item);
    }

    fn visit_item_enum(&mut self, item: &'ast syn::ItemEnum) {
        self.define_type(&item.ident);
        visit::visit_item_enum(self, item);
    }

    fn visit_item_trait(&mut self, item: &'ast syn::ItemTrait) {
        self.define_type(&item.ident);
        visit::visit_item_trait(self, item);
    }

    fn visit_item_type(&mut self, item: &'ast syn::ItemType) {
        self.define_type(&item.ident);
        visit::visit_item_type(self, item);
    }

    fn visit_item_const(&mut self, item: &'ast syn::ItemConst) {
        self.define(&item.ident);
        visit::visit_item_const(self, item);
    }

    fn visit_item_static(&mut self, item: &'ast syn::ItemStatic) {
        self.define(&item.ident);
        visit::visit_item_static(self, item);
    }

    fn visit_item_macro(&mut self, item: &'ast syn::ItemMacro) {
        if let Some(name) = &item.ident {
            self.define(name);
        }
        visit::visit_item_macro(self, item);
    }

    fn visit_item_fn(&mut self, item: &'ast syn::ItemFn) {
        self.define(&item.sig.ident);
        self.function(&item.sig, &item.block);
        visit::visit_item_fn(self, item);
    }

    fn visit_impl_item_fn(&mut self, item: &'ast syn::ImplItemFn) {
        if !self.skips(&item.attrs) {
            self.function(&item.sig, &item.block);
            visit::visit_impl_item_fn(self, item);
        }
    }

    fn visit_item_impl(&mut self, item: &'ast syn::ItemImpl) {
        if let (None, syn::Type::Path(of)) = (&item.trait_, &*item.self_ty)
            && let Some(of) = of.path.segments.last()
        {
            for item in &item.items {
                if let syn::ImplItem::Fn(method) = item
                    && !self.skips(&method.attrs)
                {
                    self.found.methods.push((of.ident.to_string(), method.sig.ident.to_string()));
                }
            }
        }
        visit::visit_item_impl(self, item);
    }

    fn visit_signature(&mut self, signature: &'ast syn::Signature) {
        if let Some(keyword) = &signature.asyncness {
            self.found.asynchronous.push(line(keyword.span));
        }
        visit::visit_signature(self, signature);
    }

    fn visit_block(&mut self, block: &'ast syn::Block) {
        self.blocks += 1;
        visit::visit_block(self, block);
        self.blocks -= 1;
    }

    fn visit_expr_async(&mut self, block: &'ast syn::ExprAsync) {
        self.found.asynchronous.push(line(block.async_token.span));
        visit::visit_expr_async(self, block);
    }

    fn visit_expr_closure(&mut self, closure: &'ast syn::ExprClosure) {
        if let Some(keyword) = &closure.asyncness {
            self.found.asynchronous.push(line(keyword.span));
        }
        visit::visit_expr_closure(self, closure);
    }

    fn visit_expr_await(&mut self, expression: &'ast syn::ExprAwait) {
        self.found.asynchronous.push(line(expression.await_token.span));
        visit::visit_expr_await(self, expression);
    }

    fn visit_expr_method_call(&mut self, call: &'ast syn::ExprMethodCall) {
        self.found.called.insert(call.method.to_string());
        visit::visit_expr_method_call(self, call);
    }

    // `pub(super)` names a place to be seen from, and uses nothing of it.
    fn visit_vis_restricted(&mut self, _: &'ast syn::VisRestricted) {}

    fn visit_path(&mut self, path: &'ast syn::Path) {
        let written = path.segments.iter().map(|segment| segment.ident.to_string()).collect();
        self.found.mentioned.insert(written);
        visit::visit_path(self, path);
    }

    fn visit_macro(&mut self, item: &'ast syn::Macro) {
        visit::visit_macro(self, item);
        self.tokens(item.tokens.clone());
    }

    fn visit_meta_list(&mut self, list: &'ast syn::MetaList) {
        visit::visit_meta_list(self, list);
        self.tokens(list.tokens.clone());
    }
}
