//! Everything that a client can see of a server's tree, as text.

use std::collections::BTreeMap;

use kafka::jute::{
    ChildrenResponse, GetAclResponse, GetDataResponse, OpCode, PathRecord, Stat, WatchableRequest,
};

use super::wire::Wire;

/// All nodes below the root with data, stat and ACL.
pub fn dump(wire: &mut Wire) -> BTreeMap<String, String> {
    let mut found = BTreeMap::new();
    let mut open = vec!["/".to_owned()];
    while let Some(path) = open.pop() {
        let ask = WatchableRequest {
            path: path.clone(),
            watch: false,
        };
        let children: ChildrenResponse = wire.get(OpCode::GetChildren, &ask);
        for child in children.children {
            open.push(format!("{}/{child}", path.trim_end_matches('/')));
        }
        let answer: GetDataResponse = match wire.call(OpCode::GetData, &ask) {
            answer if answer.header.err.0 == 0 => kafka::jute::Record::parse(answer.body).expect("data"),
            _ => {
                let stat: Stat = wire.get(OpCode::Exists, &ask);
                GetDataResponse { data: None, stat }
            }
        };
        let acl: GetAclResponse = wire.get(OpCode::GetAcl, &PathRecord { path: path.clone() });
        found.insert(path, format!("{:?} {:?} {:?}", answer.data, answer.stat, acl.acl));
    }
    found
}

/// Fails with the nodes that differ.
#[track_caller]
pub fn assert_same(expected: &BTreeMap<String, String>, got: &BTreeMap<String, String>) {
    for (path, node) in expected {
        assert_eq!(Some(node), got.get(path), "{path}");
    }
    for path in got.keys() {
        assert!(expected.contains_key(path), "{path} should not be there");
    }
}

/// What lies below a node, without ACLs: newer servers show these in part.
pub fn below(top: &str, all: &BTreeMap<String, String>) -> BTreeMap<String, String> {
    let inside = |path: &str| path == top || path.starts_with(&format!("{top}/"));
    all.iter()
        .filter(|(path, _)| inside(path))
        .map(|(path, node)| {
            let end = node.find(" [Acl").unwrap_or(node.len());
            (path.clone(), node[..end].to_owned())
        })
        .collect()
}
