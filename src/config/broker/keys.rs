//! The rows of kafka.server.KafkaConfig, grouped as its documentation groups them, and of the keys that
//! parts of 0.9 read beside it. Does not know how keys depend on each other: `super` does.

use crate::config::definition::Key;

/// Every key of KafkaConfig.
pub static KEYS: &[Key] = &[
    Key::string("zookeeper.connect").high().doc("Where ZooKeeper is: `host:port,host:port/chroot`. The chroot is made if missing."),
    Key::int("zookeeper.session.timeout.ms").default("6000").high().doc("ZooKeeper declares this broker dead when it hears nothing for so long. Both ends may only grant what the server's bounds allow."),
    Key::int("zookeeper.connection.timeout.ms").optional().high().doc("How long to wait for ZooKeeper at start. The session timeout if not set."),
    Key::int("zookeeper.sync.time.ms").default("2000").low().not_acted_on().doc("How far a ZooKeeper follower may trail. Only 0.8's consumers used it."),
    Key::boolean("zookeeper.set.acl").default("false").high().not_acted_on().doc("Let only this broker's principal change what it writes to ZooKeeper."),
    Key::int("broker.id").default("-1").high().doc("The number of this broker, unique in the cluster. -1 takes the one in `meta.properties`, or a generated one."),
    Key::boolean("broker.id.generation.enable").default("true").doc("Whether a broker without a number gets one, above `reserved.broker.max.id`."),
    Key::int("reserved.broker.max.id").default("1000").at_least(0).doc("The highest number that can be configured while generation is on."),
    Key::int("message.max.bytes").default("1000012").at_least(0).high().doc("The largest message, or compressed set, that is accepted. Default of the topics' `max.message.bytes`."),
    Key::int("num.network.threads").default("3").at_least(1).high().doc("Threads that serve sockets."),
    Key::int("num.io.threads").default("8").at_least(1).high().doc("Threads that may be busy with disks at a time."),
    Key::int("background.threads").default("10").at_least(1).high().not_acted_on().doc("Threads for housekeeping. This broker's housekeeping needs no pool."),
    Key::int("queued.max.requests").default("500").at_least(1).high().not_acted_on().doc("Requests that may wait for a thread. In this broker each connection has one request in hand and none waits in a queue."),
    Key::int("request.timeout.ms").default("30000").high().doc("How long this broker waits for an answer from another."),
    Key::string("authorizer.class.name").default("").low().not_acted_on().doc("The class that decides who may do what; empty allows everything."),
    Key::int("port").default("9092").high().doc("The port to listen on when `listeners` is not set."),
    Key::string("host.name").default("").high().doc("The address to listen on when `listeners` is not set; empty means all."),
    Key::string("listeners").optional().high().doc("Where to listen: `PROTOCOL://host:port` between commas, each protocol and port once. An empty host means all addresses, port 0 a free port."),
    Key::string("advertised.host.name").optional().high().doc("The host that clients are told, when `advertised.listeners` is not set. `host.name` if only the port is set."),
    Key::int("advertised.port").optional().high().doc("The port that clients are told, when `advertised.listeners` is not set. `port` if only the host is set."),
    Key::string("advertised.listeners").optional().high().doc("Where clients are told to connect, if that differs from `listeners`: behind a proxy or in a container."),
    Key::int("socket.send.buffer.bytes").default("102400").high().doc("SO_SNDBUF of accepted sockets; -1 leaves it to the system."),
    Key::int("socket.receive.buffer.bytes").default("102400").high().doc("SO_RCVBUF of accepted sockets; -1 leaves it to the system."),
    Key::int("socket.request.max.bytes").default("104857600").at_least(1).high().doc("The largest request accepted; a client that announces more is disconnected."),
    Key::int("max.connections.per.ip").default("2147483647").at_least(1).doc("Connections that one address may hold at a time."),
    Key::string("max.connections.per.ip.overrides").default("").doc("Exceptions to that: `host:number` between commas."),
    Key::long("connections.max.idle.ms").default("600000").doc("A connection that is idle for so long is closed."),
    Key::int("num.partitions").default("1").at_least(1).doc("Partitions of a topic that is created because someone asked for it."),
    Key::string("log.dir").default("/tmp/kafka-logs").high().doc("Where the data is kept, if `log.dirs` is not set."),
    Key::string("log.dirs").optional().high().doc("Where the data is kept, between commas; a new partition goes to the directory that has fewest."),
    Key::int("log.segment.bytes").default("1073741824").at_least(14).high().doc("Default of the topics' `segment.bytes`."),
    Key::long("log.roll.ms").optional().high().doc("Default of the topics' `segment.ms`. `log.roll.hours` if not set."),
    Key::int("log.roll.hours").default("168").at_least(1).high().doc("As `log.roll.ms`, in hours."),
    Key::long("log.roll.jitter.ms").optional().high().doc("Default of the topics' `segment.jitter.ms`. `log.roll.jitter.hours` if not set."),
    Key::int("log.roll.jitter.hours").default("0").at_least(0).high().doc("As `log.roll.jitter.ms`, in hours."),
    Key::long("log.retention.ms").optional().high().doc("Default of the topics' `retention.ms`. `log.retention.minutes` if not set."),
    Key::int("log.retention.minutes").optional().high().doc("As `log.retention.ms`, in minutes. `log.retention.hours` if not set."),
    Key::int("log.retention.hours").default("168").high().doc("As `log.retention.ms`, in hours."),
    Key::long("log.retention.bytes").default("-1").high().doc("Default of the topics' `retention.bytes`: of each partition, not of the topic."),
    Key::long("log.retention.check.interval.ms").default("300000").at_least(1).doc("How often logs are looked through for segments to drop."),
    Key::string("log.cleanup.policy").default("delete").one_of(&["compact", "delete"]).doc("Default of the topics' `cleanup.policy`."),
    Key::boolean("log.cleaner.enable").default("true").doc("Whether logs with the policy `compact` are compacted."),
    Key::int("log.cleaner.threads").default("1").at_least(0).doc("Threads that compact."),
    Key::double("log.cleaner.io.max.bytes.per.second").default("1.7976931348623157E308").doc("Reading and writing of all compaction together stays below this."),
    Key::long("log.cleaner.dedupe.buffer.size").default("134217728").doc("Memory for the keys of a compaction, of all threads together."),
    Key::int("log.cleaner.io.buffer.size").default("524288").at_least(0).doc("Memory for reading and writing, of all compacting threads together."),
    Key::double("log.cleaner.io.buffer.load.factor").default("0.9").doc("How full the table of keys may get."),
    Key::long("log.cleaner.backoff.ms").default("15000").at_least(0).doc("The pause when there is nothing to compact."),
    Key::double("log.cleaner.min.cleanable.ratio").default("0.5").doc("Default of the topics' `min.cleanable.dirty.ratio`."),
    Key::long("log.cleaner.delete.retention.ms").default("86400000").doc("Default of the topics' `delete.retention.ms`."),
    Key::int("log.index.size.max.bytes").default("10485760").at_least(4).doc("Default of the topics' `segment.index.bytes`."),
    Key::int("log.index.interval.bytes").default("4096").at_least(0).doc("Default of the topics' `index.interval.bytes`."),
    Key::long("log.flush.interval.messages").default("9223372036854775807").at_least(1).high().doc("Default of the topics' `flush.messages`."),
    Key::long("log.flush.scheduler.interval.ms").default("9223372036854775807").high().doc("How often logs are looked through for some that are due to be forced to disk."),
    Key::long("log.flush.interval.ms").optional().high().doc("Default of the topics' `flush.ms`. `log.flush.scheduler.interval.ms` if not set."),
    Key::int("log.flush.offset.checkpoint.interval.ms").default("60000").at_least(0).high().doc("How often it is written down up to where logs are surely on disk."),
    Key::long("log.segment.delete.delay.ms").default("60000").at_least(0).high().doc("Default of the topics' `file.delete.delay.ms`."),
    Key::boolean("log.preallocate").default("false").doc("Default of the topics' `preallocate`."),
    Key::int("num.recovery.threads.per.data.dir").default("1").at_least(1).high().doc("Threads for each directory that open the segments of its logs at start and force them to disk at the end."),
    Key::boolean("auto.create.topics.enable").default("true").high().doc("Whether asking for a topic that does not exist creates it."),
    Key::int("min.insync.replicas").default("1").at_least(1).high().doc("Default of the topics' key of the same name."),
    Key::int("controller.socket.timeout.ms").default("30000").doc("How long the controller waits for a broker's answer."),
    Key::int("default.replication.factor").default("1").doc("Replicas of a topic that is created because someone asked for it."),
    Key::long("replica.lag.time.max.ms").default("10000").high().doc("A follower that has not caught up for so long is no longer in sync."),
    Key::int("replica.socket.timeout.ms").default("30000").high().doc("How long a follower waits for its leader's answer."),
    Key::int("replica.socket.receive.buffer.bytes").default("65536").high().doc("SO_RCVBUF of a follower's connection to its leader."),
    Key::int("replica.fetch.max.bytes").default("1048576").high().doc("What a follower asks for per partition; at least `message.max.bytes`."),
    Key::int("replica.fetch.wait.max.ms").default("500").high().doc("How long a leader may let a follower wait for data; at most `replica.lag.time.max.ms`."),
    Key::int("replica.fetch.min.bytes").default("1").high().doc("How much data a follower waits for."),
    Key::int("replica.fetch.backoff.ms").default("1000").at_least(0).doc("A follower's pause after an error."),
    Key::int("num.replica.fetchers").default("1").high().doc("Connections to each leader that partitions are spread over."),
    Key::long("replica.high.watermark.checkpoint.interval.ms").default("5000").high().doc("How often high watermarks are written to disk."),
    Key::int("fetch.purgatory.purge.interval.requests").default("1000").not_acted_on().doc("When waiting fetches that were answered are cleared away. This broker does so at once."),
    Key::int("producer.purgatory.purge.interval.requests").default("1000").not_acted_on().doc("When waiting produces that were answered are cleared away. This broker does so at once."),
    Key::boolean("auto.leader.rebalance.enable").default("true").high().doc("Whether the controller gives partitions back to their preferred leaders by itself."),
    Key::int("leader.imbalance.per.broker.percentage").default("10").high().doc("The share of a broker's partitions led by others above which it does so."),
    Key::long("leader.imbalance.check.interval.seconds").default("300").high().doc("How often it looks."),
    Key::boolean("unclean.leader.election.enable").default("true").high().doc("Default of the topics' key of the same name."),
    Key::string("security.inter.broker.protocol").default("PLAINTEXT").doc("The protocol that brokers talk to each other with: one of those advertised."),
    Key::string("inter.broker.protocol.version").default("0.9.0.X").doc("The release whose protocol the brokers speak among themselves; lower it while brokers are upgraded one by one."),
    Key::boolean("controlled.shutdown.enable").default("true").doc("Whether a stopping broker first has its leaderships moved away."),
    Key::int("controlled.shutdown.max.retries").default("3").doc("How often it tries."),
    Key::long("controlled.shutdown.retry.backoff.ms").default("5000").doc("The pause between tries."),
    Key::int("group.min.session.timeout.ms").default("6000").doc("The shortest session timeout that a group's member may ask for."),
    Key::int("group.max.session.timeout.ms").default("30000").doc("The longest session timeout that a group's member may ask for."),
    Key::int("offset.metadata.max.bytes").default("4096").high().doc("The longest text that a consumer may store beside an offset."),
    Key::int("offsets.load.buffer.size").default("5242880").at_least(1).high().doc("How much is read at a time when offsets are loaded."),
    Key::short("offsets.topic.replication.factor").default("3").at_least(1).high().doc("Replicas of the offsets topic."),
    Key::int("offsets.topic.num.partitions").default("50").at_least(1).high().doc("Partitions of the offsets topic. Not to be changed later."),
    Key::int("offsets.topic.segment.bytes").default("104857600").at_least(1).high().doc("Segment size of the offsets topic. 0.9.0.1 ignores it."),
    Key::int("offsets.topic.compression.codec").default("0").high().doc("Codec of the offsets topic: 0 none, 1 gzip, 2 snappy, 3 lz4. 0.9.0.1 ignores it."),
    Key::int("offsets.retention.minutes").default("1440").at_least(1).high().doc("How long an offset is kept after its last commit, and after its group has lost its last member."),
    Key::long("offsets.retention.check.interval.ms").default("600000").at_least(1).high().doc("How often old offsets are looked for."),
    Key::int("offsets.commit.timeout.ms").default("5000").at_least(1).high().doc("How long a commit waits for the replicas of the offsets topic."),
    Key::short("offsets.commit.required.acks").default("-1").high().doc("The acks that a commit waits for; -1 is the right value."),
    Key::boolean("delete.topic.enable").default("false").high().doc("Whether topics can be deleted."),
    Key::string("compression.type").default("producer").high().doc("Default of the topics' key of the same name."),
    Key::int("metrics.num.samples").default("2").at_least(1).low().doc("Windows over which it is averaged how long clients are held back by quotas."),
    Key::long("metrics.sample.window.ms").default("30000").at_least(1).low().doc("The length of such a window."),
    Key::list("metric.reporters").default("").low().not_acted_on().doc("Classes that report metrics."),
    Key::long("quota.producer.default").default("9223372036854775807").at_least(1).high().doc("Bytes per second that all clients of one client id together may produce to a broker before their answers are held back."),
    Key::long("quota.consumer.default").default("9223372036854775807").at_least(1).high().doc("Bytes per second that all consumers of one client id together may fetch from a broker before their answers are held back."),
    Key::int("quota.window.num").default("11").at_least(1).low().doc("Windows that the rates of quotas are measured over, the present one among them."),
    Key::int("quota.window.size.seconds").default("1").at_least(1).low().doc("The length of such a window."),
    Key::class("principal.builder.class").default("org.apache.kafka.common.security.auth.DefaultPrincipalBuilder").one_of(&["org.apache.kafka.common.security.auth.DefaultPrincipalBuilder"]).not_acted_on().doc("The class that names who is connected."),
    Key::string("ssl.protocol").default("TLS").not_acted_on().doc("The TLS variant."),
    Key::string("ssl.provider").optional().not_acted_on().doc("The Java provider of TLS."),
    Key::list("ssl.enabled.protocols").default("TLSv1.2,TLSv1.1,TLSv1").not_acted_on().doc("TLS versions allowed."),
    Key::list("ssl.cipher.suites").optional().not_acted_on().doc("Cipher suites allowed."),
    Key::string("ssl.keystore.type").default("JKS").not_acted_on().doc("Format of the key store."),
    Key::string("ssl.keystore.location").optional().not_acted_on().doc("The file with this broker's key."),
    Key::password("ssl.keystore.password").optional().not_acted_on().doc("Opens the key store."),
    Key::password("ssl.key.password").optional().not_acted_on().doc("Opens the key in it."),
    Key::string("ssl.truststore.type").default("JKS").not_acted_on().doc("Format of the trust store."),
    Key::string("ssl.truststore.location").optional().not_acted_on().doc("The file with the certificates that are trusted."),
    Key::password("ssl.truststore.password").optional().not_acted_on().doc("Opens the trust store."),
    Key::string("ssl.keymanager.algorithm").default("SunX509").not_acted_on().doc("The Java algorithm that picks keys."),
    Key::string("ssl.trustmanager.algorithm").default("PKIX").not_acted_on().doc("The Java algorithm that checks certificates."),
    Key::string("ssl.client.auth").default("none").one_of(&["required", "requested", "none"]).not_acted_on().doc("Whether clients show a certificate."),
    Key::string("ssl.endpoint.identification.algorithm").optional().low().not_acted_on().doc("How a server's name is checked."),
    Key::string("sasl.kerberos.service.name").optional().not_acted_on().doc("The Kerberos principal that brokers run as."),
    Key::string("sasl.kerberos.kinit.cmd").default("/usr/bin/kinit").not_acted_on().doc("Where kinit is."),
    Key::double("sasl.kerberos.ticket.renew.window.factor").default("0.8").not_acted_on().doc("The share of a ticket's life after which it is renewed."),
    Key::double("sasl.kerberos.ticket.renew.jitter").default("0.05").not_acted_on().doc("The random part of that."),
    Key::long("sasl.kerberos.min.time.before.relogin").default("60000").not_acted_on().doc("The pause between renewals, in milliseconds."),
    Key::list("sasl.kerberos.principal.to.local.rules").default("DEFAULT").not_acted_on().doc("How principals become short names."),
];

/// Keys that 0.9's metrics reporters and its authorizer read from the same file; KafkaConfig does not
/// list them.
pub static OUTSIDE_KEYS: &[Key] = &[
    Key::list("kafka.metrics.reporters")
        .default("")
        .low()
        .doc("Classes that report the broker's meters: `kafka.metrics.KafkaCSVMetricsReporter`. Any other is passed over with a warning."),
    Key::int("kafka.metrics.polling.interval.secs")
        .default("10")
        .low()
        .doc("How often they do; at least 1."),
    Key::boolean("kafka.csv.metrics.reporter.enabled")
        .default("false")
        .low()
        .doc("Whether that class, if it is named, writes the meters to CSV files."),
    Key::string("kafka.csv.metrics.dir")
        .default("kafka_metrics")
        .low()
        .doc("The directory that they are in. Each broker needs its own: metrics files of an earlier run are removed at start."),
    Key::string("super.users")
        .default("")
        .low()
        .not_acted_on()
        .doc("Principals that may do everything."),
    Key::boolean("allow.everyone.if.no.acl.found")
        .default("false")
        .low()
        .not_acted_on()
        .doc("Whether what has no rule is open to everyone."),
    Key::string("authorizer.zookeeper.url")
        .optional()
        .low()
        .not_acted_on()
        .doc("The ZooKeeper that rules are kept in, if not the broker's own."),
    Key::int("authorizer.zookeeper.connection.timeout.ms")
        .optional()
        .low()
        .not_acted_on()
        .doc("As the broker's own."),
    Key::int("authorizer.zookeeper.session.timeout.ms")
        .optional()
        .low()
        .not_acted_on()
        .doc("As the broker's own."),
];
