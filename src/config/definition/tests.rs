use super::*;

static KEYS: &[Key] = &[
    Key::int("num.partitions").default("1").at_least(1),
    Key::boolean("log.cleaner.enable").default("true"),
    Key::string("log.cleanup.policy")
        .default("delete")
        .one_of(&["compact", "delete"]),
    Key::double("ratio").default("0.5").between(0, 1),
    Key::short("factor").default("3").at_least(1),
    Key::long("bytes").optional(),
    Key::list("reporters").default(""),
    Key::class("builder").default("a.B").one_of(&["a.B"]),
    Key::password("secret").optional(),
    Key::string("zookeeper.connect").not_acted_on(),
];

fn read(text: &str) -> (Values, Vec<Mistake>) {
    let text = format!("zookeeper.connect=x\n{text}");
    Definition::new(&[KEYS])
        .unwrap()
        .read(&Properties::parse(text.as_bytes(), "f").unwrap())
}

#[test]
fn wrong_values_are_told_in_kafkas_words() {
    for (line, rule) in [
        (
            "num.partitions=abc",
            "Invalid value abc for configuration num.partitions: Not a number of type INT",
        ),
        (
            "num.partitions=0",
            "Invalid value 0 for configuration num.partitions: Value must be at least 1",
        ),
        (
            "num.partitions=",
            "Invalid value  for configuration num.partitions: Not a number of type INT",
        ),
        (
            "log.cleaner.enable=yes",
            "Invalid value yes for configuration log.cleaner.enable: Expected value to be either true or false",
        ),
        (
            "log.cleanup.policy=Delete",
            "Invalid value Delete for configuration log.cleanup.policy: String must be one of: compact, delete",
        ),
        (
            "ratio=2",
            "Invalid value 2.0 for configuration ratio: Value must be no more than 1",
        ),
        (
            "ratio=-1",
            "Invalid value -1.0 for configuration ratio: Value must be at least 0",
        ),
        (
            "factor=70000",
            "Invalid value 70000 for configuration factor: Not a number of type SHORT",
        ),
        (
            "bytes=z",
            "Invalid value z for configuration bytes: Not a number of type LONG",
        ),
        (
            "builder=x.Y",
            "Invalid value x.Y for configuration builder: Class x.Y could not be found.",
        ),
    ] {
        let mistakes = read(line).1;
        assert_eq!(mistakes.len(), 1, "{line}");
        assert_eq!(mistakes[0].rule, rule);
        assert_eq!(mistakes[0].place, "f:2");
    }
}

#[test]
fn every_mistake_is_reported() {
    let definition = Definition::new(&[KEYS]).unwrap();
    let mistakes = definition
        .read(&Properties::parse(b"num.partitions=x\nbytes=y", "f").unwrap())
        .1;
    assert_eq!(mistakes.len(), 3);
    let missing = "Missing required configuration \"zookeeper.connect\" which has no default value.";
    assert!(
        mistakes
            .iter()
            .any(|m| m.rule == missing && m.to_string() == missing)
    );
}

#[test]
fn values_are_trimmed_and_java_s_spellings_are_taken() {
    let (values, mistakes) =
        read("num.partitions= +2 \nlog.cleaner.enable=TRUE\nratio=1d\nreporters=a , b,,");
    assert!(mistakes.is_empty(), "{mistakes:?}");
    assert_eq!(values.int("num.partitions"), 2);
    assert!(values.boolean("log.cleaner.enable"));
    assert_eq!(values.double("ratio"), 1.0);
    assert_eq!(values.list("reporters"), ["a", "b", "", ""]);
    assert_eq!(values.number_or_null("bytes"), None);
}

#[test]
fn values_are_shown_as_java_shows_them() {
    let (values, _) = read("secret=p\nreporters=a,b");
    assert_eq!(values.get("secret").to_string(), "[hidden]");
    assert_eq!(values.get("reporters").to_string(), "[a, b]");
    assert_eq!(values.get("bytes").to_string(), "null");
}

#[test]
fn one_name_has_one_row() {
    static TWICE: &[Key] = &[Key::int("num.partitions")];
    assert_eq!(
        Definition::new(&[KEYS, TWICE]).unwrap_err(),
        DefinedTwice("num.partitions")
    );
}

#[test]
fn keys_without_effect_are_warned_about() {
    let definition = Definition::new(&[KEYS]).unwrap();
    let warnings =
        definition.warnings(&Properties::parse(b"zookeeper.connect=h\nnum.partition=3", "f").unwrap());
    assert_eq!(
        warnings,
        [
            "f:1: Property zookeeper.connect is known but has no effect yet",
            "f:2: Property num.partition is not valid"
        ]
    );
}
