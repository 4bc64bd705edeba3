use super::*;

fn parser() -> OptionParser {
    let mut parser = OptionParser::new();
    parser.accepts("zookeeper", "").with_required_arg();
    parser.accepts("topic", "").with_required_arg();
    parser.accepts("topics-with-overrides", "");
    parser
        .accepts("partitions", "")
        .with_required_arg()
        .of_type(ArgType::Integer);
    parser
        .accepts("time", "")
        .with_required_arg()
        .of_type(ArgType::Long)
        .defaults_to(-1);
    parser.accepts("codec", "").with_optional_arg();
    parser.accepts("list", "");
    parser
}

fn parse(words: &[&str]) -> Result<OptionSet> {
    parser().parse(&words.iter().map(|w| w.to_string()).collect::<Vec<_>>())
}

#[test]
fn an_argument_follows_or_stands_behind_the_equals_sign() {
    for words in [
        ["--topic", "t"].as_slice(),
        &["--topic=t"],
        &["-topic", "t"],
        &["-topic=t"],
        &["--topic=", "t"],
    ] {
        assert_eq!(
            parse(words).unwrap().value("topic").unwrap().as_deref(),
            Some("t"),
            "{words:?}"
        );
    }
}

#[test]
fn an_unambiguous_beginning_of_a_name_will_do() {
    assert_eq!(
        parse(&["--zoo", "h"])
            .unwrap()
            .value("zookeeper")
            .unwrap()
            .as_deref(),
        Some("h")
    );
    assert_eq!(
        parse(&["--top", "t"]).unwrap_err().to_string(),
        "'top' is not a recognized option"
    );
    assert!(
        parse(&["--topic", "t"]).unwrap().has("topic"),
        "a whole name wins over a longer one"
    );
}

#[test]
fn a_required_argument_swallows_what_looks_like_an_option() {
    let options = parse(&["--time", "-2", "--topic", "--list"]).unwrap();
    assert_eq!(options.long("time").unwrap(), Some(-2));
    assert_eq!(options.value("topic").unwrap().as_deref(), Some("--list"));
    assert!(!options.has("list"));
}

#[test]
fn an_optional_argument_does_not() {
    let options = parse(&["--codec", "--list"]).unwrap();
    assert!(options.has("codec") && options.has("list"));
    assert_eq!(options.value("codec").unwrap(), None);
    assert_eq!(
        parse(&["--codec", "gzip"])
            .unwrap()
            .value("codec")
            .unwrap()
            .as_deref(),
        Some("gzip")
    );
}

#[test]
fn defaults_are_values_but_not_presence() {
    let options = parse(&[]).unwrap();
    assert_eq!(options.long("time").unwrap(), Some(-1));
    assert!(!options.has("time"));
}

#[test]
fn other_words_are_collected() {
    let options = parse(&["a", "--list", "-", "--", "--topic"]).unwrap();
    assert_eq!(options.non_option_arguments(), ["a", "-", "--topic"]);
}

#[test]
fn mistakes_have_the_texts_of_the_original() {
    for (words, text) in [
        (["--foo"].as_slice(), "'foo' is not a recognized option"),
        (&["-foo"], "'f' is not a recognized option"),
        (&["--topic"], "Option ['topic'] requires an argument"),
    ] {
        assert_eq!(parse(words).unwrap_err().to_string(), text);
    }
    let twice = parse(&["--topic", "a", "--topic", "b"]).unwrap();
    assert_eq!(
        twice.value("topic").unwrap_err().to_string(),
        "Found multiple arguments for option ['topic'], but you asked for only one"
    );
    assert_eq!(twice.values("topic").unwrap(), ["a", "b"]);
    assert_eq!(
        parse(&["--partitions", "x"])
            .unwrap()
            .int("partitions")
            .unwrap_err()
            .to_string(),
        "Cannot convert argument 'x' of option ['partitions'] to class java.lang.Integer"
    );
}

#[test]
fn rules_between_options_are_usage_errors() {
    let parser = parser();
    let options = parser.parse(&["--list".into(), "--topic=t".into()]).unwrap();
    let missing = check_required_args(&parser, &options, &["list", "zookeeper"]).unwrap_err();
    assert_eq!(missing.to_string(), "Missing required argument \"[zookeeper]\"");
    let conflict = check_invalid_args(&parser, &options, "list", &["partitions", "topic"]).unwrap_err();
    assert_eq!(
        conflict.to_string(),
        "Option \"[list]\" can't be used with option\"[topic]\""
    );
}

#[test]
fn key_value_words_split_as_java_splits_them() {
    let pairs = parse_key_value_args(&["a=1", "b", "c=", "="]).unwrap();
    let expected = [("a", "1"), ("b", ""), ("c", "")].map(|(k, v)| (k.to_string(), v.to_string()));
    assert_eq!(pairs, expected);
    assert_eq!(
        parse_key_value_args(&["a=1", "b=c=d"]).unwrap_err().to_string(),
        "Invalid command line properties: a=1 b=c=d"
    );
}

/// Options of random names and texts, laid out by jopt-simple 3.2 itself on JDK 17.
#[test]
fn the_table_is_laid_out_as_the_original_lays_it_out() {
    let golden = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/golden/help");
    let read = |name: &str| std::fs::read_to_string(golden.join(name)).unwrap();
    let mut parser = OptionParser::new();
    for line in read("layout.spec").lines() {
        let [name, argument, kind, word, default, description] = line.split('|').collect::<Vec<_>>()[..]
        else {
            panic!("six fields: {line}");
        };
        let kind = match kind {
            "Integer" => ArgType::Integer,
            "Long" => ArgType::Long,
            "Double" => ArgType::Double,
            _ => ArgType::String,
        };
        let spec = parser.accepts(name, &description.replace("\\n", "\n").replace("\\t", "\t"));
        match argument {
            "none" => continue,
            "required" => spec.with_required_arg(),
            _ => spec.with_optional_arg(),
        };
        spec.described_as(word).of_type(kind);
        match (default, kind) {
            ("", _) => {}
            (n, ArgType::Double) => drop(spec.defaults_to(format!("{n}.0"))),
            (n, _) => drop(spec.defaults_to(n)),
        }
    }
    let (ours, theirs) = (parser.help(), read("layout.txt"));
    for (ours, theirs) in ours.lines().zip(theirs.lines()) {
        assert_eq!(ours, theirs);
    }
    assert_eq!(ours, theirs);
}

#[test]
fn an_argument_may_hold_several_values() {
    let mut parser = OptionParser::new();
    parser
        .accepts("add", "")
        .with_required_arg()
        .values_separated_by(',');
    let typed = ["--add", "a=1,,b=2,", "--add=c", "--add", ","].map(String::from);
    let values = parser.parse(&typed).unwrap().values("add").unwrap();
    assert_eq!(values, ["a=1", "b=2", "c", ","]);
}
