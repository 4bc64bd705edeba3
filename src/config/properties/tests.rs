use super::*;

fn parse(text: &str) -> Vec<(String, String, String)> {
    Properties::parse(text.as_bytes(), "f")
        .unwrap()
        .entries()
        .map(|e| (e.key.clone(), e.value.clone(), e.place.clone()))
        .collect()
}

fn value(text: &str) -> String {
    Properties::parse(text.as_bytes(), "f")
        .unwrap()
        .get("k")
        .unwrap()
        .to_string()
}

#[test]
fn key_ends_at_equals_colon_or_blank() {
    for text in ["k=v", "k:v", "k v", " \t\x0ck = v", "k\t:\tv", "k   v", "k =v"] {
        assert_eq!(value(text), "v", "{text:?}");
    }
    assert_eq!(value("k == v"), "= v");
    assert_eq!(value("k"), "");
    assert_eq!(value("k="), "");
    assert_eq!(value("k=v  "), "v  ");
    assert_eq!(parse("a\\=b\\ c\\:=v")[0].0, "a=b c:");
}

#[test]
fn comments_and_blank_lines_do_not_count_and_do_not_continue() {
    let all = parse("# a\\\n! b\n\n   \nk=v\r\n  # c\rl=w");
    assert_eq!(
        all,
        [("k", "v", "f:5"), ("l", "w", "f:7")].map(|(k, v, p)| (k.into(), v.into(), p.into()))
    );
}

#[test]
fn an_odd_number_of_backslashes_joins_the_next_line() {
    assert_eq!(value("k=a\\\n   b\\\r\n\t# c"), "ab# c");
    assert_eq!(value("k=a\\\\\nb=c"), "a\\");
    assert_eq!(value("k=a\\"), "a");
    assert_eq!(parse("k=a\\\nb\nl=c")[1].2, "f:3");
}

#[test]
fn escapes_vanish_or_mean_control_characters() {
    assert_eq!(value("k=D:\\Kafka\\logs"), "D:Kafkalogs");
    assert_eq!(value("k=C:\\tmp\\new"), "C:\tmp\new");
    assert_eq!(value("k=D:\\\\Kafka"), "D:\\Kafka");
    assert_eq!(value("k=\\u00e9\\uD83D\\uDE00"), "é😀");
    assert_eq!(Properties::parse(b"k=\xe9", "f").unwrap().get("k"), Some("é"));
    let error = Properties::parse(b"\nk=C:\\users", "f").unwrap_err();
    assert_eq!(error.to_string(), "f:2: Malformed \\uxxxx encoding.");
}

#[test]
fn the_last_duplicate_wins_and_overrides_come_last() {
    let mut p = Properties::parse(b"k=1\nk=2", "f").unwrap();
    assert_eq!(p.get("k"), Some("2"));
    p.set("k", "3", "--override");
    assert_eq!(p.entries().count(), 1);
    assert_eq!(p.entry("k").unwrap().place, "--override");
}

#[test]
fn a_directory_without_its_backslashes_is_pointed_out() {
    let p = Properties::parse(b"log.dirs=/a,D:\\Kafka\nx=C:d", "f").unwrap();
    let warnings: Vec<String> = p.warnings(&["log.dirs"]).collect();
    assert_eq!(warnings.len(), 1);
    assert!(
        warnings[0].starts_with("f:1: log.dirs=D:Kafka is relative"),
        "{warnings:?}"
    );
}

fn on_windows(text: &str) -> String {
    let p = Properties::read(text.as_bytes(), "f", true).unwrap();
    p.get("k").unwrap().to_owned()
}

#[test]
fn on_windows_a_path_with_single_backslashes_is_meant_as_written() {
    for (text, path) in [
        ("k=D:\\data\\zookeeper", "D:\\data\\zookeeper"),
        ("k=C:\\users\\tmp\\new", "C:\\users\\tmp\\new"),
        ("k=C:\\a\\\nl=b", "C:\\a\\"),
        ("k=C:\\", "C:\\"),
        ("k=/a, D:\\b", "/a, D:\\b"),
        // Java's own spellings stay what they are.
        ("k=D:\\\\data\\\\x", "D:\\data\\x"),
        ("k=D:/data/x", "D:/data/x"),
        ("k=C\\:/data", "C:/data"),
        ("k=\\u0044:/x", "D:/x"),
        ("k=a\\tb", "a\tb"),
        ("k=a\\\n b", "ab"),
    ] {
        assert_eq!(on_windows(text), path, "{text}");
    }
    let malformed = Properties::read(b"k=\\users", "f", true).unwrap_err();
    assert_eq!(malformed.to_string(), "f:1: Malformed \\uxxxx encoding.");
}

#[test]
fn a_file_that_is_utf_8_is_read_as_utf_8() {
    let first = |bytes: &[u8]| Properties::parse(bytes, "f").unwrap().entries[0].clone();
    assert_eq!(first("dataDir=/größe/三😀".as_bytes()).value, "/größe/三😀");
    let marked = first(b"\xef\xbb\xbfdataDir=/d");
    assert_eq!((marked.key.as_str(), marked.value.as_str()), ("dataDir", "/d"));
    // One byte that is not: all of it is what Java reads.
    assert_eq!(first(b"k=\xc3\xb6\xe9").value, "Ã¶é");
}
