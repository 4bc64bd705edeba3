//! `setquota`, `listquota`, `delquota`: limits on a tree, kept as nodes below `/zookeeper/quota`.
//!
//! ```text
//! /zookeeper/quota/some/path/zookeeper_limits   count=5,bytes=-1   (-1: no limit)
//! /zookeeper/quota/some/path/zookeeper_stats    count=1,bytes=0    (the server's)
//! ```

use super::commands::{At, Failure, Result, text};
use crate::jute::CreateMode;
use crate::zookeeper::{self, Session, paths::parent};

const ROOT: &str = "/zookeeper/quota";
const LIMITS: &str = "zookeeper_limits";
const STATS: &str = "zookeeper_stats";

/// What stands in either node.
struct Track {
    count: i32,
    bytes: i64,
}

impl Track {
    fn parse(text: &str) -> Track {
        let value = |name: &str| {
            let mut parts = text.split(',').filter_map(|part| part.split_once('='));
            parts
                .find(|(n, _)| *n == name)
                .and_then(|(_, v)| v.parse::<i64>().ok())
        };
        Track {
            count: value("count").and_then(|n| i32::try_from(n).ok()).unwrap_or(-1),
            bytes: value("bytes").unwrap_or(-1),
        }
    }

    fn text(&self) -> String {
        format!("count={},bytes={}", self.count, self.bytes)
    }
}

fn illegal(text: String) -> Failure {
    Failure::Java(format!("java.lang.IllegalArgumentException: {text}"))
}

/// Limits the tree at `path`. There may be only one limit on the way from the root to any node.
pub(super) async fn create(
    session: &Session,
    path: &str,
    bytes: Option<i64>,
    count: Option<i32>,
) -> Result<()> {
    if session.exists(path).await.at(path)?.is_none() {
        return Err(illegal(format!("{path} does not exist.")));
    }
    let real = format!("{ROOT}{path}");
    let below = session.children(&real).await.at(&real)?;
    for child in below.iter().flat_map(|(names, _)| names) {
        if !child.starts_with("zookeeper_") {
            return Err(illegal(format!("{path} has child {child} which has a quota")));
        }
    }
    refuse_limited_parent(session, path).await?;
    session.ensure_path(&real).await.at(&real)?;
    let limits = Track {
        count: count.unwrap_or(-1),
        bytes: bytes.unwrap_or(-1),
    };
    let stats = Track { count: 0, bytes: 0 };
    for (name, track) in [(LIMITS, limits), (STATS, stats)] {
        let node = format!("{real}/{name}");
        let data = track.text();
        let made = session.create(&node, Some(data.as_bytes()), CreateMode::Persistent);
        made.await.at(&node)?;
    }
    Ok(())
}

async fn refuse_limited_parent(session: &Session, path: &str) -> Result<()> {
    let mut node = ROOT.to_owned();
    for part in path.split('/').filter(|p| !p.is_empty()) {
        node = format!("{node}/{part}");
        let Some((names, _)) = session.children(&node).await.at(&node)? else {
            return Ok(());
        };
        if names.iter().any(|name| name == LIMITS) {
            return Err(illegal(format!("{path} has a parent {node} which has a quota")));
        }
    }
    Ok(())
}

/// Prints limit and use; whether there is a limit.
pub(super) async fn list(session: &Session, path: &str) -> Result<bool> {
    let limits = format!("{ROOT}{path}/{LIMITS}");
    eprintln!("absolute path is {limits}");
    let stats = format!("{ROOT}{path}/{STATS}");
    for (what, node) in [("quota", limits), ("stat", stats)] {
        let Some(found) = session.get(&node).await.at(&node)? else {
            eprintln!("quota for {path} does not exist.");
            return Ok(false);
        };
        let track = Track::parse(&text(found.data));
        println!("Output {what} for {path} {}", track.text());
    }
    Ok(true)
}

/// Takes one limit away, or with both the whole entry and the parents that served it alone.
pub(super) async fn delete(session: &Session, path: &str, bytes: bool, count: bool) -> Result<()> {
    let real = format!("{ROOT}{path}");
    let node = format!("{real}/{LIMITS}");
    let Some(found) = session.get(&node).await.at(&node)? else {
        println!("Quota does not exist for {path}");
        return Ok(());
    };
    if !(bytes && count) {
        let mut track = Track::parse(&text(found.data));
        if bytes {
            track.bytes = -1;
        } else {
            track.count = -1;
        }
        let set = session.set(&node, track.text().as_bytes(), -1).await;
        return set.map(|_| ()).at(&node);
    }
    for name in session.children(&real).await.at(&real)?.unwrap_or_default().0 {
        let node = format!("{real}/{name}");
        session.delete(&node, -1).await.at(&node)?;
    }
    let mut next = Some(real.as_str());
    while let Some(node) = next.filter(|node| *node != ROOT) {
        match session.delete(node, -1).await {
            Ok(()) => next = parent(node),
            Err(zookeeper::Error::NotEmpty | zookeeper::Error::NoNode) => return Ok(()),
            Err(e) => return Err(Failure::Node(e, node.to_owned())),
        }
    }
    Ok(())
}
