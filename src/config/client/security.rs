//! How producers and consumers secure their connections (org.apache.kafka.common.config.SslConfigs,
//! SaslConfigs): rows that both have.

use crate::config::definition::Key;

/// The rows.
pub static KEYS: &[Key] = &[
    Key::string("security.protocol")
        .default("PLAINTEXT")
        .one_of(&["PLAINTEXT"])
        .doc("PLAINTEXT."),
    Key::string("ssl.protocol")
        .default("TLS")
        .not_acted_on()
        .doc("Of TLS."),
    Key::string("ssl.provider")
        .optional()
        .not_acted_on()
        .doc("Of TLS."),
    Key::list("ssl.cipher.suites")
        .optional()
        .low()
        .not_acted_on()
        .doc("Of TLS."),
    Key::list("ssl.enabled.protocols")
        .default("TLSv1.2,TLSv1.1,TLSv1")
        .not_acted_on()
        .doc("Of TLS."),
    Key::string("ssl.keystore.type")
        .default("JKS")
        .not_acted_on()
        .doc("Of TLS."),
    Key::string("ssl.keystore.location")
        .optional()
        .high()
        .not_acted_on()
        .doc("Of TLS."),
    Key::password("ssl.keystore.password")
        .optional()
        .high()
        .not_acted_on()
        .doc("Of TLS."),
    Key::password("ssl.key.password")
        .optional()
        .high()
        .not_acted_on()
        .doc("Of TLS."),
    Key::string("ssl.truststore.type")
        .default("JKS")
        .not_acted_on()
        .doc("Of TLS."),
    Key::string("ssl.truststore.location")
        .optional()
        .high()
        .not_acted_on()
        .doc("Of TLS."),
    Key::password("ssl.truststore.password")
        .optional()
        .high()
        .not_acted_on()
        .doc("Of TLS."),
    Key::string("ssl.keymanager.algorithm")
        .optional()
        .low()
        .not_acted_on()
        .doc("Of TLS."),
    Key::string("ssl.trustmanager.algorithm")
        .optional()
        .low()
        .not_acted_on()
        .doc("Of TLS."),
    Key::string("ssl.endpoint.identification.algorithm")
        .optional()
        .low()
        .not_acted_on()
        .doc("Of TLS."),
    Key::string("sasl.kerberos.service.name")
        .optional()
        .not_acted_on()
        .doc("Of SASL."),
    Key::string("sasl.kerberos.kinit.cmd")
        .default("/usr/bin/kinit")
        .low()
        .not_acted_on()
        .doc("Of SASL."),
    Key::double("sasl.kerberos.ticket.renew.window.factor")
        .default("0.8")
        .low()
        .not_acted_on()
        .doc("Of SASL."),
    Key::double("sasl.kerberos.ticket.renew.jitter")
        .default("0.05")
        .low()
        .not_acted_on()
        .doc("Of SASL."),
    Key::long("sasl.kerberos.min.time.before.relogin")
        .default("60000")
        .low()
        .not_acted_on()
        .doc("Of SASL."),
];
