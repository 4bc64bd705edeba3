//! `/brokers/ids/N`: a live broker's registration (ZkUtils.registerBrokerInZk, Broker.createBroker).

use super::json::{self, Json};
use super::{Error, Result};
use crate::cluster::{Broker, BrokerId, Endpoint, SecurityProtocol};
use crate::util::clock::WallMs;

/// A registration, version 2 as written; versions from 1 are read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Registration {
    /// Id and advertised endpoints.
    pub broker: Broker,
    /// Port of the management interface; -1 for none.
    pub jmx_port: i32,
    /// When the broker registered.
    pub timestamp: WallMs,
}

impl Registration {
    /// The node's data. `host` and `port` are those of the PLAINTEXT endpoint, for readers of
    /// version 1; without one they are `null` and -1.
    pub fn encode(&self) -> String {
        let plain = self.broker.endpoint(SecurityProtocol::Plaintext);
        let endpoints = self.broker.endpoints.iter();
        json::object([
            ("jmx_port", self.jmx_port.to_string()),
            ("timestamp", json::text(&self.timestamp.0.to_string())),
            (
                "endpoints",
                json::array(endpoints.map(|e| json::text(&e.to_string()))),
            ),
            ("host", plain.map_or("null".to_owned(), |e| json::text(&e.host))),
            ("version", "2".to_owned()),
            ("port", plain.map_or(-1, |e| e.port).to_string()),
        ])
    }

    /// Reads the registration of broker `id`.
    ///
    /// # Errors
    /// [`Error::Broker`] if an endpoint cannot be read or the version is below 1.
    pub fn decode(id: BrokerId, data: &[u8]) -> Result<Registration> {
        let root = Json::parse(data)?;
        let version = root.int("version")?;
        if version < 1 {
            let data = String::from_utf8_lossy(data);
            return Err(Error::Broker(format!(
                "Unsupported version of broker registration: {data}"
            )));
        }
        let endpoints = if version == 1 {
            vec![Endpoint {
                protocol: SecurityProtocol::Plaintext,
                host: root.text("host")?.to_owned(),
                port: root.int("port")?,
            }]
        } else {
            endpoints(&root)?
        };
        // The JVM's readers do not look at these two.
        let timestamp = root.text("timestamp").ok().and_then(|t| t.parse().ok());
        Ok(Registration {
            broker: Broker { id, endpoints },
            jmx_port: root.int("jmx_port").unwrap_or(-1),
            timestamp: WallMs(timestamp.unwrap_or(-1)),
        })
    }
}

/// The endpoints, the last of each protocol.
fn endpoints(root: &Json) -> Result<Vec<Endpoint>> {
    let mut endpoints: Vec<Endpoint> = Vec::new();
    for item in root.array("endpoints")? {
        let Json::Text(text) = item else {
            return Err(Error::Kind("endpoints"));
        };
        let endpoint = Endpoint::parse(text).map_err(|e| Error::Broker(e.to_string()))?;
        endpoints.retain(|e| e.protocol != endpoint.protocol);
        endpoints.push(endpoint);
    }
    Ok(endpoints)
}
