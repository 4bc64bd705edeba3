//! Quotas: limits that only warn, and the counts that go with them.
//!
//! The node `/zookeeper/quota<path>/zookeeper_limits` arms a quota for `<path>` and all below;
//! `zookeeper_stats` beside it holds the counts. Both hold `count=N,bytes=M`, -1 meaning no limit. The
//! counts are no transactions: they are kept on the side and counted again after a snapshot is read.

use std::collections::BTreeSet;

use ::log::{error, warn};

use super::path;
use super::tree::Tree;

const LIMITS: &str = "/zookeeper_limits";
const STATS: &str = "/zookeeper_stats";

/// Which paths have a quota.
#[derive(Clone, Debug, Default)]
pub(super) struct Quotas {
    armed: BTreeSet<String>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Track {
    count: i64,
    bytes: i64,
}

impl Track {
    fn parse(data: &[u8]) -> Option<Track> {
        let text = std::str::from_utf8(data).ok()?;
        let (count, bytes) = text.split_once(',')?;
        // From 3.7 on hard limits follow.
        let bytes = bytes.strip_prefix("bytes=")?;
        let end = bytes.find(|c: char| c != '-' && !c.is_ascii_digit());
        Some(Track {
            count: count.strip_prefix("count=")?.parse().ok()?,
            bytes: bytes[..end.unwrap_or(bytes.len())].parse().ok()?,
        })
    }

    fn text(self) -> String {
        format!("count={},bytes={}", self.count, self.bytes)
    }
}

impl Quotas {
    /// The path that the node at `path` limits, if that is what it does.
    pub(super) fn bounded_by(path: &str) -> Option<String> {
        subject(path, LIMITS)
    }

    /// The path that the node at `path` holds the counts of, if that is what it does.
    pub(super) fn counted_by(path: &str) -> Option<String> {
        subject(path, STATS)
    }

    /// From now on what happens at `path` and below is counted.
    pub(super) fn arm(&mut self, path: &str) {
        if !path.is_empty() {
            self.armed.insert(path.to_owned());
        }
    }

    /// From now on it is not.
    pub(super) fn disarm(&mut self, path: &str) {
        self.armed.remove(path);
    }

    /// The deepest path with a quota that `path` is or lies below.
    pub(super) fn of(&self, path: &str) -> Option<String> {
        if self.armed.is_empty() {
            return None;
        }
        let mut at = path;
        while at.len() > 1 {
            if self.armed.contains(at) {
                return Some(at.to_owned());
            }
            at = path::parent(at)?;
        }
        None
    }

    /// Adds to the counts of `bounded`, and warns if they pass the limits.
    pub(super) fn count(tree: &mut Tree, bounded: &str, nodes: i64, bytes: i64) {
        let stats = format!("{}{bounded}{STATS}", path::QUOTA);
        let Some(node) = tree.get(&stats) else {
            return error!("Missing count node for stat {stats}");
        };
        let Some(mut track) = node.data.as_deref().and_then(Track::parse) else {
            return error!("No counts in {stats}");
        };
        track.count += nodes;
        track.bytes += bytes;
        tree.set_untraced(&stats, track.text().into_bytes().into());
        let limits = format!("{}{bounded}{LIMITS}", path::QUOTA);
        let Some(node) = tree.get(&limits) else {
            return error!("Missing count node for quota {limits}");
        };
        let Some(limit) = node.data.as_deref().and_then(Track::parse) else {
            return error!("No limits in {limits}");
        };
        if nodes != 0 && limit.count > -1 && limit.count < track.count {
            warn!(
                "Quota exceeded: {bounded} count={} limit={}",
                track.count, limit.count
            );
        }
        if limit.bytes > -1 && limit.bytes < track.bytes {
            warn!(
                "Quota exceeded: {bounded} bytes={} limit={}",
                track.bytes, limit.bytes
            );
        }
    }

    /// Counts `bounded` and all below it anew.
    pub(super) fn recount(tree: &mut Tree, bounded: &str) {
        let mut track = Track { count: 0, bytes: 0 };
        let mut open: Vec<&str> = vec![bounded];
        while let Some(node) = open.pop().and_then(|path| tree.get(path)) {
            track.count += 1;
            track.bytes += node.data.as_ref().map_or(0, |d| d.len() as i64);
            open.extend(node.children.iter().map(|child| &**child));
        }
        let stats = format!("{}{bounded}{STATS}", path::QUOTA);
        if !tree.set_untraced(&stats, track.text().into_bytes().into()) {
            warn!("Missing quota stat node {stats}");
        }
    }
}

fn subject(path: &str, leaf: &str) -> Option<String> {
    let bounded = path.strip_prefix(path::QUOTA)?.strip_suffix(leaf)?;
    Some(bounded.to_owned())
}
