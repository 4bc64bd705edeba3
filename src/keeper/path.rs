//! The rules for names of nodes.

/// Where the quotas lie.
pub(super) const QUOTA: &str = "/zookeeper/quota";
/// The server's own subtree.
pub(super) const ZOOKEEPER: &str = "/zookeeper";

/// The parent's path; that of `/a` is `/`. `None` if there is no slash in it.
pub(super) fn parent(path: &str) -> Option<&str> {
    match path.rfind('/')? {
        0 => Some("/"),
        at => Some(&path[..at]),
    }
}

/// The part after the last slash.
pub(super) fn name(path: &str) -> &str {
    path.rsplit('/').next().unwrap_or_default()
}

/// Whether a node may have this path.
pub(super) fn is_valid(path: &str) -> bool {
    if path == "/" {
        return true;
    }
    let Some(names) = path.strip_prefix('/') else {
        return false;
    };
    names
        .split('/')
        .all(|name| !name.is_empty() && name != "." && name != "..")
        && names.chars().all(is_allowed)
}

/// Java's rule works on UTF-16 units, so that no character above U+FFFF passes: its halves lie in
/// the forbidden range.
fn is_allowed(c: char) -> bool {
    !matches!(u32::from(c),
        0 | 0x01..=0x1e | 0x80..=0x9e | 0xd801..=0xf8fe | 0xfff1..=0xfffe | 0x1_0000..)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parents_and_names_split_at_the_last_slash() {
        assert_eq!(parent("/a/b"), Some("/a"));
        assert_eq!(parent("/a"), Some("/"));
        assert_eq!(parent("a"), None);
        assert_eq!(name("/a/b"), "b");
    }

    #[test]
    fn paths_follow_zookeepers_rules() {
        for good in ["/", "/a", "/a/b", "/a.b", "/...", "/\u{1f}", "/ä", "/a b"] {
            assert!(is_valid(good), "{good:?}");
        }
        for bad in [
            "",
            "a",
            "/a/",
            "//a",
            "/a//b",
            "/.",
            "/a/../b",
            "/a\0",
            "/a\u{1}",
            "/\u{90}",
            "/\u{fffd}",
            "/\u{1F600}",
            "/\u{e000}",
        ] {
            assert!(!is_valid(bad), "{bad:?}");
        }
    }
}
