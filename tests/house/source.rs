//! The source as the rules see it: files, the imports between them, and the identifiers they hold.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::Path;

use proc_macro2::{TokenStream, TokenTree};
use syn::visit::{self, Visit};
use syn::{Attribute, Item, ItemMod, ItemUse, Macro, UseTree, Visibility};

/// A file that uses an item of another one.
#[derive(Debug)]
pub struct Import {
    /// The file that has the path, from `src/` on.
    pub from: String,
    /// The file that defines what the path names.
    pub to: String,
    /// The path, from the crate's root on.
    pub path: String,
}

/// All files below `src/`, by their path from there on.
pub struct House {
    files: BTreeMap<String, String>,
}

/// Segments of a path.
type Segments = Vec<String>;

impl House {
    /// The files as they are on the disk.
    pub fn read() -> Self {
        let mut files = BTreeMap::new();
        let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
        read_into(&root, "", &mut files);
        Self { files }
    }

    /// The files of some rooms.
    pub fn only(mut self, rooms: &[&str]) -> Self {
        self.files.retain(|file, _| file.split('/').next().is_some_and(|room| rooms.contains(&room)));
        self
    }

    /// Adds text to the end of a file.
    pub fn add(&mut self, file: &str, text: &str) {
        let all = self.files.get_mut(file).unwrap_or_else(|| panic!("there is no {file}"));
        all.push_str(text);
        all.push('\n');
    }

    /// The files' texts by their paths.
    pub fn files(&self) -> &BTreeMap<String, String> {
        &self.files
    }

    /// Every import of one file by another, tests left out.
    pub fn imports(&self) -> Vec<Import> {
        let parsed: BTreeMap<Segments, (&str, syn::File)> =
            self.parsed().map(|(file, syntax)| (module(file), (file, syntax))).collect();
        let tests = test_modules(&parsed);
        let crates = Crates { parsed: &parsed };
        let mut imports = Vec::new();
        for (module, (file, syntax)) in &parsed {
            if tests.iter().any(|test| module.starts_with(test)) {
                continue;
            }
            let mut paths =
                Paths { module: module.clone(), is_page: file.ends_with("mod.rs"), found: Vec::new() };
            paths.visit_file(syntax);
            for path in paths.found {
                if let Some(to) = crates.definer(&path) {
                    let path = path.join("::");
                    imports.push(Import { from: (*file).into(), to, path });
                }
            }
        }
        imports
    }

    /// The identifiers of each file; comments and texts hold none.
    pub fn identifiers(&self) -> BTreeMap<&str, BTreeSet<String>> {
        let of_file = |text: &String| {
            let mut names = BTreeSet::new();
            collect(text.parse().unwrap(), &mut names);
            names
        };
        self.files.iter().map(|(file, text)| (file.as_str(), of_file(text))).collect()
    }

    fn parsed(&self) -> impl Iterator<Item = (&str, syn::File)> {
        self.files.iter().map(|(file, text)| {
            (file.as_str(), syn::parse_file(text).unwrap_or_else(|e| panic!("{file}: {e}")))
        })
    }
}

fn read_into(folder: &Path, prefix: &str, files: &mut BTreeMap<String, String>) {
    for item in fs::read_dir(folder).unwrap() {
        let path = item.unwrap().path();
        let name = format!("{prefix}{}", path.file_name().unwrap().to_str().unwrap());
        if path.is_dir() {
            read_into(&path, &format!("{name}/"), files);
        } else if name.ends_with(".rs") {
            files.insert(name, fs::read_to_string(&path).unwrap());
        }
    }
}

/// The words of an identifier: `NibblesAndFifths` and `nibbles_and_fifths` have three.
pub fn words(name: &str) -> Vec<String> {
    let mut words = vec![String::new()];
    let mut before = None;
    for c in name.chars() {
        let begins = c.is_uppercase() && before.is_some_and(|before: char| before.is_lowercase());
        if c == '_' || begins {
            words.push(String::new());
        }
        if c != '_' {
            words.last_mut().unwrap().extend(c.to_lowercase());
        }
        before = Some(c);
    }
    words
}

fn collect(tokens: TokenStream, names: &mut BTreeSet<String>) {
    for token in tokens {
        match token {
            TokenTree::Ident(name) => {
                names.insert(name.to_string());
            }
            TokenTree::Group(group) => collect(group.stream(), names),
            _ => {}
        }
    }
}

/// `a/b.rs` and `a/b/mod.rs` are the module a::b; `lib.rs` and `main.rs` are the root.
fn module(file: &str) -> Segments {
    let path = file.trim_end_matches(".rs");
    let path = path.strip_suffix("/mod").unwrap_or(path);
    match path {
        "lib" | "main" => vec![path.into()],
        path => path.split('/').map(String::from).collect(),
    }
}

fn is_for_tests(attributes: &[Attribute]) -> bool {
    attributes.iter().any(|attribute| {
        let mut names = BTreeSet::new();
        if let syn::Meta::List(list) = &attribute.meta {
            collect(list.tokens.clone(), &mut names);
        }
        attribute.path().is_ident("cfg") && names.contains("test") && !names.contains("not")
    })
}

/// Modules with files of their own that exist in tests only.
fn test_modules(parsed: &BTreeMap<Segments, (&str, syn::File)>) -> Vec<Segments> {
    let mut tests = Vec::new();
    for (module, (_, syntax)) in parsed {
        for item in &syntax.items {
            if let Item::Mod(inner) = item
                && is_for_tests(&inner.attrs)
            {
                tests.push([module.clone(), vec![inner.ident.to_string()]].concat());
            }
        }
    }
    tests
}

/// Finds the file that defines what a path names.
struct Crates<'a> {
    parsed: &'a BTreeMap<Segments, (&'a str, syn::File)>,
}

impl Crates<'_> {
    /// The file of the longest module that the path begins with; what that module only gives further (`pub use`) is in the
    /// file that it has it from.
    fn definer(&self, path: &[String]) -> Option<String> {
        let length = (1..=path.len()).rev().find(|n| self.parsed.contains_key(&path[..*n]))?;
        let (file, syntax) = &self.parsed[&path[..length]];
        let Some(name) = path.get(length) else { return Some((*file).into()) };
        let given = syntax.items.iter().find_map(|item| match item {
            Item::Use(item) if !matches!(item.vis, Visibility::Inherited) => {
                let mut leaves = Vec::new();
                leaves_of(&item.tree, &mut Vec::new(), &mut leaves);
                leaves.into_iter().find_map(|Leaf { path: leaf, name: given }| {
                    let target = self.absolute(&path[..length], leaf)?;
                    match given.as_str() {
                        "*" => self.defines(&target, name).then(|| target.clone()),
                        given => (given == name.as_str()).then_some(target),
                    }
                })
            }
            _ => None,
        });
        match given {
            Some(target) if target != path[..length] => self.definer(&target),
            _ => Some((*file).into()),
        }
    }

    fn absolute(&self, module: &[String], path: Segments) -> Option<Segments> {
        let child = [module, &path[..1]].concat();
        match self.parsed.contains_key(&child) {
            true => Some([module, &path].concat()),
            false => absolute(module, path),
        }
    }

    fn defines(&self, module: &[String], name: &str) -> bool {
        let Some((_, syntax)) = self.parsed.get(module) else { return false };
        syntax.items.iter().any(|item| match item {
            Item::Fn(item) => item.sig.ident == name,
            Item::Struct(item) => item.ident == name,
            Item::Enum(item) => item.ident == name,
            Item::Const(item) => item.ident == name,
            Item::Static(item) => item.ident == name,
            Item::Trait(item) => item.ident == name,
            Item::Type(item) => item.ident == name,
            _ => false,
        })
    }
}

/// A path as written in `module`, from the crate's root on; `None` where it leads out of the crate.
fn absolute(module: &[String], path: Segments) -> Option<Segments> {
    match path.first()?.as_str() {
        "crate" | "mist" => Some(path[1..].to_vec()),
        "self" => Some([module, &path[1..]].concat()),
        "super" => {
            let levels = path.iter().take_while(|segment| *segment == "super").count();
            let up = module.len().checked_sub(levels)?;
            Some([&module[..up], &path[levels..]].concat())
        }
        _ => None,
    }
}

/// One name that a `use` brings in, and the path it comes from (without the `*` of a glob).
struct Leaf {
    path: Segments,
    name: String,
}

fn leaves_of(tree: &UseTree, prefix: &mut Segments, leaves: &mut Vec<Leaf>) {
    match tree {
        UseTree::Path(path) => {
            prefix.push(path.ident.to_string());
            leaves_of(&path.tree, prefix, leaves);
            prefix.pop();
        }
        UseTree::Name(name) if name.ident == "self" => {
            leaves.push(Leaf { path: prefix.clone(), name: prefix.last().cloned().unwrap_or_default() });
        }
        UseTree::Name(name) => {
            let name = name.ident.to_string();
            leaves.push(Leaf { path: [prefix.as_slice(), std::slice::from_ref(&name)].concat(), name });
        }
        UseTree::Rename(rename) => {
            let path = [prefix.as_slice(), &[rename.ident.to_string()]].concat();
            leaves.push(Leaf { path, name: rename.rename.to_string() });
        }
        UseTree::Glob(_) => leaves.push(Leaf { path: prefix.clone(), name: "*".into() }),
        UseTree::Group(group) => group.items.iter().for_each(|tree| leaves_of(tree, prefix, leaves)),
    }
}

/// All paths of a file that begin at the crate's root, in `use` lines, code and macros; what is for tests is left out.
struct Paths {
    module: Segments,
    /// Whether the file is a `mod.rs`, whose `pub use` lines import nothing.
    is_page: bool,
    found: Vec<Segments>,
}

impl Paths {
    fn add(&mut self, path: Segments) {
        let children = || [self.module.as_slice(), &path[..1]].concat();
        let path = match path.first().map(String::as_str) {
            Some("crate" | "mist" | "self" | "super") => absolute(&self.module, path),
            // A module beside the item, as `mod.rs` names its children.
            Some(_) => Some([children(), path[1..].to_vec()].concat()),
            None => None,
        };
        self.found.extend(path);
    }

    fn tokens(&mut self, tokens: TokenStream) {
        let mut path: Segments = Vec::new();
        let mut colons = 0;
        for token in tokens {
            match token {
                TokenTree::Ident(name) if colons == 2 && !path.is_empty() => path.push(name.to_string()),
                TokenTree::Ident(name) => {
                    self.finish(&mut path);
                    path.push(name.to_string());
                }
                TokenTree::Punct(punct) if punct.as_char() == ':' => {
                    colons += 1;
                    continue;
                }
                TokenTree::Group(group) => {
                    self.finish(&mut path);
                    self.tokens(group.stream());
                }
                _ => self.finish(&mut path),
            }
            colons = 0;
        }
        self.finish(&mut path);
    }

    fn finish(&mut self, path: &mut Segments) {
        let path = std::mem::take(path);
        if path.len() > 1 {
            self.add(path);
        }
    }
}

impl<'ast> Visit<'ast> for Paths {
    fn visit_item(&mut self, item: &'ast Item) {
        let attributes = match item {
            Item::Const(item) => &item.attrs,
            Item::Enum(item) => &item.attrs,
            Item::Fn(item) => &item.attrs,
            Item::Impl(item) => &item.attrs,
            Item::Macro(item) => &item.attrs,
            Item::Mod(item) => &item.attrs,
            Item::Static(item) => &item.attrs,
            Item::Struct(item) => &item.attrs,
            Item::Trait(item) => &item.attrs,
            Item::Type(item) => &item.attrs,
            Item::Use(item) => &item.attrs,
            _ => return visit::visit_item(self, item),
        };
        if !is_for_tests(attributes) {
            visit::visit_item(self, item);
        }
    }

    fn visit_item_mod(&mut self, item: &'ast ItemMod) {
        self.module.push(item.ident.to_string());
        visit::visit_item_mod(self, item);
        self.module.pop();
    }

    fn visit_item_use(&mut self, item: &'ast ItemUse) {
        if self.is_page && !matches!(item.vis, Visibility::Inherited) {
            return;
        }
        let mut leaves = Vec::new();
        leaves_of(&item.tree, &mut Vec::new(), &mut leaves);
        leaves.into_iter().for_each(|leaf| self.add(leaf.path));
    }

    fn visit_path(&mut self, path: &'ast syn::Path) {
        if path.segments.len() > 1 {
            self.add(path.segments.iter().map(|segment| segment.ident.to_string()).collect());
        }
        visit::visit_path(self, path);
    }

    fn visit_macro(&mut self, item: &'ast Macro) {
        self.tokens(item.tokens.clone());
        visit::visit_macro(self, item);
    }
}
