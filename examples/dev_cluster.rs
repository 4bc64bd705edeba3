//! A broker for a test: start it, use it, stop it. Nothing is left behind.

use std::error::Error;

use kafka::client::connection::{Connection, ConnectionSettings};
use kafka::dev::{DevCluster, DevSettings};
use kafka::protocol::metadata::MetadataRequest;

#[tokio::main]
async fn main() -> Result<(), Box<dyn Error>> {
    let cluster = DevCluster::start(DevSettings {
        port: 0,
        zookeeper_port: 0,
        topics: vec![("orders".to_owned(), 3)],
        ..DevSettings::default()
    })
    .await?;
    println!("bootstrap.servers={}", cluster.bootstrap_servers());

    let (host, port) = cluster.bootstrap_servers().rsplit_once(':').ok_or("no port")?;
    let connection = Connection::connect(host, port.parse()?, ConnectionSettings::default()).await?;
    let answer = connection.call(&MetadataRequest { topics: vec![] }).await?;
    for topic in answer.topics {
        println!("{} has {} partitions", topic.topic, topic.partitions.len());
    }
    connection.close().await;
    cluster.stop().await;
    Ok(())
}
