//! `<data-dir>/run.json`: where a running host listens. Written when it is ready, removed at its
//! end; a host that was killed leaves it behind, so a reader must expect that nobody answers.

use std::collections::BTreeMap;
use std::fs;
use std::io::{self, Write};
use std::net::SocketAddr;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

/// What `run.json` says.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct RunJson {
    /// Of this program.
    pub(crate) version: String,
    /// The process id.
    pub(crate) pid: u32,
    pub(crate) addresses: Addresses,
}

/// Everything bound, with the ports that were found for port 0.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Addresses {
    pub(crate) mqtt_tcp: Vec<SocketAddr>,
    pub(crate) mqtt_ws: Vec<SocketAddr>,
    /// Absent in files of an older version, as the next one.
    #[serde(default)]
    pub(crate) mqtt_tls: Vec<SocketAddr>,
    #[serde(default)]
    pub(crate) mqtt_wss: Vec<SocketAddr>,
    /// The HTTP API.
    pub(crate) admin: SocketAddr,
    /// The certificate of the HTTP API; without one it speaks plain HTTP.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) admin_certificate: Option<PathBuf>,
    /// Name servers of embedded RocketMQ instances, by instance.
    pub(crate) rocketmq_name_server: BTreeMap<String, SocketAddr>,
}

impl Addresses {
    /// Where a program on this machine finds the HTTP API.
    pub(crate) fn admin_url(&self) -> String {
        let scheme = match &self.admin_certificate {
            Some(_) => "https",
            None => "http",
        };
        if self.admin.ip().is_unspecified() {
            format!("{scheme}://localhost:{}", self.admin.port())
        } else {
            format!("{scheme}://{}", self.admin)
        }
    }
}

fn path(data_dir: &Path) -> PathBuf {
    data_dir.join("run.json")
}

/// Writes the file in one step: a reader sees all of it or none.
///
/// # Errors
///
/// When the folder cannot be written.
pub(crate) fn write(data_dir: &Path, content: &RunJson) -> io::Result<()> {
    let mut text = serde_json::to_vec_pretty(content)?;
    text.push(b'\n');
    let draft = data_dir.join("run.json.new");
    let mut file = fs::File::create(&draft)?;
    file.write_all(&text)?;
    file.sync_all()?;
    fs::rename(&draft, path(data_dir))
}

/// Removes the file; fine if there is none.
///
/// # Errors
///
/// When it cannot be removed.
pub(crate) fn remove(data_dir: &Path) -> io::Result<()> {
    match fs::remove_file(path(data_dir)) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
        _ => Ok(()),
    }
}

/// Reads the file; `None` if there is none.
///
/// # Errors
///
/// When it is there and cannot be read or understood.
pub(crate) fn read(data_dir: &Path) -> io::Result<Option<RunJson>> {
    match fs::read(path(data_dir)) {
        Ok(bytes) => Ok(Some(serde_json::from_slice(&bytes)?)),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(error),
    }
}

#[cfg(test)]
mod tests {
    use super::{Addresses, RunJson, read, remove, write};

    #[test]
    fn the_file_reads_back_and_goes_away() {
        let folder = tempfile::tempdir().unwrap();
        assert_eq!(read(folder.path()).unwrap(), None);
        let content = RunJson {
            version: "0.1.0".to_owned(),
            pid: 7,
            addresses: Addresses {
                mqtt_tcp: vec!["127.0.0.1:1883".parse().unwrap()],
                mqtt_ws: vec!["127.0.0.1:8083".parse().unwrap()],
                mqtt_tls: vec!["127.0.0.1:8883".parse().unwrap()],
                mqtt_wss: Vec::new(),
                admin: "127.0.0.1:8180".parse().unwrap(),
                admin_certificate: None,
                rocketmq_name_server: [("embedded".to_owned(), "127.0.0.1:9876".parse().unwrap())]
                    .into(),
            },
        };
        write(folder.path(), &content).unwrap();
        let value: serde_json::Value =
            serde_json::from_slice(&std::fs::read(folder.path().join("run.json")).unwrap())
                .unwrap();
        assert_eq!(value["addresses"]["mqttTcp"][0], "127.0.0.1:1883");
        assert_eq!(
            value["addresses"]["rocketmqNameServer"]["embedded"],
            "127.0.0.1:9876"
        );
        assert_eq!(read(folder.path()).unwrap(), Some(content));
        remove(folder.path()).unwrap();
        remove(folder.path()).unwrap();
        assert_eq!(read(folder.path()).unwrap(), None);
    }
}
