//! ZooKeeper and broker as Windows services.

use super::Site;
use crate::support::program::{run, text};
use crate::support::wine::{LIMIT, Package};
use crate::support::wire::wait_leaders;

#[test]
fn services_are_installed_started_stopped_in_order_and_forgotten() {
    let site = Site::new(need!(Package::unpack()));
    let package = &site.package;
    // Relative to where the service is installed from, and with a letter that a settings file may hold.
    package.set("zookeeper.properties", "dataDir", "data/zookeeper");
    package.set("server.properties", "log.dirs", "data/größe");
    let log_dir = package.home().join("data/größe");
    let service = |verb: &str, file: &str| {
        let mut command = package.wine(&package.home());
        let program = package.bin().join("kafka.exe");
        let config = format!("config\\{file}.properties");
        command.arg(program).args(["service", verb, "--config", &config]);
        let out = run(command, b"", LIMIT);
        let said = text(&out.stdout) + &text(&out.stderr);
        (out.status.code(), said.replace('\r', ""))
    };
    let zookeeper = format!("kafka-zookeeper-{}", site.zookeeper_port);
    // A run that was killed may have left them.
    for file in ["server", "zookeeper"] {
        service("uninstall", file);
    }

    let (code, said) = service("start", "server");
    assert!(
        code == Some(1) && said.contains("cannot open the service kafka-broker-0"),
        "{said}"
    );
    let (code, said) = service("install", "zookeeper");
    assert!(
        code == Some(0) && said.contains(&format!("Installed {zookeeper}")),
        "{said}"
    );
    let (code, said) = service("install", "server");
    assert!(
        code == Some(0) && said.contains(&format!("after {zookeeper}")),
        "{said}"
    );
    let (code, said) = service("install", "server");
    assert!(
        code == Some(1) && said.contains("cannot install the service kafka-broker-0"),
        "{said}"
    );

    for _ in 0..2 {
        for file in ["zookeeper", "server"] {
            let (code, said) = service("start", file);
            assert!(code == Some(0) && said.contains("Started"), "{said}");
        }
        wait_leaders(site.port, "served", LIMIT);
        let (code, said) = service("stop", "server");
        assert!(
            code == Some(0) && said.contains("Stopped kafka-broker-0"),
            "{said}"
        );
        assert!(log_dir.join(".kafka_cleanshutdown").exists());
    }
    for file in ["server", "zookeeper"] {
        let (code, said) = service("uninstall", file);
        assert!(code == Some(0) && said.contains("Uninstalled"), "{said}");
    }
    for name in ["kafka-broker-0", &zookeeper] {
        let log = package.home().join(format!("logs/{name}.out"));
        let log = std::fs::read_to_string(log).unwrap();
        assert!(log.contains(&format!("the service {name} runs")), "{log}");
    }

    package.set("server.properties", "broker.id", "none");
    let (code, said) = service("install", "server");
    assert!(code == Some(1) && said.contains("broker.id=none"), "{said}");
}
